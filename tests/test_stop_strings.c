/* Stop strings: found in the bytes of tokens wherever the tokens are cut, and not where a tokenizer
 * shows none. */
#include "tests/support.h"

#include <stdlib.h>

#include "base/random.h"
#include "data/stop_strings.h"

/* As Llama's: spaces are lower blocks, bytes without a token are byte tokens. */
static const char file[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"</s>\",\"special\":true}],"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"</s>\":0,\"▁\":1,\"a\":2,\"b\":3,\"c\":4,\"ab\":5,"
    "\"▁ab\":6,\"bc\":7,\"<0xC3>\":8,\"<0xA9>\":9,\"é\":10},\"merges\":[]}}";
enum { END, SPACE, A, B, C_, AB, _AB, BC, C3, A9, E_ACUTE, IDS };

static struct tokenizer *tokenizer;

static int setup(void **state)
{
    (void)state;
    return tokenizer_parse(&tokenizer, file, sizeof file - 1, "file");
}

static int teardown(void **state)
{
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

/* The number of tokens read when the row ends; 0: it does not. */
static int read_all(struct stop_strings *s, const int *ids, int n)
{
    int matched[STOP_STRINGS] = { 0 };
    bool ended = false;

    for (int i = 0; i < n; i++) {
        assert_ok(stop_strings_read(s, matched, ids[i], &ended));
        if (ended)
            return i + 1;
    }
    return 0;
}

static void test_a_string_is_found_wherever_tokens_are_cut(void **state)
{
    static const struct {
        char *strings[2];
        int ids[6], n;
        int end, shown;
        size_t extra;
    } cases[] = {
        { { "bc" }, { A, B, C_, A }, 4, 3, 1, 0 },          /* it spans tokens */
        { { "bc" }, { BC }, 1, 1, 0, 0 },
        { { "a" }, { C_, AB, B }, 3, 2, 1, 0 },             /* it ends inside one */
        { { "b" }, { C_, AB, B }, 3, 2, 2, 1 },             /* it begins inside one */
        { { "ca" }, { BC, AB }, 2, 2, 1, 1 },               /* both */
        { { "aab" }, { A, A, AB }, 3, 3, 1, 0 },            /* a beginning that was none */
        { { "aab" }, { A, A, A, B }, 4, 4, 1, 0 },
        { { "abac" }, { AB, AB, A, C_ }, 4, 4, 1, 0 },
        { { " ab" }, { _AB }, 1, 1, 0, 0 },                 /* with the space of a first word */
        { { "b a" }, { AB, _AB }, 2, 2, 1, 1 },
        { { "é" }, { C3, A9 }, 2, 2, 0, 0 },                /* bytes of a character */
        { { "é" }, { C3, C3, A9 }, 3, 3, 1, 0 },            /* behind bytes that are none */
        { { "é" }, { E_ACUTE }, 1, 1, 0, 0 },
        { { "é" }, { C3, A, A9 }, 3, 0, 3, 0 },
        { { "ab" }, { A, END, B }, 3, 3, 0, 0 },            /* special tokens have no text */
        { { "c", "abc" }, { A, BC }, 2, 2, 0, 0 },          /* of two that end at once the longer */
        { { "b", "abc" }, { A, BC }, 2, 2, 1, 0 },          /* of two the one that ends first */
        { { "abc" }, { A, B, B, C_ }, 4, 0, 4, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stop_strings *s;
        int shown, end;
        size_t extra;
        assert_ok(stop_strings_open(&s, tokenizer, cases[i].strings, cases[i].strings[1] ? 2 : 1,
                                    "stop"));
        end = read_all(s, cases[i].ids, cases[i].n);
        assert_ok(stop_strings_before(s, cases[i].ids, end ? end : cases[i].n, &shown, &extra));
        if (end != cases[i].end || shown != cases[i].shown || extra != cases[i].extra)
            fail_msg("case %zu: ends at %d, shows %d tokens but for %zu bytes", i, end, shown,
                     extra);
        stop_strings_close(s);
    }
}

/* By the definition: the first token at which the text so far holds a string. */
static int search(struct tokenizer *t, char *const *strings, int count, const int *ids, int n,
                  struct text *before)
{
    text_clear(before);
    for (int i = 0; i < n; i++) {
        size_t old = before->size;
        assert_ok(tokenizer_piece(t, ids[i], before));
        for (size_t end = old + 1; end <= before->size; end++) {
            size_t longest = 0;
            for (int k = 0; k < count; k++) {
                size_t size = strlen(strings[k]);
                if (size <= end && size > longest &&
                    memcmp(before->data + end - size, strings[k], size) == 0)
                    longest = size;
            }
            if (longest > 0) {
                before->size = end - longest;
                return i + 1;
            }
        }
    }
    return 0;
}

static void test_random_responses_end_where_a_search_says(void **state)
{
    static char *strings[] = { "abcab", "aa", "b abb", "caé", "abab", "\xc3\xa9 a" };
    struct text want = { 0 }, got = { 0 };
    struct stop_strings *s;
    int ended = 0;

    (void)state;
    assert_ok(stop_strings_open(&s, tokenizer, strings, 6, "stop"));
    for (uint32_t round = 0; round < 2000; round++) {
        int ids[24], end, shown;
        size_t extra;
        for (uint32_t i = 0; i < 24; i++) {
            struct counter c = { .seed = 5, .step = round, .position = i };
            uint32_t words[4];
            random_words(&c, words);
            ids[i] = (int)(words[0] % IDS);
        }
        end = search(tokenizer, strings, 6, ids, 24, &want);
        assert_int_equal(read_all(s, ids, 24), end);
        ended += end > 0;
        assert_ok(stop_strings_before(s, ids, end ? end : 24, &shown, &extra));
        text_clear(&got);
        for (int i = 0; i < shown; i++)
            assert_ok(tokenizer_piece(tokenizer, ids[i], &got));
        assert_int_equal(got.size - extra, want.size);
        assert_memory_equal(got.data ? got.data : "", want.data, want.size);
    }
    assert_in_range(ended, 200, 1999);
    stop_strings_close(s);
    text_free(&want);
    text_free(&got);
}

/* Pieces of a text's ids are the text, with a space in front where the tokenizer puts one. */
static void assert_pieces(const char *path)
{
    static const char said[] = "Tom's dog ran. \"Once more,\" she said!\nZoë paid 3 € 🐕.";
    struct tokenizer *t;
    struct ids ids = { 0 };
    struct text text = { 0 };
    size_t n = sizeof said - 1;

    assert_ok(tokenizer_open(&t, path));
    assert_ok(tokenizer_encode(t, said, n, true, &ids));
    for (int i = 0; i < ids.count; i++)
        assert_ok(tokenizer_piece(t, ids.data[i], &text));
    assert_in_range(text.size, n, n + 1);
    assert_string_equal(text.data + text.size - n, said);
    ids_free(&ids);
    text_free(&text);
    tokenizer_close(t);
}

static void test_pieces_are_the_text(void **state)
{
    (void)state;
    assert_pieces("launch/demo/model/tokenizer.json");
}

static void test_pieces_of_real_tokenizers_are_the_text(void **state)
{
    (void)state;
    assert_pieces(support_shared_path("data/models/stories260K/tokenizer.json"));
    assert_pieces(support_shared_path("data/tokenizers/llama2/tokenizer.json"));
}

static void test_strings_that_end_nothing_are_refused(void **state)
{
    static char longest[STOP_BYTES + 2];
    static char *many[STOP_STRINGS + 1];
    static const struct { char *string; const char *said; } cases[] = {
        { "", "--stop: an empty string ends nothing" },
        { "\xc3", "is not UTF-8" },
        { "</s>", "'</s>' is a special token, which has no text: give its id, 0" },
        { longest, "a string of 1025 bytes; at most 1024" },
    };
    struct stop_strings *s;

    (void)state;
    memset(longest, 'x', STOP_BYTES + 1);
    status_hold(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *strings[2] = { "ab", cases[i].string };
        assert_int_equal(stop_strings_open(&s, tokenizer, strings, 2, "--stop"), RL_EINVAL);
        assert_has(status_message(), cases[i].said);
        assert_null(s);
    }
    for (int i = 0; i <= STOP_STRINGS; i++)
        many[i] = "ab";
    assert_int_equal(stop_strings_open(&s, tokenizer, many, STOP_STRINGS + 1, "stop"), RL_EINVAL);
    assert_has(status_message(), "stop: 65 strings; at most 64");
    assert_int_equal(stop_strings_open(&s, NULL, many, 1, "stop"), RL_EINVAL);
    assert_has(status_message(), "no tokenizer.json");
    status_hold(false);
    assert_ok(stop_strings_open(&s, NULL, NULL, 0, "stop"));
    assert_int_equal(stop_strings_count(s), 0);
    stop_strings_close(s);
    longest[STOP_BYTES] = '\0';
    assert_ok(stop_strings_open(&s, tokenizer, (char *[]){ longest }, 1, "stop"));
    stop_strings_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_string_is_found_wherever_tokens_are_cut),
        cmocka_unit_test(test_random_responses_end_where_a_search_says),
        cmocka_unit_test(test_pieces_are_the_text),
        cmocka_unit_test(test_pieces_of_real_tokenizers_are_the_text),
        cmocka_unit_test(test_strings_that_end_nothing_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
