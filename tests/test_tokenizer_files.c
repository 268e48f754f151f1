/* Tokenizer files that are wrong, cut or hostile: refused with one line that names what. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "data/tokenizer.h"

#define VOCAB "\"<unk>\":0,\"▁\":1,\"a\":2,\"b\":3,\"c\":4,\"ab\":5,\"▁ab\":6,\"bc\":7," \
              "\"<0xC3>\":8,\"<0xA9>\":9,\"▁a\":10,\"<0x20>\":11"
#define MERGES "\"merges\":[\"a b\",[\"▁\",\"ab\"],\"b c\"]"

/* The text of a tokenizer.json; the caller frees. */
static struct text file_of(const char *top, const char *model, const char *vocab)
{
    struct text text = {0};

    text_addf(&text, "{%s%s\"model\":{\"type\":\"BPE\",\"vocab\":{%s},%s}}", top, *top ? "," : "",
              vocab, model);
    return text;
}

static void refuse(const char *top, const char *model, const char *vocab, const char *named)
{
    struct text text = file_of(top, model, vocab);
    struct tokenizer *t = (struct tokenizer *)&text;

    status_hold(true);
    assert_int_equal(tokenizer_parse(&t, text.data, text.size, "wrong.json"), RL_EINVAL);
    assert_null(t);
    if (!strstr(status_message(), named) || !strstr(status_message(), "wrong.json")
        || strchr(status_message(), '\n'))
        fail_msg("'%s' is not named in one line: '%s'", named, status_message());
    status_hold(false);
    text_free(&text);
}

static void test_what_is_not_supported_is_named(void **state)
{
    static const char *const cases[][3] = {     /* beside the model, in the model, named */
        { "\"normalizer\":{\"type\":\"Precompiled\"}", MERGES, "'Precompiled'" },
        { "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\"}]}", MERGES,
          "normalizer of type 'Strip'" },
        { "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x\"},\"content\":\"\"}",
          MERGES, "Regex" },
        { "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}",
          MERGES, "empty pattern" },
        { "\"normalizer\":{\"type\":\"Sequence\"}", MERGES, "normalizers" },
        { "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":3}", MERGES, "normalizer.prepend" },
        { "\"normalizer\":[]", MERGES, "normalizer has no `type`" },
        { "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", MERGES, "'ByteLevel'" },
        { "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}", MERGES,
          "one character" },
        { "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
          "\"prepend_scheme\":\"x\"}", MERGES, "prepend_scheme" },
        { "\"post_processor\":{\"type\":\"BertProcessing\"}", MERGES, "'BertProcessing'" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}", MERGES, "0 times" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
          "{\"id\":\"<s>\"}}]}", MERGES, "'<s>'" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
          "{\"id\":\"a\"}}],\"special_tokens\":{\"a\":{\"ids\":[99]}}}", MERGES, "no token has" },
        { "\"decoder\":{\"type\":\"WordPiece\\n\"}", MERGES, "'WordPiece?'" },
        { "\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}", MERGES,
          "decoder.start" },
        { "\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":1e300,\"stop\":0}", MERGES,
          "decoder.start" },
        { "\"added_tokens\":{}", MERGES, "added_tokens" },
        { "\"added_tokens\":[{\"id\":12}]", MERGES, "added_tokens[0].content" },
        { "\"added_tokens\":[{\"id\":-1,\"content\":\"<s>\"}]", MERGES, "'<s>'" },
        { "\"added_tokens\":[{\"id\":4194304,\"content\":\"<s>\"}]", MERGES, "'<s>'" },
        { "\"added_tokens\":[{\"id\":1e18,\"content\":\"<s>\"}]", MERGES, "'<s>'" },
        { "\"added_tokens\":[{\"id\":2.5,\"content\":\"<s>\"}]", MERGES, "'<s>'" },
        { "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"}]", MERGES, "id 3 belongs to two" },
        { "\"added_tokens\":[{\"id\":12,\"content\":\"a\"}]", MERGES, "'a' has two ids" },
        { "\"added_tokens\":[{\"id\":12,\"content\":\"<s>\",\"lstrip\":1}]", MERGES, "lstrip" },
        { "\"added_tokens\":[{\"id\":12,\"content\":\"x\",\"normalized\":true}],\"normalizer\":"
          "{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"\"}", MERGES,
          "leaves nothing" },
        { "", "\"merges\":[\"a x\"]", "'x' is not in the vocabulary" },
        { "", "\"merges\":[\"a c\"]", "'ac'" },
        { "", "\"merges\":[\"a b c\"]", "merges[0]" },
        { "", "\"merges\":[\"ab\"]", "merges[0]" },
        { "", "\"merges\":[[\"a\",\"b\",\"c\"]]", "merges[0]" },
        { "", "\"merges\":[\"a b\",7]", "merges[1]" },
        { "", "\"merges\":\"a b\"", "model.merges is not a list" },
        { "", "\"unk_token\":\"<none>\"", "'<none>'" },
        { "", "\"unk_token\":3", "unk_token" },
        { "", "\"byte_fallback\":\"yes\"", "byte_fallback" },
        { "", "\"dropout\":0.1", "dropout" },
        { "", "\"end_of_word_suffix\":\"</w>\"", "end_of_word_suffix" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i][0], cases[i][1], VOCAB, cases[i][2]);
    refuse("", MERGES, "", "model.vocab");
    refuse("", MERGES, "\"a\":0,\"b\":0", "id 0 belongs to two tokens");
    refuse("", MERGES, "\"a\":-3", "'a'");
    refuse("", MERGES, "\"a\":99999999999", "'a'");
    refuse("", MERGES, "\"a\":\"0\"", "'a'");
    refuse("", MERGES, "\"a\":0,\"b\":4194303", "too far apart");
}

/* Rules that multiply each other: memory grows with the text, not with the product. */
static void test_rules_that_multiply_are_stopped(void **state)
{
    struct text file = {0}, text = {0};
    struct ids ids = {0};
    struct tokenizer *t;

    (void)state;
    for (int decoder = 0; decoder < 2; decoder++) {
        text_clear(&file);
        text_addf(&file, "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"%s\":{\"type\":"
                  "\"Sequence\",\"%ss\":[", decoder ? "decoder" : "normalizer",
                  decoder ? "decoder" : "normalizer");
        for (int i = 0; i < 40; i++)
            text_addf(&file, "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":"
                      "\"aa\"}", i ? "," : "");
        text_adds(&file, "]}}");
        status_hold(true);
        assert_ok(tokenizer_parse(&t, file.data, file.size, "rules.json"));
        if (decoder)
            assert_int_equal(tokenizer_decode(t, (int[]){ 0, 0 }, 2, false, &text), RL_EINVAL);
        else
            assert_int_equal(tokenizer_encode(t, "a", 1, false, &ids), RL_EINVAL);
        assert_has(status_message(), "more than 64 times");
        status_hold(false);
        tokenizer_close(t);
    }
    text_free(&file);
    text_free(&text);
    ids_free(&ids);
}

static void test_other_models_are_named(void **state)
{
    static const char *const files[][2] = {
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5]]}}", "'Unigram'" },
        { "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}", "'WordPiece'" },
        { "{\"vocab\":{}}", "model" }, { "[]", "model" }, { "7", "model" }, { "", "JSON" },
    };

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct tokenizer *t;
        int rc = tokenizer_parse(&t, files[i][0], strlen(files[i][0]), "x.json");
        assert_int_equal(rc, RL_EINVAL);
        assert_non_null(strstr(status_message(), files[i][1]));
    }
    status_hold(false);
}

/* Ids with holes between them are fine: a hole has no text. */
static void test_vocabulary_with_holes(void **state)
{
    struct text text = file_of("", MERGES, "\"a\":7,\"b\":1000,\"ab\":3,\"▁\":50,"
                               "\"▁ab\":60000,\"c\":5,\"bc\":6");
    struct tokenizer *t;
    struct ids ids = {0};

    (void)state;
    assert_ok(tokenizer_parse(&t, text.data, text.size, "holes"));
    assert_int_equal(tokenizer_size(t), 60001);
    assert_ok(tokenizer_encode(t, "▁abb", strlen("▁abb"), true, &ids));
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.data[0], 60000);
    assert_int_equal(ids.data[1], 1000);
    ids_free(&ids);
    text_free(&text);
    tokenizer_close(t);
}

/* Whatever the file has become: it opens and then works, or it is refused with one line. */
static void try_file(const char *bytes, size_t n)
{
    struct tokenizer *t;
    struct ids ids = {0};
    struct text text = {0};
    const char *sample = "Once <s> upon\n a time, é€ \x7f";
    int rc = tokenizer_parse(&t, bytes, n, "broken.json");

    if (rc != RL_OK) {
        assert_int_equal(rc, RL_EINVAL);
        assert_null(t);
        assert_true(strlen(status_message()) > 0 && !strchr(status_message(), '\n'));
        return;
    }
    assert_ok(tokenizer_encode(t, sample, strlen(sample), true, &ids));
    assert_ok(tokenizer_decode(t, ids.data, ids.count, false, &text));
    ids_free(&ids);
    text_free(&text);
    tokenizer_close(t);
}

static void test_cut_and_changed_files_never_crash(void **state)
{
    static const char marks[] = "\"\\{}[]:,0123456789-.eEtfn \n\x80\xff\xe2";
    struct counter c = { .seed = 7, .purpose = PURPOSE_TEST };
    struct text file = {0}, copy = {0};
    uint32_t w[4];

    (void)state;
    assert_ok(file_read(support_shared_path("data/models/stories260K/tokenizer.json"), &file));
    status_hold(true);
    for (size_t part = 0; part < 50; part++)
        try_file(file.data, file.size * part / 50);
    for (; c.position < 500; c.position++) {
        text_clear(&copy);
        text_add(&copy, file.data, file.size);
        for (c.sample = 0; c.sample < 3; c.sample++) {
            random_words(&c, w);
            size_t at = w[0] % copy.size;
            if (w[1] % 4 == 0)                                  /* anything */
                copy.data[at] = (char)w[2];
            else if (w[1] % 4 == 1)                             /* what JSON is made of */
                copy.data[at] = marks[w[2] % (sizeof marks - 1)];
            else if (w[1] % 4 == 2)                             /* a digit becomes another */
                copy.data[at] = copy.data[at] >= '0' && copy.data[at] <= '9'
                              ? (char)('0' + w[2] % 10) : copy.data[at];
            else if (at + 40 < copy.size)                       /* a stretch moves */
                memmove(copy.data + at, copy.data + at + 8 + w[2] % 8, 16);
        }
        try_file(copy.data, copy.size);
    }
    status_hold(false);
    text_free(&file);
    text_free(&copy);
}

static void test_missing_file_is_named(void **state)
{
    struct tokenizer *t;

    (void)state;
    status_hold(true);
    assert_int_not_equal(tokenizer_open(&t, "no/such/tokenizer.json"), RL_OK);
    assert_null(t);
    assert_non_null(strstr(status_message(), "no/such/tokenizer.json"));
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_supported_is_named),
        cmocka_unit_test(test_rules_that_multiply_are_stopped),
        cmocka_unit_test(test_other_models_are_named),
        cmocka_unit_test(test_vocabulary_with_holes),
        cmocka_unit_test(test_cut_and_changed_files_never_crash),
        cmocka_unit_test(test_missing_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
