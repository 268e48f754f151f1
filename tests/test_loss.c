/* Losses of pairs, walked by their table; labels that are doubted, ranking, the primitives. */
#include <math.h>
#include <string.h>

#include "base/config_rows.h"
#include "learner/losses/multi.h"
#include "learner/losses/noise.h"
#include "learner/losses/ranking.h"
#include "tests/loss_example.h"
#include "tests/support.h"

static const double smoothings[] = { 0, 0.1, 0.5 };
static const double targets[] = { 1, 0.5, 0.73 };
static const double nlls[] = { 0, 0.3 };
static const double sign[3] = { 1, -1, 0 };

/* What amopo and lcpo are made of by default. */
static void choose_base(const struct loss *l, struct loss_settings *set)
{
    set->base = loss_find(l->needs & LOSS_SIGNS ? "simpo" : "sigmoid");
}

static struct pair_input example(double margin, const struct loss_settings *set)
{
    struct pair_input in = { .S_w = -41.5, .S_l = -38.2, .R_w = -43.0, .R_l = -37.1, .n_w = 20,
                             .n_l = 16, .target = 1, .margin = 0.44, .confidence = 0.92,
                             .sign = sign, .set = set };

    in.S_w += margin - 2.6;         /* Delta is the margin */
    return in;
}

static double value(const struct loss *l, const struct pair_input *in)
{
    struct pair_output out;

    loss_eval(l, in, &out);
    return out.value;
}

/* ---- pairs */

static void check_slope(const struct loss *l, const struct pair_input *in, double *at,
                        double slope, const char *name)
{
    double x = *at, h = 1e-5 * fmax(1, fabs(x)), up, down, measured;

    *at = x + h;
    up = value(l, in);
    *at = x - h;
    down = value(l, in);
    *at = x;
    measured = (up - down) / (2 * h);
    /* a difference of large numbers has lost their last bits */
    if (!(fabs(measured - slope) <= 1e-6 * (1 + fabs(slope)) + 1e-15 * fabs(up) / h))
        fail_msg("%s: %s is %.12g, the slope %.12g (S_w %g, target %g)", l->name, name, slope,
                 measured, in->S_w, in->target);
}

/* Every margin, smoothing, target and nll. */
static void check_slopes(const struct loss *l, struct loss_settings *set)
{
    const size_t all = COUNT(margins) * COUNT(smoothings) * COUNT(targets) * COUNT(nlls);

    for (size_t i = 0; i < all; i++) {
        struct pair_input in = example(margins[i % COUNT(margins)], set);
        struct pair_output out;
        size_t j = i / COUNT(margins);
        set->label_smoothing = smoothings[j % COUNT(smoothings)];
        in.target = targets[j / COUNT(smoothings) % COUNT(targets)];
        set->nll = nlls[j / COUNT(smoothings) / COUNT(targets)];
        set->nll_sum = i % 2;
        loss_eval(l, &in, &out);
        check_slope(l, &in, &in.S_w, out.dS_w, "dS_w");
        check_slope(l, &in, &in.S_l, out.dS_l, "dS_l");
    }
}

static void test_gradient_is_the_slope(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct loss_settings set = plain;
        choose_base(l, &set);
        check_slopes(l, &set);
    }
}

/* amopo of the odds ratio, lcpo of every loss that needs nothing but the pair. */
static void test_gradient_is_the_slope_for_other_bases(void **state)
{
    struct loss_settings set = plain;

    (void)state;
    set.base = loss_find("orpo");
    check_slopes(loss_find("amopo"), &set);
    for (const struct loss *l = losses; l->name; l++) {
        set = plain;
        set.base = l;
        if (!(l->needs & (LOSS_MARGIN | LOSS_SIGNS | LOSS_CONFIDENCE)))
            check_slopes(loss_find("lcpo"), &set);
    }
}

static void test_values_stay_finite(void **state)
{
    static const double huge[] = { -1e30, -1e9, -750, 0, 750, 1e9, 1e30 };

    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (size_t i = 0; i < COUNT(huge) * COUNT(huge); i++) {
            struct loss_settings set = plain;
            struct pair_input in = example(0, &set);
            struct pair_output out;
            choose_base(l, &set);
            set.label_smoothing = 0.1;
            in.S_w = huge[i / COUNT(huge)];
            in.S_l = huge[i % COUNT(huge)];
            loss_eval(l, &in, &out);
            if (!isfinite(out.value) || !isfinite(out.dS_w) || !isfinite(out.dS_l))
                fail_msg("%s of %g and %g: %g, %g, %g", l->name, in.S_w, in.S_l, out.value,
                         out.dS_w, out.dS_l);
        }
}

/* Somebody must notice when log-probabilities are no numbers. */
static void test_nan_is_not_swallowed(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (int i = 0; i < (l->needs & LOSS_REF ? 4 : 2); i++) {
            struct loss_settings set = plain;
            struct pair_input in = example(1, &set);
            double *const at[] = { &in.S_w, &in.S_l, &in.R_w, &in.R_l };
            choose_base(l, &set);
            *at[i] = NAN;
            if (!isnan(value(l, &in)))
                fail_msg("%s: input %d is NaN and the value %g", l->name, i, value(l, &in));
        }
}

/* The row says so when a loss has no use for the reference, or for the number of tokens. */
static void test_needs_are_true(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct loss_settings set = plain;
        struct pair_input in = example(1, &set), other = in;
        choose_base(l, &set);
        other.R_w -= 5;
        assert_true((value(l, &in) != value(l, &other)) == !!(l->needs & LOSS_REF));
        other = in;
        other.n_w += 5;
        assert_true((value(l, &in) != value(l, &other)) == !!(l->needs & LOSS_MEAN));
        other = in;
        other.margin += 1;
        assert_true((value(l, &in) != value(l, &other)) == !!(l->needs & LOSS_MARGIN));
        other = in;
        other.confidence -= 0.1;
        assert_true((value(l, &in) != value(l, &other)) == !!(l->needs & LOSS_CONFIDENCE));
    }
}

/* Target p on a pair is target 1 - p on its mirror; at 0.5 no response is the chosen one. */
static void test_soft_labels_have_no_side(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (size_t i = 0; i < COUNT(targets); i++) {
            struct loss_settings set = plain;
            struct pair_input in = example(3.3, &set), mirror = pair_mirror(&in);
            choose_base(l, &set);
            set.nll = targets[i] == 0.5 ? 0.2 : 0;
            in.target = targets[i];
            mirror.target = 1 - targets[i];
            if (!(fabs(value(l, &in) - value(l, &mirror)) < 1e-12 * (1 + fabs(value(l, &in)))))
                fail_msg("%s, target %g: %.15g, mirrored %.15g", l->name, targets[i],
                         value(l, &in), value(l, &mirror));
        }
}

static void test_empty_responses_divide_by_nothing(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct loss_settings set = plain;
        struct pair_input in = { .target = 1, .sign = sign, .confidence = 0.5, .set = &set };
        struct pair_output out;
        choose_base(l, &set);
        set.nll = 1;
        loss_eval(l, &in, &out);
        assert_true(isfinite(out.value) && isfinite(out.dS_w) && isfinite(out.dS_l));
    }
}

static void assert_zero(const char *name, const struct pair_input *in, bool w, bool l)
{
    struct pair_output out;

    loss_eval(loss_find(name), in, &out);
    if ((w && out.dS_w != 0) || (l && out.dS_l != 0))
        fail_msg("%s: slopes %g and %g", name, out.dS_w, out.dS_l);
}

static void test_slopes_are_exactly_zero_where_the_formula_says_so(void **state)
{
    static const double ties[3] = { 0, 0, 0 };
    struct loss_settings set = plain;
    struct pair_input in = example(41, &set);

    (void)state;
    assert_zero("hinge", &in, true, true);              /* beyond the margin */
    assert_zero("slic", &in, true, true);
    assert_zero("spce_affine", &in, true, true);        /* outside of the clip */
    set.base = loss_find("simpo");
    in.sign = ties;
    assert_zero("amopo", &in, true, true);              /* no objective has a side */
    in.S_l = -1e-7;
    assert_zero("orpo", &in, false, true);              /* a certain response */
    in = example(5, &set);
    in.S_w = in.R_w + 1 / (2 * set.beta);
    assert_zero("sppo", &in, true, false);              /* where it should be */
}

static void test_an_objective_has_a_sign(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct loss_settings set = plain;
        struct pair_input in = example(3.3, &set), mirror = pair_mirror(&in);
        struct pair_output out, other;
        choose_base(l, &set);
        set.nll = 0.3;
        loss_signed(l, &in, 1, &out);
        assert_true(out.value == value(l, &in));
        loss_eval(l, &mirror, &other);
        loss_signed(l, &in, -1, &out);
        assert_true(out.value == other.value && out.dS_w == other.dS_l && out.dS_l == other.dS_w);
        loss_signed(l, &in, 0, &out);
        assert_true(isfinite(out.value) && out.dS_w == 0 && out.dS_l == 0);
        if (strcmp(l->name, "sigmoid") == 0)
            assert_true(fabs(out.value - 0.69314718055994531) < 1e-15);
    }
}

/* ---- pairs: how the losses are related */

static void test_dpo_of_equal_models_is_log_2(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(smoothings); i++) {
        struct loss_settings set = plain;
        struct pair_input in = example(0, &set);
        struct pair_output out;
        set.label_smoothing = smoothings[i];
        loss_eval(loss_find("sigmoid"), &in, &out);
        assert_true(fabs(out.value - 0.69314718055994531) < 1e-15);
        assert_true(fabs(out.dS_w + set.beta * (0.5 - smoothings[i])) < 1e-15);
    }
}

/* softplus(-x) - softplus(x) = -x: swapping the pair changes DPO by beta * Delta. */
static void test_swap_changes_dpo_by_the_margin(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(margins); i++) {
        struct pair_input in = example(margins[i], &plain), mirror = pair_mirror(&in);
        const struct loss *dpo = loss_find("sigmoid");
        double difference = value(dpo, &mirror) - value(dpo, &in);
        assert_true(fabs(difference - plain.beta * margins[i]) < 1e-9 * (1 + fabs(margins[i])));
    }
}

static void assert_same(const char *one, const struct pair_input *a, const char *other,
                        const struct pair_input *b)
{
    struct pair_output x, y;

    loss_eval(loss_find(one), a, &x);
    loss_eval(loss_find(other), b, &y);
    if (fabs(x.value - y.value) > 1e-14 || fabs(x.dS_w - y.dS_w) > 1e-15 ||
        fabs(x.dS_l - y.dS_l) > 1e-15)
        fail_msg("%s: %.15g (%g, %g), %s: %.15g (%g, %g)", one, x.value, x.dS_w, x.dS_l, other,
                 y.value, y.dS_w, y.dS_l);
}

static void test_limits_are_other_losses(void **state)
{
    static const double one[1] = { 1 };
    struct loss_settings set = plain;
    struct pair_input in = example(1.7, &set), soft = in;

    (void)state;
    set.base = loss_find("sigmoid");
    soft.target = in.confidence = 0.9;
    assert_same("lcpo", &in, "sigmoid", &soft);         /* the label's confidence is a target */
    set.epsilon = 0;
    assert_same("rdpo", &in, "sigmoid", &in);
    set.w_main = 1;
    in.margin = 0;
    assert_same("modpo", &in, "sigmoid", &in);          /* a single objective */
    set.base = loss_find("simpo");
    set.K = 1;
    set.alpha = in.sign = one;
    assert_same("amopo", &in, "simpo", &in);
    in.R_w = in.R_l = set.gamma = 0;
    assert_same("simpo", &in, "ln_dpo", &in);
    assert_same("cpo", &in, "sigmoid", &in);
}

static void test_losses_of_the_configuration(void **state)
{
    const struct row *row = config_row(config_rows, "dpo.loss");

    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        bool alone = !(l->needs & (LOSS_MARGIN | LOSS_SIGNS | LOSS_CONFIDENCE));
        assert_ptr_equal(loss_find(l->name), l);
        assert_true(config_row_allows(row, l->name) == alone);
    }
    for (const char *p = row->choices; *p; p += strcspn(p, " "), p += *p == ' ') {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, " "), p);
        assert_non_null(loss_find(name));
    }
    assert_null(loss_find("sigmoi"));
}

/* ---- labels that may be wrong, ranking */

static void test_confidence_follows_policy_and_annotator(void **state)
{
    struct loss_settings set = plain;
    struct pair_input in = example(2.6, &set);

    (void)state;
    set.base = loss_find("sigmoid");
    assert_true(fabs(lcpo_likelihood(&in) - sigmoid(0.26)) < 1e-15);
    assert_true(fabs(lcpo_confidence(0.5, 0.9) - 0.9) < 1e-15);
    assert_true(fabs(lcpo_confidence(0.8, 0.5) - 0.8) < 1e-15);
    assert_true(lcpo_confidence(0, 1) == 1 && lcpo_confidence(1, 0) == 0);
    assert_true(fabs(lcpo_eta(0.9, 0.1, 0.5) - 0.86) < 1e-15);
}

static void test_self_labels(void **state)
{
    double margin[] = { 0.3, -1, 5, 0.1, 2, 0.2, 0.25, 7, 3, 4 }, room[10];

    (void)state;
    assert_true(spa_quantile(room, margin, 10, 0.1) == -1);
    assert_true(spa_quantile(room, margin, 10, 0.2) == 0.1);
    assert_true(spa_quantile(room, margin, 10, 1) == 7);
    assert_true(spa_quantile(room, margin, 1, 0.5) == 0.3);
    assert_true(spa_label(0.1, 0.1, 0.2) == 0.8 && spa_label(0.2, 0.1, 0.2) == 1);
    assert_true(spa_extrapolate(3, 1, 0) == 3);
}

static void test_ranking(void **state)
{
    (void)state;
    assert_true(ranks_right(-1, -1) && !ranks_right(-2, -1));
    assert_true(ranks_right_by_token(-4, -3, 4, 2) && !ranks_right_by_token(-4, -3, 2, 2));
    assert_true(ranks_right_by_token(0, 0, 0, 0));
    assert_true(fabs(ideal_log_ratio(-30, -25, 0.5, 0.1) + 5) < 1e-12);
}

/* ---- primitives */

static void test_stable_primitives(void **state)
{
    double v[3] = { 1000, 1001, 999 }, p[3];

    (void)state;
    assert_true(sigmoid(0) == 0.5 && sigmoid(-1e4) == 0 && sigmoid(1e4) == 1);
    assert_true(softplus(1e4) == 1e4 && softplus(-1e4) == 0);
    for (double x = -40; x <= 40; x += 0.37) {
        assert_true(fabs(sigmoid(x) + sigmoid(-x) - 1) < 1e-15);
        assert_true(fabs(softplus(x) - log1p(exp(-fabs(x))) - fmax(x, 0)) <=
                    4e-16 * softplus(x));
    }
    for (double x = 1e-12; x < 60; x *= 1.7) {
        assert_true(fabs(expm1_own(x) - expm1(x)) <= 2e-15 * expm1(x));
        assert_true(fabs(expm1_own(-x) - expm1(-x)) <= -2e-15 * expm1(-x));
        double want = x < 0.69 ? log(-expm1(-x)) : log1p(-exp(-x));
        assert_true(fabs(log1mexp(-x) - want) <= 4e-15 * fabs(want));
    }
    assert_true(expm1_own(0) == 0 && expm1_own(-1e4) == -1 && isinf(expm1_own(1e4)));
    assert_true(fabs(logit(0.9) - log(9)) < 1e-14 && logit(0) == logit(1e-6));
    assert_true(isnan(clamp(NAN, 0, 1)) && clamp(2, 0, 1) == 1 && clamp(-2, 0, 1) == 0);
    assert_true(fabs(logsumexp(v, 3) - 1001.407605964444380) < 1e-12);
    softmax(p, v, 3);
    assert_true(fabs(p[0] + p[1] + p[2] - 1) < 1e-15 && fabs(p[1] - 0.66524095577482) < 1e-13);
    v[2] = NAN;
    assert_true(isnan(logsumexp(v, 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_gradient_is_the_slope_for_other_bases),
        cmocka_unit_test(test_values_stay_finite),
        cmocka_unit_test(test_nan_is_not_swallowed),
        cmocka_unit_test(test_needs_are_true),
        cmocka_unit_test(test_soft_labels_have_no_side),
        cmocka_unit_test(test_empty_responses_divide_by_nothing),
        cmocka_unit_test(test_slopes_are_exactly_zero_where_the_formula_says_so),
        cmocka_unit_test(test_an_objective_has_a_sign),
        cmocka_unit_test(test_dpo_of_equal_models_is_log_2),
        cmocka_unit_test(test_swap_changes_dpo_by_the_margin),
        cmocka_unit_test(test_limits_are_other_losses),
        cmocka_unit_test(test_losses_of_the_configuration),
        cmocka_unit_test(test_confidence_follows_policy_and_annotator),
        cmocka_unit_test(test_self_labels),
        cmocka_unit_test(test_ranking),
        cmocka_unit_test(test_stable_primitives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
