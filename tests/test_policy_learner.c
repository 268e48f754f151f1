/* Policy gradients through the whole learner, for every algorithm that is one: it learns, its
 * gradient is the slope, and no cut of the work changes a bit. */
#include <math.h>

#include "tests/tiny_policy.h"

static double sum_of(const struct batch *b, const float *x, int n)
{
    double sum = 0;

    for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
        sum += (double)x[t];
    return sum;
}

static void logprobs(struct run *r, float *logp)
{
    struct trainer *t;

    assert_ok(trainer_create(&t, r->tiny.model, r->b->N, r->b->T, false));
    assert_ok(model_logprobs(t, r->b->tokens, r->b->start, r->b->N, 1.0f, false, logp, NULL));
    trainer_destroy(t);
}

/* How much more likely responses of more than their group's mean score became. */
static double gained(struct run *r)
{
    float logp[TINY_P * TINY_K * TINY_ROW];
    double sum = 0;

    logprobs(r, logp);
    for (int n = 0; n < r->b->N; n++) {
        double mean = 0;
        for (int i = 0; i < TINY_K; i++)
            mean += r->b->reward[n / TINY_K * TINY_K + i] / TINY_K;
        sum += (r->b->reward[n] - mean) * (sum_of(r->b, logp, n) - sum_of(r->b, r->b->actor_logp,
                                                                          n));
    }
    return sum;
}

static void test_what_scores_well_becomes_likely(void **state)
{
    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        struct run r;
        c.ppo.max_resample = 0;
        c.ppo.overlong = 0;
        open_alone(&r, c, "cpu");
        for (int i = 0; i < 3; i++)
            update(&r);
        if (!(gained(&r) > 0.1))
            fail_msg("%s: gained %g", a->name, gained(&r));
        assert_int_equal(r.learner->version, 3);
        close_run(&r);
    }
}

/* ---- the first mini-batch */

static void test_first_minibatch(void **state)
{
    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        struct run r;
        c.ppo.epochs = c.ppo.minibatches = 1;
        open_alone(&r, c, "cpu");
        update(&r);
        assert_true(metrics_get(r.m, "policy/ratio/mean", 0) == 1);
        assert_true(metrics_get(r.m, "policy/ratio/max", 0) == 1);
        assert_true(metrics_get(r.m, "policy/ratio/var", 1) == 0);
        assert_true(metrics_get(r.m, "kl/approx", 1) == 0);
        assert_true(metrics_get(r.m, "policy/clipfrac", 1) == 0);
        assert_true(metrics_get(r.m, "mismatch/logp_abs_max", 1) == 0);
        close_run(&r);
    }
}

static void test_another_actor_is_an_error(void **state)
{
    struct config c = settings("ppo");
    struct run r;

    (void)state;
    c.ppo.minibatches = 1;
    open_alone(&r, c, "ref");
    r.b->actor_logp[r.b->start[2] - 1] *= 1 + 1e-6f;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    assert_true(learner_whole(r.learner));
    close_run(&r);
}

/* Weights between two mini-batches belong to no step. */
static void test_a_failure_half_way_is_known(void **state)
{
    struct config c = settings("grpo");
    struct run r;

    (void)state;
    c.lr = 1e30;
    c.clip_norm = 0;
    c.ppo.epochs = 6;
    open_alone(&r, c, "cpu");
    status_hold(true);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    assert_int_equal(r.learner->version, 0);
    assert_false(learner_whole(r.learner));
    status_drop();
    status_hold(false);
    close_run(&r);
}

/* ---- gradients */

static double loss_at(struct run *r, struct tiny *of, size_t at, float x, const char *metric)
{
    model_weights(of->model)[at] = x;
    model_changed(of->model);
    metrics_clear(r->m);
    assert_ok(learner_update(r->learner, r->b, r->m));
    return metrics_get(r->m, metric, NAN);
}

/* The moment of an update that changes nothing is the gradient; the loss at both sides is told by
 * further updates of that kind. */
static void check_slope(const char *name, struct run *r, struct tiny *of, const float *m, size_t at,
                        const char *metric, double scale)
{
    float x = model_weights(of->model)[at], h = 4e-3f;
    double slope = (double)m[at] / (double)(1 - 0.9f);
    double up = loss_at(r, of, at, x + h, metric), down = loss_at(r, of, at, x - h, metric);
    double measured = scale * (up - down) / ((double)(x + h) - (double)(x - h));

    if (fabs(measured - slope) > 3e-3 * fabs(slope) + 2e-5 || fabs(slope) < 1e-5)
        fail_msg("%s: gradient %g, slope %g of %s", name, slope, measured, metric);
    loss_at(r, of, at, x, metric);
}

static struct config still(const char *name)
{
    struct config c = settings(name);

    c.clip_norm = 0;
    c.lr = c.ppo.critic_lr = 0;
    c.ppo.epochs = c.ppo.minibatches = 1;
    c.ppo.max_resample = 0;
    c.ppo.entropy_coef = 0.05;
    c.ppo.dual_clip = 3;
    return c;
}

static void test_update_follows_the_slope(void **state)
{
    (void)state;
    EACH_POLICY(a)
        for (int kl = 0; kl < 3; kl++) {
            static const char *const kls[] = { "k1", "k2", "k3" };
            struct config c = still(a->name);
            struct run r;
            c.ppo.kl_in = "loss";
            c.ppo.kl = (char *)kls[kl];
            c.ppo.kl_coef = 0.3;
            open_alone(&r, c, "ref");
            for (int t = 0; t < r.b->T; t++) {
                r.b->actor_logp[t] *= t % 3 ? 1.05f : 0.9f;     /* ratios beside 1 */
                r.b->ref_logp[t] *= 1.25f;
            }
            for (int n = 0; n < r.b->N; n++)
                r.b->version[n] = 9;            /* of other weights: nothing is asserted */
            assert_ok(learner_update(r.learner, r.b, r.m));
            check_slope(a->name, &r, &r.tiny, optimizer_m(r.learner->policy.optimizer), 64 * 3 + 5,
                        "loss", 1);
            close_run(&r);
        }
}

/* With lambda = 1 returns do not depend on the critic, so that its loss alone has a slope. */
static void test_critic_follows_the_slope(void **state)
{
    struct learner_flat flats[LEARNER_FLATS];
    struct config c = still("ppo");
    struct run r;
    size_t last;

    (void)state;
    c.ppo.lambda = 1;
    c.ppo.value_clip = 0;
    c.ppo.vf_coef = 0.5;
    open_alone(&r, c, "ref");
    assert_int_equal(learner_flats(r.learner, flats), 6);
    assert_string_equal(flats[4].folder, "critic_adam_m");
    last = model_arrays(r.critic.model, &(int){ 0 })[0].offset + 64 * 3 + 5;
    assert_ok(learner_update(r.learner, r.b, r.m));
    check_slope("critic", &r, &r.critic, flats[4].data, last, "value/loss", 0.5);
    close_run(&r);
}

/* ---- how the work is cut */

static float *weights_after(struct config config, int n, const char *compute)
{
    struct run r;
    float *w;

    open_alone(&r, config, compute);
    w = malloc(r.tiny.size * sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < n; i++)
        update(&r);
    memcpy(w, model_weights(r.tiny.model), r.tiny.size * sizeof *w);
    close_run(&r);
    return w;
}

static void test_micro_batches_do_not_change_a_bit(void **state)
{
    static const int64_t micro[] = { 2, 4, 100 };

    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        size_t n = model_size(&tiny_shapes[0]);
        float *one, *other;
        c.ppo.epochs = 2;
        c.ppo.minibatches = 3;
        c.ppo.entropy_coef = 0.01;
        c.micro_rows = 1;
        one = weights_after(c, 2, "cpu");
        for (int j = 0; j < 3; j++) {
            c.micro_rows = micro[j];
            c.recompute = j == 1;
            other = weights_after(c, 2, "cpu");
            assert_bits(one, other, n);
            free(other);
        }
        free(one);
    }
}

/* Each row once an epoch, whatever the number of mini-batches. */
static void test_minibatches_are_a_partition(void **state)
{
    (void)state;
    for (int parts = 1; parts <= TINY_P * TINY_K; parts += 5) {
        struct config c = settings("rloo");
        struct run r;
        c.ppo.epochs = 3;
        c.ppo.minibatches = parts;
        open_alone(&r, c, "ref");
        update(&r);
        assert_int_equal(learner_tokens(r.learner), 3 * all_tokens(r.b));
        close_run(&r);
    }
}

static void test_a_shared_critic_learns(void **state)
{
    struct config c = settings("ppo");
    struct learner_flat flats[LEARNER_FLATS];
    struct run r;
    double first, last = 0;

    (void)state;
    c.ppo.critic = "shared";
    c.ppo.vf_coef = 1;
    c.ppo.value_clip = 0;
    open_alone(&r, c, "cpu");
    assert_int_equal(learner_flats(r.learner, flats), 3);
    update(&r);
    first = metrics_get(r.m, "value/loss", -1);
    for (int i = 0; i < 15; i++) {
        update(&r);
        last = metrics_get(r.m, "value/loss", -1);
    }
    if (!(last < 0.7 * first))
        fail_msg("value loss %g, then %g", first, last);
    assert_true(metrics_get(r.m, "value/explained_var", 0) > 0.1);
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_scores_well_becomes_likely),
        cmocka_unit_test(test_first_minibatch),
        cmocka_unit_test(test_another_actor_is_an_error),
        cmocka_unit_test(test_a_failure_half_way_is_known),
        cmocka_unit_test(test_update_follows_the_slope),
        cmocka_unit_test(test_critic_follows_the_slope),
        cmocka_unit_test(test_micro_batches_do_not_change_a_bit),
        cmocka_unit_test(test_minibatches_are_a_partition),
        cmocka_unit_test(test_a_shared_critic_learns),
    };
    int failed;

    alone = comm_alone();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return failed;
}
