/* Forward and backward passes: gradients are slopes, and a row's bits depend on the row alone. */
#include <math.h>
#include <stdio.h>

#include "tests/tiny_model.h"

static const int mixed[] = { 5, 40, 1, 33, 2, 17, 0 };

static void logprobs(struct tiny *t, const struct rows *r, bool keep, struct trainer **out,
                     bool recompute, float temperature, float *logp, float *entropy)
{
    assert_ok(trainer_create(out, t->model, r->N, r->T, recompute));
    assert_ok(model_logprobs(*out, r->tokens, r->start, r->N, temperature, keep, logp, entropy));
}

/* ---- weights that begin random */

/* Parts that end inside of an array, at its end, and in the gap behind it. */
static void test_weights_in_parts_are_the_weights(void **state)
{
    (void)state;
    for (int shape = 0; shape < TINY_SHAPES; shape++) {
        struct tiny whole = tiny_open(shape, "ref"), t = tiny_open(shape, "ref");
        size_t bytes = t.size * sizeof(float), step = 64;
        float *w = model_weights(t.model);

        memset(w, 0, bytes);
        for (size_t end = t.size; end > 0; end -= step < end ? step : end, step += 64)
            model_randomize_part(t.model, 7, 0.4, end > step ? end - step : 0, end);
        assert_memory_equal(w, model_weights(whole.model), bytes);
        tiny_close(&t);
        tiny_close(&whole);
    }
}

/* ---- gradients */

static double value(struct trainer *t, const struct rows *r, float temperature)
{
    float logp[TINY_TOKENS], entropy[TINY_TOKENS];
    double sum = 0;

    assert_ok(model_logprobs(t, r->tokens, r->start, r->N, temperature, false, logp, entropy));
    for (int i = 0; i < r->T; i++)
        sum += (double)r->dlogp[i] * logp[i] + (double)r->dentropy[i] * entropy[i];
    return sum;
}

/* Five-point slope at one weight: of fourth order, so that h may be large enough for fp32. */
static double slope(struct tiny *t, struct trainer *tr, const struct rows *r, float temperature,
                    float *w)
{
    static const double weight[] = { 1, -8, 8, -1 };
    static const int at[] = { -2, -1, 1, 2 };
    float was = *w, h = 0.01f;
    double sum = 0;

    for (int i = 0; i < 4; i++) {
        *w = was + at[i] * h;
        model_changed(t->model);
        sum += weight[i] * value(tr, r, temperature);
    }
    *w = was;
    model_changed(t->model);
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

static void gradients_of_one(struct tiny *t)
{
    static const int lengths[] = { 5, 37, 1, 4, 0 };
    struct rows r = tiny_rows(t->shape, lengths);
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], temperature = t->shape->tied ? 1.0f : 0.7f;
    float *grads = calloc(t->size, sizeof *grads);
    struct trainer *tr;
    int n;

    logprobs(t, &r, true, &tr, false, temperature, logp, entropy);
    assert_ok(model_backward(tr, r.dlogp, r.dentropy, grads));
    assert_ok(model_backward_finish(tr, grads));
    for (const struct array *a = model_arrays(t->model, &n), *end = a + n; a < end; a++) {
        const float *g = grads + a->offset;
        size_t top = largest(g, a->size);

        for (uint32_t i = 0; i < 3; i++) {
            size_t e = i == 0 ? top : tiny_word(i + (uint32_t)a->offset) % a->size;
            double s = slope(t, tr, &r, temperature, (float *)a->data + e);

            if (!(fabs(s - g[e]) <= 2e-3 * fabs(g[top]) + 1e-3))
                fail_msg("%s %s[%zu]: gradient %g, slope %g", t->compute->name, a->name, e,
                         (double)g[e], s);
        }
    }
    trainer_destroy(tr);
    free(grads);
}

static void test_gradient_is_the_slope(void **state)
{
    (void)state;
    for (int s = 0; s < TINY_SHAPES; s++)           /* ref is slow, and one shape shows it */
        for (int c = s == 0 ? 0 : 1; c < 2; c++) {
            struct tiny t = tiny_open(s, tiny_computes[c]);

            gradients_of_one(&t);
            tiny_close(&t);
        }
}

/* ---- rows */

static void one_row_alone(struct tiny *t)
{
    struct rows r = tiny_rows(t->shape, mixed);
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], alone[TINY_TOKENS], of_alone[TINY_TOKENS];
    struct trainer *tr;

    logprobs(t, &r, false, &tr, false, 0.9f, logp, entropy);
    for (int n = 0; n < r.N; n++) {
        int first = r.start[n], length = r.start[n + 1] - first, start[] = { 0, length };

        assert_ok(model_logprobs(tr, r.tokens + first, start, 1, 0.9f, false, alone, of_alone));
        assert_bits(alone, logp + first, length);
        assert_bits(of_alone, entropy + first, length);
        assert_true(logp[first] == 0 && entropy[first] == 0);
    }
    trainer_destroy(tr);
}

static void test_row_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    tiny_each(one_row_alone);
}

/* 300 positions cross from one tile of rows to the next. */
static void test_row_does_not_depend_on_its_place(void **state)
{
    static const int lengths[] = { 300, 29, 90, 0 };

    (void)state;
    for (int c = 0; c < 2; c++) {
        struct tiny t = tiny_open(1, tiny_computes[c]);
        struct rows r = tiny_rows(t.shape, lengths), other = {0};
        float logp[TINY_TOKENS], moved[TINY_TOKENS];
        struct trainer *tr;

        for (int n = r.N - 1; n >= 0; n--) {
            int length = r.start[n + 1] - r.start[n];

            memcpy(other.tokens + other.T, r.tokens + r.start[n], (size_t)length * sizeof(int));
            other.start[++other.N] = other.T += length;
        }
        logprobs(&t, &r, false, &tr, false, 1.0f, logp, NULL);
        assert_ok(model_logprobs(tr, other.tokens, other.start, other.N, 1.0f, false, moved, NULL));
        for (int n = 0; n < r.N; n++)
            assert_bits(logp + r.start[n], moved + other.start[r.N - 1 - n], lengths[n]);
        trainer_destroy(tr);
        tiny_close(&t);
    }
}

static void test_rows_of_a_larger_batch_are_read_in_place(void **state)
{
    struct tiny t = tiny_open(0, "cpu");
    struct rows r = tiny_rows(t.shape, mixed);
    float logp[TINY_TOKENS], part[TINY_TOKENS];
    float *whole = calloc(t.size, sizeof *whole), *cut = calloc(t.size, sizeof *cut);
    struct trainer *tr;

    (void)state;
    for (int i = 0; i < TINY_TOKENS; i++)
        part[i] = 42;
    logprobs(&t, &r, false, &tr, false, 1.0f, logp, NULL);
    assert_ok(model_logprobs(tr, r.tokens, r.start + 1, 3, 1.0f, true, part, NULL));
    assert_bits(part + r.start[1], logp + r.start[1], r.start[4] - r.start[1]);
    assert_true(part[r.start[1] - 1] == 42 && part[r.start[4]] == 42);

    assert_ok(model_backward(tr, r.dlogp, NULL, cut));
    int start[] = { 0, r.start[2] - r.start[1], r.start[3] - r.start[1], r.start[4] - r.start[1] };
    assert_ok(model_backward_finish(tr, cut));
    assert_ok(model_logprobs(tr, r.tokens + r.start[1], start, 3, 1.0f, true, part, NULL));
    assert_ok(model_backward(tr, r.dlogp + r.start[1], NULL, whole));
    assert_ok(model_backward_finish(tr, whole));
    assert_bits(whole, cut, t.size);
    trainer_destroy(tr);
    tiny_close(&t);
    free(whole);
    free(cut);
}

/* ---- micro-batches, recomputation, scoring */

static void leaf(struct tiny *t, const struct rows *r, int rows, bool recompute, float *grads)
{
    float logp[TINY_TOKENS], entropy[TINY_TOKENS];
    struct trainer *tr;

    memset(grads, 0, t->size * sizeof *grads);
    assert_ok(trainer_create(&tr, t->model, r->N, r->T, recompute));
    for (int n = 0; n < r->N; n += rows) {
        int N = n + rows < r->N ? rows : r->N - n;

        assert_ok(model_logprobs(tr, r->tokens, r->start + n, N, 0.8f, true, logp, entropy));
        assert_ok(model_backward(tr, r->dlogp, r->dentropy, grads));
    }
    assert_ok(model_backward_finish(tr, grads));
    trainer_destroy(tr);
}

static void cut_a_leaf(struct tiny *t)
{
    struct rows r = tiny_rows(t->shape, mixed);
    float *whole = malloc(t->size * sizeof *whole), *cut = malloc(t->size * sizeof *cut);

    leaf(t, &r, r.N, false, whole);
    assert_true(whole[largest(whole, t->size)] != 0);
    for (int rows = 1; rows < r.N; rows++) {
        leaf(t, &r, rows, rows % 2, cut);
        assert_bits(whole, cut, t->size);
    }
    leaf(t, &r, r.N, true, cut);
    assert_bits(whole, cut, t->size);
    free(whole);
    free(cut);
}

static size_t no_scratch(struct compute *k, const struct compute_load *load)
{
    (void)k, (void)load;
    return 0;
}

/* More positions than a tile of logits has, of which half have a gradient: kept, made again, and
 * in the large tiles of a GPU. */
static void keep_logits(struct tiny *t)
{
    static const int many[] = { 96, 95, 90, 1, 96, 71, 0 };
    struct rows r = tiny_rows(t->shape, many);
    float *kept = malloc(t->size * sizeof *kept), *again = malloc(t->size * sizeof *again);

    leaf(t, &r, r.N, false, kept);
    leaf(t, &r, r.N, true, again);
    assert_bits(kept, again, t->size);
    t->compute->scratch_bytes = no_scratch;
    leaf(t, &r, r.N, false, again);
    t->compute->scratch_bytes = NULL;
    assert_bits(kept, again, t->size);
    free(kept);
    free(again);
}

static void test_micro_batches_and_recomputation_keep_the_bits(void **state)
{
    (void)state;
    tiny_each(cut_a_leaf);
    tiny_each(keep_logits);
}

/* Rows 0 and 1 to what holds NaN and is written, row 2 (no gradient) to nothing, the rest added;
 * the same as leaf by leaf. */
static void leaves_at_once(struct tiny *t)
{
    struct rows r = tiny_rows(t->shape, mixed);
    float logp[TINY_TOKENS], entropy[TINY_TOKENS], *one[2], *all[2];
    struct leaf_rows leaves[] = { { 2, NULL, true }, { 3, NULL, true }, { r.N, NULL, false } };
    struct model_outputs d = { .logp = r.dlogp, .entropy = r.dentropy };
    struct trainer *tr;

    for (int i = r.start[2]; i < r.start[3]; i++)
        r.dlogp[i] = r.dentropy[i] = 0;
    logprobs(t, &r, true, &tr, false, 0.8f, logp, entropy);
    for (int i = 0; i < 2; i++) {
        one[i] = calloc(t->size, sizeof(float));
        all[i] = malloc(t->size * sizeof(float));
        memset(all[i], i == 0 ? 0xff : 0, t->size * sizeof(float));
        leaves[2 * i].grads = all[i];
    }
    assert_ok(model_backward_leaves(tr, &d, leaves, 3));
    assert_ok(model_backward_finish(tr, all[0]));               /* was at its end: adds nothing */
    assert_ok(model_backward_finish(tr, all[1]));
    for (int i = 0, first = 0; i < 2; first = 3, i++) {
        assert_ok(model_logprobs(tr, r.tokens, r.start + first, (i == 0 ? 2 : r.N) - first, 0.8f,
                                 true, logp, entropy));
        assert_ok(model_backward(tr, r.dlogp, r.dentropy, one[i]));
        assert_ok(model_backward_finish(tr, one[i]));
        assert_bits(all[i], one[i], t->size);
    }
    leaves[1].end = 1;                                          /* no cut */
    assert_ok(model_logprobs(tr, r.tokens, r.start, r.N, 0.8f, true, logp, entropy));
    assert_ok(model_backward(tr, r.dlogp, r.dentropy, all[0]));
    model_backward_forget(tr);                                  /* and nothing of it is left */
    memset(all[1], 0, t->size * sizeof(float));
    assert_ok(model_logprobs(tr, r.tokens, r.start + 3, r.N - 3, 0.8f, true, logp, entropy));
    assert_ok(model_backward(tr, r.dlogp, r.dentropy, all[1]));
    assert_ok(model_backward_finish(tr, all[1]));
    assert_bits(all[1], one[1], t->size);
    assert_ok(model_logprobs(tr, r.tokens, r.start, r.N, 0.8f, true, logp, entropy));
    assert_int_equal(model_backward_leaves(tr, &d, leaves, 3), RL_EBUG);
    assert_int_equal(model_backward_leaves(tr, &d, leaves, 1), RL_EBUG);
    trainer_destroy(tr);
    for (int i = 0; i < 2; i++) {
        free(one[i]);
        free(all[i]);
    }
}

static void test_leaves_in_one_pass_keep_the_bits(void **state)
{
    (void)state;
    tiny_each(leaves_at_once);
}

static void test_backward_twice_gives_the_same(void **state)
{
    struct tiny t = tiny_open(0, "cpu");
    struct rows r = tiny_rows(t.shape, mixed);
    float logp[TINY_TOKENS];
    float *a = calloc(t.size, sizeof *a), *b = calloc(t.size, sizeof *b);
    struct trainer *tr;

    (void)state;
    logprobs(&t, &r, true, &tr, false, 1.0f, logp, NULL);
    assert_ok(model_backward(tr, r.dlogp, NULL, a));
    assert_ok(model_backward_finish(tr, a));
    assert_ok(model_backward(tr, r.dlogp, NULL, b));
    assert_ok(model_backward_finish(tr, b));
    assert_bits(a, b, t.size);
    trainer_destroy(tr);
    tiny_close(&t);
    free(a);
    free(b);
}

static void score(struct tiny *t)
{
    struct rows r = tiny_rows(t->shape, mixed);
    float logp[TINY_TOKENS], scored[TINY_TOKENS];
    struct trainer *tr, *scorer;

    logprobs(t, &r, true, &tr, true, 1.0f, logp, NULL);
    assert_ok(trainer_create_scoring(&scorer, t->model, r.N, r.T));
    assert_ok(model_logprobs(scorer, r.tokens, r.start, r.N, 1.0f, false, scored, NULL));
    assert_bits(logp, scored, r.T);
    trainer_destroy(tr);
    trainer_destroy(scorer);
}

static void test_scoring_gives_the_learners_bits(void **state)
{
    (void)state;
    tiny_each(score);
}

static void test_memory_grows_from_scoring_to_recomputation_to_keeping_all(void **state)
{
    struct tiny t = tiny_open(0, "ref");
    size_t least = trainer_bytes_scoring(t.shape, t.compute, 4, 100);
    size_t some = trainer_bytes(t.shape, t.compute, 4, 100, true);
    size_t most = trainer_bytes(t.shape, t.compute, 4, 100, false);

    (void)state;
    assert_true(0 < least && least < some && some < most);
    tiny_close(&t);
}

/* ---- mistakes */

static void expect(int got, int code, const char *words)
{
    assert_int_equal(got, code);
    if (!strstr(status_message(), words))
        fail_msg("'%s' does not say '%s'", status_message(), words);
}

static void test_bad_rows_are_refused_before_anything_is_touched(void **state)
{
    struct tiny t = tiny_open(0, "ref");
    int tokens[128] = {0}, one[] = { 0, 3 }, longest[] = { 0, 97 }, two[] = { 0, 3, 6 };
    int backwards[] = { 0, 3, 1 };
    float logp[128], grads[1];
    struct trainer *tr, *scorer;

    (void)state;
    status_hold(true);
    assert_ok(trainer_create(&tr, t.model, 1, 120, false));
    expect(model_backward(tr, logp, NULL, grads), RL_EBUG, "without a forward pass");
    tokens[2] = 70;
    expect(model_logprobs(tr, tokens, one, 1, 1, true, logp, NULL), RL_EINVAL, "token id 70");
    tokens[2] = -1;
    expect(model_logprobs(tr, tokens, one, 1, 1, true, logp, NULL), RL_EINVAL, "token id -1");
    tokens[2] = 0;
    expect(model_logprobs(tr, tokens, longest, 1, 1, true, logp, NULL), RL_EINVAL, "context is 96");
    expect(model_logprobs(tr, tokens, two, 2, 1, true, logp, NULL), RL_EBUG, "planned for 1");
    expect(model_logprobs(tr, tokens, one, 1, 0, true, logp, NULL), RL_EINVAL, "temperature");
    expect(model_logprobs(tr, tokens, one, 1, NAN, true, logp, NULL), RL_EINVAL, "temperature");
    trainer_destroy(tr);
    assert_ok(trainer_create(&tr, t.model, 2, 5, false));
    expect(model_logprobs(tr, tokens, two, 2, 1, true, logp, NULL), RL_EBUG, "6 tokens");
    expect(model_logprobs(tr, tokens, backwards, 2, 1, true, logp, NULL), RL_EBUG, "row 1");
    assert_ok(model_logprobs(tr, tokens, one, 1, 1, true, logp, NULL));
    model_changed(t.model);
    expect(model_backward(tr, logp, NULL, grads), RL_EBUG, "weights changed");
    trainer_destroy(tr);
    assert_ok(trainer_create_scoring(&scorer, t.model, 2, 5));
    expect(model_logprobs(scorer, tokens, one, 1, 1, true, logp, NULL), RL_EBUG, "scoring");
    trainer_destroy(scorer);
    status_hold(false);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_in_parts_are_the_weights),
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_row_does_not_depend_on_its_batch),
        cmocka_unit_test(test_row_does_not_depend_on_its_place),
        cmocka_unit_test(test_rows_of_a_larger_batch_are_read_in_place),
        cmocka_unit_test(test_micro_batches_and_recomputation_keep_the_bits),
        cmocka_unit_test(test_leaves_in_one_pass_keep_the_bits),
        cmocka_unit_test(test_backward_twice_gives_the_same),
        cmocka_unit_test(test_scoring_gives_the_learners_bits),
        cmocka_unit_test(test_memory_grows_from_scoring_to_recomputation_to_keeping_all),
        cmocka_unit_test(test_bad_rows_are_refused_before_anything_is_touched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
