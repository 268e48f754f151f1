/* Tokenizers: the ids and texts that Hugging Face gives, each construct alone, and long texts. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "data/tokenizer.h"

static const char *const models[] = { "tinystories-656k", "stories260K", "stories-char-936k" };
#define MODELS 3

/* shared/data/<folder>/<file> */
static const char *data_path(const char *folder, const char *file)
{
    char name[512];

    snprintf(name, sizeof name, "data/%s/%s", folder, file);
    return support_shared_path(name);
}

static struct tokenizer *model_tokenizer(const char *folder)
{
    struct tokenizer *t;

    assert_ok(tokenizer_open(&t, data_path(folder, "tokenizer.json")));
    return t;
}

static void assert_ids(const struct ids *ids, const int *want, int count, const char *text)
{
    for (int i = 0; i < ids->count || i < count; i++)
        if (i >= ids->count || i >= count || ids->data[i] != want[i])
            fail_msg("'%s': id %d of %d is %d, want %d (of %d)", text, i, ids->count,
                     i < ids->count ? ids->data[i] : -1, i < count ? want[i] : -1, count);
}

static void ids_of(const struct json *list, struct ids *ids)
{
    assert_true(json_is_array(list));
    for (size_t i = 0; i < json_size(list); i++)
        ids_add(ids, (int)json_int(json_at(list, i), -1));
}

static void assert_encodes(struct tokenizer *t, const char *text, size_t n, bool add_special,
                           const struct ids *want)
{
    struct ids ids = {0};

    assert_ok(tokenizer_encode(t, text, n, add_special, &ids));
    assert_ids(&ids, want->data, want->count, text);
    ids_free(&ids);
}

static void assert_decodes(struct tokenizer *t, const struct ids *ids, bool skip_special,
                           const struct json *want)
{
    struct text text = {0};

    assert_ok(tokenizer_decode(t, ids->data, ids->count, skip_special, &text));
    assert_int_equal(text.size, json_string_size(want));
    assert_memory_equal(text.data, json_string(want, ""), text.size);
    text_free(&text);
}

/* ---- goldens */

static void test_golden_prompts_and_stories_of_the_models(void **state)
{
    (void)state;
    for (int m = 0; m < MODELS; m++) {
        char folder[64];
        snprintf(folder, sizeof folder, "models/%s", models[m]);
        struct tokenizer *t = model_tokenizer(folder);
        struct json *golden = json_read(data_path(folder, "golden.json"));
        const struct json *cases = json_get(golden, "cases");
        assert_true(json_size(cases) > 0);
        for (size_t i = 0; i < json_size(cases); i++) {
            const struct json *c = json_at(cases, i);
            struct ids want = {0}, greedy = {0};
            struct text text = {0};
            ids_of(json_get(c, "prompt_ids"), &want);
            ids_of(json_get(c, "continuation_ids"), &want);
            text_adds(&text, json_string(json_get(c, "prompt"), ""));
            text_adds(&text, json_string(json_get(c, "continuation"), ""));
            assert_encodes(t, text.data, text.size, true, &want);
            ids_of(json_get(c, "greedy_ids"), &greedy);
            assert_decodes(t, &greedy, false, json_get(c, "greedy_text"));
            ids_free(&want);
            ids_free(&greedy);
            text_free(&text);
        }
        json_free(golden);
        tokenizer_close(t);
    }
}

/* The first 40000 characters of the sample, without special tokens: some ids and their number. */
static void test_golden_ids_of_a_long_text(void **state)
{
    static char sample[200000];
    gzFile file = gzopen(data_path("prompts", "tinystories-sample.txt.gz"), "rb");
    int got, bytes = 0;

    (void)state;
    assert_non_null(file);
    got = gzread(file, sample, sizeof sample);
    gzclose(file);
    for (int characters = 0; bytes < got; bytes++)
        if ((sample[bytes] & 0xc0) != 0x80 && characters++ == 40000)
            break;
    for (int m = 0; m < MODELS; m++) {
        char folder[64];
        snprintf(folder, sizeof folder, "models/%s", models[m]);
        struct tokenizer *t = model_tokenizer(folder);
        struct json *golden = json_read(data_path(folder, "golden_nll.json"));
        struct ids want = {0}, ids = {0};
        ids_of(json_get(golden, "first_ids"), &want);
        assert_true(want.count > 0);
        assert_ok(tokenizer_encode(t, sample, (size_t)bytes, false, &ids));
        assert_int_equal(ids.count, json_int(json_get(golden, "n_ids"), -1));
        ids.count = want.count;
        assert_ids(&ids, want.data, want.count, folder);
        ids_free(&want);
        ids_free(&ids);
        json_free(golden);
        tokenizer_close(t);
    }
}

static void test_golden_cases_of_llama2(void **state)
{
    struct tokenizer *t = model_tokenizer("tokenizers/llama2");
    struct text file = {0};
    int cases = 0;

    (void)state;
    assert_ok(file_read(data_path("tokenizers/llama2", "golden.jsonl"), &file));
    assert_int_equal(tokenizer_size(t), 32000);
    for (char *line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n"), cases++) {
        struct json *c = json_parse(line, strlen(line), "golden.jsonl");
        const struct json *text = json_get(c, "text");
        struct ids want = {0};
        ids_of(json_get(c, "ids"), &want);
        assert_encodes(t, json_string(text, NULL), json_string_size(text),
                       json_bool(json_get(c, "add_special"), false), &want);
        assert_decodes(t, &want, false, json_get(c, "decoded"));
        assert_decodes(t, &want, true, json_get(c, "decoded_skip_special"));
        ids_free(&want);
        json_free(c);
    }
    assert_true(cases > 20);
    text_free(&file);
    tokenizer_close(t);
}

/* ---- one construct at a time, on a small vocabulary: a, b, c and the bytes of é */

#define VOCAB "\"<unk>\":0,\"▁\":1,\"a\":2,\"b\":3,\"c\":4,\"ab\":5,\"▁ab\":6,\"bc\":7," \
              "\"<0xC3>\":8,\"<0xA9>\":9,\"▁a\":10,\"<0x20>\":11"
#define PREPEND "{\"type\":\"Sequence\",\"normalizers\":[" \
    "{\"type\":\"Prepend\",\"prepend\":\"▁\"}," \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}]}"
#define UNSPACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\"▁\"},\"content\":\" \"}"
#define ADDED(id, content, flags) "{\"id\":" #id ",\"content\":\"" content "\"" flags "}"

struct construct {
    const char *name;
    const char *top;             /* members of the file beside the model */
    const char *model;           /* members of the model beside type and vocab */
    const char *text;
    int ids[12], count;
    const char *decoded;         /* of those ids, special tokens kept; NULL: not looked at */
};

#define MERGES "\"merges\":[\"a b\",[\"▁\",\"ab\"],\"b c\"]"
#define UNK "\"unk_token\":\"<unk>\","
static const struct construct constructs[] = {
    { "lowest rank first", "", MERGES, "abc", { 5, 4 }, 2, "ab c" },
    { "three symbols", "\"normalizer\":" PREPEND, MERGES, "abc", { 6, 4 }, 2, NULL },
    { "no merges", "", "\"merges\":[]", "ab", { 2, 3 }, 2, NULL },
    { "no merges at all", "", "\"unk_token\":null", "ab", { 2, 3 }, 2, NULL },
    { "a heading", "", "\"merges\":[\"#version: 0.2\",\"a b\"]", "ab", { 5 }, 1, NULL },
    { "unknown dropped", "", MERGES, "axb", { 5 }, 1, NULL },
    { "unknown", "", UNK MERGES, "axxb", { 2, 0, 0, 3 }, 4, NULL },
    { "unknown fused", "", UNK "\"fuse_unk\":true," MERGES, "axxb", { 2, 0, 3 }, 3, NULL },
    { "bytes", "", UNK "\"byte_fallback\":true," MERGES, "aéx", { 2, 8, 9, 0 }, 4, NULL },
    { "bytes before a waiting unknown", "", UNK "\"byte_fallback\":true," MERGES, "xé",
      { 8, 9, 0 }, 3, NULL },
    { "whole word", "", "\"ignore_merges\":true,\"merges\":[]", "ab", { 5 }, 1, NULL },
    { "metaspace", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\"},"
      "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"▁\"}", MERGES, "ab a",
      { 6, 1, 2 }, 3, "ab a" },
    { "metaspace, never", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"prepend_scheme\":\"never\"},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"prepend_scheme\":\"never\"}", MERGES, " ab", { 6 }, 1, " ab" },
    { "metaspace, first", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"prepend_scheme\":\"first\"},\"added_tokens\":[" ADDED(12, "<s>", "") "]", MERGES,
      "ab<s>ab", { 6, 12, 5 }, 3, NULL },
    { "metaspace, older file", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"add_prefix_space\":false}", MERGES, "ab", { 5 }, 1, NULL },
    { "metaspace, uncut", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"split\":false,\"prepend_scheme\":\"never\"}", "\"ignore_merges\":true,\"merges\":[]",
      "b a", { 3, 1, 2 }, 3, NULL },
    { "metaspace, cut", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
      "\"prepend_scheme\":\"never\"}", "\"ignore_merges\":true,\"merges\":[]", "b a", { 3, 10 }, 2,
      NULL },
    { "lower case", "\"normalizer\":{\"type\":\"Lowercase\"}", MERGES, "ABC", { 5, 4 }, 2, NULL },
    { "composed", "\"normalizer\":{\"type\":\"NFC\"}", "\"byte_fallback\":true," MERGES,
      "e\xcc\x81", { 8, 9 }, 2, NULL },
    { "compatible", "\"normalizer\":{\"type\":\"NFKC\"}", MERGES, "ａｂ", { 5 }, 1, NULL },
    { "longest added token", "\"added_tokens\":[" ADDED(12, "<s>", "") "," ADDED(13, "<s>a", "")
      "]", MERGES, "<s>ab<s>b", { 13, 3, 12, 3 }, 4, NULL },
    { "added, normalized", "\"normalizer\":" PREPEND ",\"added_tokens\":["
      ADDED(12, "<s>", ",\"normalized\":true") "]", UNK MERGES, "<s>a <s>a<s>",
      { 12, 2, 12, 2, 0, 0, 0 }, 7, NULL },
    { "added, raw", "\"normalizer\":" PREPEND ",\"added_tokens\":["
      ADDED(12, "<s>", ",\"normalized\":false") "]", MERGES, "<s>a<s>", { 12, 1, 2, 12 }, 4, NULL },
    { "added, lstrip", "\"added_tokens\":[" ADDED(12, "<s>", ",\"lstrip\":true") "]", MERGES,
      "a \t<s> a", { 2, 12, 2 }, 3, NULL },
    { "added, rstrip", "\"added_tokens\":[" ADDED(12, "<s>", ",\"rstrip\":true") "]", UNK MERGES,
      " <s> \n\xc2\xa0 a<s>", { 0, 12, 2, 12 }, 4, NULL },
    { "added, single word", "\"added_tokens\":[" ADDED(12, "cc", ",\"single_word\":true") "]",
      MERGES, "cc.acc.cc\xcc\x81.cc", { 12, 2, 4, 4, 4, 4, 12 }, 7, NULL },
    { "bos and eos", "\"added_tokens\":[" ADDED(12, "<s>", "") "],\"post_processor\":{\"type\":"
      "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
      "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<s>\"}}],"
      "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[12],\"tokens\":[\"<s>\"]}}}", MERGES,
      "a", { 12, 2, 12 }, 3, NULL },
    { "decoder", "\"normalizer\":" PREPEND ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
      UNSPACE ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":"
      "\" \",\"start\":1,\"stop\":0}]}", "\"byte_fallback\":true," MERGES, " abé",
      { 1, 6, 8, 9 }, 4, " abé" },
    { "strip at both ends", "\"decoder\":{\"type\":\"Strip\",\"content\":\"a\",\"start\":1,"
      "\"stop\":2}", MERGES, "a", { 2 }, 1, "" },
    { "no decoder", "", MERGES, "abc", { 5, 4 }, 2, "ab c" },
    { "nothing", "\"normalizer\":" PREPEND, MERGES, "", { 0 }, 0, "" },
};

/* The text of a tokenizer.json; the caller frees. */
static struct text file_of(const char *top, const char *model, const char *vocab)
{
    struct text text = {0};

    text_addf(&text, "{%s%s\"model\":{\"type\":\"BPE\",\"vocab\":{%s},%s}}", top, *top ? "," : "",
              vocab, model);
    return text;
}

static struct tokenizer *tokenizer_of(const char *top, const char *model)
{
    struct text text = file_of(top, model, VOCAB);
    struct tokenizer *t;

    assert_ok(tokenizer_parse(&t, text.data, text.size, "constructs"));
    text_free(&text);
    return t;
}

static void test_each_construct(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof constructs / sizeof *constructs; i++) {
        const struct construct *c = &constructs[i];
        struct tokenizer *t = tokenizer_of(c->top, c->model);
        struct ids ids = {0};
        struct text text = {0};
        assert_ok(tokenizer_encode(t, c->text, strlen(c->text), true, &ids));
        assert_ids(&ids, c->ids, c->count, c->name);
        if (c->decoded) {
            assert_ok(tokenizer_decode(t, c->ids, c->count, false, &text));
            if (strcmp(text.data, c->decoded) != 0)
                fail_msg("%s: decoded as '%s', want '%s'", c->name, text.data, c->decoded);
        }
        ids_free(&ids);
        text_free(&text);
        tokenizer_close(t);
    }
}

static void test_the_size_is_the_largest_id_and_one(void **state)
{
    struct tokenizer *t = tokenizer_of("\"added_tokens\":[" ADDED(12, "<t>", "") ","
                                       ADDED(20, "<s>", ",\"special\":true") "]", MERGES);

    (void)state;
    assert_int_equal(tokenizer_size(t), 21);
    tokenizer_close(t);
    tokenizer_close(NULL);
}

static void test_decoding_odd_ids(void **state)
{
    struct tokenizer *t = tokenizer_of("\"added_tokens\":[" ADDED(20, "<s>", ",\"special\":true")
                                       "],\"decoder\":{\"type\":\"ByteFallback\"}", MERGES);
    int ids[] = { 20, 2, 15, 99999, 8, 8, 9, 3, 8, 9, 20 }, below[] = { 2, -1 };
    struct text text = {0};

    (void)state;
    assert_ok(tokenizer_decode(t, ids, 11, false, &text));
    assert_string_equal(text.data, "<s>a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "bé<s>");
    text_clear(&text);
    assert_ok(tokenizer_decode(t, ids, 11, true, &text));
    assert_string_equal(text.data, "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" "bé");
    text_clear(&text);
    assert_ok(tokenizer_decode(t, NULL, 0, true, &text));
    assert_string_equal(text.data, "");
    status_hold(true);
    assert_int_equal(tokenizer_decode(t, below, 2, false, &text), RL_EINVAL);
    assert_non_null(strstr(status_message(), "ids[1] is -1"));
    status_hold(false);
    text_free(&text);
    tokenizer_close(t);
}

/* ---- long and broken texts */

static void test_text_that_is_not_utf8_is_refused_and_zeros_are_not(void **state)
{
    static const char *const bad[] = { "a\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x96",
                                       "\xf5\x80\x80\x80", "\xf4\x90\x80\x80" };
    struct tokenizer *t = tokenizer_of("", UNK "\"fuse_unk\":true," MERGES);
    struct ids ids = {0};

    (void)state;
    ids_add(&ids, 77);
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tokenizer_encode(t, bad[i], strlen(bad[i]), true, &ids), RL_EINVAL);
        assert_int_equal(ids.count, 1);
    }
    status_hold(false);
    assert_ok(tokenizer_encode(t, "a\0b", 3, true, &ids));
    assert_ids(&ids, (int[]) { 77, 2, 0, 3 }, 4, "a zero");
    ids_free(&ids);
    tokenizer_close(t);
}

/* The number of ids of n bytes of a unit again and again, and the processor's time for them. */
static int encode_repeated(struct tokenizer *t, const char *unit, size_t n, double *seconds)
{
    size_t size = strlen(unit), whole = n / size * size;
    char *text = malloc(whole);
    struct ids ids = {0};
    clock_t start;
    int count;

    assert_non_null(text);
    for (size_t at = 0; at < whole; at += size)
        memcpy(text + at, unit, size);
    start = clock();
    assert_ok(tokenizer_encode(t, text, whole, false, &ids));
    *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    count = ids.count;
    ids_free(&ids);
    free(text);
    return count;
}

/* 8 times the text takes some 8 times as long, not 64 times, in the quietest of three tries. */
static void time_is_linear(struct tokenizer *t, const char *unit)
{
    enum { LONG = 1 << 18 };
    double part, whole, ratio = INFINITY;

    for (int i = 0; i < 3; i++) {
        assert_true(encode_repeated(t, unit, LONG / 8, &part) > 0);
        assert_true(encode_repeated(t, unit, LONG, &whole) > 0);
        ratio = fmin(ratio, whole / part);
    }
    if (ratio > 24)
        fail_msg("'%s': 8 times the text takes %.1f times as long", unit, ratio);
}

/* Of one letter, of words, of spaces, of added tokens. */
static void test_time_grows_as_the_text_does(void **state)
{
    static const char *const units[] = { "e", " ", "e ", "the cat ", "<s>", " <s>", "日", "\x01" };
    struct tokenizer *t = model_tokenizer("models/tinystories-656k");

    (void)state;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        time_is_linear(t, units[u]);
    tokenizer_close(t);
}

/* A token that is a space and takes all spaces around it, in a run of spaces. */
static void test_time_grows_as_a_run_of_greedy_spaces_does(void **state)
{
    struct tokenizer *t = tokenizer_of("\"added_tokens\":[" ADDED(12, "  ", ",\"lstrip\":true,"
                                       "\"rstrip\":true") "]", MERGES);
    double seconds;

    (void)state;
    assert_int_equal(encode_repeated(t, " ", 1000, &seconds), 500);
    time_is_linear(t, " ");
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_prompts_and_stories_of_the_models),
        cmocka_unit_test(test_golden_ids_of_a_long_text),
        cmocka_unit_test(test_golden_cases_of_llama2),
        cmocka_unit_test(test_each_construct),
        cmocka_unit_test(test_the_size_is_the_largest_id_and_one),
        cmocka_unit_test(test_decoding_odd_ids),
        cmocka_unit_test(test_text_that_is_not_utf8_is_refused_and_zeros_are_not),
        cmocka_unit_test(test_time_grows_as_the_text_does),
        cmocka_unit_test(test_time_grows_as_a_run_of_greedy_spaces_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
