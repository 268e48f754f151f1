/* Prompts: what is read from a file, and which line of which file is refused and why. */
#include "tests/letter_prompts.h"

#include <stdlib.h>

#include "base/memory.h"

static const char good[] = "\xef\xbb\xbf{\"prompt\":\"ab\",\"hero\":\"cat\"}\r\n"
                           "\n"
                           "  \t\r\n"
                           "{\"prompt_ids\":[5,4,3,2,1,0,90]}\n"
                           "{\"prompt\":\"shown\",\"prompt_ids\":[2]}\n"
                           "{\"prompt\":\"dé\"}";          /* no line end: fine */

static void check_good(struct prompts *p)
{
    assert_int_equal(prompts_count(p), 4);
    assert_int_equal(prompts_skipped(p), 0);
    assert_int_equal(prompts_longest(p), 7);
    assert_ids(p, 0, (int[]) { 1, 2, 3 }, 3);
    assert_ids(p, 1, (int[]) { 5, 4, 3, 2, 1, 0, 90 }, 7);
    assert_ids(p, 2, (int[]) { 2 }, 1);
    assert_ids(p, 3, (int[]) { 1, 5, 8 }, 3);
    assert_string_equal(prompts_text(p, 0), "ab");
    assert_null(prompts_text(p, 1));
    assert_string_equal(prompts_text(p, 2), "shown");
    assert_string_equal(json_string(json_get(prompts_fields(p, 0), "hero"), ""), "cat");
    assert_int_equal(prompts_line(p, 0), 1);
    assert_int_equal(prompts_line(p, 1), 4);
    assert_int_equal(prompts_line(p, 3), 6);
}

static void test_prompts_are_read_plain_and_gzipped(void **state)
{
    const char *paths[] = { write_plain("p.jsonl", good),
                            write_gzip("p.jsonl.gz", good, strlen(good)) };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct prompts *p;
        assert_ok(prompts_open(&p, paths[i], t, NULL, 91, 7, false));
        check_good(p);
        prompts_close(p);
    }
    prompts_close(NULL);
}

static void test_a_text_is_a_prompt(void **state)
{
    static const struct { const char *text; size_t bytes; const char *said; } bad[] = {
        { "", 0, "here:1: the line has an empty prompt" },
        { "abcd", 4, "here:1: the prompt has 5 tokens and at most 4 fit" },
        { "a\xff", 2, "here: the prompt is not UTF-8" },
    };
    struct prompts *p;

    (void)state;
    assert_ok(prompts_of_text(&p, "here", "a\"\n\xc3\xa9", 5, t, 91, 5));
    assert_int_equal(prompts_count(p), 1);
    assert_ids(p, 0, (int[]) { 1, 2, 6, 8 }, 4);
    assert_string_equal(prompts_text(p, 0), "a\"\n\xc3\xa9");
    prompts_close(p);
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(prompts_of_text(&p, "here", bad[i].text, bad[i].bytes, t, 91, 4),
                         RL_EINVAL);
        assert_null(p);
        assert_memory_equal(status_message(), bad[i].said, strlen(bad[i].said));
        status_drop();
    }
    status_hold(false);
}

static void test_a_line_of_a_megabyte(void **state)
{
    size_t n = 1 << 20;
    char *line = malloc(n + 64);
    struct prompts *p;

    (void)state;
    assert_non_null(line);
    strcpy(line, "{\"prompt\":\"");
    memset(line + 11, 'a', n);
    strcpy(line + 11 + n, "\"}\n");
    assert_ok(prompts_open(&p, write_gzip("long.gz", line, strlen(line)), t, NULL, 91, 1 << 21,
                           false));
    assert_int_equal(prompts_longest(p), n + 1);
    prompts_close(p);
    free(line);
}

/* The line of what is wrong with a file; "" while it opens. */
static const char *refusal(const char *path, struct tokenizer *with, int max_tokens, bool skip_long)
{
    static char line[1024];
    struct prompts *p = (struct prompts *)line;
    int rc;

    status_hold(true);
    rc = prompts_open(&p, path, with, NULL, 91, max_tokens, skip_long);
    snprintf(line, sizeof line, "%s", rc == RL_OK ? "" : status_message());
    status_hold(false);
    if (rc == RL_OK)
        prompts_close(p);
    else
        assert_true(p == NULL && (rc == RL_EINVAL || rc == RL_EIO));
    assert_null(strchr(line, '\n'));
    return line;
}

static void test_bad_lines_are_named_with_file_and_line(void **state)
{
    static const char *const cases[][2] = {      /* second line of the file, named */
        { "{\"prompt\": }\n", "bad.jsonl:2: bad JSON" },
        { "{\"prompt\":\"a\"} x\n", "bad.jsonl:2: bad JSON" },
        { "{\"id\":3}\n", "bad.jsonl:2: the line has no `prompt`" },
        { "{\"prompt\":null}\n", "bad.jsonl:2: the line has no `prompt`" },
        { "[\"a\"]\n", "bad.jsonl:2: the line is not a JSON object" },
        { "{\"messages\":7}\n", "bad.jsonl:2: the line has `messages` that are not a list" },
        { "{\"messages\":[]}\n", "bad.jsonl:2: the line has messages, and no chat template" },
        { "{\"prompt\":7}\n", "bad.jsonl:2: the line has a `prompt` that is not a string" },
        { "{\"prompt\":\"\"}\n", "bad.jsonl:2: the line has an empty prompt" },
        { "{\"prompt_ids\":[]}\n", "bad.jsonl:2: the line has an empty prompt" },
        { "{\"prompt_ids\":{\"a\":1}}\n", "bad.jsonl:2: the line has `prompt_ids` that are not" },
        { "{\"prompt_ids\":[1,91]}\n", "bad.jsonl:2: prompt_ids[1] is not an id from 0 to 90" },
        { "{\"prompt_ids\":[-1]}\n", "bad.jsonl:2: prompt_ids[0]" },
        { "{\"prompt_ids\":[1.5]}\n", "bad.jsonl:2: prompt_ids[0]" },
        { "{\"prompt_ids\":[\"1\"]}\n", "bad.jsonl:2: prompt_ids[0]" },
        { "{\"prompt_ids\":[1e99]}\n", "bad.jsonl:2: prompt_ids[0]" },
        { "{\"prompt\":\"a\xff\"}\n", "bad.jsonl:2: not UTF-8 (byte 13 of the line is 0xff)" },
        { "{\"prompt\":\"a\\ud800\"}\n", "bad.jsonl:2: bad JSON" },
        { "{\"prompt\":\"aaaaaaaaaaaaaaaaaaaa\"}\n", "bad.jsonl:2: the prompt has 21 tokens and at "
          "most 20 fit; shorten it (or, in a run, set long_prompts = \"skip\")" },
        { "{\"prompt\":\"aaaa", "bad.jsonl:2: the last line is cut" },
        { "{\"prompt\":\"a\",\"x\":[1,2", "bad.jsonl:2: the last line is cut" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"prompt\":\"a\"}\n%s", cases[i][0]);
        assert_names(refusal(write_plain("bad.jsonl", text), t, 20, false), cases[i][1]);
    }
}

static void test_bad_files_are_named(void **state)
{
    const char *text = write_plain("text.jsonl", "{\"prompt\":\"a\"}\n");
    static const char lone[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    struct tokenizer *only_a;

    (void)state;
    assert_names(refusal("no/such.jsonl", t, 9, false), "no/such.jsonl: No such file");
    assert_names(refusal(support_folder(), t, 9, false), "is a folder");
    assert_names(refusal("/dev/zero", t, 9, false), "/dev/zero:1: a line of more than 256 MiB");
    assert_names(refusal(write_plain("empty.jsonl", ""), t, 9, false), "empty.jsonl: no prompts");
    assert_names(refusal(write_plain("blank.jsonl", "\n \n"), t, 9, false), "no prompts");
    assert_names(refusal(text, NULL, 9, false), "text.jsonl:1: the prompt is text and the model "
                 "has no tokenizer; give prompt_ids");
    assert_string_equal(refusal(write_plain("ids.jsonl", "{\"prompt_ids\":[3]}"), NULL, 9, false),
                        "");
    assert_names(refusal(text, t, 1, true), "every prompt is longer than 1 tokens (1 of them)");

    assert_ok(tokenizer_parse(&only_a, lone, strlen(lone), "only a"));
    assert_names(refusal(write_plain("b.jsonl", "{\"prompt\":\"b\"}\n"), only_a, 9, false),
                 "b.jsonl:1: the tokenizer knows no part of the prompt");
    tokenizer_close(only_a);
}

static void test_a_tokenizer_larger_than_the_model_is_named(void **state)
{
    const char *path = write_plain("z.jsonl", "{\"prompt\":\"z\"}\n");
    struct prompts *p;

    (void)state;
    status_hold(true);
    assert_int_equal(prompts_open(&p, path, t, NULL, 50, 9, false), RL_EINVAL);
    assert_names(status_message(), "z.jsonl:1: the tokenizer gives id 90 and the model's "
                 "vocabulary ends at 49");
    status_hold(false);
}

static void test_long_prompts_are_skipped_and_counted(void **state)
{
    struct prompts *p;

    (void)state;
    assert_ok(prompts_open(&p, write_plain("s.jsonl", "{\"prompt\":\"aaaa\"}\n{\"prompt\":\"bc\"}\n"
                                           "{\"prompt\":\"aaa\"}\n{\"prompt\":\"d\"}\n"), t, NULL,
                           91, 3, true));
    assert_int_equal(prompts_count(p), 2);
    assert_int_equal(prompts_skipped(p), 2);
    assert_int_equal(prompts_longest(p), 3);
    assert_int_equal(prompts_line(p, 1), 4);
    assert_ids(p, 1, (int[]) { 1, 5 }, 2);
    prompts_close(p);
}

/* Every cut of a gzip file is an error: none is mistaken for a short file. */
static void test_cut_and_damaged_gzip_is_refused(void **state)
{
    char text[4096] = "", bytes[4096];
    size_t size = 0;

    (void)state;
    for (int i = 0; i < 60; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "{\"prompt\":\"ab\",\"n\":%d}\n",
                                 i * i * 7919);
    FILE *file = fopen(write_gzip("whole.gz", text, size), "rb");
    assert_non_null(file);
    size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    const char *path = support_path(support_folder(), "cut.jsonl.gz");
    for (size_t n = 3; n < size; n += 7) {
        file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, n, file), n);
        assert_int_equal(fclose(file), 0);
        assert_names(refusal(path, t, 99, false), "cut.jsonl.gz:");
    }
    assert_names(refusal(path, t, 99, false), "the gzip stream is cut");
    bytes[size / 2] ^= 0x55;
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_names(refusal(path, t, 99, false), "cut.jsonl.gz:");
}

/* Streams behind each other are one text; anything else behind a stream is not passed over. */
static void test_what_follows_a_gzip_stream(void **state)
{
    const char *line = "{\"prompt\":\"ab\"}\n";
    const char *path = write_gzip("two.jsonl.gz", line, strlen(line));
    gzFile more = gzopen(path, "ab");
    struct prompts *p;
    FILE *file;

    (void)state;
    assert_non_null(more);
    assert_int_equal(gzwrite(more, line, (unsigned)strlen(line)), (int)strlen(line));
    assert_int_equal(gzclose(more), Z_OK);
    assert_ok(prompts_open(&p, path, t, NULL, 91, 99, false));
    assert_int_equal(prompts_count(p), 2);
    prompts_close(p);
    file = fopen(path, "ab");
    assert_non_null(file);
    assert_true(fputs("garbage", file) >= 0 && fclose(file) == 0);
    assert_names(refusal(path, t, 99, false), "two.jsonl.gz:3: bytes that are none of gzip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_are_read_plain_and_gzipped),
        cmocka_unit_test(test_a_text_is_a_prompt),
        cmocka_unit_test(test_a_line_of_a_megabyte),
        cmocka_unit_test(test_bad_lines_are_named_with_file_and_line),
        cmocka_unit_test(test_bad_files_are_named),
        cmocka_unit_test(test_a_tokenizer_larger_than_the_model_is_named),
        cmocka_unit_test(test_long_prompts_are_skipped_and_counted),
        cmocka_unit_test(test_cut_and_damaged_gzip_is_refused),
        cmocka_unit_test(test_what_follows_a_gzip_stream),
    };

    return cmocka_run_group_tests(tests, open_letters, close_letters);
}
