/* The learner's health: numbers gone bad leave no trace, skipped or not; jumps are said. */
#include <math.h>
#include <stdlib.h>

#include "tests/tiny_policy.h"
#include "tests/tiny_raco.h"
#include "tests/tiny_records.h"

static struct config skipping(struct config c)
{
    c.on_nonfinite = "skip";
    c.skip_limit = 2;
    return c;
}

/* An update under weights of which one is infinite; they are as before behind it. */
static int bad_update(struct run *r)
{
    float *w = model_weights(r->tiny.model), first[2] = { w[0], w[1] };
    int rc;

    status_hold(true);
    w[0] = w[1] = INFINITY;
    model_changed(r->tiny.model);
    rc = learner_update(r->learner, r->b, r->m);
    w[0] = first[0];
    w[1] = first[1];
    model_changed(r->tiny.model);
    status_drop();
    status_hold(false);
    return rc;
}

/* b learns from the same batches as a, which had a bad one between them. */
static void compare(struct run *a, struct run *b)
{
    const char *name = a->config.algorithm;

    update(a);
    update(b);
    if (bad_update(a) != RL_ENAN || !learner_skips(a->learner))
        fail_msg("%s: infinite weights are not skipped", name);
    assert_true(metrics_get(a->m, "optim/skipped", 0) >= 1);
    assert_true(metrics_get(a->m, "health/skipped", 0) == 1);
    assert_int_equal(a->learner->version, 2);
    assert_true(learner_whole(a->learner));
    learner_set_version(b->learner, 2);
    for (int i = 0; i < 2; i++) {
        update(a);
        update(b);
    }
    assert_false(learner_skips(a->learner));
    assert_same_weights(a, b, name);
    close_run(a);
    close_run(b);
}

static void test_a_skipped_update_leaves_no_trace(void **state)
{
    (void)state;
    EACH_POLICY (a) {
        struct config c = skipping(settings(a->name));
        struct run bad, good;
        c.ppo.reward_norm = "running";
        open_alone(&bad, c, "cpu");
        open_alone(&good, c, "cpu");
        compare(&bad, &good);
    }
    for (const struct tiny_records *t = tiny_records; t->algorithm; t++) {
        struct config c = skipping(learns_online(t) ? rollout_settings(t) : record_settings(t));
        struct run bad, good;
        if (!learns_online(t))
            continue;
        open_groups(&bad, c, "cpu", alone, TINY_P, TINY_K);
        open_groups(&good, c, "cpu", alone, TINY_P, TINY_K);
        move_reference(bad.b);
        move_reference(good.b);
        compare(&bad, &good);
    }
    for (int two_pass = 0; two_pass < 2; two_pass++) {
        struct config c = skipping(objectives("raco", two_pass ? "two_pass" : "store", 2));
        struct run bad, good;
        open_run(&bad, c, "cpu", alone, TINY_P);
        open_run(&good, c, "cpu", alone, TINY_P);
        compare(&bad, &good);
    }
}

/* The gradients of the rows before the bad one are under way when it is met. */
static void test_half_a_sum_is_forgotten(void **state)
{
    struct run bad, good;
    int from;

    (void)state;
    open_alone(&bad, skipping(settings("online_dpo")), "cpu");
    open_alone(&good, skipping(settings("online_dpo")), "cpu");
    from = bad.b->start[bad.b->N - TINY_K];         /* the last group */
    for (int t = from; t < bad.b->T; t++)
        bad.b->ref_logp[t] = NAN;
    status_hold(true);
    assert_int_equal(learner_update(bad.learner, bad.b, bad.m), RL_ENAN);
    status_drop();
    status_hold(false);
    for (int t = from; t < bad.b->T; t++)
        bad.b->ref_logp[t] = good.b->ref_logp[t];
    learner_set_version(good.learner, 1);
    update(&bad);
    update(&good);
    assert_same_weights(&bad, &good, "online_dpo");
    close_run(&bad);
    close_run(&good);
}

/* What a method had changed when the numbers went bad: all of it but the powers of the betas, which
 * are those of the weights. */
static void test_values_come_back(void **state)
{
    static const char *const names[] = { "ppo", "rloo", "spa", "raco" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct config c = i < 3 ? settings(names[i]) : objectives("raco", "store", 2);
        struct learner_value v[LEARNER_VALUES];
        struct run r;
        int n;
        c.source = "prompts";
        c.refmodel = "another";
        open_run(&r, c, "cpu", alone, TINY_P);
        n = learner_values(r.learner, v);
        assert_true(n > 2);
        for (int j = 0; j < n; j++)
            v[j].x[v[j].n - 1] = j;
        health_keep(r.learner);
        for (int j = 0; j < n; j++)
            v[j].x[v[j].n - 1] = -1;
        health_restore(r.learner);
        for (int j = 0; j < n; j++)
            if (v[j].x[v[j].n - 1] != (strstr(v[j].name, "adam_powers") ? -1 : j))
                fail_msg("%s: %s is %g", names[i], v[j].name, v[j].x[v[j].n - 1]);
        close_run(&r);
    }
}

static void test_skips_in_a_row_have_a_limit(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, skipping(settings("online_dpo")), "cpu");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bad_update(&r), RL_ENAN);
        assert_true(learner_skips(r.learner));
    }
    assert_int_equal(bad_update(&r), RL_ENAN);
    assert_false(learner_skips(r.learner));
    assert_int_equal(r.learner->version, 2);        /* the last one did not count */
    assert_true(r.learner->health.state.in_row == 2);
    update(&r);
    assert_true(r.learner->health.state.in_row == 0);
    assert_true(r.learner->health.state.skipped == 2);
    close_run(&r);
}

static void test_nothing_is_skipped_by_default(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, settings("online_dpo"), "cpu");
    assert_int_equal(bad_update(&r), RL_ENAN);
    assert_false(learner_skips(r.learner));
    assert_int_equal(r.learner->version, 0);
    close_run(&r);
}

/* A reward that no float holds, for one row. */
static void test_the_rows_of_a_bad_gradient_are_named(void **state)
{
    struct config c = settings("rloo");
    struct config_reward huge = one_reward;
    struct run r;

    (void)state;
    huge.weight = 1e9;
    c.rewards = &huge;
    open_alone(&r, c, "cpu");
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = n == TINY_K + 1 ? 1e30f : 0;
    status_hold(true);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    assert_has(status_message(), "rows 4 to 7: gradient of model.");
    status_drop();
    status_hold(false);
    close_run(&r);
}

static void watch_loss(struct run *r, double loss)
{
    metrics_clear(r->m);
    metrics_set(r->m, "loss", loss);
    health_watch(r->learner, r->b, r->m);
}

static void test_jumps_are_alarms(void **state)
{
    struct config c = settings("online_dpo");
    const struct health_state *h;
    struct run r;

    (void)state;
    c.alarm_deviations = 6;
    c.alarm_after = 20;
    open_alone(&r, c, "cpu");
    h = &r.learner->health.state;
    for (int i = 0; i < 200; i++) {
        watch_loss(&r, 1 + 0.1 * sin(i));           /* of standard deviation 0.07 */
        assert_int_equal(metrics_has(r.m, "health/loss_deviation"), i >= 20);
        assert_true(fabs(metrics_get(r.m, "health/loss_deviation", 0)) < 3);
    }
    assert_true(h->alarms == 0);
    watch_loss(&r, 1.3);
    assert_true(h->alarms == 0);
    for (int i = 1; i <= 3; i++) {                  /* one does not hide the next */
        watch_loss(&r, 5);
        assert_true(h->alarms == i);
        assert_true(metrics_get(r.m, "health/loss_deviation", 0) > 20);
    }
    watch_loss(&r, -5);                             /* a fall is none */
    assert_true(h->alarms == 3);
    close_run(&r);
}

/* A loss that stands still has no deviation: a hair above it is no alarm. */
static void test_a_hair_is_no_alarm(void **state)
{
    struct config c = settings("online_dpo");
    struct run r;

    (void)state;
    c.alarm_deviations = 6;
    c.alarm_after = 20;
    open_alone(&r, c, "cpu");
    for (int i = 0; i < 50; i++)
        watch_loss(&r, 2);
    watch_loss(&r, 2.1);
    assert_true(r.learner->health.state.alarms == 0);
    watch_loss(&r, 2.2);
    assert_true(r.learner->health.state.alarms == 1);
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_skipped_update_leaves_no_trace),
        cmocka_unit_test(test_half_a_sum_is_forgotten),
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_skips_in_a_row_have_a_limit),
        cmocka_unit_test(test_nothing_is_skipped_by_default),
        cmocka_unit_test(test_the_rows_of_a_bad_gradient_are_named),
        cmocka_unit_test(test_jumps_are_alarms),
        cmocka_unit_test(test_a_hair_is_no_alarm),
    };
    int rc;

    alone = comm_alone();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return rc;
}
