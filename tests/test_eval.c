/* How sure the figures of an evaluation are, and what is counted in held-out pairs. */
#include "tests/support.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/file.h"
#include "base/random.h"
#include "launch/eval/interval.h"
#include "learner/ranked.h"

/* 15 of 20, the ends of the scale, and a half: the formula in Python. */
static void test_intervals_of_shares_are_wilsons(void **state)
{
    static const struct { double p, n, low, high; } cases[] = {
        { 0.75, 20, 0.5312993, 0.8881383 }, { 0, 10, 0, 0.2775328 }, { 1, 10, 0.7224672, 1 },
        { 0.5, 100, 0.4038315, 0.5961685 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct interval in = interval_share(cases[i].p, cases[i].n);
        assert_true(fabs(in.low - cases[i].low) < 1e-6);
        assert_true(fabs(in.high - cases[i].high) < 1e-6);
    }
    for (int n = 1; n <= 1000; n++)         /* none and all: the end itself, without rounding */
        assert_true(interval_share(0, n).low == 0 && interval_share(1, n).high == 1);
    assert_true(interval_share(0, 0).low == 0 && interval_share(0, 0).high == 1);
}

#define GROUPS 200

/* Standard normal numbers: the mean of n of them is known to 1.96 / sqrt(n). */
static void test_bootstrap_is_as_wide_as_it_should(void **state)
{
    double sums[GROUPS], counts[GROUPS], scratch[2000];
    struct interval in, again, other;

    (void)state;
    for (int g = 0; g < GROUPS; g++) {
        struct counter c = { .seed = 5, .purpose = PURPOSE_TEST, .prompt = (uint32_t)g };
        uint32_t words[4];
        random_words(&c, words);
        sums[g] = random_normal(words[0], words[1]);
        counts[g] = 1;
    }
    in = interval_mean(sums, counts, GROUPS, 7, 2000, scratch);
    again = interval_mean(sums, counts, GROUPS, 7, 2000, scratch);
    other = interval_mean(sums, counts, GROUPS, 8, 2000, scratch);
    assert_true(in.low == again.low && in.high == again.high);
    assert_true(in.low != other.low);
    assert_true(fabs((in.high - in.low) / (2 * 1.96 / sqrt(GROUPS)) - 1) < 0.15);
}

static void test_bootstrap_draws_groups_and_leaves_empty_ones_out(void **state)
{
    const double sums[] = { 6, 0, 2 }, counts[] = { 3, 0, 1 }, none[] = { 0, 0, 0 };
    double scratch[100];
    struct interval in = interval_mean(sums, counts, 3, 1, 100, scratch);

    (void)state;
    assert_true(in.low == 2 && in.high == 2);       /* every mean is 2, however it is drawn */
    assert_true(isnan(interval_mean(none, none, 3, 1, 100, scratch).low));
}

/* Two pairs and a tie; the second is labelled the other way round in column 1. */
static void test_pairs_are_counted_by_each_objective(void **state)
{
    static const double table[] = {
        /* S, R, n, objective 0, objective 1 */
        -10, -9, 5, 1, 1,      -20, -21, 20, 0, 0,
        -12, -12, 4, 1, 0,     -11, -13, 4, 0, 1,
        -1, -1, 1, 1, 0,       -1, -1, 1, 1, 0,
    };
    struct ranked a = ranked_count(table, 3, 5, 0, 0.1, 0.9);
    struct ranked b = ranked_count(table, 3, 5, 1, 0.1, 0.9);

    (void)state;
    assert_int_equal(a.pairs, 2);
    assert_int_equal(a.raw, 1);
    assert_int_equal(a.per_token, 0);
    assert_int_equal(a.accurate, 0);                /* h: -1 against 1, 0 against 2 */
    assert_true(fabs(a.margin - 0.1 * (-2 - 2)) < 1e-12);
    assert_int_equal(a.ideal, 2);                   /* log(0.9 / 0.1) / 0.1 = 22 */
    assert_int_equal(b.pairs, 2);
    assert_int_equal(b.raw, 2);
    assert_int_equal(b.accurate, 1);
    assert_int_equal(ranked_count(table, 3, 5, 0, 1, 0.5).ideal, 2);   /* the reference's own */
    assert_int_equal(ranked_count(table, 3, 5, 1, 1, 0.5).ideal, 1);
}

static void test_a_set_is_named_by_its_files_stem(void **state)
{
    static const char *const cases[][2] = {
        { "stories.eval.jsonl", "stories.eval" }, { "/a.b/tldr.jsonl.gz", "tldr" }, { "x", "x" },
        { "a/.hidden", ".hidden" }, { "text.gz", "text" },
    };
    char stem[64];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        path_stem(cases[i][0], stem, sizeof stem);
        assert_string_equal(stem, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intervals_of_shares_are_wilsons),
        cmocka_unit_test(test_bootstrap_is_as_wide_as_it_should),
        cmocka_unit_test(test_bootstrap_draws_groups_and_leaves_empty_ones_out),
        cmocka_unit_test(test_pairs_are_counted_by_each_objective),
        cmocka_unit_test(test_a_set_is_named_by_its_files_stem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
