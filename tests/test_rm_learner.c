/* The reward-model stage in one process: every verdict learns, gradients are slopes, how the work
 * is cut changes no bit, and what is frozen stays. */
#include <math.h>

#include "learner/internal.h"
#include "tests/tiny_learner.h"

static struct comm *alone;

/* ---- the settings that are tried */

#define KINDS 13

static struct config kind(int i)
{
    static const char *const algorithm[KINDS] = {
        "reward_model", "reward_model", "reward_model", "reward_model",
        "pal", "pal", "pal", "gpm", "gpm", "gpm", "more", "more", "more",
    };
    struct config c = settings(algorithm[i]);

    if (i == 1)
        c.reward_model.heads = "objectives";
    if (i == 2)
        c.reward_model.link = "hinge";
    if (i == 3)
        c.reward_model.margin = "scores", c.reward_model.margin_scale = 0.25;
    if (i == 5)
        c.pal.model = "b";
    if (i == 6)
        c.pal.distance = "cosine";
    if (i == 8)
        c.gpm.scale = "learned", c.gpm.unit = false;
    if (i == 9)
        c.gpm.scale = "prompt";
    if (i == 11)
        c.more.normalise = "norm";
    if (i == 12)
        c.more.normalise = "loss";
    return c;
}

static void open_kind(struct run *r, struct config c, const char *compute)
{
    open_run(r, c, compute, alone, TINY_P);
}

static float *weights_after(struct config c, int n, const char *compute)
{
    struct run r;
    float *w;

    open_kind(&r, c, compute);
    w = malloc(r.tiny.size * sizeof *w);
    for (int i = 0; i < n; i++)
        update(&r);
    memcpy(w, model_weights(r.tiny.model), r.tiny.size * sizeof *w);
    close_run(&r);
    return w;
}

/* ---- facts */

static void test_every_kind_learns_a_fixed_preference(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct config c = kind(i);
        struct run r;
        double first, last = 0;

        open_kind(&r, c, "cpu");
        first = update(&r);
        for (int n = 0; n < 40; n++)
            last = update(&r);
        if (!(last < 0.7 * first))
            fail_msg("kind %d: %g, after 40 updates %g", i, first, last);
        assert_true(metrics_get(r.m, "rm/train_accuracy", 0) > 0.8);
        close_run(&r);
    }
}

/* The loss with one weight moved by d. */
static double loss_with(struct config c, const struct array *a, size_t e, double d)
{
    struct run r;
    double loss;

    open_kind(&r, c, "cpu");
    model_weights(r.tiny.model)[a->offset + e] += (float)d;
    model_changed(r.tiny.model);
    loss = update(&r);
    close_run(&r);
    return loss;
}

static size_t largest(const float *g, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (fabsf(g[i]) > fabsf(g[best]))
            best = i;
    return best;
}

/* MORE's weights are constants for the gradient, so its loss has another slope. */
static void test_gradient_is_the_slope(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct config c = kind(i);
        const struct array *arrays;
        struct run r;
        int n;

        open_kind(&r, c, "cpu");
        update(&r);
        arrays = model_arrays(r.tiny.model, &n);
        for (int a = n > 6 ? n - 6 : 0; a < n; a++) {
            const float *g = r.learner->policy.grads + arrays[a].offset;
            size_t e = largest(g, arrays[a].size);
            double h = 0.004;
            double slope = (8 * (loss_with(c, &arrays[a], e, h) - loss_with(c, &arrays[a], e, -h)) -
                            loss_with(c, &arrays[a], e, 2 * h) +
                            loss_with(c, &arrays[a], e, -2 * h)) / (12 * h);
            if (!(fabs(slope - g[e]) <= 3e-3 * fabsf(g[e]) + 3e-4))
                fail_msg("kind %d, %s[%zu]: gradient %g, slope %g", i, arrays[a].name, e,
                         (double)g[e], slope);
        }
        close_run(&r);
    }
}

static void test_micro_batches_and_backends_keep_the_bits(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct config c = kind(i);
        size_t size;
        float *want, *got;
        struct run r;

        open_kind(&r, c, "cpu");
        size = r.tiny.size;
        close_run(&r);
        want = weights_after(c, 3, "cpu");
        for (int micro = 4; micro <= 24; micro += 20) {
            c.micro_rows = micro;
            c.recompute = micro == 24;
            got = weights_after(c, 3, micro == 24 ? "cpu-plain" : "ref");
            assert_bits(want, got, size);
            free(got);
        }
        free(want);
    }
}

/* ---- what is frozen stays */

static void frozen(struct config c, const char *trained)
{
    struct run r, before;
    int n;
    const struct array *arrays;

    open_kind(&before, c, "cpu");
    open_kind(&r, c, "cpu");
    for (int i = 0; i < 3; i++)
        update(&r);
    arrays = model_arrays(r.tiny.model, &n);
    for (int a = 0; a < n; a++) {
        const float *was = model_weights(before.tiny.model) + arrays[a].offset;
        bool same = memcmp(was, arrays[a].data, arrays[a].size * sizeof(float)) == 0;
        bool head = strcmp(trained, "head") == 0 ? model_is_score(arrays[a].name)
                                                 : strcmp(arrays[a].name, trained) == 0;
        if (same == head)
            fail_msg("%s was %s", arrays[a].name, same ? "not trained" : "trained");
    }
    close_run(&before);
    close_run(&r);
}

static void test_only_the_head_is_trained(void **state)
{
    struct config c = kind(4);

    (void)state;
    c.reward_model.train = "head";
    c.adam.weight_decay = 0.1;
    frozen(c, "head");
}

static void test_only_the_users_are_fitted(void **state)
{
    struct config c = kind(4);

    (void)state;
    c.pal.fit = "users";
    c.adam.weight_decay = 0.1;
    frozen(c, PAL_USERS);
    c.pal.model = "b";
    frozen(c, PAL_USERS);
}

/* ---- pairs */

static void test_ties_copies_and_absent_rows_are_no_pairs(void **state)
{
    struct run r;
    struct batch *b;

    (void)state;
    open_kind(&r, kind(0), "cpu");
    b = r.b;
    for (int n = 0; n < b->N; n++)
        b->reward[n] = 1;                       /* ties */
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    assert_true(metrics_get(r.m, "data/dropped_frac", 0) == 1);
    for (int n = 0; n < b->N; n++)
        b->reward[n] = n, b->weight[n] = n % TINY_K == 0;
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    for (int n = 0; n < b->N; n++)
        b->weight[n] = 1, b->reward[n] = n % TINY_K < 2 ? n : NAN;
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 1) == 0);
    assert_true(metrics_get(r.m, "data/dropped_frac", 1) == 0);
    close_run(&r);
}

/* ---- MORE */

static void test_data_sets_that_agree_share_and_weights_add_to_one(void **state)
{
    (void)state;
    for (int i = 10; i < KINDS; i++) {
        struct run r;
        double a, b;

        open_kind(&r, kind(i), "cpu");
        for (int n = 0; n < 4; n++)
            update(&r);
        a = metrics_get(r.m, "more/lambda/0", -1);
        b = metrics_get(r.m, "more/lambda/1", -1);
        assert_true(a >= 0 && b >= 0);
        assert_float_equal(a + b, 1, 1e-12);
        close_run(&r);
    }
}

/* ---- held out */

static void test_held_out_pairs_give_accuracy_and_a_temperature(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        struct learner_value values[LEARNER_VALUES];
        struct config c = kind(i);
        struct run r;
        int n;

        open_kind(&r, c, "cpu");
        for (int k = 0; k < 60; k++)
            update(&r);
        assert_ok(learner_held_out(r.learner, r.b, 0, r.m, "eval/x/"));
        if (i != 1)             /* there file 0 is head 0's, and half of the records are not */
            assert_true(metrics_get(r.m, "eval/x/accuracy", 0) > 0.8);
        assert_true(metrics_get(r.m, "rm/accuracy", 0) == metrics_get(r.m, "eval/x/accuracy", 1));
        assert_true(metrics_get(r.m, "rm/temperature", 0) > 0);
        assert_true(metrics_has(r.m, "rm/ece") && metrics_has(r.m, "rm/ece_fitted"));
        n = learner_values(r.learner, values);
        for (int v = 0; v < n; v++)
            if (strcmp(values[v].name, "rm_temperature") == 0)
                assert_true(values[v].x[0] == metrics_get(r.m, "rm/temperature", 0));
        close_run(&r);
    }
}

static int make_team(void **state)
{
    (void)state;
    alone = comm_alone();
    return alone ? 0 : -1;
}

static int end_team(void **state)
{
    (void)state;
    comm_stop(alone);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_learns_a_fixed_preference),
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_micro_batches_and_backends_keep_the_bits),
        cmocka_unit_test(test_only_the_head_is_trained),
        cmocka_unit_test(test_only_the_users_are_fitted),
        cmocka_unit_test(test_ties_copies_and_absent_rows_are_no_pairs),
        cmocka_unit_test(test_data_sets_that_agree_share_and_weights_add_to_one),
        cmocka_unit_test(test_held_out_pairs_give_accuracy_and_a_temperature),
    };

    return cmocka_run_group_tests(tests, make_team, end_team);
}
