/* RACO in one process: every rule in every mode learns, the modes agree with each other, and the
 * limits are what they should be, to the bit. */
#include <math.h>

#include "tests/raco_alone.h"

static const char *const modes[] = { "store", "two_pass", "sketch" };
static const char *const rules[] = { "raco", "cagrad", "mgda", "pcgrad", "weighted_sum" };
#define MODES 3
#define RULES 5

/* n updates on one batch; returns the weights, the caller frees them. */
static float *weights_after(struct config config, int n)
{
    struct run r;
    float *w;

    open_alone(&r, config);
    w = malloc(r.tiny.size * sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < n; i++)
        update(&r);
    memcpy(w, model_weights(r.tiny.model), r.tiny.size * sizeof *w);
    close_run(&r);
    return w;
}

static void check_same_bits(struct config a, struct config b)
{
    float *x = weights_after(a, 3), *y = weights_after(b, 3);

    assert_bits(x, y, model_size(&tiny_shapes[0]));
    free(x);
    free(y);
}

/* ---- it learns */

static double weighted_loss(const struct run *r)
{
    double sum = 0;

    for (int i = 0; i < raco_of(r)->K; i++) {
        char name[64];

        snprintf(name, sizeof name, "raco/loss/%s", some_rewards[i].name);
        sum += raco_of(r)->w[i] * metrics_get(r->m, name, 1e9);
    }
    return sum;
}

static void test_every_rule_learns_in_every_mode(void **state)
{
    (void)state;
    for (int rule = 0; rule < RULES; rule++)
        for (int mode = 0; mode < MODES; mode++) {
            struct run r;
            double first, last;

            open_alone(&r, objectives(rules[rule], modes[mode], 2 + mode % 2));
            update(&r);
            first = weighted_loss(&r);
            for (int i = 0; i < 20; i++)
                update(&r);
            last = weighted_loss(&r);
            if (!(fabs(first - 0.69314718056) < 1e-9) || !(last < 0.97 * first))
                fail_msg("%s, %s: loss %g, after 20 updates %g", rules[rule], modes[mode], first,
                         last);
            assert_int_equal(r.learner->version, 21);
            close_run(&r);
        }
}

/* ---- the modes agree */

static double length(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* H and the combined gradient of the second update, when the losses are no longer all log 2. */
static void check_modes_agree(struct config c, double tolerance)
{
    struct run a, b;
    size_t n;
    int K = c.n_rewards;
    float *difference;

    c.raco.mode = "store";
    open_alone(&a, c);
    c.raco.mode = "two_pass";
    open_alone(&b, c);
    n = a.tiny.size;
    difference = malloc(n * sizeof *difference);
    update(&a);
    update(&b);
    memcpy(model_weights(b.tiny.model), model_weights(a.tiny.model), n * sizeof(float));
    model_changed(b.tiny.model);
    update(&a);
    update(&b);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            const double *x = raco_of(&a)->H, *y = raco_of(&b)->H;
            double scale = sqrt(x[i * K + i] * x[j * K + j]);

            if (!(fabs(x[i * K + j] - y[i * K + j]) <= tolerance * scale))
                fail_msg("H[%d][%d] is %.12g, by blocks %.12g", i, j, x[i * K + j], y[i * K + j]);
        }
    for (size_t i = 0; i < n; i++)
        difference[i] = a.learner->policy.grads[i] - b.learner->policy.grads[i];
    assert_true(length(difference, n) <= tolerance * length(a.learner->policy.grads, n));
    assert_true(length(a.learner->policy.grads, n) > 0);
    free(difference);
    close_run(&a);
    close_run(&b);
}

static void test_store_and_two_pass_agree(void **state)
{
    static const char *const pairings[] = { "pair", "best_worst", "all" };

    (void)state;
    for (int K = 2; K <= 3; K++)
        for (int p = 0; p < 3; p++) {
            struct config c = objectives("raco", "store", K);

            c.dpo.pairing = (char *)pairings[p];
            check_modes_agree(c, 1e-6);
            c.dpo.loss = "ipo";
            check_modes_agree(c, 1e-6);
            c.recompute = true;
            check_modes_agree(c, 1e-6);
        }
}

static void test_store_and_two_pass_agree_on_a_part(void **state)
{
    static const char *const scopes[] = { "last", "head" };

    (void)state;
    for (int s = 0; s < 2; s++) {
        struct config c = objectives("raco", "store", 2);

        c.raco.gram_scope = (char *)scopes[s];
        check_modes_agree(c, 1e-6);
    }
}

static void test_a_sketch_is_near(void **state)
{
    struct run exact, sketch;
    struct config c = objectives("raco", "store", 2);
    double norm;

    (void)state;
    open_alone(&exact, c);
    c.raco.mode = "sketch";
    c.raco.buckets = 65536;
    open_alone(&sketch, c);
    update(&exact);
    update(&sketch);
    norm = raco_of(&exact)->report.update_norm;
    assert_true(norm > 0);
    assert_true(fabs(raco_of(&sketch)->report.update_norm - norm) < 0.02 * norm);
    assert_true(raco_of(&sketch)->H[0] != raco_of(&exact)->H[0]);       /* it is a projection */
    close_run(&exact);
    close_run(&sketch);
}

static void test_micro_batches_change_no_bit(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++) {
        struct config small = objectives("raco", modes[mode], 2), large = small;

        small.micro_rows = 1;
        small.dpo.pairing = large.dpo.pairing = "all";
        large.micro_rows = 1000;
        large.recompute = true;
        check_same_bits(small, large);
    }
}

/* ---- limits */

static void test_one_objective_is_dpo_to_the_bit(void **state)
{
    (void)state;
    for (int rule = 0; rule < RULES; rule++)
        for (int mode = 0; mode < MODES; mode++) {
            struct config dpo = objectives("online_dpo", "store", 1);
            struct config raco = objectives(rules[rule], modes[mode], 1);

            raco.dpo.pairing = dpo.dpo.pairing = "best_worst";
            check_same_bits(dpo, raco);
        }
}

static void test_one_objective_taken_literally(void **state)
{
    struct config c = objectives("raco", "store", 1);
    struct run r;

    (void)state;
    c.raco.k1_is_dpo = false;
    open_alone(&r, c);
    update(&r);
    assert_true(fabs(raco_of(&r)->a[0] - 1.4) < 1e-12);
    assert_true(fabs(raco_of(&r)->report.update_norm / raco_of(&r)->report.g0_norm - 1.4) < 1e-12);
    close_run(&r);
}

static void test_no_radius_is_the_weighted_sum_to_the_bit(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++) {
        struct config sum = objectives("weighted_sum", "store", 3);
        struct config raco = objectives("raco", modes[mode], 3);

        raco.raco.c = 0;
        check_same_bits(sum, raco);
    }
}

/* Two objectives with one score: every pair is common, and the step is 1 + c times DPO's. */
static void test_objectives_that_agree_are_run_once(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        struct run r;
        const double *H;

        open_alone(&r, objectives("raco", modes[mode], 2));
        for (int n = 0; n < r.b->N; n++)
            r.b->reward[2 * n + 1] = 3 * r.b->reward[2 * n];
        update(&r);
        H = raco_of(&r)->H;
        assert_int_equal(raco_of(&r)->kinds, KIND_COMMON);
        assert_true(metrics_get(r.m, "raco/agree_frac", 0) == 1);
        assert_true(H[0] > 0 && H[0] == H[1] && H[0] == H[3]);
        assert_true(fabs(raco_of(&r)->a[0] + raco_of(&r)->a[1] - 1.4) < 1e-12);
        assert_true(fabs(metrics_get(r.m, "raco/cos/one_two", 0) - 1) < 1e-12);
        close_run(&r);
    }
}

/* Scores that are opposite everywhere: opposite gradients, an update along the anchor. */
static void test_opposite_objectives(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, objectives("raco", "store", 2));
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[2 * n + 1] = -r.b->reward[2 * n];
    update(&r);
    assert_int_equal(raco_of(&r)->kinds, KIND_OWN);
    assert_true(metrics_get(r.m, "raco/agree_frac", 1) == 0);
    assert_true(fabs(metrics_get(r.m, "raco/cos/one_two", 0) + 1) < 1e-6);
    close_run(&r);
}

static void test_an_objective_of_ties_stays_out(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++) {
        struct run r;

        open_alone(&r, objectives("raco", modes[mode], 2));
        for (int n = 0; n < r.b->N; n++)
            r.b->reward[2 * n + 1] = 5;
        update(&r);
        assert_true(metrics_get(r.m, "raco/tie_frac/two", 0) == 1);
        assert_false(metrics_has(r.m, "raco/accuracies/two"));
        assert_true(raco_of(&r)->H[3] == 0);
        assert_true(raco_of(&r)->a[1] == 0.7);
        assert_true(raco_of(&r)->a[0] > 0.3);
        close_run(&r);
    }
}

static void test_nothing_to_learn_keeps_the_weights(void **state)
{
    (void)state;
    for (int mode = 0; mode < MODES; mode++) {
        struct run r;
        float *before;

        open_alone(&r, objectives("raco", modes[mode], 2));
        before = malloc(r.tiny.size * sizeof *before);
        memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
        for (int n = 0; n < 2 * r.b->N; n++)
            r.b->reward[n] = 5;
        assert_ok(learner_update(r.learner, r.b, r.m));
        assert_bits(before, model_weights(r.tiny.model), r.tiny.size);
        assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
        assert_true(metrics_get(r.m, "mismatch/logp_abs_max", 1) == 0);
        free(before);
        close_run(&r);
    }
}

/* A gradient that is no number: the step is skipped and counted, the next one is sound. */
static void test_bad_gradients_skip_the_step(void **state)
{
    struct run r;
    struct raco *raco;
    float *before;

    (void)state;
    open_alone(&r, objectives("raco", "store", 2));
    raco = raco_of(&r);
    before = malloc(r.tiny.size * sizeof *before);
    memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    raco->pair_set.beta = 1e300;        /* beyond a float: the slopes are infinite */
    update(&r);
    assert_bits(before, model_weights(r.tiny.model), r.tiny.size);
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    assert_true(metrics_get(r.m, "raco/solver_fallback", 0) == 1);
    raco->pair_set.beta = 0.1;
    metrics_clear(r.m);
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 1) == 0);
    assert_true(memcmp(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before) != 0);
    free(before);
    close_run(&r);
}

/* ---- between two solves; what a checkpoint holds */

static void test_coefficients_serve_until_the_next_solve(void **state)
{
    struct config c = objectives("raco", "store", 2);
    struct learner_value values[LEARNER_VALUES];
    struct run r;
    double a[2];
    int n;

    (void)state;
    c.raco.refresh = 3;
    open_alone(&r, c);
    for (int i = 0; i < 7; i++) {
        metrics_clear(r.m);
        update(&r);
        assert_int_equal(metrics_has(r.m, "raco/duality_gap"), i % 3 == 0);
        if (i % 3 > 0)
            assert_true(raco_of(&r)->a[0] == a[0] && raco_of(&r)->a[1] == a[1]);
        memcpy(a, raco_of(&r)->a, sizeof a);
    }
    n = learner_values(r.learner, values);
    assert_string_equal(values[n - 1].name, "raco_coefficients");
    assert_true(values[n - 1].n == 2 && values[n - 1].x[0] == a[0]);
    close_run(&r);
}

/* ---- memory */

static int64_t bytes_of(const char *mode, int K)
{
    struct config c = objectives("raco", mode, K);
    struct compute *k;
    int64_t bytes;

    assert_ok(compute_open(&k, "cpu", "fp32", 1));
    bytes = learner_bytes(&(struct learner_size){ .config = &c, .policy = &tiny_shapes[0],
                          .compute = k, .ranks = 1, .P = TINY_P, .k = TINY_K,
                          .max_row_tokens = TINY_ROW });
    compute_close(k);
    assert_true(bytes > 0);
    return bytes;
}

/* Tables of a few doubles a pair grow too; they are small beside gradients. */
static void test_two_pass_grows_by_one_layer_an_objective(void **state)
{
    const struct model_shape *s = &tiny_shapes[0];
    int64_t tables = 8192, most = 0, all = (int64_t)(model_size(s) * sizeof(float));
    int64_t two_pass = bytes_of("two_pass", 3) - bytes_of("two_pass", 2);
    int64_t store = bytes_of("store", 3) - bytes_of("store", 2);
    size_t from, count;

    (void)state;
    for (int b = 0; b < model_blocks(s); b++)
        for (int part = 0; part < model_parts(s, b); part++) {
            model_part_range(s, b, part, &from, &count);
            if ((int64_t)(count * sizeof(float)) > most)
                most = (int64_t)(count * sizeof(float));
        }
    model_part_range(s, 1, 0, &from, &count);
    assert_true(most <= (int64_t)(count * sizeof(float)));
    assert_true(most < all / 2);
    if (!(two_pass <= most + tables))
        fail_msg("an objective more takes %lld bytes, a layer %lld", (long long)two_pass,
                 (long long)most);
    assert_true(store >= 2 * all);      /* a gradient and its tree */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rule_learns_in_every_mode),
        cmocka_unit_test(test_store_and_two_pass_agree),
        cmocka_unit_test(test_store_and_two_pass_agree_on_a_part),
        cmocka_unit_test(test_a_sketch_is_near),
        cmocka_unit_test(test_micro_batches_change_no_bit),
        cmocka_unit_test(test_one_objective_is_dpo_to_the_bit),
        cmocka_unit_test(test_one_objective_taken_literally),
        cmocka_unit_test(test_no_radius_is_the_weighted_sum_to_the_bit),
        cmocka_unit_test(test_objectives_that_agree_are_run_once),
        cmocka_unit_test(test_opposite_objectives),
        cmocka_unit_test(test_an_objective_of_ties_stays_out),
        cmocka_unit_test(test_nothing_to_learn_keeps_the_weights),
        cmocka_unit_test(test_bad_gradients_skip_the_step),
        cmocka_unit_test(test_coefficients_serve_until_the_next_solve),
        cmocka_unit_test(test_two_pass_grows_by_one_layer_an_objective),
    };

    return cmocka_run_group_tests(tests, setup_alone, close_alone);
}
