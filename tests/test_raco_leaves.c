/* A solve for every leaf (raco.solve = "leaf"): the step's gradient is the sum of what each leaf's
 * pairs alone would give, in any cut into micro-batches. */
#include <math.h>

#include "tests/raco_alone.h"

static struct config leaf_settings(int leaves)
{
    struct config c = objectives("raco", "store", 2);

    c.raco.solve = "leaf";
    c.reduction_leaves = leaves;
    c.clip_norm = 0;            /* the gradients stay as they were made */
    return c;
}

/* The gradient of the second update, when margins are no longer 0; the caller frees it.  Both runs
 * of a comparison take their first step with the weighted sum. */
static float *second_gradient(struct run *r, struct config c, int only_leaf)
{
    struct config start = c;
    struct run first;
    float *grads;

    start.algorithm = "weighted_sum";
    start.raco.solve = "step";
    open_alone(&first, start);
    update(&first);
    open_alone(r, c);
    memcpy(model_weights(r->tiny.model), model_weights(first.tiny.model),
           r->tiny.size * sizeof(float));
    model_changed(r->tiny.model);
    close_run(&first);
    r->learner->version = 1;
    for (int leaf = 0; only_leaf >= 0 && leaf < (int)c.reduction_leaves; leaf++) {
        int from, end;

        leaf_groups(r->learner, r->b, leaf, &from, &end);
        for (int i = from * TINY_K * 2; leaf != only_leaf && i < end * TINY_K * 2; i++)
            r->b->reward[i] = 0;        /* all equal: no objective has an opinion */
    }
    for (int n = 0; n < r->b->N; n++)
        r->b->version[n] = 1;
    update(r);
    grads = malloc(r->tiny.size * sizeof *grads);
    assert_non_null(grads);
    memcpy(grads, r->learner->policy.grads, r->tiny.size * sizeof *grads);
    return grads;
}

static double distance(const float *x, const double *y, size_t n)
{
    double difference = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        size += y[i] * y[i];
    }
    assert_true(size > 0);
    return sqrt(difference / size);
}

static void test_the_step_is_the_sum_of_its_leaves(void **state)
{
    struct run whole, part;
    float *step = second_gradient(&whole, leaf_settings(2), -1);
    double *sum = calloc(whole.tiny.size, sizeof *sum), a[2] = { 0 };

    (void)state;
    assert_non_null(sum);
    for (int leaf = 0; leaf < 2; leaf++) {
        struct config c = leaf_settings(2);
        float *grads;

        c.raco.solve = "step";
        grads = second_gradient(&part, c, leaf);
        for (size_t i = 0; i < part.tiny.size; i++)
            sum[i] += (double)grads[i];
        for (int i = 0; i < 2; i++)
            a[i] += raco_of(&part)->a[i] / 2;
        assert_true(fabs(raco_of(&part)->a[0] - raco_of(&whole)->a[0]) > 1e-3);
        free(grads);
        close_run(&part);
    }
    assert_true(distance(step, sum, whole.tiny.size) < 1e-5);
    for (int i = 0; i < 2; i++)
        assert_true(fabs(raco_of(&whole)->a[i] - a[i]) < 1e-5);
    free(sum);
    free(step);
    close_run(&whole);
}

static void test_one_leaf_is_one_solve(void **state)
{
    struct config c = leaf_settings(1);
    struct run leaf, step;
    float *x = second_gradient(&leaf, c, -1), *y;
    double *wide = malloc(leaf.tiny.size * sizeof *wide);

    (void)state;
    assert_non_null(wide);
    c.raco.solve = "step";
    y = second_gradient(&step, c, -1);
    for (size_t i = 0; i < leaf.tiny.size; i++)
        wide[i] = (double)y[i];
    assert_true(distance(x, wide, leaf.tiny.size) < 1e-5);
    assert_true(metrics_get(leaf.m, "raco/duality_gap", 1) < 1e-8);
    free(wide);
    free(x);
    free(y);
    close_run(&leaf);
    close_run(&step);
}

static void test_micro_batches_change_no_bit(void **state)
{
    struct config c = leaf_settings(2);
    struct run a, b;
    float *x, *y;

    (void)state;
    c.micro_rows = 2;
    x = second_gradient(&a, c, -1);
    c.micro_rows = 16;
    y = second_gradient(&b, c, -1);
    assert_bits(x, y, a.tiny.size);
    free(x);
    free(y);
    close_run(&a);
    close_run(&b);
}

static void test_a_bad_leaf_skips_the_step(void **state)
{
    struct run r;
    float *before;

    (void)state;
    open_alone(&r, leaf_settings(2));
    update(&r);
    before = malloc(r.tiny.size * sizeof *before);
    assert_non_null(before);
    memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    raco_of(&r)->pair_set.beta = 1e300;         /* slopes that no float holds */
    update(&r);
    assert_bits(before, model_weights(r.tiny.model), r.tiny.size);
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    raco_of(&r)->pair_set.beta = 0.1;
    metrics_clear(r.m);
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 1) == 0);
    assert_true(memcmp(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before) != 0);
    free(before);
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_step_is_the_sum_of_its_leaves),
        cmocka_unit_test(test_one_leaf_is_one_solve),
        cmocka_unit_test(test_micro_batches_change_no_bit),
        cmocka_unit_test(test_a_bad_leaf_skips_the_step),
    };

    return cmocka_run_group_tests(tests, setup_alone, close_alone);
}
