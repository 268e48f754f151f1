/* Rewards: what each kind counts, what it says about a bad configuration, the columns they fill. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reward/reward.h"
#include "tests/support.h"

#define STRINGS(...) { (char *[]){__VA_ARGS__}, sizeof (char *[]){__VA_ARGS__} / sizeof(char *) }

static const struct reward_kind *kind_of(const char *name)
{
    for (const struct reward_kind *kind = reward_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    fail_msg("no kind %s", name);
    return NULL;
}

static double score_bytes(const struct config_reward *c, const char *text, size_t bytes, int count)
{
    const struct reward_kind *kind = kind_of(c->kind);
    struct response r = {.text = text, .bytes = bytes, .count = count};
    double score = NAN;
    void *state;

    assert_ok(kind->open(&state, c, "here"));
    assert_ok(kind->score(state, &r, &score));
    kind->close(state);
    return score;
}

static double score(const struct config_reward *c, const char *text)
{
    return score_bytes(c, text, strlen(text), 0);
}

#define assert_score(c, text, expected)                                                           \
    do {                                                                                          \
        double got = score(c, text), want = expected;                                             \
        if (got != want)                                                                          \
            fail_msg("\"%s\": %g, expected %g", text, got, want);                                 \
    } while (0)

/* ---- words */

static void test_words_counts_different_words_up_to_the_cap(void **state)
{
    struct config_reward c = {.kind = "words", .words = STRINGS("happy", "fun", "FUN", "Friend")};

    (void)state;
    assert_score(&c, "", 0);
    assert_score(&c, "A sad day.", 0);
    assert_score(&c, "Happy, happy, HAPPY!", 1);
    assert_score(&c, "Fun with a friend, and happy", 3);
    c.cap = 2;
    assert_score(&c, "Fun with a friend, and happy", 2);
    c.cap = 9;
    assert_score(&c, "fun fun fun", 1);
}

static void test_words_are_whole_words(void **state)
{
    struct config_reward c = {.kind = "words", .words = STRINGS("fun")};
    static const char *const yes[] = {
        "fun", "Fun!", "so fun", "'fun'", "\"fun\"", "fun-fair", "fun_x", "(fun)", "fun\nnow",
        "funny fun", "\xe2\x80\x9c" "fun\xe2\x80\x9d", "fun\xe2\x80\x94no",
        "\xe2\x80\x98" "fun\xe2\x80\x99", "fun\xc2\xa0x", "fun' ",
        "\xf0\x9f\x98\x80" "fun\xf0\x9f\x98\x80", "\xff" "fun\xff",
        "3\xc3\x97" "fun",
    };
    static const char *const no[] = {
        "", "fu", "funny", "refund", "fun2", "2fun", "fun's", "o'fun", "fun\xe2\x80\x99s",
        "fun\xc3\xa9", "\xc3\xa9" "fun", "f un", "\xd0\xb4" "fun",
    };

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_score(&c, yes[i], 1);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_score(&c, no[i], 0);
    assert_true(score_bytes(&c, "\0fun\0", 5, 0) == 1);         /* a zero byte ends nothing */
    c.words = (struct strings)STRINGS("\xd0\xb4\xd0\xbe\xd0\xbc", "thank you");
    assert_score(&c, "\xd0\xb4\xd0\xbe\xd0\xbc\xd0\xbe\xd0\xb9", 0);
    assert_score(&c, "Thank you! \xd0\xb4\xd0\xbe\xd0\xbc.", 2);
}

/* ---- length */

static void test_length_in_each_unit_and_its_distance_from_a_target(void **state)
{
    struct config_reward c = {.kind = "length", .target = -1};
    const char *text = "Two  w\xc3\xb6rds\n";

    (void)state;
    assert_true(score_bytes(&c, "", 0, 7) == 7);                /* tokens, by default */
    c.unit = "tokens";
    assert_true(score_bytes(&c, text, strlen(text), 7) == 7);
    c.unit = "characters";
    assert_score(&c, text, 11);
    c.unit = "words";
    assert_score(&c, text, 2);
    assert_score(&c, " \t\n", 0);
    c.target = 5;
    assert_score(&c, text, -3);
    c.target = 0;
    assert_score(&c, text, -2);
    assert_score(&c, "", 0);
}

/* ---- regex */

static void test_regex_counts_matches_that_do_not_overlap(void **state)
{
    struct config_reward c = {.kind = "regex", .pattern = "aa"};

    (void)state;
    assert_score(&c, "aaaaa", 2);
    assert_score(&c, "", 0);
    c.cap = 1;
    assert_score(&c, "aaaaa", 1);
    c.cap = 0;
    c.pattern = "(cat|dog)s?";
    assert_score(&c, "cats and dogs and a cat", 3);
    c.pattern = "^a";
    assert_score(&c, "aaa", 1);
    c.pattern = "a$";
    assert_score(&c, "aaa", 1);
    c.pattern = "x*";                                   /* empty before, between and after */
    assert_score(&c, "ab", 3);
    assert_score(&c, "axxb", 4);
    c.pattern = "[0-9]+";
    assert_true(score_bytes(&c, "1\0" "22\0" "333", 8, 0) == 3);
    c.pattern = "\\bfun\\b";
    assert_score(&c, "fun funny fun", 2);
}

/* ---- configuration */

static void assert_refused(const struct config *config, const char *part)
{
    struct reward *reward = (struct reward *)config;

    status_hold(true);
    assert_int_equal(reward_create(&reward, &(struct reward_parts){ .config = config }), RL_EINVAL);
    if (!strstr(status_message(), part))
        fail_msg("\"%s\" does not say \"%s\"", status_message(), part);
    status_hold(false);
    assert_null(reward);
}

static void test_a_bad_configuration_is_named(void **state)
{
    struct config_reward c = {.kind = "lenght", .target = -1, .where = "run.cfg:12"};
    struct config_reward two[2] = {{.kind = "length"}, {.kind = "length"}};
    struct config config = {.rewards = &c, .n_rewards = 1, .path = "run.cfg"};

    (void)state;
    assert_refused(&config, "run.cfg:12: rewards[0]: kind: there is no reward \"lenght\"; the "
                            "nearest is \"length\"");
    c.where = NULL;
    c.kind = "";
    assert_refused(&config, "kind: missing");
    c.kind = "regex";
    c.pattern = "a";
    assert_refused(&config, "tokenizer.json");
    c.kind = "length";
    c.unit = "yards";
    assert_refused(&config, "unit: \"yards\"");
    config.rewards = two;
    config.n_rewards = 2;
    assert_refused(&config, "two rewards are named \"length\"");
}

/* A key of another kind, in a file that is read whole. */
static void test_a_key_that_the_kind_does_not_read_is_refused(void **state)
{
    static const struct { const char *reward, *message; } bad[] = {
        { "kind = \"length\"; words = [\"a\"];", "words: kind \"length\" does not read it" },
        { "kind = \"length\"; cap = 3;", "cap: kind \"length\" does not" },
        { "kind = \"length\"; timeout = 3.0;", "timeout: kind" },
        { "kind = \"length\"; std = 2.0;",
          "std: it is not read (only with normalise = \"fixed\")" },
        { "kind = \"length\"; cap = 0; unit = \"tokens\"; clip = [0.0, 1.0];\n"
          "normalise = \"fixed\"; mean = 1.0; weight = 2.0; name = \"a\"; on_failure = \"error\";",
          NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct text lines = { 0 };
        struct reward *reward = NULL;
        struct config *c;
        text_addf(&lines, "algorithm = \"ppo\"; model = \"m\"; output = \"o\";\n"
                          "rewards = { %s };", bad[i].reward);
        assert_ok(config_open(&c, support_write(support_folder(), "run.cfg", lines.data), NULL, 0));
        if (bad[i].message)
            assert_refused(c, bad[i].message);
        else
            assert_ok(reward_create(&reward, &(struct reward_parts){ .config = c }));
        if (bad[i].message)
            assert_non_null(strstr(status_message(), "run.cfg:2: rewards[0]: "));
        reward_destroy(reward);
        config_close(c);
        text_free(&lines);
    }
}

static void assert_unopened(const struct config_reward *c, const char *part)
{
    void *opened = (void *)c;

    status_hold(true);
    assert_int_equal(kind_of(c->kind)->open(&opened, c, "run.cfg:3"), RL_EINVAL);
    if (!strstr(status_message(), part) || strncmp(status_message(), "run.cfg:3: ", 11) != 0)
        fail_msg("\"%s\" does not say \"%s\"", status_message(), part);
    status_hold(false);
    assert_null(opened);
}

static void test_bad_keys_of_each_kind_are_named(void **state)
{
    char deep[200] = "";

    (void)state;
    assert_unopened(&(struct config_reward){.kind = "words"}, "words: the list is missing");
    assert_unopened(&(struct config_reward){.kind = "words", .words = STRINGS("a", "")},
                    "words: word 2 of the list is empty");
    assert_unopened(&(struct config_reward){.kind = "words", .words = STRINGS("a"), .cap = -1},
                    "cap");
    assert_unopened(&(struct config_reward){.kind = "regex"}, "pattern: missing");
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = "a(b"},
                    "pattern: \"a(b\": Unmatched ( or \\(");
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = "a", .cap = -1}, "cap");
    assert_unopened(&(struct config_reward){.kind = "regex",
                                            .pattern = "((a{1,255}){1,255}){255}"}, "written out");
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = "([({]|\\(a){1001}"},
                    "written out");
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = "(a{,255}){,255}"},
                    "written out");
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = "a?+"},
                    "behind each other");
    memset(deep, '(', sizeof deep - 1);
    assert_unopened(&(struct config_reward){.kind = "regex", .pattern = deep}, "groups too deep");
    assert_unopened(&(struct config_reward){.kind = "length", .target = NAN}, "target");
}

/* ---- batches */

/* A tokenizer of bytes: id = byte + 3, after <unk> <s> </s>. */
static struct tokenizer *byte_tokenizer(void)
{
    struct tokenizer *tokenizer;
    struct text t = {0};

    text_adds(&t, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < 3; i++)
        text_addf(&t, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                  "\"rstrip\":false,\"normalized\":false,\"special\":true}", i ? "," : "", i,
                  (const char *[]){"<unk>", "<s>", "</s>"}[i]);
    text_adds(&t, "],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,"
              "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
              "{\"type\":\"Fuse\"}]},"
              "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\","
              "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
              "\"byte_fallback\":true,\"ignore_merges\":false,"
              "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"</s>\":2");
    for (int i = 0; i < 256; i++)
        text_addf(&t, ",\"<0x%02X>\":%d", i, i + 3);
    text_adds(&t, "},\"merges\":[]}}");
    assert_ok(tokenizer_parse(&tokenizer, t.data, t.size, "bytes"));
    text_free(&t);
    return tokenizer;
}

/* Two groups of two rows: a prompt of two ids, then the text, then </s> where `ends` says so. */
static void batch_make(struct batch *b, struct memory *m, int R)
{
    static const char *const texts[4] = {"What fun, my friend", "", "funny", "So happy"};
    static const int ends[4] = {1, 1, 0, 1};

    memset(b, 0, sizeof *b);
    memory_count(m);
    batch_layout(b, m, 4, 200, R);
    assert_ok(memory_open(m));
    batch_layout(b, m, 4, 200, R);
    b->step = 9, b->P = 8, b->k = 2, b->group = 3, b->groups = 2, b->N = 4;
    for (int row = 0; row < 4; row++) {
        b->tokens[b->T++] = 1;
        b->tokens[b->T++] = 'x' + 3;
        for (const char *s = texts[row]; *s; s++)
            b->tokens[b->T++] = (unsigned char)*s + 3;
        if (ends[row])
            b->tokens[b->T++] = 2;
        b->prompt_len[row] = 2;
        b->finish[row] = ends[row] ? FINISH_EOS : FINISH_LENGTH;
        b->start[row + 1] = b->T;
    }
    b->filled = COL_TOKENS | COL_ACTOR_LOGP;
}

static void test_each_reward_fills_its_column(void **state)
{
    struct config_reward rewards[] = {
        {.kind = "words", .weight = 5, .words = STRINGS("fun", "happy", "friend")},
        {.kind = "length", .target = -1},
        {.kind = "length", .name = "short", .unit = "characters", .target = 4, .weight = -1},
        {.kind = "regex", .pattern = "n"},
    };
    static const double expected[4][4] = {
        {2, 20, -15, 2}, {0, 1, -4, 0}, {0, 5, -1, 2}, {1, 9, -4, 0},
    };
    struct config config = {.rewards = rewards, .n_rewards = 4};
    struct tokenizer *tokenizer = byte_tokenizer();
    struct reward *reward;
    struct memory memory;
    struct batch b;

    (void)state;
    batch_make(&b, &memory, 4);
    assert_ok(reward_create(&reward, &(struct reward_parts){ .config = &config,
                                                            .tokenizer = tokenizer }));
    assert_ok(reward_fill(reward, &b, NULL, PURPOSE_SAMPLE));
    assert_int_equal(b.filled, COL_TOKENS | COL_ACTOR_LOGP | COL_REWARD);
    for (int row = 0; row < 4; row++)
        for (int r = 0; r < 4; r++)
            if (b.reward[row * 4 + r] != expected[row][r])
                fail_msg("row %d, reward %d: %g, expected %g", row, r, b.reward[row * 4 + r],
                         expected[row][r]);

    b.R = 3;
    status_hold(true);
    assert_int_equal(reward_fill(reward, &b, NULL, PURPOSE_SAMPLE), RL_EBUG);
    status_hold(false);
    assert_int_equal(b.status, RL_EBUG);
    b.R = 4;
    b.reward[0] = 77;                   /* the batch has failed: hands off */
    assert_ok(reward_fill(reward, &b, NULL, PURPOSE_SAMPLE));
    assert_true(b.reward[0] == 77);
    reward_destroy(reward);
    tokenizer_close(tokenizer);
    memory_close(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_counts_different_words_up_to_the_cap),
        cmocka_unit_test(test_words_are_whole_words),
        cmocka_unit_test(test_length_in_each_unit_and_its_distance_from_a_target),
        cmocka_unit_test(test_regex_counts_matches_that_do_not_overlap),
        cmocka_unit_test(test_a_bad_configuration_is_named),
        cmocka_unit_test(test_a_key_that_the_kind_does_not_read_is_refused),
        cmocka_unit_test(test_bad_keys_of_each_kind_are_named),
        cmocka_unit_test(test_each_reward_fills_its_column),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
