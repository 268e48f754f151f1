/* Score heads: gradients are slopes, a row's scores depend on the row alone, and a model without
 * such a head is what it was. */
#include <math.h>
#include <stdio.h>

#include "tests/tiny_model.h"

static const int mixed[] = { 5, 40, 1, 33, 2, 17, 0 };

/* A policy with a value head, tied and not, and a reward model of three scores. */
static const struct { int shape, scores; bool lm; } heads[] = {
    { 0, 1, true }, { 1, 2, true }, { 1, 3, false }, { 0, 1, false },
};
#define HEADS ((int)(sizeof heads / sizeof *heads))
#define SCORES 3

struct scored { struct model_shape shape; struct tiny t; struct rows r; };

/* s must stay where it is: t points into it. */
static void open_head(struct scored *s, int h, const char *compute, const int *lengths)
{
    s->shape = tiny_shapes[heads[h].shape];
    s->shape.scores = heads[h].scores;
    s->shape.lm = heads[h].lm;
    s->t = tiny_open_shape(&s->shape, compute);
    s->r = tiny_rows(&s->shape, lengths);
}

/* What a loss might say about scores: one token in three counts, one row in two not at all. */
static void say(const struct scored *s, float *dscore)
{
    int S = s->shape.scores;

    memset(dscore, 0, (size_t)s->r.T * S * sizeof *dscore);
    for (int n = 0; n < s->r.N; n += 2)
        for (int t = s->r.start[n]; t < s->r.start[n + 1]; t++)
            for (int i = 0; i < S && t % 3 != 1; i++)
                dscore[t * S + i] = tiny_normal((uint32_t)(t * S + i + 5000));
}

static struct model_outputs wanted(const struct scored *s, float *logp, float *entropy,
                                   float *score)
{
    return (struct model_outputs){ .logp = s->shape.lm ? logp : NULL,
                                   .entropy = s->shape.lm ? entropy : NULL, .score = score };
}

/* ---- gradients */

static double value(struct scored *s, struct trainer *tr, const float *dscore)
{
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], score[TINY_TOKENS * SCORES];
    struct model_outputs out = wanted(s, logp, entropy, score);
    const struct rows *r = &s->r;
    double sum = 0;

    assert_ok(model_run(tr, r->tokens, r->start, r->N, 0.9f, false, &out));
    for (int i = 0; i < r->T && s->shape.lm; i++)
        sum += (double)r->dlogp[i] * logp[i] + (double)r->dentropy[i] * entropy[i];
    for (int i = 0; i < r->T * s->shape.scores; i++)
        sum += (double)dscore[i] * score[i];
    return sum;
}

/* Five points: of fourth order, so that h may be large enough for fp32. */
static double slope(struct scored *s, struct trainer *tr, const float *dscore, float *w)
{
    static const double weight[] = { 1, -8, 8, -1 };
    static const int at[] = { -2, -1, 1, 2 };
    float was = *w, h = 0.01f;
    double sum = 0;

    for (int i = 0; i < 4; i++) {
        *w = was + at[i] * h;
        model_changed(s->t.model);
        sum += weight[i] * value(s, tr, dscore);
    }
    *w = was;
    model_changed(s->t.model);
    return sum / (12 * (double)h);
}

static size_t largest(const float *g, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (fabsf(g[i]) > fabsf(g[best]))
            best = i;
    return best;
}

static void slopes_of(struct scored *s)
{
    static float logp[TINY_TOKENS], entropy[TINY_TOKENS], score[TINY_TOKENS * SCORES];
    float dscore[TINY_TOKENS * SCORES], *grads = calloc(s->t.size, sizeof *grads);
    struct model_outputs out = wanted(s, logp, entropy, score);
    struct model_outputs d = wanted(s, s->r.dlogp, s->r.dentropy, dscore);
    struct trainer *tr;
    int n;

    say(s, dscore);
    assert_ok(trainer_create(&tr, s->t.model, s->r.N, s->r.T, false));
    assert_ok(model_run(tr, s->r.tokens, s->r.start, s->r.N, 0.9f, true, &out));
    assert_ok(model_run_backward(tr, &d, grads));
    assert_ok(model_backward_finish(tr, grads));
    for (const struct array *a = model_arrays(s->t.model, &n), *end = a + n; a < end; a++) {
        const float *g = grads + a->offset;
        size_t top = largest(g, a->size), some = tiny_word((uint32_t)a->offset) % a->size;

        for (int i = 0; i < 2; i++) {
            size_t e = i ? some : top;
            double x = slope(s, tr, dscore, (float *)a->data + e);

            if (!(fabs(x - g[e]) <= 2e-3 * fabs(g[top]) + 1e-3))
                fail_msg("%s[%zu]: gradient %g, slope %g", a->name, e, (double)g[e], x);
        }
    }
    trainer_destroy(tr);
    free(grads);
}

static void test_gradient_through_scores_is_the_slope(void **state)
{
    static const int lengths[] = { 5, 37, 1, 4, 0 };
    struct scored s;

    (void)state;
    for (int h = 0; h < HEADS; h++) {
        open_head(&s, h, h == 0 ? "ref" : "cpu", lengths);
        slopes_of(&s);
        tiny_close(&s.t);
    }
}

/* ---- bits */

static void test_score_does_not_depend_on_the_batch(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++)
        for (int h = 0; h < HEADS; h++) {
            float score[TINY_TOKENS * SCORES], alone[TINY_TOKENS * SCORES], logp[TINY_TOKENS];
            struct model_outputs all = { .score = score }, one = { .score = alone };
            struct trainer *tr, *scorer;
            struct scored s;
            int S;

            open_head(&s, h, tiny_computes[c], mixed);
            S = s.shape.scores;
            all.logp = s.shape.lm ? logp : NULL;            /* and not on what else is wanted */
            assert_ok(trainer_create(&tr, s.t.model, s.r.N, s.r.T, h % 2));
            assert_ok(trainer_create_scoring(&scorer, s.t.model, s.r.N, s.r.T));
            assert_ok(model_run(tr, s.r.tokens, s.r.start, s.r.N, 1, true, &all));
            for (int n = 0; n < s.r.N; n++) {
                int first = s.r.start[n], length = s.r.start[n + 1] - first;
                int start[] = { 0, length };

                assert_ok(model_run(scorer, s.r.tokens + first, start, 1, 1, false, &one));
                assert_bits(alone, score + first * S, length * S);
            }
            trainer_destroy(scorer);
            trainer_destroy(tr);
            tiny_close(&s.t);
        }
}

/* Rows in place of a larger batch, cut anywhere, layers kept or run again: one gradient. */
static void leaf(struct scored *s, const float *dscore, int rows, bool recompute, float *grads)
{
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], score[TINY_TOKENS * SCORES];
    struct model_outputs out = wanted(s, logp, entropy, score);
    struct model_outputs d = wanted(s, s->r.dlogp, s->r.dentropy, (float *)dscore);
    struct trainer *tr;

    memset(grads, 0, s->t.size * sizeof *grads);
    assert_ok(trainer_create(&tr, s->t.model, s->r.N, s->r.T, recompute));
    for (int n = 0; n < s->r.N; n += rows) {
        int N = n + rows < s->r.N ? rows : s->r.N - n;

        assert_ok(model_run(tr, s->r.tokens, s->r.start + n, N, 0.8f, true, &out));
        assert_ok(model_run_backward(tr, &d, grads));
    }
    assert_ok(model_backward_finish(tr, grads));
    trainer_destroy(tr);
}

static void test_micro_batches_keep_the_bits_of_gradients_through_scores(void **state)
{
    (void)state;
    for (int h = 0; h < HEADS; h++) {
        float dscore[TINY_TOKENS * SCORES], *whole, *cut;
        struct scored s;

        open_head(&s, h, "cpu", mixed);
        say(&s, dscore);
        whole = malloc(s.t.size * sizeof *whole);
        cut = malloc(s.t.size * sizeof *cut);
        leaf(&s, dscore, s.r.N, false, whole);
        assert_true(whole[s.t.size - 64] != 0);             /* the score head's first weight */
        for (int rows = 1; rows <= s.r.N; rows++) {
            leaf(&s, dscore, rows, rows % 2, cut);
            assert_bits(whole, cut, s.t.size);
        }
        free(whole);
        free(cut);
        tiny_close(&s.t);
    }
}

static void test_a_score_head_changes_nothing_else(void **state)
{
    (void)state;
    for (int h = 0; heads[h].lm; h++) {
        struct tiny plain = tiny_open(heads[h].shape, "cpu");
        float logp[TINY_TOKENS], other[TINY_TOKENS], score[TINY_TOKENS * SCORES];
        float dscore[TINY_TOKENS * SCORES] = { 0 };
        float *a = calloc(plain.size, sizeof *a), *b;
        struct model_outputs out = { .logp = other, .score = score };
        struct model_outputs d = { .score = dscore };
        struct trainer *tr, *tr_plain;
        struct scored s;

        open_head(&s, h, "cpu", mixed);
        b = calloc(s.t.size, sizeof *b);
        assert_bits(model_weights(plain.model), model_weights(s.t.model), plain.size);
        assert_ok(trainer_create(&tr, s.t.model, s.r.N, s.r.T, false));
        assert_ok(trainer_create(&tr_plain, plain.model, s.r.N, s.r.T, false));
        assert_ok(model_run(tr, s.r.tokens, s.r.start, s.r.N, 1, true, &out));
        assert_ok(model_logprobs(tr_plain, s.r.tokens, s.r.start, s.r.N, 1, true, logp, NULL));
        assert_bits(logp, other, s.r.T);
        d.logp = s.r.dlogp;
        assert_ok(model_run_backward(tr, &d, b));
        assert_ok(model_backward(tr_plain, s.r.dlogp, NULL, a));
        assert_ok(model_backward_finish(tr, b));
        assert_ok(model_backward_finish(tr_plain, a));
        assert_bits(a, b, plain.size);
        for (size_t i = plain.size; i < s.t.size; i++)
            assert_true(b[i] == 0);
        trainer_destroy(tr);
        trainer_destroy(tr_plain);
        tiny_close(&plain);
        tiny_close(&s.t);
        free(a);
        free(b);
    }
}

/* ---- mistakes */

static void expect(int got, const char *words)
{
    assert_int_equal(got, RL_EBUG);
    if (!strstr(status_message(), words))
        fail_msg("'%s' does not say '%s'", status_message(), words);
}

static void test_outputs_that_a_model_does_not_have_are_refused(void **state)
{
    static const int lengths[] = { 4, 0 };
    float x[64], grads[1];
    struct model_outputs logp = { .logp = x }, score = { .score = x }, entropy = { .entropy = x };
    struct tiny plain = tiny_open(0, "ref");
    struct trainer *tr, *tr_plain;
    struct scored s;

    (void)state;
    open_head(&s, 2, "ref", lengths);
    assert_ok(trainer_create(&tr, s.t.model, 1, 4, false));
    assert_ok(trainer_create(&tr_plain, plain.model, 1, 4, false));
    status_hold(true);
    expect(model_run(tr, s.r.tokens, s.r.start, 1, 1, true, &logp), "without a vocabulary head");
    expect(model_run(tr_plain, s.r.tokens, s.r.start, 1, 1, true, &score), "without a score head");
    expect(model_run(tr_plain, s.r.tokens, s.r.start, 1, 1, true, &entropy), "entropy comes with");
    assert_ok(model_run(tr, s.r.tokens, s.r.start, 1, 0, true, &score));    /* no temperature */
    expect(model_run_backward(tr, &logp, grads), "left out");
    status_hold(false);
    trainer_destroy(tr);
    trainer_destroy(tr_plain);
    tiny_close(&plain);
    tiny_close(&s.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_through_scores_is_the_slope),
        cmocka_unit_test(test_score_does_not_depend_on_the_batch),
        cmocka_unit_test(test_micro_batches_keep_the_bits_of_gradients_through_scores),
        cmocka_unit_test(test_a_score_head_changes_nothing_else),
        cmocka_unit_test(test_outputs_that_a_model_does_not_have_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
