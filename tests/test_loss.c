/* Pairwise losses: facts that hold for every row of losses[]. */
#include <math.h>
#include <string.h>

#include "learner/losses/loss.h"
#include "tests/support.h"

/* Margins small, large and beyond what exp can hold; labels sure, smoothed and tied. */
static const double margins[] = { -8000, -35.5, -3.1, -0.4, 0, 0.7, 2.6, 41, 9000 };
static const double smoothings[] = { 0, 0.1, 0.5 };
static const double targets[] = { 1, 0.5, 0.73 };
static const double nlls[] = { 0, 0.3 };
#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct pair_input example(double margin)
{
    struct pair_input in = { .S_w = -41.5, .S_l = -38.2, .R_w = -43.0, .R_l = -37.1, .n_w = 20,
                             .n_l = 16, .beta = 0.1, .target = 1 };

    in.S_w += margin - 2.6;         /* Delta is the margin */
    return in;
}

static double value(const struct loss *l, struct pair_input in)
{
    struct pair_output out;

    loss_eval(l, &in, &out);
    return out.value;
}

/* Central differences; a corner of the hinge inside the step is left out. */
static void check_slope(const struct loss *l, const struct pair_input *in, double *at,
                        double slope, const char *name)
{
    double x = *at, h = 1e-5 * fmax(1, fabs(x)), up, down, measured;

    *at = x + h;
    up = value(l, *in);
    *at = x - h;
    down = value(l, *in);
    *at = x;
    measured = (up - down) / (2 * h);
    if (fabs(measured - slope) > 1e-6 * (1 + fabs(slope)))
        fail_msg("%s: %s is %.12g, the slope %.12g (S_w %g)", l->name, name, slope, measured,
                 in->S_w);
}

static void test_gradient_is_the_slope(void **state)
{
    const size_t all = COUNT(margins) * COUNT(smoothings) * COUNT(targets) * COUNT(nlls);

    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (size_t i = 0; i < all; i++) {
            struct pair_input in = example(margins[i % COUNT(margins)]);
            struct pair_output out;
            size_t j = i / COUNT(margins);
            in.label_smoothing = smoothings[j % COUNT(smoothings)];
            in.target = targets[j / COUNT(smoothings) % COUNT(targets)];
            in.nll = nlls[j / COUNT(smoothings) / COUNT(targets)];
            loss_eval(l, &in, &out);
            check_slope(l, &in, &in.S_w, out.dS_w, "dS_w");
            check_slope(l, &in, &in.S_l, out.dS_l, "dS_l");
        }
}

static void test_values_stay_finite(void **state)
{
    static const double huge[] = { -1e30, -1e9, -750, 750, 1e9, 1e30 };

    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (size_t i = 0; i < COUNT(huge); i++)
            for (size_t j = 0; j < COUNT(huge); j++) {
                struct pair_input in = { .S_w = huge[i], .S_l = huge[j], .beta = 0.5, .target = 1,
                                         .label_smoothing = 0.1, .n_w = 3, .n_l = 4 };
                struct pair_output out;
                loss_eval(l, &in, &out);
                if (!isfinite(out.value) || !isfinite(out.dS_w) || !isfinite(out.dS_l))
                    fail_msg("%s of %g and %g: %g, %g, %g", l->name, huge[i], huge[j], out.value,
                             out.dS_w, out.dS_l);
            }
}

/* Somebody must notice when log-probabilities are no numbers. */
static void test_nan_is_not_swallowed(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct pair_input in = example(1);
        if (strcmp(l->name, "hinge") == 0)
            continue;               /* max(0, NaN) may be 0: the learner checks the sums too */
        in.S_w = NAN;
        assert_true(isnan(value(l, in)));
    }
}

static void test_dpo_of_equal_models_is_log_2(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(smoothings); i++) {
        struct pair_input in = example(0);
        struct pair_output out;
        in.label_smoothing = smoothings[i];
        loss_eval(loss_find("sigmoid"), &in, &out);
        assert_true(fabs(out.value - 0.69314718055994531) < 1e-15);
        assert_true(fabs(out.dS_w + in.beta * (0.5 - smoothings[i])) < 1e-15);
    }
}

/* softplus(-x) - softplus(x) = -x: swapping the pair changes DPO by beta * Delta. */
static void test_swap_changes_dpo_by_the_margin(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(margins); i++) {
        struct pair_input in = example(margins[i]), swapped = in;
        swapped.S_w = in.S_l, swapped.R_w = in.R_l, swapped.n_w = in.n_l;
        swapped.S_l = in.S_w, swapped.R_l = in.R_w, swapped.n_l = in.n_w;
        double difference = value(loss_find("sigmoid"), swapped) - value(loss_find("sigmoid"), in);
        assert_true(fabs(difference - in.beta * margins[i]) < 1e-9 * (1 + fabs(margins[i])));
    }
}

/* At target 0.5 it does not matter which response is called the chosen one. */
static void test_soft_tie_has_no_side(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct pair_input in = example(3.3), swapped = in;
        in.target = swapped.target = 0.5;
        in.nll = swapped.nll = 0.2;
        swapped.S_w = in.S_l, swapped.R_w = in.R_l, swapped.n_w = in.n_l;
        swapped.S_l = in.S_w, swapped.R_l = in.R_w, swapped.n_l = in.n_w;
        assert_true(fabs(value(l, in) - value(l, swapped)) < 1e-12);
    }
}

static void test_empty_responses_divide_by_nothing(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++) {
        struct pair_input in = { .beta = 0.1, .target = 1, .nll = 1 };
        assert_true(isfinite(value(l, in)));
    }
}

static void test_find(void **state)
{
    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        assert_ptr_equal(loss_find(l->name), l);
    assert_null(loss_find("sigmoi"));
}

static void test_stable_primitives(void **state)
{
    (void)state;
    assert_true(sigmoid(0) == 0.5 && sigmoid(-1e4) == 0 && sigmoid(1e4) == 1);
    assert_true(softplus(1e4) == 1e4 && softplus(-1e4) == 0);
    for (double x = -40; x <= 40; x += 0.37) {
        assert_true(fabs(sigmoid(x) + sigmoid(-x) - 1) < 1e-15);
        assert_true(fabs(softplus(x) - log1p(exp(-fabs(x))) - fmax(x, 0)) <=
                    4e-16 * softplus(x));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_values_stay_finite),
        cmocka_unit_test(test_nan_is_not_swallowed),
        cmocka_unit_test(test_dpo_of_equal_models_is_log_2),
        cmocka_unit_test(test_swap_changes_dpo_by_the_margin),
        cmocka_unit_test(test_soft_tie_has_no_side),
        cmocka_unit_test(test_empty_responses_divide_by_nothing),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_stable_primitives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
