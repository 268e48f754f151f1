/* Rewards that check a response against its prompt's line: answers, instructions, relevance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/lines.h"
#include "data/utf8.h"
#include "reward/kinds/instruction.h"
#include "reward/kinds/numbers.h"
#include "reward/reward.h"
#include "tests/support.h"

/* The score of a text to a prompt whose line is `fields`. */
static double score_json(const struct config_reward *c, const struct json *fields, const char *text)
{
    const struct reward_kind *kind = reward_kind_find(c->kind);
    struct response r = { .text = text, .bytes = strlen(text), .count = 120, .fields = fields,
                          .prompt = json_string(json_get(fields, "prompt"), NULL),
                          .file = "p.jsonl", .line = 7 };
    double score = -1;
    void *state;

    assert_ok(kind->open(&state, c, "here"));
    assert_ok(kind->score(state, &r, &score));
    kind->close(state);
    return score;
}

static double score(const struct config_reward *c, const char *fields, const char *text)
{
    struct json *line = json_parse(fields, strlen(fields), "fields");
    double score;

    assert_non_null(line);
    score = score_json(c, line, text);
    json_free(line);
    return score;
}

static void assert_refused(const struct config_reward *c, const char *fields, const char *part)
{
    const struct reward_kind *kind = reward_kind_find(c->kind);
    struct json *line = json_parse(fields, strlen(fields), "fields");
    struct response r = { .text = "x", .bytes = 1, .fields = line, .file = "p.jsonl", .line = 7 };
    double score;
    void *state;

    assert_ok(kind->open(&state, c, "here"));
    status_hold(true);
    assert_int_equal(kind->score(state, &r, &score), RL_EINVAL);
    if (!strstr(status_message(), part) || strncmp(status_message(), "p.jsonl:7: ", 11) != 0)
        fail_msg("\"%s\" does not say \"%s\"", status_message(), part);
    status_drop();
    status_hold(false);
    kind->close(state);
    json_free(line);
}

/* ---- math_answer */

static void test_numbers_are_read_as_people_write_them(void **state)
{
    static const struct { const char *text; double value; } numbers[] = {
        { "18", 18 }, { "-3.5", -3.5 }, { "x = -2", -2 }, { "10-5", 5 }, { "(4)-5", 5 },
        { "+7", 7 }, { "1,234,567.89", 1234567.89 }, { "12,34", 34 }, { "1,2345", 2345 },
        { "$18", 18 }, { "-$5.20", -5.2 }, { "$-5", -5 }, { "\xe2\x82\xac" "5", 5 },
        { "\\$1,000", 1000 }, { "$ 12", 12 }, { "\xe2\x88\x92" "4", -4 }, { "3/4", 0.75 },
        { "2 1/2", 2.5 }, { "\\frac{3}{4}", 0.75 }, { "-\\dfrac{1}{8}", -0.125 }, { ".5", 0.5 },
        { "5.", 5 }, { "3.14.", 3.14 }, { "007", 7 }, { "40%", 40 }, { "40 \\%", 40 },
        { "5 apples", 5 }, { "18dollars", 18 },
    };
    struct found found;

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const char *text = numbers[i].text;
        if (!number_last(text, strlen(text), &found) || found.value != numbers[i].value)
            fail_msg("%s: %.17g", text, found.value);
    }
    assert_true(number_last("40 %", 4, &found) && found.percent && found.end == 4);
    assert_true(number_last("40 ", 3, &found) && !found.percent && found.end == 2);
    assert_true(number_last("1/0", 3, &found) && !isfinite(found.value));
    assert_false(number_last("H2, x_1 and none", 16, &found));
    assert_false(number_last("", 0, &found));
}

static void test_math_answer_finds_the_answer(void **state)
{
    struct config_reward c = { .kind = "math_answer" };
    const char *line = "{\"answer\": \"70000\"}", *half = "{\"right\": \"1/2\"}";

    (void)state;
    assert_true(score(&c, line, "80,000+50,000\n#### 70000") == 1);
    assert_true(score(&c, line, "#### 1\nno:\n#### $70,000.00 in all, not 5") == 1);
    assert_true(score(&c, line, "so it is 70000\n#### 5") == 0);
    assert_true(score(&c, line, "70000 ####") == 0);
    assert_true(score(&c, line, "hence \\boxed{\\text{x} = {70,000}}. Check: 3") == 1);
    assert_true(score(&c, line, "The profit is 70 thousand, that is 70,000 dollars.") == 1);
    assert_true(score(&c, line, "70000 or 70001") == 0);
    assert_true(score(&c, line, "none") == 0);
    c.field = "right";
    assert_true(score(&c, half, "#### 0.5") == 1);
    assert_true(score(&c, half, "#### 50%") == 1);
    assert_true(score(&c, half, "\\boxed{\\frac{1}{2}}") == 1);
    assert_true(score(&c, half, "\\boxed{1/2") == 1);
    assert_true(score(&c, "{\"right\": 0.3333333}", "1/3") == 1);
    assert_true(score(&c, "{\"right\": \"40%\"}", "0.4") == 1);
    assert_refused(&c, "{\"answer\": 3}", "\"right\"");
    assert_refused(&c, "{\"right\": \"none\"}", "\"right\"");
}

static void test_math_answer_accepts_all_reference_solutions(void **state)
{
    const char *path = support_shared_path("data/prompts/gsm8k.test.jsonl.gz");
    struct config_reward c = { .kind = "math_answer" };
    struct lines in;
    bool more;
    int rows = 0;

    (void)state;
    assert_ok(lines_open(&in, path));
    for (assert_ok(lines_next(&in, &more)); more; assert_ok(lines_next(&in, &more)), rows++) {
        struct json *line = json_parse(in.line, in.size, path);
        const char *solution = json_string(json_get(line, "solution"), "");
        char *cut = strdup(solution);
        if (score_json(&c, line, solution) != 1)
            fail_msg("line %d: %s", (int)in.number, solution);
        *strstr(cut, "####") = 0;               /* and by its last number, mostly */
        assert_true(isfinite(score_json(&c, line, cut)));
        free(cut);
        json_free(line);
    }
    assert_int_equal(rows, 1319);
    lines_close(&in);
}

/* ---- instruction */

#define I(id, kwargs) "{\"instruction_id_list\":[\"" id "\"],\"kwargs\":[" kwargs "]}"

static const char capitals[] = I("change_case:capital_word_frequency",
    "{\"capital_relation\":\"at least\",\"capital_frequency\":2}");
static const char upper[] = I("change_case:english_capital", "{}");
static const char lower[] = I("change_case:english_lowercase", "{}");
static const char repeat[] = I("combination:repeat_prompt",
    "{\"prompt_to_repeat\":\"Say Hello.\"}");
static const char two[] = I("combination:two_responses", "{}");
static const char places[] = I("detectable_content:number_placeholders",
    "{\"num_placeholders\":2}");
static const char ps[] = I("detectable_content:postscript",
    "{\"postscript_marker\":\"P.S.\"}");
static const char pps[] = I("detectable_content:postscript",
    "{\"postscript_marker\":\"P.P.S\"}");
static const char answer[] = I("detectable_format:constrained_response", "{}");
static const char json[] = I("detectable_format:json_format", "{}");
static const char sections[] = I("detectable_format:multiple_sections",
    "{\"section_spliter\":\"Section\",\"num_sections\":2}");
static const char bullets[] = I("detectable_format:number_bullet_lists",
    "{\"num_bullets\":2}");
static const char marks[] = I("detectable_format:number_highlighted_sections",
    "{\"num_highlights\":2}");
static const char title[] = I("detectable_format:title", "{}");
static const char words[] = I("keywords:existence", "{\"keywords\":[\"cat\",\"Dog\"]}");
static const char never[] = I("keywords:forbidden_words",
    "{\"forbidden_words\":[\"cat\"]}");
static const char often[] = I("keywords:frequency",
    "{\"relation\":\"less than\",\"keyword\":\"cat\",\"frequency\":2}");
static const char letter[] = I("keywords:letter_frequency",
    "{\"let_relation\":\"at least\",\"letter\":\"E\",\"let_frequency\":3}");
static const char nth[] = I("length_constraints:nth_paragraph_first_word",
    "{\"first_word\":\"Once\",\"num_paragraphs\":2,\"nth_paragraph\":2}");
static const char paragraphs[] = I("length_constraints:number_paragraphs",
    "{\"num_paragraphs\":2}");
static const char sentences[] = I("length_constraints:number_sentences",
    "{\"relation\":\"at least\",\"num_sentences\":2}");
static const char count[] = I("length_constraints:number_words",
    "{\"relation\":\"less than\",\"num_words\":4}");
static const char comma[] = I("punctuation:no_comma", "{}");
static const char end[] = I("startend:end_checker",
    "{\"end_phrase\":\"That is all!\"}");
static const char quote[] = I("startend:quotation", "{}");

static void test_each_instruction_is_checked(void **state)
{
    static const struct { const char *line, *text; int followed; } cases[] = {
        { capitals, "THE big CAT", 1 }, { capitals, "THE Big Cat", 0 }, { capitals, "A B-C d", 1 },
        { upper, "ALL OF IT, 3 TIMES.", 1 }, { upper, "ALL of IT", 0 }, { upper, "123", 0 },
        { lower, "all of it", 1 }, { lower, "All of it", 0 },
        { lower, "\xd0\xb4\xd0\xbe\xd0\xbc", 0 },
        { repeat, "  say hello. Hello!", 1 }, { repeat, "Hello! Say hello.", 0 },
        { two, "one\n******\ntwo", 1 }, { two, "one******one ", 0 }, { two, "one ***** two", 0 },
        { two, "******one******two", 1 }, { two, "one************two", 0 },
        { places, "[name] and [address]", 1 }, { places, "[name] and [add\nress]", 0 },
        { places, "[[a] [b]", 1 },
        { ps, "Bye.\nP.S. more", 1 }, { ps, "p. s. more", 1 }, { ps, "PS more", 0 },
        { pps, "P.P.S more", 1 }, { pps, "P.S. more", 0 },
        { answer, "Well. My answer is maybe.", 1 }, { answer, "my answer is yes", 0 },
        { json, "```json\n{\"a\": [1, 2]}\n```", 1 }, { json, "{\"a\": 1, \"a\": 2}", 1 },
        { json, "Sure! {\"a\": 1}", 0 }, { json, "{a: 1}", 0 },
        { sections, "Section 1\nx\nSection 2\ny", 1 }, { sections, "Section 1\nSection x", 0 },
        { sections, "Section1 Section  2", 0 },
        { bullets, "* a\n  * b\nc", 1 }, { bullets, "- a\n* b", 1 }, { bullets, "* a\n** b", 0 },
        { bullets, "* a", 0 }, { bullets, "a - b\n* c", 0 }, { bullets, "*\n* swallowed\n- b", 1 },
        { marks, "*one* and *two*", 1 }, { marks, "**one** and **two**", 1 },
        { marks, "*one* **", 0 }, { marks, "*one\ntwo*", 0 }, { marks, "*a* *b", 0 },
        { title, "<<A title>>\ntext", 1 }, { title, "<< >>", 0 }, { title, "<<a\nb>>", 0 },
        { title, "x <<<t>>> y >> z", 1 },
        { words, "A DOG and a cat", 1 }, { words, "A dog", 0 }, { words, "dogs, concatenated", 1 },
        { never, "concatenated", 1 }, { never, "The Cat.", 0 }, { never, "cat_x cats", 1 },
        { often, "one cat", 1 }, { often, "Cat, cat", 0 },
        { letter, "Eeek", 1 }, { letter, "ee", 0 },
        { nth, "A\n\nonce, upon", 1 }, { nth, "A\n\n'\"Once\" x", 1 }, { nth, "A\n\nB\n\nonce", 0 },
        { nth, "Once\n\nA", 0 }, { nth, "once", 0 },
        { paragraphs, "a\n***\nb", 1 }, { paragraphs, "***a***b***", 1 },
        { paragraphs, "a\n***\n***b", 0 }, { paragraphs, "a\n\nb", 0 },
        { sentences, "One. Two!", 1 }, { sentences, "Mr. Fox has 3.5 apples.", 0 },
        { sentences, "He said \"No.\" Then he left", 1 }, { sentences, "What?!", 0 },
        { count, "one two three", 1 }, { count, "one, two; three-four", 0 },
        { comma, "no; commas", 1 }, { comma, "one, comma", 0 },
        { end, "So. That is ALL!\"\n", 1 }, { end, "That is all! Bye", 0 },
        { quote, " \"quoted\" ", 1 }, { quote, "\"quoted", 0 }, { quote, "\"", 0 },
    };
    struct config_reward c = { .kind = "instruction" };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (score(&c, cases[i].line, cases[i].text) != cases[i].followed)
            fail_msg("%s: \"%s\" should be %d", cases[i].line, cases[i].text, cases[i].followed);
}

static void test_language_is_judged_by_script_alone(void **state)
{
    static const char hi[] = I("language:response_language", "{\"language\":\"hi\"}");
    static const char th[] = I("language:response_language", "{\"language\":\"th\"}");
    static const char de[] = I("language:response_language", "{\"language\":\"de\"}");
    static const char ja[] = I("language:response_language", "{\"language\":\"ja\"}");
    static const char zh[] = I("language:response_language", "{\"language\":\"zh-cn\"}");
    const char *thai = "\xe0\xb8\xaa\xe0\xb8\xa7\xe0\xb8\xb1\xe0\xb8\xaa ok";
    const char *hindi = "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8";
    const char *han = "\xe4\xbd\xa0\xe5\xa5\xbd", *kana = "\xe4\xbd\xa0\xe3\x81\xae";
    struct config_reward c = { .kind = "instruction" };

    (void)state;
    assert_true(score(&c, th, thai) == 1);
    assert_true(score(&c, th, "Hello") == 0);
    assert_true(score(&c, th, "") == 0);
    assert_true(score(&c, hi, "Hello") == 0);
    assert_true(isnan(score(&c, hi, hindi)));           /* or Marathi, or Nepali */
    assert_true(isnan(score(&c, de, "Hello")));
    assert_true(score(&c, de, hindi) == 0);
    assert_true(score(&c, zh, han) == 1 && score(&c, zh, kana) == 0);
    assert_true(score(&c, ja, kana) == 1 && score(&c, ja, han) == 0);
    assert_refused(&c, I("language:response_language", "{\"language\":\"xx\"}"), "\"language\"");
}

static void test_instructions_are_shared_or_counted_all_or_nothing(void **state)
{
    struct config_reward c = { .kind = "instruction" };
    const char *three = "{\"instruction_id_list\":[\"punctuation:no_comma\",\"startend:quotation\","
                        "\"language:response_language\"],"
                        "\"kwargs\":[{},{},{\"language\":\"de\"}]}";

    (void)state;
    assert_true(score(&c, three, "no comma") == 0.5);   /* the language cannot be told */
    assert_true(score(&c, three, "\"no comma\"") == 1);
    c.count = "all";
    assert_true(score(&c, three, "no comma") == 0);
    assert_true(score(&c, three, "\"no comma\"") == 1);
    assert_refused(&c, "{\"prompt\":\"x\"}", "instruction_id_list");
    assert_refused(&c, I("punctuation:no_commas", "{}"),
                   "\"punctuation:no_commas\", and there is none");
    assert_refused(&c, I("keywords:frequency", "{\"keyword\":\"x\",\"frequency\":2}"),
                   "\"relation\"");
    assert_refused(&c, I("keywords:existence", "{\"keywords\":[]}"), "\"keywords\"");
    assert_refused(&c, I("length_constraints:number_paragraphs", "{\"num_paragraphs\":null}"),
                   "\"num_paragraphs\"");
}

/* Every id and every argument of the data set is understood. */
static void test_all_of_ifeval_can_be_checked(void **state)
{
    const char *path = support_shared_path("data/prompts/ifeval.jsonl.gz");
    struct config_reward c = { .kind = "instruction" };
    struct lines in;
    bool more;
    int rows = 0;
    double sum = 0;

    (void)state;
    assert_ok(lines_open(&in, path));
    for (assert_ok(lines_next(&in, &more)); more; assert_ok(lines_next(&in, &more)), rows++) {
        struct json *line = json_parse(in.line, in.size, path);
        double x = score_json(&c, line, "A short answer. It is not more than this.");
        assert_true(isnan(x) || (x >= 0 && x <= 1));
        sum += isnan(x) ? 0 : x;
        json_free(line);
    }
    assert_true(rows > 500 && sum > 0 && sum < rows);
    lines_close(&in);
}

/* ---- r3 */

static void test_r3_is_relevance_length_and_variety(void **state)
{
    struct config_reward c = { .kind = "r3", .max_len = 350 };
    const char *open = "{\"prompt\":\"Tell me of cats\"}";
    const char *to = "{\"prompt\":\"x\",\"answer\":\"two cats sat\"}";

    (void)state;
    /* 120 tokens; the words of the prompt it has: cats, me -> 2 of 4; 4 trigrams, all different */
    assert_true(fabs(score(&c, open, "Cats like me. Cats eat mice!") - 1.2 * 0.5) < 1e-12);
    /* a a a a: two trigrams, one kind */
    assert_true(fabs(score(&c, open, "Of of OF of") - 1.2 * 0.25 * 0.5) < 1e-12);
    assert_true(score(&c, open, "") == 0);
    assert_true(score(&c, open, "\xff cats") == 1.2 * 0.25);
    /* shares 2/3 of the answer and 2/2 of the response: F1 0.8, max_len 3.5 hundreds */
    assert_true(fabs(score(&c, to, "two cats") - 0.8) < 1e-12);
    assert_true(score(&c, to, "dogs") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_read_as_people_write_them),
        cmocka_unit_test(test_math_answer_finds_the_answer),
        cmocka_unit_test(test_math_answer_accepts_all_reference_solutions),
        cmocka_unit_test(test_each_instruction_is_checked),
        cmocka_unit_test(test_language_is_judged_by_script_alone),
        cmocka_unit_test(test_instructions_are_shared_or_counted_all_or_nothing),
        cmocka_unit_test(test_all_of_ifeval_can_be_checked),
        cmocka_unit_test(test_r3_is_relevance_length_and_variety),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
