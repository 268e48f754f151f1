/* base: JSON, and the lines of metrics that are made of it. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/random.h"

/* ---- JSON ---- */

static struct json *parse(const char *text)
{
    return json_parse(text, strlen(text), "x.json");
}

static void test_json_values_are_found(void **state)
{
    struct json *v = parse("{\"b\": [1, 2.5, true, null, \"x\\u0000y\"], \"a\": {\"id\": "
                           "9007199254740993, \"whole\": 3.0}}");
    const struct json *list = json_get(v, "b"), *value;
    const char *key, *order[] = { "b", "a" };
    void *it = NULL;

    (void)state;
    assert_true(json_is_object(v) && json_is_array(list) && json_size(list) == 5);
    assert_int_equal(json_int(json_at(list, 0), -1), 1);
    assert_true(json_number(json_at(list, 1), 0) == 2.5 && json_number(json_at(list, 0), 0) == 1);
    assert_int_equal(json_int(json_at(list, 1), -1), -1);           /* not whole */
    assert_true(json_bool(json_at(list, 2), false) && json_bool(json_at(list, 0), true));
    assert_true(json_is_null(json_at(list, 3)) && json_is_null(json_at(list, 99)));
    assert_int_equal(json_string_size(json_at(list, 4)), 3);
    assert_memory_equal(json_string(json_at(list, 4), ""), "x\0y", 4);
    assert_true(json_int(json_get(json_get(v, "a"), "id"), 0) == 9007199254740993);
    assert_int_equal(json_int(json_get(json_get(v, "a"), "whole"), 0), 3);
    assert_true(json_is_number(json_at(list, 1)) && json_is_integer(json_at(list, 0)));
    assert_false(json_is_integer(json_at(list, 1)) || json_is_integer(json_at(list, 2)));
    assert_false(json_is_integer(json_get(json_get(v, "a"), "whole")));         /* 3.0 */
    for (int i = 0; json_next(v, &it, &key, &value); i++)
        assert_string_equal(key, order[i]);
    json_free(v);
}

static void test_json_lookups_of_nothing_give_the_default(void **state)
{
    struct json *v = parse("[]");
    const struct json *value;
    const char *key;
    void *it = NULL;

    (void)state;
    assert_null(json_get(v, "x"));
    assert_null(json_get(NULL, "x"));
    assert_null(json_at(NULL, 0));
    assert_int_equal(json_size(NULL), 0);
    assert_false(json_next(v, &it, &key, &value));
    assert_false(json_next(NULL, &it, &key, &value));
    assert_string_equal(json_string(v, "none"), "none");
    assert_int_equal(json_string_size(NULL), 0);
    assert_true(json_number(NULL, 7) == 7 && json_int(v, 8) == 8 && json_bool(NULL, true));
    json_free(v);
    json_free(NULL);
}

static void test_json_errors_are_one_line_with_file_and_line(void **state)
{
    static const struct { const char *where, *text, *message; } bad[] = {
        { "x.json", "{\"a\": 1,\n \"b\" 2}", "x.json:2: bad JSON: " },
        { "p.jsonl:17", "{\"a\": 1", "p.jsonl:17: bad JSON: " },
        { "x.json", "{\"a\": 1, \"a\": 2}", "duplicate object key" },
        { "x.json", "", "x.json:1: bad JSON: " },
        { "x.json", "[1] x", "end of file expected" },
        { "x.json", "[123456789012345678901]", "too big integer" },
        { "x.json", "[1e999]", "overflow" },
        { "x.json", "[\"\xff\"]", "unable to decode byte 0xff" },
        { "x.json", "[\"\\ud800\"]", "Unicode" },
        { "x.json", "{\"a\\u0000b\": 1}", "NUL" },
        { "x.json", "[nan]", "invalid token" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(json_parse(bad[i].text, strlen(bad[i].text), bad[i].where));
        assert_has(status_message(), bad[i].message);
        assert_null(strchr(status_message(), '\n'));
    }
    assert_null(json_parse("{", 1, "p.jsonl:17"));
    assert_null(strstr(status_message(), ":17:1"));          /* no second line number */
    assert_null(json_read("/no/such.json"));
    assert_has(status_message(), "/no/such.json");
}

static void test_json_deep_nesting_is_refused(void **state)
{
    static char deep[100000];

    (void)state;
    memset(deep, '[', sizeof deep);
    assert_null(json_parse(deep, sizeof deep, "deep.json"));
    assert_has(status_message(), "depth");
}

static void test_json_numbers_are_short_and_read_back(void **state)
{
    static const struct { double x; const char *text; } cases[] = {
        { 0, "0" }, { -0.0, "-0.0" }, { 0.1, "0.1" }, { 100, "100" }, { 1e300, "1e+300" },
        { 0.69314718055994529, "0.6931471805599453" }, { 5e-324, "5e-324" },
        { 2.5e-310, "2.5e-310" }, { 1.0 / 3, "0.3333333333333333" }, { NAN, "null" },
        { INFINITY, "null" }, { 5e-7, "5e-07" },
    };
    struct counter c = { .purpose = PURPOSE_TEST };
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_clear(&t);
        json_add_number(&t, cases[i].x);
        assert_string_equal(t.data, cases[i].text);
    }
    for (c.position = 0; c.position < 5000; c.position++) {
        uint32_t w[4];
        double x;
        random_words(&c, w);
        memcpy(&x, w, sizeof x);
        text_clear(&t);
        json_add_number(&t, x);
        assert_true(!isfinite(x) || strtod(t.data, NULL) == x);
    }
    text_free(&t);
}

static void test_json_strings_are_escaped_and_made_valid(void **state)
{
    static const struct { const char *in; size_t n; const char *out; } cases[] = {
        { "a\"\\\n\t\r\b\f/", 9, "\"a\\\"\\\\\\n\\t\\r\\b\\f/\"" },
        { "\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\"" },
        { "bnfrt", 5, "\"bnfrt\"" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "\xff", 1, "\"\xef\xbf\xbd\"" },
        { "\xc3", 1, "\"\xef\xbf\xbd\"" },                          /* cut off */
        { "\xe2\x82(", 3, "\"\xef\xbf\xbd(\"" },                    /* one for a cut character */
        { "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },          /* a long form */
        { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },      /* a surrogate */
        { "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    };
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *v;
        text_clear(&t);
        json_add_string(&t, cases[i].in, cases[i].n);
        assert_string_equal(t.data, cases[i].out);
        v = json_parse(t.data, t.size, "made");
        assert_non_null(v);
        json_free(v);
    }
    text_free(&t);
}

static void test_json_written_value_reads_back(void **state)
{
    const char *line = "{\"z\": [1, 3.0, -0.0, 9007199254740993, true, false, null, []], "
                       "\"a\": {\"s\": \"\\u0000\\\"\"}, \"e\": {}}";
    struct json *v = parse(line);
    struct text t = {0};

    (void)state;
    assert_non_null(v);
    json_add(&t, v);
    assert_string_equal(t.data, line);
    json_add(&t, NULL);
    json_free(v);
    text_free(&t);
}

/* Change, insert or remove a few bytes, by a counter. */
static size_t mutate(char *out, size_t room, const char *in, uint32_t round)
{
    static const char tokens[] = "{}[]\",:\\u0019.-+eEnulltruefals\x80\xff\0 \n";
    struct counter c = { .purpose = PURPOSE_TEST, .step = round };
    size_t n = strlen(in);
    uint32_t w[4];

    memcpy(out, in, n);
    for (c.position = 0; c.position < 1 + round % 4; c.position++) {
        size_t at;
        random_words(&c, w);
        at = n ? w[0] % n : 0;
        if (w[1] % 4 == 0) {                        /* cut the tail */
            n = at;
        } else if (w[1] % 4 == 1 && n + 1 < room) { /* insert */
            memmove(out + at + 1, out + at, n - at);
            out[at] = tokens[w[2] % (sizeof tokens - 1)];
            n++;
        } else if (n) {
            out[at] = w[1] % 4 == 2 ? tokens[w[2] % (sizeof tokens - 1)] : (char)w[3];
        }
    }
    return n;
}

static void test_json_survives_mutated_input(void **state)
{
    const char *seed = "{\"prompt\": \"Once\\u0020upon\", \"ids\": [1, 2, 30000], \"x\": -1.5e3, "
                       "\"nested\": {\"a\": [true, null, {}]}, \"u\": \"\xc3\xa9\\ud83d\\ude00\"}";
    char buffer[512];
    struct text t = {0};
    int good = 0;

    (void)state;
    for (uint32_t round = 0; round < 2000; round++) {
        size_t n = mutate(buffer, sizeof buffer, seed, round);
        char *exact = malloc(n ? n : 1);            /* so that a read past the end is seen */
        struct json *v, *again;
        assert_non_null(exact);
        memcpy(exact, buffer, n);
        v = json_parse(exact, n, "fuzz");
        free(exact);
        if (!v)
            continue;
        good++;
        text_clear(&t);
        json_add(&t, v);
        again = json_parse(t.data, t.size, "again");
        assert_non_null(again);
        json_free(again);
        json_free(v);
    }
    assert_true(good > 20 && good < 1900);          /* both sides were reached */
    text_free(&t);
}

/* ---- metrics ---- */

static void test_metrics_are_one_line_in_order(void **state)
{
    struct text t = {0};
    struct metrics *m;

    (void)state;
    assert_ok(metrics_create(&m));
    metrics_set(m, "loss", 0.5);
    metrics_setf(m, 2, "reward/%s/mean", "words");
    metrics_set_hash(m, "train/weights_hash", 0xabc);
    metrics_set(m, "time/step", 3);
    metrics_set(m, "loss", NAN);
    assert_true(metrics_has(m, "loss") && !metrics_has(m, "los"));
    assert_true(metrics_get(m, "time/step", 0) == 3 && metrics_get(m, "none", 9) == 9);
    assert_true(metrics_get(m, "train/weights_hash", 9) == 9);
    assert_ok(metrics_line(m, &t));
    assert_false(metrics_has(m, "loss"));
    for (int i = 0; i < 200; i++)
        metrics_setf(m, i, "m/%d", i);
    assert_ok(metrics_line(m, &t));
    assert_has(t.data, "{\"loss\": null, \"reward/words/mean\": 2, \"train/weights_hash\": "
                       "\"0000000000000abc\", \"time/step\": 3}\n{\"m/0\": 0, ");
    assert_has(t.data, "\"m/199\": 199}\n");
    metrics_destroy(m);
    metrics_destroy(NULL);
    text_free(&t);
}

static void test_metrics_failures_come_out_of_the_line(void **state)
{
    char name[300];
    struct text t = {0};
    struct metrics *m;

    (void)state;
    assert_ok(metrics_create(&m));
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    metrics_set(m, name, 1);
    metrics_setf(m, 1, "reward/%s/mean", name);
    assert_int_equal(metrics_line(m, &t), RL_EINVAL);
    assert_has(status_message(), "metric name");
    assert_ok(metrics_line(m, &t));
    metrics_destroy(m);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_values_are_found),
        cmocka_unit_test(test_json_lookups_of_nothing_give_the_default),
        cmocka_unit_test(test_json_errors_are_one_line_with_file_and_line),
        cmocka_unit_test(test_json_deep_nesting_is_refused),
        cmocka_unit_test(test_json_numbers_are_short_and_read_back),
        cmocka_unit_test(test_json_strings_are_escaped_and_made_valid),
        cmocka_unit_test(test_json_written_value_reads_back),
        cmocka_unit_test(test_json_survives_mutated_input),
        cmocka_unit_test(test_metrics_are_one_line_in_order),
        cmocka_unit_test(test_metrics_failures_come_out_of_the_line),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
