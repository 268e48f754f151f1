/* Records: pairs, lists and singles of files as rows of a batch. */
#include "tests/letter_records.h"

static const char pairs[] =
    "{\"prompt\":\"ab\",\"chosen\":\"c\",\"rejected\":\"dd\"}\n"
    "{\"prompt\":\"d\",\"chosen\":\"a\",\"rejected\":\"b\",\"score_chosen\":9,"
    "\"score_rejected\":6,\"weight\":0.5,\"margin\":2,\"annotator\":3}\n"
    "{\"prompt_ids\":[1,5],\"chosen_ids\":[4,7],\"rejected_ids\":[4]}\n";

static void test_pairs_are_rows_of_chosen_and_rejected(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct records *r = open_text(pairs, &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 3, 0, 3);

    (void)state;
    assert_int_equal(records_count(r), 3);
    assert_int_equal(records_longest(r), 5);
    assert_int_equal(records_annotators(r), 4);
    ROW(b, 0, 2, 1, 1, 1, 10, 4, 7);
    ROW(b, 1, 2, 0, 1, 1, 10, 5, 5, 7);
    ROW(b, 2, 2, 9, 0.5, 1, 5, 2, 7);
    ROW(b, 3, 2, 6, 0.5, 1, 5, 3, 7);
    ROW(b, 4, 2, 1, 1, 1, 5, 4, 7);                 /* ids are taken as they are: no second eos, */
    ROW(b, 5, 2, 0, 1, 1, 5, 4);                    /* none at all */
    assert_true(b->margin[2] == 2 && b->margin[0] == 0);
    assert_true(b->annotator[3] == 3 && b->annotator[4] == 0);
    assert_true(b->objective[0] == -1);
    assert_true(b->prompt[0] == 0 && b->prompt[5] == 2);
    assert_true(b->finish[4] == FINISH_EOS && b->finish[5] == FINISH_LENGTH);
    memory_close(&h.memory);
    records_close(r);
    records_close(NULL);
}

static void test_prompts_can_be_learned_too(void **state)
{
    struct records_settings s = settings(VIEW_JOINT);
    struct records *r = open_text(pairs, &s);
    struct held h;
    struct batch *b = next(&h, r, false, 1, 1, 0, 1);

    (void)state;
    ROW(b, 0, 0, 9, 0.5, 1, 5, 2, 7);
    ROW(b, 1, 0, 6, 0.5, 1, 5, 3, 7);
    memory_close(&h.memory);
    records_close(r);
}

/* "a" + "b" would be one token: then the answer is tokenized by itself. */
static void test_a_token_across_the_border_belongs_to_nobody(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct held h;
    struct records *r;
    struct batch *b;

    (void)state;
    s.append_eos = false;
    r = open_text("{\"prompt\":\"ca\",\"chosen\":\"bd\",\"rejected\":\"ab\"}\n", &s);
    b = next(&h, r, false, 0, 1, 0, 1);
    ROW(b, 0, 3, 1, 1, 1, 4, 2, 3, 5);
    ROW(b, 1, 3, 0, 1, 1, 4, 2, 10);
    memory_close(&h.memory);
    records_close(r);

    s.join = " ";
    r = open_text("{\"prompt\":\"ca\",\"chosen\":\"bd\",\"rejected\":\"ab\"}\n", &s);
    b = next(&h, r, false, 0, 1, 0, 1);
    ROW(b, 0, 3, 1, 1, 1, 4, 2, 6, 3, 5);
    memory_close(&h.memory);
    records_close(r);
}

static void test_signs_are_columns(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct records *r = open_text(
        "{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"raco_s_good\":1.0,"
        "\"raco_s_short\":-1}\n"
        "{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"signs\":{\"short\":1,"
        "\"good\":0}}\n", &s);
    static const double want[] = { 1, 0, 0, 1,   0, 1, 0, 0 };
    const char *const *names;
    struct held h;
    struct batch *b = next(&h, r, false, 0, 2, 0, 2);

    (void)state;
    assert_int_equal(records_columns(r), 2);
    assert_int_equal(records_objectives(r, &names), 2);
    assert_string_equal(names[0], "good");
    assert_string_equal(names[1], "short");
    for (int i = 0; i < 8; i++)
        assert_true(b->reward[i] == want[i]);
    assert_int_equal(b->objective[0], -1);
    memory_close(&h.memory);
    records_close(r);
}

static void test_the_rejected_answer_may_have_its_own_prompt(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct records *r = open_text("{\"prompt\":\"a\",\"rejected_prompt\":\"cc\",\"chosen\":\"d\","
                                  "\"rejected\":\"d\"}\n", &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 1, 0, 1);

    (void)state;
    ROW(b, 0, 2, 1, 1, 1, 2, 5, 7);
    ROW(b, 1, 3, 0, 1, 1, 4, 4, 5, 7);
    memory_close(&h.memory);
    records_close(r);
}

static void test_short_lists_are_filled_with_weight_0(void **state)
{
    struct records_settings s = settings(VIEW_LISTS);
    struct records *r = open_text(
        "{\"prompt\":\"a\",\"responses\":[\"b\",\"c\",\"d\"],\"scores\":[0.5,-1,2]}\n"
        "{\"prompt\":\"a\",\"responses_ids\":[[3],[4,4]],\"scores\":[3,4]}\n"
        "{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"weight\":2}\n", &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 3, 0, 3);

    (void)state;
    assert_int_equal(b->k, 3);
    ROW(b, 1, 2, -1, 1, 1, 2, 4, 7);
    ROW(b, 2, 2, 2, 1, 1, 2, 5, 7);
    ROW(b, 3, 2, 3, 1, 1, 2, 3);
    ROW(b, 4, 2, 4, 1, 1, 2, 4, 4);
    ROW(b, 5, 2, 3, 0, 1, 2, 3);
    ROW(b, 6, 2, 1, 2, 1, 2, 4, 7);
    ROW(b, 7, 2, 0, 2, 1, 2, 5, 7);
    ROW(b, 8, 2, 1, 0, 1, 2, 4, 7);
    memory_close(&h.memory);
    records_close(r);
}

static void test_ranked_pairs_keep_their_signs(void **state)
{
    struct records_settings s = settings(VIEW_RANKED);
    struct records *r = open_text(
        "{\"prompt\":\"a\",\"chosen\":\"c\",\"rejected\":\"d\",\"signs\":{\"x\":1,\"y\":-1}}\n"
        "{\"prompt\":\"a\",\"chosen\":\"d\",\"rejected\":\"c\",\"signs\":{\"x\":0,\"y\":1}}\n", &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 2, 0, 2);

    (void)state;
    assert_int_equal(records_columns(r), 2);
    assert_int_equal(b->k, 2);
    assert_true(b->reward[0] == 1 && b->reward[1] == 0);        /* row 0: x, y */
    assert_true(b->reward[2] == 0 && b->reward[3] == 1);
    assert_true(b->reward[4] == 0 && b->reward[5] == 1);
    assert_true(b->reward[6] == 0 && b->reward[7] == 0);
    memory_close(&h.memory);
    records_close(r);
}

static const char singles[] =
    "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":true}\n"
    "{\"prompt\":\"c\",\"completion\":\"dd\",\"label\":0}\n"
    "{\"prompt\":\"d\",\"chosen\":\"aa\",\"rejected\":\"bb\"}\n";

static void test_singles_and_pairs_are_labelled_rows(void **state)
{
    struct records_settings s = settings(VIEW_SINGLES);
    struct records *r = open_text(singles, &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 4, 0, 4);

    (void)state;
    assert_int_equal(records_count(r), 4);
    ROW(b, 0, 2, 1, 1, 1, 2, 3, 7);                 /* a, b: "ab" crosses */
    ROW(b, 1, 2, 0, 1, 1, 4, 5, 5, 7);
    ROW(b, 2, 2, 1, 1, 1, 5, 2, 2, 7);
    ROW(b, 3, 2, 0, 1, 1, 5, 3, 3, 7);
    memory_close(&h.memory);
    records_close(r);
}

/* The twin has the answer of the next draw that is of another line, also across the end of an
 * epoch. */
static void test_kto_rows_have_mismatched_twins(void **state)
{
    struct records_settings s = settings(VIEW_KTO);
    struct records *r = open_text(singles, &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 4, 0, 4);

    (void)state;
    ROW(b, 0, 2, 1, 1, 1, 2, 3, 7);
    ROW(b, 1, 2, 0, 0, 1, 2, 5, 5, 7);
    ROW(b, 2, 2, 0, 1, 1, 4, 5, 5, 7);
    ROW(b, 3, 2, 0, 0, 1, 4, 2, 2, 7);
    ROW(b, 5, 2, 0, 0, 1, 5, 3, 7);                 /* not with the pair's other answer */
    ROW(b, 7, 2, 0, 0, 1, 5, 3, 7);                 /* the first of the next epoch */
    memory_close(&h.memory);
    records_close(r);

    s.max_tokens = 4;                               /* a twin is cut where the positions end */
    r = open_text("{\"prompt\":\"c\",\"completion\":\"b\",\"label\":true}\n"
                  "{\"prompt\":\"c\",\"completion\":\"d\",\"label\":0}\n"
                  "{\"prompt_ids\":[4],\"completion_ids\":[5,5,5],\"label\":0}\n", &s);
    assert_int_equal(records_longest(r), 4);
    b = next(&h, r, false, 1, 1, 0, 1);
    ROW(b, 1, 2, 0, 0, 1, 4, 5, 5);
    memory_close(&h.memory);
    b = next(&h, r, false, 2, 1, 0, 1);
    ROW(b, 1, 1, 0, 0, 4, 3, 7);
    memory_close(&h.memory);
    records_close(r);
}

static void test_sft_takes_what_should_be_said(void **state)
{
    struct records_settings s = settings(VIEW_SFT);
    struct records *r = open_text(
        "{\"prompt\":\"a\",\"completion\":\"c\"}\n"
        "{\"prompt\":\"a\",\"completion\":\"d\",\"label\":false}\n"
        "{\"prompt\":\"a\",\"chosen\":\"cc\"}\n"
        "{\"prompt\":\"a\",\"responses\":[\"b\",\"c\",\"dd\",\"d\"],\"scores\":[0,-1,2,2]}\n", &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 3, 0, 3);

    (void)state;
    assert_int_equal(records_dropped(r), 1);
    ROW(b, 0, 2, 1, 1, 1, 2, 4, 7);
    ROW(b, 1, 2, 1, 1, 1, 2, 4, 4, 7);
    ROW(b, 2, 2, 2, 1, 1, 2, 5, 5, 7);
    memory_close(&h.memory);
    records_close(r);
}

/* Behind the chosen's score the chosen wins, behind the rejected's the rejected. */
static void test_scored_pairs_are_augmented(void **state)
{
    struct records_settings s = settings(VIEW_AUGMENTED);
    struct records *r = open_text(
        "{\"prompt\":\"c\",\"chosen\":\"d\",\"rejected\":\"b\",\"score_chosen\":9.0,"
        "\"score_rejected\":6}\n"
        "{\"prompt_ids\":[1,4],\"chosen\":\"d\",\"rejected_ids\":[3],\"score_chosen\":9,"
        "\"score_rejected\":-6}\n", &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 4, 0, 4);

    (void)state;
    assert_int_equal(records_count(r), 4);
    ROW(b, 0, 4, 1, 1, 1, 12, 13, 4, 5, 7);
    ROW(b, 1, 4, 0, 1, 1, 12, 13, 4, 3, 7);
    ROW(b, 2, 4, 1, 1, 1, 12, 14, 4, 3, 7);
    ROW(b, 3, 4, 0, 1, 1, 12, 14, 4, 5, 7);
    ROW(b, 4, 4, 1, 1, 1, 12, 13, 4, 5, 7);         /* one bos */
    ROW(b, 6, 4, 1, 1, 1, 12, 14, 4, 3);            /* "-" is in no vocabulary */
    memory_close(&h.memory);
    records_close(r);
}

static void test_a_pair_is_judged_in_drawn_order(void **state)
{
    static const char template[] = "{prompt}A{a} B{b}?";
    struct records_settings s = settings(VIEW_JUDGE);
    struct judge *judge;
    struct records *r;
    struct held h;
    struct batch *b;
    int firsts = 0;

    (void)state;
    assert_ok(judge_parse(&judge, template, strlen(template), "judge.txt", words, 20));
    assert_true(judge_answer(judge, 0) == 8 && judge_answer(judge, 1) == 9);
    s.judge = judge;
    r = open_text("{\"prompt\":\"ab\",\"chosen\":\"c\",\"rejected\":\"dd\"}\n", &s);
    b = next(&h, r, true, 0, 64, 0, 64);
    for (int g = 0; g < 64; g++) {
        int n = 2 * g, first = b->tokens[b->start[n] + 3] == 4;
        if (first)
            ROW(b, n, 9, 1, 1, 1, 10, 8, 4, 6, 9, 5, 5, 11, 8);
        else
            ROW(b, n, 9, 1, 1, 1, 10, 8, 5, 5, 6, 9, 4, 11, 9);
        ROW(b, n + 1, 2, 1, 1, 1, 10, 4, 7);
        firsts += first;
    }
    assert_in_range(firsts, 20, 44);
    memory_close(&h.memory);
    records_close(r);
    judge_close(judge);
    judge_close(NULL);
}

/* ---- order */

static struct strings several(char *paths[3])
{
    char text[3][1024] = { "", "", "" };
    static const int count[] = { 5, 2, 3 };

    for (int f = 0; f < 3; f++) {
        char name[32];
        for (int i = 0; i < count[f]; i++)
            snprintf(text[f] + strlen(text[f]), 128, "{\"prompt_ids\":[1],\"chosen_ids\":[%d],"
                     "\"rejected_ids\":[%d]}\n", 2 + f, 5 + i);
        snprintf(name, sizeof name, "set-%d.x.jsonl", f);
        paths[f] = (char *)write_plain(name, text[f]);
    }
    return (struct strings){ paths, 3 };
}

static void test_files_are_data_sets(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    const char *const *names;
    char *paths[3];
    struct strings files = several(paths);
    struct records *r;
    struct held h;
    struct batch *b;

    (void)state;
    assert_ok(records_open(&r, &files, &s));
    assert_int_equal(records_objectives(r, &names), 3);
    assert_string_equal(names[1], "set-1.x");
    b = next(&h, r, true, 0, 10, 0, 10);
    for (int seen = 0, g = 0; g < 10; g++) {        /* an epoch has each record once */
        int bit = b->tokens[b->start[2 * g] + 1] * 8 + b->tokens[b->start[2 * g + 1] + 1] - 21;
        assert_int_equal(b->objective[2 * g], b->tokens[b->start[2 * g] + 1] - 2);
        assert_false(seen >> bit & 1);
        seen |= 1 << bit;
    }
    memory_close(&h.memory);
    records_close(r);

    s.in_turn = true;
    assert_ok(records_open(&r, &files, &s));
    b = next(&h, r, true, 300, 9, 0, 9);
    for (int g = 0; g < 9; g++)
        assert_int_equal(b->objective[2 * g], g % 3);
    memory_close(&h.memory);
    records_close(r);
}

/* A row is a function of the draw: shares of any size give the same rows. */
static void test_shares_are_parts_of_the_whole(void **state)
{
    static const enum view views[] = { VIEW_PAIRS, VIEW_KTO };
    char *paths[3];
    struct strings files = several(paths);

    (void)state;
    for (int v = 0; v < 2; v++) {
        struct records_settings s = settings(views[v]);
        struct records *r;
        struct held whole, part;
        struct batch *all, *b;
        assert_ok(records_open(&r, &files, &s));
        all = next(&whole, r, true, 13, 12, 0, 12);
        for (int first = 0, n = 1; first + n <= 12; first += n, n++) {
            b = next(&part, r, true, 13, 12, first, n);
            for (int i = 0; i < b->N; i++) {
                int j = first * 2 + i, length = all->start[j + 1] - all->start[j];
                assert_int_equal(b->start[i + 1] - b->start[i], length);
                assert_list(b->tokens + b->start[i], all->tokens + all->start[j], length);
                assert_true(b->prompt[i] == all->prompt[j] && b->reward[i] == all->reward[j]);
            }
            memory_close(&part.memory);
        }
        memory_close(&whole.memory);
        records_close(r);
    }
}

static void test_a_small_batch_is_a_bug(void **state)
{
    struct records_settings s = settings(VIEW_PAIRS);
    struct records *r = open_text(pairs, &s);
    struct held h;
    struct batch *b = next(&h, r, false, 0, 3, 0, 3);

    (void)state;
    status_hold(true);
    b->max_tokens = 8;
    assert_int_equal(records_next(r, false, 1, 0, b), RL_EBUG);
    b->k = 3;
    assert_int_equal(records_next(r, false, 1, 0, b), RL_EBUG);
    status_drop();
    status_hold(false);
    memory_close(&h.memory);
    records_close(r);
}

/* ---- the shared data */

static void test_the_shared_preferences_are_read(void **state)
{
    static const struct { const char *name; int count; } files[] = {
        { "dpo-en-demo", 300 }, { "hh-harmless.eval", 247 }, { "hh-harmless.train", 2052 },
        { "hh-helpful.eval", 243 }, { "hh-helpful.train", 2090 }, { "polite.eval", 85 },
        { "polite.train", 1009 }, { "tldr-quality-concise.eval", 42 },
        { "tldr-quality-concise.train", 458 }, { "truthfulqa.eval", 149 },
        { "truthfulqa.train", 1442 },
    };
    struct records_settings s = { .view = VIEW_PAIRS, .vocabulary = 1 << 20, .eos = eos, .n_eos = 1,
                                  .max_tokens = 1 << 20, .append_eos = true, .join = " ",
                                  .drop_bad = true };
    struct tokenizer *stories;

    (void)state;
    assert_ok(tokenizer_open(&stories, support_shared_path("data/models/tinystories-656k/"
                                                           "tokenizer.json")));
    s.tokenizer = stories;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *const *names;
        char name[128], *path;
        struct records *r;
        snprintf(name, sizeof name, "data/preference/%s.jsonl.gz", files[i].name);
        path = (char *)support_shared_path(name);
        assert_ok(records_open(&r, &(struct strings) { &path, 1 }, &s));
        assert_int_equal(records_count(r) + records_dropped(r), files[i].count);
        assert_true(records_dropped(r) <= 3);
        if (strncmp(files[i].name, "tldr", 4) == 0) {
            assert_int_equal(records_columns(r), 2);
            records_objectives(r, &names);
            assert_string_equal(names[0], "quality");
            assert_string_equal(names[1], "verbosity");
        }
        records_close(r);
    }
    tokenizer_close(stories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_are_rows_of_chosen_and_rejected),
        cmocka_unit_test(test_prompts_can_be_learned_too),
        cmocka_unit_test(test_a_token_across_the_border_belongs_to_nobody),
        cmocka_unit_test(test_signs_are_columns),
        cmocka_unit_test(test_the_rejected_answer_may_have_its_own_prompt),
        cmocka_unit_test(test_ranked_pairs_keep_their_signs),
        cmocka_unit_test(test_short_lists_are_filled_with_weight_0),
        cmocka_unit_test(test_singles_and_pairs_are_labelled_rows),
        cmocka_unit_test(test_kto_rows_have_mismatched_twins),
        cmocka_unit_test(test_sft_takes_what_should_be_said),
        cmocka_unit_test(test_scored_pairs_are_augmented),
        cmocka_unit_test(test_a_pair_is_judged_in_drawn_order),
        cmocka_unit_test(test_files_are_data_sets),
        cmocka_unit_test(test_shares_are_parts_of_the_whole),
        cmocka_unit_test(test_a_small_batch_is_a_bug),
        cmocka_unit_test(test_the_shared_preferences_are_read),
    };

    return cmocka_run_group_tests(tests, open_words, close_words);
}
