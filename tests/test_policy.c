/* PPO and its relatives: facts that hold for every row of the tables in learner/policy/. */
#include <math.h>
#include <string.h>

#include "learner/policy/advantage.h"
#include "learner/policy/gae.h"
#include "learner/policy/kl.h"
#include "learner/policy/score.h"
#include "learner/policy/surrogate.h"
#include "learner/policy/value.h"
#include "learner/policy/whiten.h"
#include "tests/support.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NEAR(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

/* Log-ratios small, large, at the clips and beyond the clamp. */
static const double ratios[] = { -5000, -20.5, -19.5, -3, -0.3, -0.1, 0, 0.05, 0.3, 1.2, 3, 11,
                                 19.5, 20.5, 5000 };
static const double advs[] = { -300, -1.3, -0.2, 0, 0.7, 2, 1000 };
static const struct clipping clips[] = {
    { .low = 0.2, .high = 0.2 },
    { .low = 0.2, .high = 0.28, .dual = 3 },
    { .low = 3e-4, .high = 4e-4 },
    { .low = INFINITY, .high = INFINITY },
};

/* ---- slopes */

static void check_slope(double up, double down, double h, double slope, const char *what, double at)
{
    double measured = (up - down) / (2 * h);

    if (fabs(measured - slope) > 1e-5 * (1 + fabs(slope)))
        fail_msg("%s at %g: slope %.12g, measured %.12g", what, at, slope, measured);
}

static void test_kl_slope(void **state)
{
    const double h = 1e-6;

    (void)state;
    for (const struct kl_estimator *k = kl_estimators; k->name; k++) {
        /* k3plus has the slope of k2 by definition */
        const struct kl_estimator *of = strcmp(k->name, "k3plus") == 0 ? kl_find("k2") : k;
        for (size_t i = 0; i < COUNT(ratios); i++) {
            double d = ratios[i];
            check_slope(of->value(d + h), of->value(d - h), h, k->slope(d), k->name, d);
        }
    }
}

static void test_kl_of_equal_models_is_nothing(void **state)
{
    (void)state;
    for (const struct kl_estimator *k = kl_estimators; k->name; k++) {
        assert_true(k->value(0) == 0);
        assert_true(k->slope(0) == (strcmp(k->name, "k1") == 0 ? 1 : 0));
    }
}

static void test_kl_is_cut_where_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ratios); i++) {
        double d = ratios[i], k3 = kl_find("k3")->value(d);
        assert_true(k3 >= 0 && k3 <= 10);
        assert_true(k3 < 10 || kl_find("k3")->slope(d) == 0);
        assert_true(kl_find("k3plus")->value(d) == k3);
        assert_true(kl_find("k1")->value(d) == d && kl_find("k2")->value(d) == d * d / 2);
    }
}

static void test_policy_slope(void **state)
{
    const double h = 1e-7;

    (void)state;
    for (size_t c = 0; c < COUNT(clips); c++)
        for (size_t a = 0; a < COUNT(advs); a++)
            for (size_t i = 0; i < COUNT(ratios); i++) {
                double x = ratios[i], scale = fmax(1, fabs(advs[a]) * exp(fmin(fabs(x), 20)));
                struct surrogate at = surrogate_token(x - 1, -1, advs[a], &clips[c]);
                double up = surrogate_token(x + h - 1, -1, advs[a], &clips[c]).value;
                double down = surrogate_token(x - h - 1, -1, advs[a], &clips[c]).value;
                check_slope(up / scale, down / scale, h, at.slope / scale, "policy loss", x);
            }
}

static void test_value_slope(void **state)
{
    static const double values[] = { -1e3, -0.7, 0.1, 0.31, 0.5, 0.69, 0.9, 3, 1e3 };
    static const double windows[] = { 0.2, 1, INFINITY };
    const double h = 1e-6;

    (void)state;
    for (size_t w = 0; w < COUNT(windows); w++)
        for (size_t i = 0; i < COUNT(values); i++)
            for (double ret = -2; ret < 3; ret += 0.37)
                check_slope(value_token(values[i] + h, 0.5, ret, windows[w]).value,
                            value_token(values[i] - h, 0.5, ret, windows[w]).value, h,
                            value_token(values[i], 0.5, ret, windows[w]).slope, "value loss",
                            values[i]);
}

/* The whole chain of a mini-batch: dlogp of each token is its weight times its slope, and the rest
 * of the row does not see it.  GSPO's ratio ties the tokens of a row together. */
static double row_loss(const double *logp, const bool *mask, int T, double adv, double weight,
                       bool per_row, const struct clipping *clip)
{
    double sum = 0, log_ratio = 0, n = 0;

    for (int t = 0; t < T; t++) {
        if (!mask[t])
            continue;
        n++;
        log_ratio += logp[t] + 1;
        sum += per_row ? 0 : weight * surrogate_token(logp[t], -1, adv, clip).value;
    }
    return per_row ? n * weight * surrogate_response(log_ratio / n, adv, clip).value : sum;
}

static void test_row_slope(void **state)
{
    static const char *const names[] = { "token-mean", "seq-mean-token-mean", "seq-mean-token-sum",
                                         "seq-mean-token-sum-norm" };
    const bool mask[] = { false, true, true, false, true };
    const struct totals all = { .tokens = 17, .rows = 4, .length = 9 };
    const struct clipping clip = { .low = 0.2, .high = 0.3, .dual = 3 };
    const double h = 1e-6;

    (void)state;
    for (int how = 0; how < 4; how++)
        for (int gspo = 0; gspo < 2; gspo++)
            for (int t = 0; t < 5; t++) {
                double logp[] = { -3, -1.05, -0.93, -9, -1.1 }, w, slope, up, down;
                enum aggregation mode;
                assert_true(aggregation_parse(&mode, names[how]) && (int)mode == how);
                w = token_weight(mode, &all, 3);
                slope = gspo ? surrogate_response((-0.05 + 0.07 - 0.1) / 3, 0.8, &clip).slope
                             : surrogate_token(logp[t], -1, 0.8, &clip).slope;
                logp[t] += h;
                up = row_loss(logp, mask, 5, 0.8, w, gspo, &clip);
                logp[t] -= 2 * h;
                down = row_loss(logp, mask, 5, 0.8, w, gspo, &clip);
                check_slope(up, down, h, mask[t] ? w * slope : 0, names[how], t);
            }
}

/* ---- extremes */

static void test_losses_stay_finite(void **state)
{
    static const double huge[] = { -1e30, -1e9, -750, 0, 750, 1e9, 1e30 };

    (void)state;
    for (size_t i = 0; i < COUNT(huge); i++)
        for (size_t j = 0; j < COUNT(huge); j++) {
            struct value_loss v = value_token(huge[i], huge[j], 1, 0.2);
            assert_true(isfinite(v.value) && isfinite(v.slope));
            assert_true(isfinite(importance_token(huge[i], huge[j], 2)));
            for (size_t c = 0; c < COUNT(clips); c++)
                for (size_t a = 0; a < COUNT(advs); a++) {
                    struct surrogate s = surrogate_token(huge[i], huge[j], advs[a], &clips[c]);
                    assert_true(isfinite(s.value) && isfinite(s.slope) && isfinite(s.ratio));
                }
            for (const struct kl_estimator *k = kl_estimators; k->name; k++)
                assert_true(isfinite(k->value(huge[i])) && isfinite(k->slope(huge[i])));
        }
}

static void test_nan_is_not_swallowed(void **state)
{
    (void)state;
    for (const struct kl_estimator *k = kl_estimators; k->name; k++)
        assert_true(isnan(k->value(NAN)));
    for (size_t c = 0; c < COUNT(clips); c++) {
        assert_true(isnan(surrogate_token(NAN, -1, 1, &clips[c]).value));
        assert_true(isnan(surrogate_token(-1, NAN, 1, &clips[c]).value));
        assert_true(isnan(surrogate_token(-1, -1, NAN, &clips[c]).value));
    }
    assert_true(isnan(value_token(NAN, 0, 0, 0.2).value));
    assert_true(isnan(score_clip(NAN, -1, 1)));
}

/* ---- the first mini-batch: logp is old */

static void test_first_minibatch(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT(clips); c++)
        for (size_t a = 0; a < COUNT(advs); a++) {
            struct surrogate s = surrogate_token(-0.7, -0.7, advs[a], &clips[c]);
            assert_true(s.ratio == 1 && !s.clipped && !s.dual_clipped);
            assert_true(s.value == -advs[a] && s.slope == -advs[a]);
            s = surrogate_response(0, advs[a], &clips[c]);
            assert_true(s.ratio == 1 && !s.clipped && s.slope == -advs[a]);
        }
    assert_true(importance_token(-0.7, -0.7, 2) == 1 && importance_response(0, 2) == 1);
}

static void test_importance_is_truncated(void **state)
{
    (void)state;
    NEAR(importance_token(-1, -1.5, 2), exp(0.5), 1e-15);
    assert_true(importance_token(-1, -3, 2) == 2);
    NEAR(importance_token(-3, -1, 2), exp(-2), 1e-15);
    assert_true(importance_response(0.69, 2) == 1 && importance_response(0.7, 2) == 0);
    assert_true(importance_response(-0.69, 2) == 1 && importance_response(-0.7, 2) == 0);
}

/* ---- what tokens weigh */

static void test_weights_of_a_batch_add_up(void **state)
{
    const int length[] = { 3, 0, 7, 1 };
    const struct totals all = { .tokens = 11, .rows = 3, .length = 8 };
    const double want[] = { 1, 1, 11.0 / 3, 11.0 / 24 };

    (void)state;
    for (int how = 0; how < 4; how++) {
        double sum = 0;
        for (size_t i = 0; i < COUNT(length); i++)
            sum += length[i] * token_weight((enum aggregation)how, &all, length[i]);
        NEAR(sum, want[how], 1e-14);
        assert_true(token_weight((enum aggregation)how, &all, 0) == 0);
        assert_true(token_weight((enum aggregation)how, &(struct totals){ 0 }, 2) == 0);
    }
}

/* ---- advantages */

static void test_whole_returns_are_rewards_to_go(void **state)
{
    const double reward[] = { 0.1, -0.4, 7, 0.3, 1.2 }, value[] = { 0.3, 0.9, -7, 0.25, -0.1 };
    const bool mask[] = { true, true, false, true, true };
    double adv[5], ret[5], to_go = 0;

    (void)state;
    gae_row(adv, ret, reward, value, mask, 5, (struct gae){ .gamma = 1, .lambda = 1 });
    for (int t = 4; t >= 0; t--) {
        if (!mask[t]) {
            assert_true(adv[t] == 0 && ret[t] == 0);
            continue;
        }
        to_go += reward[t];
        NEAR(ret[t], to_go, 1e-14);
        NEAR(adv[t], to_go - value[t], 1e-14);
    }
    gae_row(adv, ret, reward, NULL, NULL, 5, (struct gae){ .gamma = 0.5, .lambda = 1 });
    NEAR(adv[2], 7 + 0.5 * 0.3 + 0.25 * 1.2, 1e-14);
}

static void test_cut_responses_are_bootstrapped(void **state)
{
    const double reward[] = { 0, 1 }, value[] = { 0.5, 0.25 };
    double adv[2], ret[2];

    (void)state;
    gae_row(adv, ret, reward, value, NULL, 2,
            (struct gae){ .gamma = 0.9, .lambda = 0.5, .next_value = 2 });
    NEAR(adv[1], 1 + 0.9 * 2 - 0.25, 1e-15);
    NEAR(adv[0], 0.9 * 0.25 - 0.5 + 0.45 * adv[1], 1e-15);
}

static void group(const char *name, const double *score, const int *length, int G, double *adv)
{
    struct advantage_group g = { score, length, G, 1e-6, 1 };

    advantage_find(name)->group(&g, adv);
}

static void test_equal_scores_teach_nothing(void **state)
{
    const double score[] = { 0.1, 0.1, 0.1 };       /* their mean is rounded, and is not 0.1 */
    const int length[] = { 3, 4, 9 };

    (void)state;
    for (const struct advantage *a = advantages; a->name; a++) {
        double adv[3] = { 1, 1, 1 };
        if (!a->group)
            continue;
        group(a->name, score, length, 3, adv);
        for (int i = 0; i < 3; i++)
            assert_true(adv[i] == 0);
    }
    assert_false(group_has_signal(score, 3, 1e-8));
}

/* A response without a score has no advantage and changes nobody else's. */
static void test_missing_scores_are_left_out(void **state)
{
    const double with[] = { 1, NAN, 0.2, -INFINITY, 0.4 }, without[] = { 1, 0.2, 0.4 };
    const int lengths[] = { 3, 100, 4, 100, 9 }, kept[] = { 3, 4, 9 };

    (void)state;
    for (const struct advantage *a = advantages; a->name; a++) {
        double got[5], want[3];
        if (!a->group)
            continue;
        group(a->name, with, lengths, 5, got);
        group(a->name, without, kept, 3, want);
        assert_true(got[1] == 0 && got[3] == 0);
        assert_true(got[0] == want[0] && got[2] == want[1] && got[4] == want[2]);
    }
    assert_true(group_has_signal(with, 5, 1e-8));
    assert_false(group_has_signal((const double[]){ NAN, 1, NAN }, 3, 1e-8));
}

static void test_lone_responses(void **state)
{
    const double score[] = { 3, NAN };
    const int length[] = { 5, 5 };

    (void)state;
    for (const struct advantage *a = advantages; a->name; a++) {
        double adv[2];
        if (!a->group)
            continue;
        group(a->name, score, length, 2, adv);
        NEAR(adv[0], strcmp(a->name, "grpo") == 0 ? 3 : 0, 1e-5);
        assert_true(adv[1] == 0);
        group(a->name, score + 1, length, 1, adv);
        assert_true(adv[0] == 0);
    }
}

static void test_groups_sum_to_nothing(void **state)
{
    const double score[] = { 1, -2, 0.25, 7 };
    const int length[] = { 3, 4, 9, 2 };

    (void)state;
    for (const struct advantage *a = advantages; a->name; a++) {
        double adv[4], sum = 0, weighted = 0;
        if (!a->group)
            continue;
        group(a->name, score, length, 4, adv);
        for (int i = 0; i < 4; i++) {
            sum += adv[i];
            weighted += length[i] * adv[i];
        }
        NEAR(strcmp(a->name, "opo") == 0 ? weighted : sum, 0, 1e-12);
    }
}

static void test_std_of_a_group(void **state)
{
    const double score[] = { 1, 0, 0, 1 };
    struct advantage_group g = { score, NULL, 4, 0, 1 };
    double adv[4];

    (void)state;
    advantage_find("grpo")->group(&g, adv);
    NEAR(adv[0], 0.8660254037844386, 1e-15);
    g.ddof = 0;
    advantage_find("grpo")->group(&g, adv);
    NEAR(adv[0], 1, 1e-15);
}

/* ---- whitening */

static void whiten_all(struct whitening *w, double *x, const bool *mask, int rows, int T)
{
    double n = 0, sum = 0, squares = 0;

    for (int r = 0; r < rows; r++) {
        sum += whiten_row_sum(x + r * T, mask + r * T, T);
        for (int t = 0; t < T; t++)
            n += mask[r * T + t];
    }
    whiten_mean(w, n, sum);
    for (int r = 0; r < rows; r++)
        squares += whiten_row_squares(x + r * T, mask + r * T, T, w->mean);
    whiten_spread(w, squares);
    for (int r = 0; r < rows; r++)
        whiten_row(w, x + r * T, mask + r * T, T);
}

static void test_whitened_values_have_mean_0_and_variance_1(void **state)
{
    const double values[] = { 3, -2, 99, 8, 0.5, 1, 1, 7, -99 };
    const bool mask[] = { true, true, false, true, true, true, true, true, false };

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct whitening w = { .keep_mean = i & 1, .unbiased = i & 2, .eps = 1e-8 };
        double x[9], sum = 0, squares = 0;
        memcpy(x, values, sizeof x);
        whiten_all(&w, x, mask, 3, 3);
        assert_true(x[2] == 0 && x[8] == 0);
        for (int t = 0; t < 9; t++)
            sum += x[t];
        NEAR(sum / 7, w.keep_mean ? w.mean : 0, 1e-12);
        for (int t = 0; t < 9; t++)
            squares += mask[t] ? (x[t] - sum / 7) * (x[t] - sum / 7) : 0;
        NEAR(squares / (w.unbiased ? 6 : 7), 1, 1e-8);
    }
}

static void test_values_without_spread_are_only_centred(void **state)
{
    const bool mask[] = { true, true, true, false };

    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct whitening w = { .keep_mean = keep, .eps = 1e-8 };
        double x[] = { 5, 5 + 1e-8, 5 - 1e-8, 7 };
        whiten_all(&w, x, mask, 1, 4);
        NEAR(x[1], keep ? 5 + 1e-8 : 1e-8, 1e-14);
        assert_true(x[3] == 0);
    }
    struct whitening one = { .unbiased = true, .eps = 1e-8 };
    double x[] = { 4, 9 };
    whiten_all(&one, x, (const bool[]){ true, false }, 1, 2);
    assert_true(x[0] == 0 && x[1] == 0);
    struct whitening none = { .eps = 1e-8 };
    whiten_all(&none, x, (const bool[]){ false, false }, 1, 2);
    assert_true(x[0] == 0 && none.mean == 0);
}

static void test_running_moments(void **state)
{
    const double values[] = { 3, NAN, -2, 8, INFINITY, 0.5 };
    struct running r = { 0 };

    (void)state;
    assert_true(running_std(&r) == 1);
    for (size_t i = 0; i < COUNT(values); i++)
        running_add(&r, values[i]);
    assert_true(r.count == 4);
    NEAR(r.mean, 2.375, 1e-14);
    NEAR(running_std(&r), sqrt(13.671875), 1e-14);
}

/* ---- scores, rewards, controllers */

static void test_reward_lands_on_the_last_masked_token(void **state)
{
    const double kl[] = { 0.5, -1, 2, 4 };
    const bool mask[] = { true, false, true, false }, none[4] = { false };
    double r[4];

    (void)state;
    shaped_reward(r, kl, mask, 4, 0.1, 3);
    NEAR(r[0], -0.05, 1e-15);
    NEAR(r[2], 2.8, 1e-15);
    assert_true(r[1] == 0 && r[3] == 0);
    shaped_reward(r, NULL, NULL, 4, 0.1, 3);
    assert_true(r[0] == 0 && r[3] == 3);
    shaped_reward(r, kl, none, 4, 0.1, 3);
    assert_true(r[0] == 0 && r[3] == 0);
}

static void test_coefficient_follows_the_kl(void **state)
{
    (void)state;
    NEAR(kl_adapt(0.2, 6, 6, 1000, 100), 0.2, 1e-16);
    NEAR(kl_adapt(0.2, 600, 6, 1000, 100), 0.2 * 1.02, 1e-15);
    NEAR(kl_adapt(0.2, -5, 6, 1000, 100), 0.2 * 0.98, 1e-15);
    assert_true(kl_adapt(0.2, NAN, 6, 1000, 100) == 0.2);
}

static void test_scores(void **state)
{
    const struct eos_rule none = { 0 }, penalty = { .penalty = 1.5 };
    const struct eos_rule low = { .replace = true, .low = -1 };

    (void)state;
    assert_true(eos_score(2, true, &penalty) == 2 && eos_score(2, true, &low) == 2);
    assert_true(eos_score(2, false, &none) == 2 && eos_score(2, false, &penalty) == 0.5);
    assert_true(eos_score(2, false, &low) == -1);
    assert_true(isnan(eos_score(NAN, false, &low)) && isnan(eos_score(NAN, false, &penalty)));
    assert_true(overlong_penalty(5, 8, 0) == 0 && overlong_penalty(8, 8, 0) == 0);
    assert_true(overlong_penalty(9, 8, 0) == -1 && overlong_penalty(8, 8, 4) == -1);
    NEAR(overlong_penalty(6, 8, 4), -0.5, 1e-16);
    assert_true(score_clip(3, -1, 1) == 1 && score_clip(-3, -1, 1) == -1);
    struct affine a = affine_to(1.7, 0.8, 0, 1);
    NEAR(affine_apply(&a, 2.5), 1, 1e-15);
}

static void test_find(void **state)
{
    enum aggregation how;

    (void)state;
    assert_null(advantage_find("none"));
    assert_null(kl_find("k4"));
    assert_false(aggregation_parse(&how, "mean"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kl_slope),
        cmocka_unit_test(test_kl_of_equal_models_is_nothing),
        cmocka_unit_test(test_kl_is_cut_where_it_says),
        cmocka_unit_test(test_policy_slope),
        cmocka_unit_test(test_value_slope),
        cmocka_unit_test(test_row_slope),
        cmocka_unit_test(test_losses_stay_finite),
        cmocka_unit_test(test_nan_is_not_swallowed),
        cmocka_unit_test(test_first_minibatch),
        cmocka_unit_test(test_importance_is_truncated),
        cmocka_unit_test(test_weights_of_a_batch_add_up),
        cmocka_unit_test(test_whole_returns_are_rewards_to_go),
        cmocka_unit_test(test_cut_responses_are_bootstrapped),
        cmocka_unit_test(test_equal_scores_teach_nothing),
        cmocka_unit_test(test_missing_scores_are_left_out),
        cmocka_unit_test(test_lone_responses),
        cmocka_unit_test(test_groups_sum_to_nothing),
        cmocka_unit_test(test_std_of_a_group),
        cmocka_unit_test(test_whitened_values_have_mean_0_and_variance_1),
        cmocka_unit_test(test_values_without_spread_are_only_centred),
        cmocka_unit_test(test_running_moments),
        cmocka_unit_test(test_reward_lands_on_the_last_masked_token),
        cmocka_unit_test(test_coefficient_follows_the_kl),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
