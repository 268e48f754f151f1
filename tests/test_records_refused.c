/* Records: which line is refused, left out or dropped, and why. */
#include "tests/letter_records.h"

#include <stdlib.h>

static const char *refusal(const char *const *texts, int n, const struct records_settings *s)
{
    static char line[1024];
    char *paths[4];
    struct records *r = (struct records *)line;
    int rc;

    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "bad-%d.jsonl", i);
        paths[i] = (char *)write_plain(name, texts[i]);
    }
    status_hold(true);
    rc = records_open(&r, &(struct strings) { paths, n }, s);
    snprintf(line, sizeof line, "%s", rc == RL_OK ? "" : status_message());
    status_drop();
    status_hold(false);
    if (rc == RL_OK)
        records_close(r);
    else
        assert_true(r == NULL && rc == RL_EINVAL);
    assert_null(strchr(line, '\n'));
    return line;
}

#define P "\"prompt\":\"a\","
#define CR P "\"chosen\":\"c\",\"rejected\":\"d\""

static const struct hostile { enum view view; const char *line, *named; } hostile[] = {
    { VIEW_PAIRS, "[1]", "is not a JSON object" },
    { VIEW_PAIRS, "{\"prompt\":\"a\"}", "has no answers" },
    { VIEW_PAIRS, "{\"chosen\":\"c\",\"rejected\":\"d\"}", "has no `prompt` (text) and no "
      "`prompt_ids`" },
    { VIEW_PAIRS, "{" P "\"chosen\":\"c\"}", "has no `rejected`" },
    { VIEW_PAIRS, "{" P "\"rejected\":\"c\"}", "has no `chosen`" },
    { VIEW_PAIRS, "{" P "\"chosen\":\"c\",\"rejected\":\"\"}", "has an empty `rejected`" },
    { VIEW_PAIRS, "{" P "\"chosen_ids\":[],\"rejected\":\"c\"}", "has an empty `chosen`" },
    { VIEW_PAIRS, "{\"prompt\":\"\",\"chosen\":\"c\",\"rejected\":\"d\"}", "an empty `prompt`" },
    { VIEW_PAIRS, "{" P "\"chosen\":\"c\",\"rejected\":\"c\"}", "has the same answer" },
    { VIEW_PAIRS, "{" P "\"chosen\":\"c\",\"rejected\":7}", "has a `rejected` that is not a" },
    { VIEW_PAIRS, "{" P "\"chosen_ids\":3,\"rejected\":\"c\"}", "has `chosen_ids` that are not" },
    { VIEW_PAIRS, "{" P "\"chosen_ids\":[20],\"rejected\":\"c\"}", "chosen_ids[0] that is not an "
      "id from 0 to 19" },
    { VIEW_PAIRS, "{" P "\"chosen_ids\":[1.5],\"rejected\":\"c\"}", "chosen_ids[0]" },
    { VIEW_PAIRS, "{" P "\"chosen\":\"!\",\"rejected\":\"c\"}", "knows no part" },
    { VIEW_PAIRS, "{" CR ",\"score_chosen\":1}", "one of `score_chosen` and `score_rejected`" },
    { VIEW_PAIRS, "{" CR ",\"score_chosen\":1,\"score_rejected\":2}", "above its" },
    { VIEW_PAIRS, "{" CR ",\"score_chosen\":\"1\",\"score_rejected\":2}", "`score_chosen` that" },
    { VIEW_PAIRS, "{" CR ",\"weight\":-1}", "`weight` below 0" },
    { VIEW_PAIRS, "{" CR ",\"weight\":true}", "`weight` that is not a number" },
    { VIEW_PAIRS, "{" CR ",\"weight\":1e31}", "has a `weight` beyond 1e+30" },
    { VIEW_PAIRS, "{" CR ",\"margin\":-1e308}", "has a `margin` beyond 1e+30" },
    { VIEW_PAIRS, "{" CR ",\"score_chosen\":1e308,\"score_rejected\":0}", "`score_chosen` beyond" },
    { VIEW_PAIRS, "{" CR ",\"annotator\":-1}", "`annotator`" },
    { VIEW_PAIRS, "{" CR ",\"annotator\":64}", "`annotator`" },
    { VIEW_PAIRS, "{" CR ",\"signs\":[1]}", "`signs` that are not an object" },
    { VIEW_PAIRS, "{" CR ",\"signs\":{\"x\":2}}", "sign of `x` that is not -1, 0 or 1" },
    { VIEW_PAIRS, "{" CR ",\"raco_s_x\":\"1\"}", "sign of `x` that is not -1, 0 or 1" },
    { VIEW_PAIRS, "{" CR ",\"signs\":{\"x\":1},\"raco_s_x\":-1}", "two signs of `x`, 1 and -1" },
    { VIEW_PAIRS, "{" CR ",\"raco_s_\":1}", "has the objective ``" },
    { VIEW_PAIRS, "{" P "\"completion\":\"c\",\"label\":1}", "is a single answer, and this "
      "algorithm learns from pairs" },
    { VIEW_PAIRS, "{" P "\"responses\":[\"c\",\"d\"],\"scores\":[1,2]}", "is a list of answers" },
    { VIEW_AUGMENTED, "{" CR "}", "has no `score_chosen`" },
    { VIEW_LISTS, "{" P "\"responses\":[\"c\",\"d\"],\"scores\":[1]}", "not as many `scores`" },
    { VIEW_LISTS, "{" P "\"responses\":[\"c\",\"d\"]}", "not as many `scores`" },
    { VIEW_LISTS, "{" P "\"responses\":[],\"scores\":[]}", "has 0 `responses`" },
    { VIEW_LISTS, "{" P "\"responses\":\"c\",\"scores\":[1]}", "`responses` that are not a list" },
    { VIEW_LISTS, "{" P "\"responses\":[\"c\",\"\"],\"scores\":[1,2]}", "an empty `responses`" },
    { VIEW_LISTS, "{" P "\"responses\":[\"c\",\"d\"],\"scores\":[1,null]}", "`scores`[1]" },
    { VIEW_LISTS, "{" P "\"responses\":[\"c\",\"d\"],\"scores\":[1,2e30]}", "`scores`[1] beyond" },
    { VIEW_SINGLES, "{" P "\"completion\":\"c\"}", "has no `label`" },
    { VIEW_SINGLES, "{" P "\"completion\":\"c\",\"label\":2}", "a `label` that is not true" },
    { VIEW_SINGLES, "{" P "\"completion\":\"c\",\"label\":\"yes\"}", "a `label` that is not" },
    { VIEW_SINGLES, "{" P "\"completion\":\"c\",\"label\":0.5}", "a `label` that is not" },
    { VIEW_KTO, "{" P "\"responses\":[\"c\",\"d\"],\"scores\":[1,2]}", "is a list of answers" },
};

/* A line that every view can read, so that what is named is the second line. */
static const char fine[] = "{" CR ",\"score_chosen\":2,\"score_rejected\":1}\n";

static void test_bad_records_are_named_or_dropped_and_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct records_settings s = settings(hostile[i].view);
        char text[512], want[256];
        const char *texts[] = { text };
        struct records *r;
        snprintf(text, sizeof text, "%s%s\n%s", fine, hostile[i].line, fine);
        snprintf(want, sizeof want, "bad-0.jsonl:2: the record ");
        assert_names(refusal(texts, 1, &s), want);
        assert_names(refusal(texts, 1, &s), hostile[i].named);
        s.drop_bad = true;
        r = open_text(text, &s);
        assert_int_equal(records_dropped(r), 1);
        assert_int_equal(records_skipped(r), 0);
        assert_int_equal(records_columns(r), 1);
        records_close(r);
    }
}

static void test_broken_files_are_named_always(void **state)
{
    static const char *const cases[][2] = {
        { "{\"prompt\": }\n", "bad-0.jsonl:2: bad JSON" },
        { "{\"prompt\":\"a\xff\"}\n", "bad-0.jsonl:2: not UTF-8" },
        { "{\"prompt\":\"a\",\"chosen\":\"c", "bad-0.jsonl:2: the last line is cut" },
        { "{" P "\"chosen\":\"cccccccccccccccccccc\",\"rejected\":\"d\"}", "bad-0.jsonl:2: the "
          "record has a row of 23 tokens and at most 20 fit; shorten it or set long_prompts" },
    };
    struct records_settings s = settings(VIEW_PAIRS);

    (void)state;
    s.drop_bad = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        const char *texts[] = { text };
        snprintf(text, sizeof text, "%s%s", fine, cases[i][0]);
        assert_names(refusal(texts, 1, &s), cases[i][1]);
    }
    assert_names(refusal((const char *[]) { "" }, 1, &s), "bad-0.jsonl: no records");
    assert_names(refusal((const char *[]) { "{\"x\":1}\n" }, 1, &s), "every record was left out");
    assert_names(refusal(NULL, 0, &s), "no files of records");
    s.in_turn = true;
    assert_names(refusal((const char *[]) { fine, "" }, 2, &s), "bad-1.jsonl: no records");
    s.tokenizer = NULL;
    assert_names(refusal((const char *[]) { fine }, 1, &s), "bad-0.jsonl:1: `prompt` is text and "
                 "the model has no tokenizer; give prompt_ids");
    s = settings(VIEW_PAIRS);
    s.vocabulary = 3;
    assert_names(refusal((const char *[]) { fine }, 1, &s), "the tokenizer gives id 4 and the "
                 "model's vocabulary ends at 2");
    s = settings(VIEW_AUGMENTED);
    s.target = "no hole";
    assert_names(refusal((const char *[]) { fine }, 1, &s), "has no {score}");
}

static void test_long_records_are_skipped_and_counted(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct held h;
    struct records *r;
    struct batch *b;

    (void)state;
    s.skip_long = true;
    s.max_tokens = 5;
    r = open_text("{" P "\"chosen\":\"dd\",\"rejected\":\"ccc\",\"raco_s_new\":1}\n"
                  "{" CR "}\n"
                  "{" P "\"chosen\":\"ddd\",\"rejected\":\"c\"}\n", &s);
    assert_int_equal(records_count(r), 1);
    assert_int_equal(records_skipped(r), 2);
    assert_int_equal(records_dropped(r), 0);
    assert_int_equal(records_columns(r), 1);        /* its objective went with the record */
    b = next(&h, r, false, 0, 1, 0, 1);
    ROW(b, 0, 2, 1, 1, 1, 2, 4, 7);
    memory_close(&h.memory);
    records_close(r);
}

static void test_signs_and_classes_must_be_whole(void **state)
{
    static const char *const half[] = { "{" CR ",\"raco_s_x\":1,\"raco_s_y\":0}\n"
                                        "{" CR ",\"raco_s_y\":1}\n" };
    static const char *const one[] = { "{" P "\"completion\":\"c\",\"label\":true}\n"
                                       "{" P "\"completion\":\"d\",\"label\":true}\n" };
    static const char *const none[] = { "{" P "\"completion\":\"c\",\"label\":0}\n" };
    struct records_settings s = settings(VIEW_PAIRS);
    struct records *r;

    (void)state;
    assert_names(refusal(half, 1, &s), "bad-0.jsonl:2: the record has no sign of the objective "
                 "`x`");
    s.drop_bad = true;
    r = open_text(half[0], &s);
    assert_true(records_count(r) == 1 && records_dropped(r) == 1 && records_columns(r) == 2);
    records_close(r);
    s = settings(VIEW_KTO);
    assert_names(refusal(one, 1, &s), "every label is true; answers of both classes");
    assert_names(refusal(none, 1, &s), "every label is false");
    assert_names(refusal((const char *[]) { fine }, 1, &s), "a single record has no mismatched");
}

/* {"raco_s_o1": 1, ...}: as many objectives as can be combined, and one more. */
static void test_as_many_signs_as_objectives(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct text line = { 0 };
    struct records *r;

    (void)state;
    text_adds(&line, "{" CR);
    for (int i = 1; i <= OBJECTIVES_MOST; i++)
        text_addf(&line, ",\"raco_s_o%d\":1", i);
    text_adds(&line, "}");
    r = open_text(line.data, &s);
    assert_int_equal(records_columns(r), OBJECTIVES_MOST);
    records_close(r);
    line.data[line.size - 1] = ',';
    text_addf(&line, "\"raco_s_p\":1}");
    assert_names(refusal((const char *[]) { line.data }, 1, &s), "has the objective `p`: names "
                 "have 1 to 63 bytes, and there are at most 32");
    text_free(&line);
}

static void test_judge_templates_are_checked(void **state)
{
    static const char *const cases[][2] = {
        { "{prompt}{a}?", "judge.txt: no {b}" },
        { "{b}?", "judge.txt: no {a}" },
        { "{a}{b}{a}?", "judge.txt: {a} is there twice" },
        { "{prompt}{prompt}{a}{b}?", "{prompt} is there twice" },
        { "{prompt}{a}{b}", "judge.txt: names and no text: nothing asks which" },
        { "{a}{b}{c}?", "judge.txt: {c} is not one of {prompt}, {a} and {b}" },
        { "{prompt}{a}{b}{answer_1}", "judge.txt: {answer_1} is not one of" },
    };
    struct judge *judge;

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(judge_parse(&judge, cases[i][0], strlen(cases[i][0]), "judge.txt", words,
                                     20), RL_EINVAL);
        assert_null(judge);
        assert_names(status_message(), cases[i][1]);
    }
    assert_int_equal(judge_parse(&judge, "{a}{b}?", 7, "judge.txt", t, 91), RL_EINVAL);
    assert_names(status_message(), "judge.txt: the answer \"A\" is not one token");
    assert_int_equal(judge_parse(&judge, "{a}{b}?", 7, "judge.txt", words, 9), RL_EINVAL);
    assert_names(status_message(), "judge.txt: the tokenizer gives id 11");
    assert_int_equal(judge_parse(&judge, "{a}{b}", 6, "judge.txt", NULL, 9), RL_EINVAL);
    status_drop();
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_records_are_named_or_dropped_and_counted),
        cmocka_unit_test(test_broken_files_are_named_always),
        cmocka_unit_test(test_long_records_are_skipped_and_counted),
        cmocka_unit_test(test_signs_and_classes_must_be_whole),
        cmocka_unit_test(test_as_many_signs_as_objectives),
        cmocka_unit_test(test_judge_templates_are_checked),
    };

    return cmocka_run_group_tests(tests, open_words, close_words);
}
