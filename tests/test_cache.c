/* Generation repeats training: rows extended through pages give the bits of one whole pass. */
#include <math.h>

#include "tests/tiny_model.h"

#define PAGES 48
#define STRIDE 13

/* One row in a cache. */
struct story {
    int length, table[STRIDE];
};

static void grow(struct cache *c, struct story *s, int length)
{
    for (int i = (s->length + KEY_BLOCK - 1) / KEY_BLOCK; i * KEY_BLOCK < length; i++) {
        s->table[i] = cache_page(c);
        assert_true(s->table[i] >= 0);
    }
    s->length = length;
}

static void drop(struct cache *c, struct story *s)
{
    for (int i = 0; i * KEY_BLOCK < s->length; i++)
        cache_release(c, s->table[i]);
    s->length = 0;
}

/* How many pages were free; now none is. */
static int take_free_pages(struct cache *c)
{
    int n = 0;

    while (cache_page(c) >= 0)
        n++;
    return n;
}

/* Add tokens[s->length .. length) to the story; logits of the last. */
static void extend(struct cache *c, struct story *s, const int *tokens, int length, float *logits)
{
    int position = s->length, start[] = { 0, length - position };
    struct extend rows = { .N = 1, .start = start, .position = &position, .table = s->table,
                           .table_stride = STRIDE };

    grow(c, s, length);
    assert_ok(model_extend(c, tokens + position, &rows, logits));
}

/* log p(target) and entropy from one row of logits, as the actor finds them. */
static void measure(struct tiny *t, float *logits, int target, float temperature, float *logp,
                    float *entropy)
{
    struct compute *k = t->compute;
    struct lse state;
    float target_logit;

    k->lse_forward(k, &state, &target_logit, logits, &target, temperature, 0, t->shape->V, 1);
    k->lse_finish(k, logp, entropy, &state, &target_logit, 1);
}

static void decode(struct tiny *t)
{
    static const int lengths[] = { 70, 0 };
    struct rows r = tiny_rows(t->shape, lengths);
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], one, of_one;
    float *logits = malloc((size_t)t->shape->V * sizeof *logits);
    struct story s = {0};
    struct trainer *tr;
    struct cache *c;

    assert_ok(trainer_create_scoring(&tr, t->model, 1, r.T));
    assert_ok(model_logprobs(tr, r.tokens, r.start, 1, 0.8f, false, logp, entropy));
    assert_ok(cache_create(&c, t->model, PAGES, 2, 70));
    for (int i = 0; i + 1 < r.T; i++) {
        extend(c, &s, r.tokens, i + 1, logits);
        measure(t, logits, r.tokens[i + 1], 0.8f, &one, &of_one);
        assert_bits(&one, logp + i + 1, 1);
        assert_bits(&of_one, entropy + i + 1, 1);
    }
    drop(c, &s);
    assert_int_equal(take_free_pages(c), PAGES);
    cache_destroy(c);
    trainer_destroy(tr);
    free(logits);
}

static void test_decoding_gives_the_learners_bits(void **state)
{
    (void)state;
    tiny_each(decode);
}

static void test_logp_and_entropy_are_those_of_the_softmax(void **state)
{
    static const int lengths[] = { 40, 0 };

    (void)state;
    for (int shape = 0; shape < TINY_SHAPES; shape++) {
        struct tiny t = tiny_open(shape, "cpu");
        struct rows r = tiny_rows(t.shape, lengths);
        float logp[TINY_TOKENS], entropy[TINY_TOKENS];
        float *logits = malloc((size_t)t.shape->V * sizeof *logits);
        struct story s = {0};
        struct trainer *tr;
        struct cache *c;

        assert_ok(trainer_create_scoring(&tr, t.model, 1, r.T));
        assert_ok(model_logprobs(tr, r.tokens, r.start, 1, 0.7f, false, logp, entropy));
        assert_ok(cache_create(&c, t.model, PAGES, 1, 40));
        for (int length = 10; length < 40; length += 10) {
            double sum = 0, H = 0;

            extend(c, &s, r.tokens, length, logits);
            for (int v = 0; v < t.shape->V; v++)
                sum += exp(logits[v] / 0.7);
            for (int v = 0; v < t.shape->V; v++)
                H -= exp(logits[v] / 0.7) / sum * (logits[v] / 0.7 - log(sum));
            assert_float_equal(logp[length], logits[r.tokens[length]] / 0.7 - log(sum), 2e-5);
            assert_float_equal(entropy[length], H, 2e-5);
        }
        cache_destroy(c);
        trainer_destroy(tr);
        free(logits);
        tiny_close(&t);
    }
}

/* Any cut of a row into calls, beside another row or alone. */
static void cut_rows(struct tiny *t)
{
    static const int lengths[] = { 69, 41, 0 }, chunks[] = { 1, 7, 31, 32, 33, 64, 69 };
    struct rows r = tiny_rows(t->shape, lengths);
    size_t V = (size_t)t->shape->V;
    float *whole = malloc(2 * V * sizeof *whole), *cut = malloc(2 * V * sizeof *cut);
    int position[2] = {0}, table[2 * STRIDE];
    struct extend rows = { .N = 2, .start = r.start, .position = position, .table = table,
                           .table_stride = STRIDE };
    struct story s[2] = {0};
    struct cache *c;

    assert_ok(cache_create(&c, t->model, PAGES, 2, r.T));
    for (int n = 0; n < 2; n++) {
        grow(c, &s[n], lengths[n]);
        memcpy(table + n * STRIDE, s[n].table, sizeof s[n].table);
    }
    assert_ok(model_extend(c, r.tokens, &rows, whole));
    for (int n = 0; n < 2; n++) {
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            struct story alone = {0};

            for (int at = 0; at < lengths[n]; at = alone.length) {
                int to = at + chunks[i] < lengths[n] ? at + chunks[i] : lengths[n];

                extend(c, &alone, r.tokens + r.start[n], to, to == lengths[n] ? cut : NULL);
            }
            assert_bits(cut, whole + n * V, V);
            drop(c, &alone);
        }
        drop(c, &s[n]);
    }
    cache_destroy(c);
    free(whole);
    free(cut);
}

static void test_any_cut_into_calls_gives_the_same_logits(void **state)
{
    (void)state;
    tiny_each(cut_rows);
}

/* Two stories of one prompt: whole pages shared, the last one copied. */
static void share(struct tiny *t)
{
    static const int lengths[] = { 75, 75, 0 };
    struct rows r = tiny_rows(t->shape, lengths);
    int *first = r.tokens, *second = r.tokens + r.start[1], prompt = 40;
    size_t V = (size_t)t->shape->V;
    float *shared = malloc(V * sizeof *shared), *alone = malloc(V * sizeof *alone);
    struct story a = {0}, b = {0}, c_alone = {0};
    struct cache *c;

    memcpy(second, first, (size_t)prompt * sizeof *second);
    assert_ok(cache_create(&c, t->model, PAGES, 2, 80));
    extend(c, &a, first, prompt, NULL);
    b = a;
    cache_share(c, b.table[0]);
    b.table[1] = cache_page(c);
    cache_copy(c, b.table[1], a.table[1]);
    for (int i = prompt; i < 75; i++) {                 /* in turns, so that pages would clash */
        extend(c, &a, first, i + 1, NULL);
        extend(c, &b, second, i + 1, shared);
    }
    drop(c, &a);
    extend(c, &c_alone, second, 75, alone);
    assert_bits(shared, alone, V);
    drop(c, &b);
    drop(c, &c_alone);
    assert_int_equal(take_free_pages(c), PAGES);
    cache_destroy(c);
    free(shared);
    free(alone);
}

static void test_rows_that_share_a_prompt_give_the_same_logits(void **state)
{
    (void)state;
    tiny_each(share);
}

/* A model gone bad fills pages with NaN; the next row in these pages must not see it. */
static void poison(struct tiny *t)
{
    static const int lengths[] = { 45, 0 };
    struct rows r = tiny_rows(t->shape, lengths);
    size_t V = (size_t)t->shape->V, size = t->size * sizeof(float);
    float *clean = malloc(V * sizeof *clean), *after = malloc(V * sizeof *after);
    float *kept = malloc(size), *w = model_weights(t->model);
    struct story s = {0};
    struct cache *c;

    assert_ok(cache_create(&c, t->model, 2, 1, 64));
    extend(c, &s, r.tokens, 45, clean);
    drop(c, &s);
    memcpy(kept, w, size);
    for (size_t i = 0; i < t->size; i++)
        w[i] = NAN;
    model_changed(t->model);
    extend(c, &s, r.tokens, 45, after);
    assert_true(isnan(after[0]));
    drop(c, &s);
    memcpy(w, kept, size);
    model_changed(t->model);
    extend(c, &s, r.tokens, 3, NULL);
    extend(c, &s, r.tokens, 45, after);
    assert_bits(clean, after, V);
    cache_destroy(c);
    free(clean);
    free(after);
    free(kept);
}

static void test_recycled_pages_leak_nothing(void **state)
{
    (void)state;
    tiny_each(poison);
}

static void expect(int got, int code, const char *words)
{
    assert_int_equal(got, code);
    if (!strstr(status_message(), words))
        fail_msg("'%s' does not say '%s'", status_message(), words);
}

static void test_bad_rows_and_tables_are_refused(void **state)
{
    struct tiny t = tiny_open(0, "ref");
    int tokens[64] = {0}, start[] = { 0, 33 }, none[] = { 0, 0 }, position = 0, table[2] = {0};
    struct extend rows = { .N = 1, .start = start, .position = &position, .table = table,
                           .table_stride = 2 };
    struct cache *c;

    (void)state;
    status_hold(true);
    assert_ok(cache_create(&c, t.model, 2, 1, 40));
    expect(model_extend(c, tokens, &rows, NULL), RL_EBUG, "no held page");
    assert_int_equal(cache_page(c), 0);
    table[1] = 2;
    expect(model_extend(c, tokens, &rows, NULL), RL_EBUG, "no held page");
    assert_int_equal(table[1] = cache_page(c), 1);
    assert_int_equal(cache_page(c), -1);
    assert_ok(model_extend(c, tokens, &rows, NULL));
    position = 32;
    expect(model_extend(c, tokens, &rows, NULL), RL_EBUG, "room for 2");
    position = 64;
    expect(model_extend(c, tokens, &rows, NULL), RL_EINVAL, "context is 96");
    position = 0;
    tokens[5] = 70;
    expect(model_extend(c, tokens, &rows, NULL), RL_EINVAL, "token id 70");
    rows.start = none;
    expect(model_extend(c, tokens, &rows, NULL), RL_EBUG, "no token");
    status_hold(false);
    cache_destroy(c);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoding_gives_the_learners_bits),
        cmocka_unit_test(test_logp_and_entropy_are_those_of_the_softmax),
        cmocka_unit_test(test_any_cut_into_calls_gives_the_same_logits),
        cmocka_unit_test(test_rows_that_share_a_prompt_give_the_same_logits),
        cmocka_unit_test(test_recycled_pages_leak_nothing),
        cmocka_unit_test(test_bad_rows_and_tables_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
