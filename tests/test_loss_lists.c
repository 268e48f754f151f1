/* Losses of lists and of labelled singles, walked by their tables. */
#include <math.h>
#include <string.h>

#include "learner/losses/list.h"
#include "learner/losses/single.h"
#include "tests/loss_example.h"
#include "tests/support.h"

/* ---- lists */

#define K 5

static const double list_S[K] = { -41.5, -38.2, -57.25, -12.1, -30.3 };
static const double list_R[K] = { -43.0, -37.1, -55.5, -12.9, -30.2 };
static const double list_label[K] = { 0.35, 0.1, 0.3, 0.05, 0.2 };
static const int list_n[K] = { 20, 16, 25, 4, 11 };

struct list { double S[K], R[K], label[K]; int n[K], k; };

static struct list list_example(int k)
{
    struct list list = { .k = k };

    memcpy(list.S, list_S, sizeof list.S);
    memcpy(list.R, list_R, sizeof list.R);
    memcpy(list.label, list_label, sizeof list.label);
    memcpy(list.n, list_n, sizeof list.n);
    return list;
}

static double list_value(const struct list_loss *l, const struct list *list, double *dS)
{
    struct list_input in = { .k = list->k, .S = list->S, .R = list->R, .n = list->n,
                             .label = list->label, .set = &plain };
    double value;

    l->eval(&in, &value, dS);
    return value;
}

static void test_list_gradient_is_the_slope(void **state)
{
    double dS[K], other[K], h = 1e-4;

    (void)state;
    for (const struct list_loss *l = list_losses; l->name; l++)
        for (int k = 1; k <= K; k++)
            for (int i = 0; i < k; i++) {
                struct list list = list_example(k);
                list_value(l, &list, dS);
                list.S[i] = list_S[i] + h;
                double up = list_value(l, &list, other);
                list.S[i] = list_S[i] - h;
                double slope = (up - list_value(l, &list, other)) / (2 * h);
                if (!(fabs(slope - dS[i]) < 1e-8 * (1 + fabs(slope))))
                    fail_msg("%s of %d: dS[%d] is %.12g, the slope %.12g", l->name, k, i, dS[i],
                             slope);
            }
}

static void test_lists_stay_finite_and_do_not_swallow_nan(void **state)
{
    static const double huge[] = { -1e30, -750, 750, 1e30 };
    double dS[K];

    (void)state;
    for (const struct list_loss *l = list_losses; l->name; l++) {
        for (int i = 0; i < 4 * K; i++) {
            struct list list = list_example(K);
            list.S[i % K] = huge[i / K];
            list.n[(i + 1) % K] = 0;
            list.S[(i + 1) % K] = list.R[(i + 1) % K] = 0;
            assert_true(isfinite(list_value(l, &list, dS)));
            for (int j = 0; j < K; j++)
                assert_true(isfinite(dS[j]));
        }
        for (int i = 0; i < K; i++) {
            struct list list = list_example(K);
            list.S[i] = NAN;
            assert_true(isnan(list_value(l, &list, dS)));
        }
    }
}

/* The order in which a list is given means nothing. */
static void test_lists_have_no_order(void **state)
{
    double dS[K], turned_dS[K];

    (void)state;
    for (const struct list_loss *l = list_losses; l->name; l++) {
        struct list list = list_example(K), turned = list;
        for (int i = 0; i < K; i++) {
            turned.S[(i + 2) % K] = list.S[i];
            turned.R[(i + 2) % K] = list.R[i];
            turned.n[(i + 2) % K] = list.n[i];
            turned.label[(i + 2) % K] = list.label[i];
        }
        assert_true(fabs(list_value(l, &list, dS) - list_value(l, &turned, turned_dS)) < 1e-12);
        for (int i = 0; i < K; i++)
            assert_true(fabs(dS[i] - turned_dS[(i + 2) % K]) < 1e-14);
    }
}

static void test_lists_at_rest(void **state)
{
    struct list list = list_example(K);
    double dS[K], sum = 0;

    (void)state;
    list_value(list_find("lipo"), &list, dS);
    for (int i = 0; i < K; i++)
        sum += dS[i];
    assert_true(fabs(sum) < 1e-15);                     /* only differences count */
    for (int i = 0; i < K; i++)
        list.label[i] = 0.4;
    assert_true(list_value(list_find("lipo"), &list, dS) == 0);     /* nothing is better */
    for (int i = 0; i < K; i++)
        assert_true(dS[i] == 0);
    for (int i = 0; i < K; i++)
        list.S[i] = list.R[i] + plain.eta * list.label[i];
    list_value(list_find("gpo"), &list, dS);
    for (int i = 0; i < K; i++)
        assert_true(fabs(dS[i]) < 1e-14);
    for (int i = 0; i < K; i++)
        list.S[i] = list.R[i], list.label[i] = 1.0 / K;
    list_value(list_find("listwise_soft"), &list, dS);
    for (int i = 0; i < K; i++)
        assert_true(fabs(dS[i]) < 1e-16);
    list.k = 1;
    list.label[0] = 1;
    for (const struct list_loss *l = list_losses; l->name; l++) {   /* alone: nothing to compare */
        assert_ptr_equal(list_find(l->name), l);
        list_value(l, &list, dS);
        assert_true(dS[0] == 0 || strcmp(l->name, "gpo") == 0);
    }
    assert_null(list_find("lip"));
}

static void test_scores_of_a_skew_table_have_mean_0(void **state)
{
    static const double table[9] = { 0, 0.8, -0.3, -0.8, 0, 0.5, 0.3, -0.5, 0 };
    double label[3];

    (void)state;
    gpo_scores(label, table, 3);
    assert_true(fabs(label[0] - 0.25) < 1e-15 && fabs(label[0] + label[1] + label[2]) < 1e-15);
    gpo_scores(label, table, 1);
    assert_true(label[0] == 0);
}

/* ---- singles */

static double single_value(const struct single_loss *l, struct single_input in, double *dS)
{
    struct single_output out;

    l->eval(&in, &out);
    *dS = out.dS;
    return out.value;
}

static void test_single_gradient_is_the_slope(void **state)
{
    double dS, other, h = 1e-4;

    (void)state;
    for (const struct single_loss *l = single_losses; l->name; l++)
        for (size_t i = 0; i < 2 * COUNT(margins); i++) {
            struct single_input in = { .R = -40, .n = 7, .desirable = i % 2, .weight = 0.7,
                                       .shift = 0.35, .set = &plain };
            in.S = in.R + margins[i / 2];
            single_value(l, in, &dS);
            in.S += h;
            double up = single_value(l, in, &other);
            in.S -= 2 * h;
            double slope = (up - single_value(l, in, &other)) / (2 * h);
            if (!(fabs(slope - dS) < 1e-7))
                fail_msg("%s: dS is %.12g, the slope %.12g (h %g)", l->name, dS, slope,
                         margins[i / 2]);
            assert_true(in.desirable ? dS <= 0 : dS >= 0);
        }
}

static void test_singles_stay_finite_and_do_not_swallow_nan(void **state)
{
    static const double huge[] = { -1e30, -750, 750, 1e30 };
    double dS;

    (void)state;
    for (const struct single_loss *l = single_losses; l->name; l++)
        for (int i = 0; i < 8; i++) {
            struct single_input in = { .S = huge[i / 2], .desirable = i % 2, .weight = 1,
                                       .set = &plain };
            assert_true(isfinite(single_value(l, in, &dS)) && isfinite(dS));
            in.S = NAN;
            assert_true(isnan(single_value(l, in, &dS)));
            in.S = 1;
            in.R = NAN;
            assert_true(isnan(single_value(l, in, &dS)));
            in.R = in.weight = 0;
            assert_true(single_value(l, in, &dS) == 0 && dS == 0);
            assert_ptr_equal(single_find(l->name), l);
        }
    assert_null(single_find("kt"));
}

static void test_shifts(void **state)
{
    struct bco_means means = { { 0 }, { 0 } };

    (void)state;
    assert_true(kto_z0(-3, 2) == 0 && kto_z0(3, 2) == 1.5 && kto_z0(0, 0) == 0);
    assert_true(bco_delta(&means, false) == 0 && bco_delta(&means, true) == 0);
    bco_add(&means, 1, 3, 3);
    assert_true(bco_delta(&means, true) == 1 && bco_delta(&means, false) == 1);
    bco_add(&means, 0, -2, 1);
    bco_add(&means, 0, 0, 0);
    assert_true(bco_delta(&means, true) == -0.5 && bco_delta(&means, false) == 0.25);
    bco_add(&means, 0, 4, 1);
    assert_true(means.mean[0] == 1 && means.count[0] == 2);
    assert_true(udm_weight(1, 0.5, 10) == 10 && udm_weight(0, 0.5, 10) == 0.5);
    assert_true(udm_weight(0.5, 0.5, 10) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_gradient_is_the_slope),
        cmocka_unit_test(test_lists_stay_finite_and_do_not_swallow_nan),
        cmocka_unit_test(test_lists_have_no_order),
        cmocka_unit_test(test_lists_at_rest),
        cmocka_unit_test(test_scores_of_a_skew_table_have_mean_0),
        cmocka_unit_test(test_single_gradient_is_the_slope),
        cmocka_unit_test(test_singles_stay_finite_and_do_not_swallow_nan),
        cmocka_unit_test(test_shifts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
