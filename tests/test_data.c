/* The order of draws, packed text, the batch, and UTF-8. */
#include "tests/letters.h"

#include "base/memory.h"
#include "data/prompts.h"
#include "data/utf8.h"

/* ---- draws */

static struct prompts *numbered(int n)
{
    const char *path = support_path(support_folder(), "n.jsonl");
    FILE *file = fopen(path, "w");
    struct prompts *p;

    assert_non_null(file);
    for (int i = 0; i < n; i++)
        fprintf(file, "{\"prompt_ids\":[%d,%d]}\n", i % 91, i / 91);
    fclose(file);
    assert_ok(prompts_open(&p, path, NULL, NULL, 91, 2, false));
    return p;
}

static void test_each_epoch_draws_each_prompt_once_in_an_order_of_its_own(void **state)
{
    enum { N = 57, EPOCHS = 4 };
    struct prompts *p = numbered(N), *q = numbered(N);
    int64_t order[EPOCHS][N];
    int same = 0, moved = 0;

    (void)state;
    for (int e = 0; e < EPOCHS; e++) {
        bool seen[N] = { false };
        for (int i = 0; i < N; i++) {
            order[e][i] = prompts_draw(p, true, 11, e * N + i);
            assert_in_range(order[e][i], 0, N - 1);
            assert_false(seen[order[e][i]]);
            seen[order[e][i]] = true;
            same += e > 0 && order[e][i] == order[e - 1][i];
            moved += order[e][i] != prompts_draw(q, true, 12, e * N + i);
        }
    }
    assert_true(same < N && moved > EPOCHS * N / 2);
    for (int d = EPOCHS * N - 1; d >= 0; d--)                /* backwards, as a resumed run may */
        assert_int_equal(prompts_draw(p, true, 11, d), order[d / N][d % N]);
    for (int d = 0; d < 3 * N; d++)
        assert_int_equal(prompts_draw(p, false, 11, d), d % N);
    prompts_close(p);
    prompts_close(q);
}

/* The order is part of the bit contract: it must never change. */
static void test_the_shuffled_order_is_this_one(void **state)
{
    struct prompts *p = numbered(8);
    int64_t got[16];

    (void)state;
    for (int d = 0; d < 16; d++)
        got[d] = prompts_draw(p, true, 1, d);
    static const int64_t want[16] = { 6, 7, 2, 5, 3, 1, 4, 0,
                                      3, 1, 7, 4, 6, 5, 2, 0 };
    for (int d = 0; d < 16; d++)
        if (got[d] != want[d])
            fail_msg("draw %d is prompt %lld, want %lld", d, (long long)got[d], (long long)want[d]);
    prompts_close(p);
}

static struct batch batch_of(struct memory *m, int P, int k, int group, int groups, int max_tokens)
{
    struct batch b = { .P = P, .k = k, .group = group, .groups = groups, .step = 3 };

    memory_count(m);
    batch_layout(&b, m, groups * k, max_tokens, 2);
    assert_ok(memory_open(m));
    batch_layout(&b, m, groups * k, max_tokens, 2);
    return b;
}

static void test_prompts_next_fills_the_share(void **state)
{
    enum { N = 10, P = 6, K = 3 };
    struct prompts *p = numbered(N);
    struct memory m;
    struct batch b = batch_of(&m, P, K, 2, 3, 3 * K * 2);
    int64_t draw0 = 6;                       /* group 4 is draw 10: the next epoch */

    (void)state;
    assert_ok(prompts_next(p, true, 5, draw0, &b));
    assert_int_equal(b.status, RL_OK);
    assert_int_equal(b.N, 9);
    assert_int_equal(b.T, 18);
    assert_int_equal(b.filled, COL_TOKENS);
    for (int n = 0; n < b.N; n++) {
        int64_t i = prompts_draw(p, true, 5, draw0 + 2 + n / K);
        int ids[2] = { (int)i % 91, (int)i / 91 };
        assert_int_equal(b.prompt[n], i);
        assert_int_equal(b.prompt_len[n], 2);
        assert_int_equal(b.start[n + 1] - b.start[n], 2);
        assert_int_equal(b.finish[n], FINISH_NONE);
        assert_int_equal(b.version[n], 0);
        assert_list(b.tokens + b.start[n], ids, 2);
    }
    status_hold(true);
    b.max_tokens--;
    assert_int_equal(prompts_next(p, true, 5, draw0, &b), RL_EBUG);
    status_hold(false);
    memory_close(&m);
    prompts_close(p);
}

/* ---- packed text */

static int corpus_of(struct corpus **c, const char *text, int bos, int eos, int row_tokens)
{
    char *path = (char *)write_gzip("text.gz", text, strlen(text));
    struct strings paths = { &path, 1 };

    return corpus_open(c, &paths, t, 91, bos, eos, row_tokens);
}

static void test_documents_are_packed_into_rows(void **state)
{
    static const char text[] = "\nab\r\nc\n<|endoftext|>\n<|endoftext|>\n\n<|endoftext|>\n"
                               "dd\n\n<|endoftext|>\nb<|endoftext|>a\n";
    /* "ab\nc" and "dd\n"; the last line is no separator, and of it this vocabulary knows b, d, a */
    static const int want[] = { 1, 2, 3, 6, 4, 7, 1, 5, 5, 6, 7, 1, 3, 5, 2, 7 };
    struct corpus *c;
    struct memory m;
    struct batch b = batch_of(&m, 2, 1, 0, 2, 16);

    (void)state;
    assert_ok(corpus_of(&c, text, 1, 7, 8));
    assert_int_equal(corpus_rows(c), 2);
    assert_ok(corpus_next(c, false, 0, 0, &b));
    assert_int_equal(b.N, 2);
    assert_int_equal(b.T, 16);
    assert_list(b.tokens, want, 16);
    for (int n = 0; n < 2; n++) {
        assert_int_equal(b.start[n + 1], 8 * (n + 1));
        assert_int_equal(b.prompt_len[n], 1);
        assert_int_equal(b.finish[n], FINISH_LENGTH);
        assert_int_equal(b.prompt[n], n);
    }
    assert_int_equal(b.filled, COL_TOKENS);
    corpus_close(c);
    corpus_close(NULL);

    assert_ok(corpus_of(&c, text, -1, -1, 7));            /* ab\ncdd | \nbda: one row */
    assert_int_equal(corpus_rows(c), 1);
    b.P = b.groups = 1;
    assert_ok(corpus_next(c, true, 9, 4, &b));
    assert_list(b.tokens, (int[]) { 2, 3, 6, 4, 5, 5, 6 }, 7);
    corpus_close(c);
    memory_close(&m);
}

static void test_rows_are_shuffled_like_prompts(void **state)
{
    struct corpus *c;
    struct prompts *p = numbered(8);
    struct memory m;
    struct batch b = batch_of(&m, 8, 1, 0, 8, 16);

    (void)state;
    assert_ok(corpus_of(&c, "abcdabcdabcdabcd", -1, -1, 2));
    assert_int_equal(corpus_rows(c), 8);
    assert_ok(corpus_next(c, true, 21, 4, &b));
    for (int g = 0; g < 8; g++)
        assert_int_equal(b.prompt[g], prompts_draw(p, true, 21, 4 + g));
    corpus_close(c);
    prompts_close(p);
    memory_close(&m);
}

static void refuse_corpus(const struct strings *paths, struct tokenizer *with, int vocabulary,
                          int row_tokens, const char *named)
{
    struct corpus *c;

    status_hold(true);
    assert_int_equal(corpus_open(&c, paths, with, vocabulary, 1, 7, row_tokens), RL_EINVAL);
    assert_null(c);
    assert_names(status_message(), named);
    status_hold(false);
}

static void test_bad_text_is_named(void **state)
{
    char *path = (char *)write_plain("some.txt", "ab\nc\n"), *gone = "no/such.txt";
    char *bad = (char *)write_plain("bad.txt", "ab\nc\xc3\n");
    char *late = (char *)write_plain("late.txt", "ab\n<|endoftext|>\n\ncz\n");

    (void)state;
    refuse_corpus(&(struct strings) { &path, 1 }, t, 91, 7,
                  "some.txt: 6 tokens of text, less than one row of row_tokens = 7");
    refuse_corpus(&(struct strings) { &path, 1 }, NULL, 91, 2, "tokenizer.json");
    refuse_corpus(&(struct strings) { &path, 1 }, t, 91, 1, "row_tokens = 1");
    refuse_corpus(&(struct strings) { NULL, 0 }, t, 91, 4, "no files of text");
    refuse_corpus(&(struct strings) { &gone, 1 }, t, 91, 4, "no/such.txt");
    refuse_corpus(&(struct strings) { &bad, 1 }, t, 91, 4, "bad.txt:2: not UTF-8");
    refuse_corpus(&(struct strings) { &late, 1 }, t, 90, 4, "late.txt:4: the text has id 90");
}

/* ---- the batch */

static void test_batch_parts_lie_apart(void **state)
{
    struct memory m;
    struct batch b = batch_of(&m, 4, 2, 1, 3, 40);

    (void)state;
    assert_int_equal(b.N, 0);
    for (int n = 0; n < 6; n++)
        b.start[n + 1] = b.start[n] + n + 1;
    b.N = 6;
    b.T = 21;
    for (const struct batch_part *p = batch_parts; p->name; p++) {
        size_t elements;
        char *at = batch_part_at(&b, p, 0, 6, &elements);
        assert_int_equal(elements, p->extent == PER_TOKEN ? 21 : p->extent == PER_ROW ? 6 : 12);
        assert_int_equal(p->bytes, dtype_size(p->dtype));
        for (size_t i = 0; i < elements * p->bytes; i++)     /* its own pattern, read again below */
            at[i] = (char)(p - batch_parts + 1);
    }
    for (const struct batch_part *p = batch_parts; p->name; p++) {
        size_t elements;
        char *at = batch_part_at(&b, p, 2, 2, &elements);
        assert_int_equal(elements, p->extent == PER_TOKEN ? 7 : p->extent == PER_ROW ? 2 : 4);
        for (size_t i = 0; i < elements * p->bytes; i++)
            assert_int_equal(at[i], p - batch_parts + 1);
    }
    b.filled = COL_ALL;
    b.status = RL_EINVAL;
    batch_clear(&b);
    assert_true(b.N == 0 && b.T == 0 && b.filled == 0 && b.status == RL_OK && b.start[0] == 0);
    assert_true(b.P == 4 && b.k == 2 && b.group == 1 && b.groups == 3 && b.step == 3);
    memory_close(&m);
}

static void test_batch_of_no_rewards_and_no_rows(void **state)
{
    struct memory m;
    struct batch b = { .k = 1 };
    size_t elements;

    (void)state;
    memory_count(&m);
    batch_layout(&b, &m, 4, 8, 0);
    assert_null(b.tokens);                                   /* a counting pass places nothing */
    assert_ok(memory_open(&m));
    batch_layout(&b, &m, 4, 8, 0);
    for (const struct batch_part *p = batch_parts; p->name; p++) {
        batch_part_at(&b, p, 0, 0, &elements);
        assert_int_equal(elements, 0);
    }
    memory_close(&m);
}

/* ---- UTF-8 */

static void test_utf8_of_every_code(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c += c < 0x3000 ? 1 : 61) {
        int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        char s[4];
        uint32_t back;
        for (int i = n - 1; i > 0; i--)
            s[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
        s[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c >> 6 * (n - 1));
        if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff) {
            assert_int_equal(utf8_next(s, (size_t)n, NULL), 0);
            continue;
        }
        assert_int_equal(utf8_next(s, (size_t)n, &back), n);
        assert_int_equal(back, c);
        assert_int_equal(utf8_last(s, (size_t)n, &back), n);
        assert_int_equal(back, c);
        assert_int_equal(utf8_next(s, (size_t)n - 1, NULL), 0);
    }
}

static void test_shown_text_is_one_short_line(void **state)
{
    (void)state;
    assert_string_equal(utf8_show("a\nb\x7f\xff", 5).text, "a?b??");
    assert_string_equal(utf8_show("", 0).text, "");
    assert_string_equal(utf8_show("1234567890123456789012345678901234567890", 40).text,
                        "1234567890123456789012345678901234567890");
    assert_string_equal(utf8_show("123456789012345678901234567890123456789€", 42).text,
                        "123456789012345678901234567890123456789...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_epoch_draws_each_prompt_once_in_an_order_of_its_own),
        cmocka_unit_test(test_the_shuffled_order_is_this_one),
        cmocka_unit_test(test_prompts_next_fills_the_share),
        cmocka_unit_test(test_documents_are_packed_into_rows),
        cmocka_unit_test(test_rows_are_shuffled_like_prompts),
        cmocka_unit_test(test_bad_text_is_named),
        cmocka_unit_test(test_batch_parts_lie_apart),
        cmocka_unit_test(test_batch_of_no_rewards_and_no_rows),
        cmocka_unit_test(test_utf8_of_every_code),
        cmocka_unit_test(test_shown_text_is_one_short_line),
    };

    return cmocka_run_group_tests(tests, open_letters, close_letters);
}
