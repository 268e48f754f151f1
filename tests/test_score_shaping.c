/* Scores: weights, normalisation, clipping, and responses whose score did not come. */
#include <math.h>
#include <string.h>

#include "learner/internal.h"
#include "learner/scores.h"
#include "tests/support.h"
#include "tests/tiny_learner.h"

static struct config with(struct config_reward *reward)
{
    struct config c = settings("online_dpo");

    c.rewards = reward;
    return c;
}

static void open_with(struct run *r, struct config_reward *reward)
{
    open_run(r, with(reward), "ref", comm_alone(), TINY_P);
}

static void close_with(struct run *r)
{
    comm_stop(r->team);
    close_run(r);
}

static void test_a_score_is_normalised_then_clipped_then_weighted(void **state)
{
    double bounds[] = { -1.5, 2 };
    struct config_reward c = { .kind = "length", .name = "len", .weight = 3, .normalise = "fixed",
                               .mean = 1, .std = 2, .clip = { bounds, 2 } };
    struct run r;

    (void)state;
    open_with(&r, &c);
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = n;
    assert_ok(stats_begin(&r.learner->stats, r.b, RL_OK));
    assert_ok(scores_begin(r.learner, r.b));
    assert_true(row_reward(r.learner, r.b, 0, 0) == -0.5);
    assert_true(row_score(r.learner, r.b, 0) == -1.5);
    assert_true(row_score(r.learner, r.b, 3) == 3);
    assert_true(row_score(r.learner, r.b, 9) == 6);             /* 4, cut to 2 */
    r.b->reward[0] = -9;
    assert_true(row_reward(r.learner, r.b, 0, 0) == -1.5);
    assert_true(score_given(r.learner->config, r.b, 0) == -27);
    close_with(&r);
}

static void test_an_orchestrator_weighs_the_rewards_by_prompt(void **state)
{
    struct config_reward two[] = {
        { .kind = "length", .name = "long", .weight = 2 },
        { .kind = "length", .name = "short", .weight = -1, .normalise = "fixed", .std = 4 } };
    struct config c = with(two);
    struct run r;

    (void)state;
    c.n_rewards = 2;
    c.orchestrator.model = "orchestrator";
    open_run(&r, c, "ref", comm_alone(), TINY_P);
    for (int n = 0; n < r.b->N; n++) {
        r.b->mix[2 * n] = n / r.b->k == 1 ? 0.75 : 0.25;
        r.b->mix[2 * n + 1] = 1 - r.b->mix[2 * n];
        r.b->reward[2 * n] = r.b->reward[2 * n + 1] = n;
    }
    r.b->filled |= COL_MIX;
    assert_ok(stats_begin(&r.learner->stats, r.b, RL_OK));
    assert_ok(scores_begin(r.learner, r.b));
    assert_true(row_score(r.learner, r.b, 2) == 0.25 * 2 * 2 - 0.75 * 0.5);
    assert_true(row_score(r.learner, r.b, TINY_K) == 0.75 * 2 * TINY_K - 0.25 * TINY_K / 4);
    assert_true(score_given(&r.config, r.b, 2) == 0.25 * 2 * 2 - 0.75 * 2);
    assert_true(r.learner->rewards.mix[0] == (0.75 + 5 * 0.25) / 6);
    update(&r);
    assert_ok(learner_measure(r.learner, r.b, r.m, ""));
    assert_true(metrics_get(r.m, "orchestrator/weight/long", -1) == (0.75 + 5 * 0.25) / 6);
    assert_true(metrics_get(r.m, "orchestrator/weight/short", -1) == (0.25 + 5 * 0.75) / 6);
    status_hold(true);
    r.b->filled &= ~(unsigned)COL_MIX;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    status_drop();
    status_hold(false);
    close_with(&r);
}

static void test_running_scores_of_a_step_have_mean_0_and_std_1(void **state)
{
    struct config_reward c = { .kind = "length", .name = "len", .weight = 1,
                               .normalise = "running" };
    struct learner_value values[LEARNER_VALUES];
    struct running *kept = NULL;
    struct run r;
    double sum = 0, squares = 0;

    (void)state;
    open_with(&r, &c);
    for (int v = 0, n = learner_values(r.learner, values); v < n; v++)
        if (strcmp(values[v].name, "rewards") == 0)
            kept = (struct running *)values[v].x;
    assert_non_null(kept);
    assert_ok(stats_begin(&r.learner->stats, r.b, RL_OK));
    assert_ok(scores_begin(r.learner, r.b));
    for (int n = 0; n < r.b->N; n++) {
        double y = row_score(r.learner, r.b, n);
        sum += y;
        squares += y * y;
    }
    assert_true(fabs(sum) < 1e-9 && fabs(squares / r.b->N - 1) < 1e-9);
    assert_true(kept->count == 0);              /* until the update is done */
    update(&r);
    assert_true(kept->count == r.b->N);
    update(&r);
    assert_true(kept->count == 2 * r.b->N);
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = NAN;
    status_hold(true);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    status_drop();
    status_hold(false);
    assert_true(kept->count == 2 * r.b->N);
    close_with(&r);
}

/* What a failed score does to the weights is what its response's absence does. */
static void test_a_failed_response_is_left_out(void **state)
{
    struct config_reward two[2] = { { .kind = "length", .name = "len", .weight = 2 },
                                    { .kind = "length", .name = "other", .weight = 1 } };
    struct run r, s;

    (void)state;
    open_with(&r, two);
    open_with(&s, two);
    for (int g = 0; g < TINY_P; g++)
        for (int i = 0; i < TINY_K; i++) {
            int n = g * TINY_K + i;
            r.b->reward[n] = s.b->reward[n] = i;
        }
    r.b->reward[3] = INFINITY;          /* 3 was the best of prompt 0: now it is 2 */
    s.b->reward[3] = 1.5;
    update(&r);
    update(&s);
    assert_memory_equal(model_weights(r.tiny.model), model_weights(s.tiny.model),
                        r.tiny.size * sizeof(float));
    assert_ok(learner_measure(r.learner, r.b, r.m, ""));
    assert_true(metrics_get(r.m, "reward/failed_frac", -1) == 1 - 23.0 / 24);
    assert_true(fabs(metrics_get(r.m, "reward/mean", -1) - 2 * (36 - 3) / 23.0) < 1e-12);
    assert_true(metrics_get(r.m, "reward/max", -1) == 6);
    assert_ok(learner_measure(r.learner, r.b, r.m, "eval/x/"));
    assert_true(metrics_get(r.m, "eval/x/failed_frac", -1) == 1 - 23.0 / 24);
    close_with(&r);
    close_with(&s);
}

static void test_a_step_without_any_score_ends_the_run(void **state)
{
    struct config_reward c = { .kind = "length", .name = "judge", .weight = 1 };
    struct unscored u;
    struct run r;

    (void)state;
    open_with(&r, &c);
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = n & 1 ? NAN : -INFINITY;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    assert_true(learner_unscored(r.learner, &u));
    assert_true(u.reward == 0 && u.missing == 24 && u.rows == 24);
    assert_int_equal(r.learner->version, 0);
    assert_ok(learner_measure(r.learner, r.b, r.m, ""));
    assert_true(metrics_get(r.m, "reward/failed_frac", -1) == 1);
    assert_true(metrics_get(r.m, "reward/mean", -7) == -7);
    r.b->reward[0] = 1;
    r.b->reward[1] = 2;
    assert_ok(learner_update(r.learner, r.b, r.m));
    assert_false(learner_unscored(r.learner, &u));
    close_with(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_score_is_normalised_then_clipped_then_weighted),
        cmocka_unit_test(test_an_orchestrator_weighs_the_rewards_by_prompt),
        cmocka_unit_test(test_running_scores_of_a_step_have_mean_0_and_std_1),
        cmocka_unit_test(test_a_failed_response_is_left_out),
        cmocka_unit_test(test_a_step_without_any_score_ends_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
