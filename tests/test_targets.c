/* Labelling: which responses become a pair, in which order, with which weight. */
#include <math.h>

#include "learner/targets.h"
#include "tests/support.h"

/* Responses are equal when their letters are. */
static bool same_letter(int i, int j, void *user)
{
    const char *letters = user;

    return letters[i] == letters[j];
}

static int group(struct pair *pairs, const double *scores, int k, enum pairing pairing,
                 enum tie_policy policy, const char *letters)
{
    return label_group(pairs, scores, k, pairing, policy, 1e-6, same_letter, (void *)letters);
}

static void assert_pair(struct pair p, int winner, int loser, double weight, double target,
                        bool tie)
{
    if (p.winner != winner || p.loser != loser || fabs(p.weight - weight) > 1e-15 ||
        p.target != target || p.tie != tie)
        fail_msg("(%d over %d, weight %g, target %g, tie %d) instead of (%d, %d, %g, %g, %d)",
                 p.winner, p.loser, p.weight, p.target, p.tie, winner, loser, weight, target, tie);
}

static void test_penalty_comes_before_comparing(void **state)
{
    double scores[] = { 1.0, 0.4, 0.4, -2.0 };
    const bool has_eos[] = { true, true, false, true };

    (void)state;
    label_adjust(scores, has_eos, 4, 1.0);
    assert_true(scores[0] == 1.0 && scores[1] == 0.4 && fabs(scores[2] + 0.6) < 1e-15);
    assert_pair(label_pair(scores, 1, 2, TIE_DROP, 1e-6, false), 1, 2, 1, 1, false);
    assert_pair(label_pair(scores, 2, 1, TIE_DROP, 1e-6, false), 1, 2, 1, 1, false);
}

static void test_ties_follow_the_policy(void **state)
{
    const double scores[] = { 0.5, 0.5 + 5e-7 };

    (void)state;
    assert_pair(label_pair(scores, 0, 1, TIE_DROP, 1e-6, false), 0, 1, 0, 1, true);
    assert_pair(label_pair(scores, 0, 1, TIE_SOFT, 1e-6, false), 0, 1, 1, 0.5, true);
    assert_pair(label_pair(scores, 0, 1, TIE_FIRST, 1e-6, false), 0, 1, 1, 1, true);
    assert_pair(label_pair(scores, 0, 1, TIE_DROP, 0, false), 1, 0, 1, 1, false);
}

static void test_identical_responses_weigh_nothing(void **state)
{
    const double scores[] = { 0, 2, 1 };
    struct pair pairs[3];

    (void)state;
    assert_pair(label_pair(scores, 0, 1, TIE_FIRST, 1e-6, true), 1, 0, 0, 1, false);
    assert_int_equal(group(pairs, scores, 3, PAIRING_ALL, TIE_SOFT, "aab"), 3);
    assert_pair(pairs[0], 1, 0, 0, 1, false);
    assert_pair(pairs[1], 2, 0, 1.0 / 3, 1, false);
    assert_pair(pairs[2], 1, 2, 1.0 / 3, 1, false);
}

static void test_best_against_worst(void **state)
{
    const double scores[] = { 0.3, 1.7, -0.2, 1.7, 0.9 };
    struct pair pair;

    (void)state;
    assert_int_equal(label_best(scores, 5), 1);
    assert_int_equal(label_worst(scores, 5), 2);
    assert_int_equal(group(&pair, scores, 5, PAIRING_BEST_WORST, TIE_DROP, "abcde"), 1);
    assert_pair(pair, 1, 2, 1, 1, false);
}

static void test_a_score_that_did_not_come_makes_no_pair(void **state)
{
    const double scores[] = { NAN, 1, NAN, 3, 2 }, one[] = { NAN, 1, NAN }, none[] = { NAN, NAN };
    struct pair pairs[10];

    (void)state;
    assert_int_equal(label_best(scores, 5), 3);
    assert_int_equal(label_worst(scores, 5), 1);
    group(pairs, scores, 5, PAIRING_BEST_WORST, TIE_DROP, "abcde");
    assert_pair(pairs[0], 3, 1, 1, 1, false);
    assert_int_equal(group(pairs, scores, 5, PAIRING_ALL, TIE_FIRST, "abcde"), 10);
    for (int p = 0; p < 10; p++)
        assert_true((pairs[p].weight > 0) ==
                    !(isnan(scores[pairs[p].winner]) || isnan(scores[pairs[p].loser])));
    group(pairs, one, 3, PAIRING_BEST_WORST, TIE_FIRST, "abc");
    assert_true(pairs[0].weight == 0 && pairs[0].winner != pairs[0].loser);
    group(pairs, none, 2, PAIRING_PAIR, TIE_SOFT, "ab");
    assert_true(pairs[0].weight == 0 && !pairs[0].tie);
}

static void test_equal_scores_tie_the_first_two(void **state)
{
    const double scores[] = { 2, 2, 2 };
    struct pair pair;

    (void)state;
    group(&pair, scores, 3, PAIRING_BEST_WORST, TIE_DROP, "abc");
    assert_pair(pair, 0, 1, 0, 1, true);
    group(&pair, scores, 3, PAIRING_BEST_WORST, TIE_SOFT, "abc");
    assert_pair(pair, 0, 1, 1, 0.5, true);
    group(&pair, scores, 3, PAIRING_BEST_WORST, TIE_FIRST, "abc");
    assert_pair(pair, 0, 1, 1, 1, true);
}

/* Near-ties: the policy `first` means the lower sample, not the one that is ahead by a hair. */
static void test_first_is_the_lower_sample(void **state)
{
    const double scores[] = { 1, 1 - 1e-9, 1 + 1e-9 };
    struct pair pair;

    (void)state;
    group(&pair, scores, 3, PAIRING_BEST_WORST, TIE_FIRST, "abc");
    assert_pair(pair, 1, 2, 1, 1, true);
}

static void test_all_pairs_share_the_weight_of_one(void **state)
{
    const double scores[] = { 3, 1, 4, 1 };
    struct pair pairs[6];

    (void)state;
    assert_int_equal(label_pairs(PAIRING_ALL, 4), 6);
    assert_int_equal(group(pairs, scores, 4, PAIRING_ALL, TIE_DROP, "abcd"), 6);
    assert_pair(pairs[0], 0, 1, 1.0 / 6, 1, false);
    assert_pair(pairs[1], 2, 0, 1.0 / 6, 1, false);
    assert_pair(pairs[2], 0, 3, 1.0 / 6, 1, false);
    assert_pair(pairs[3], 2, 1, 1.0 / 6, 1, false);
    assert_pair(pairs[4], 1, 3, 0, 1, true);
    assert_pair(pairs[5], 2, 3, 1.0 / 6, 1, false);
}

static void test_pair_takes_the_first_two(void **state)
{
    const double scores[] = { 0, 1 };
    struct pair pair;

    (void)state;
    assert_int_equal(label_pairs(PAIRING_PAIR, 2), 1);
    assert_int_equal(group(&pair, scores, 2, PAIRING_PAIR, TIE_DROP, "ab"), 1);
    assert_pair(pair, 1, 0, 1, 1, false);
}

static void test_names(void **state)
{
    enum pairing pairing;
    enum tie_policy policy;

    (void)state;
    assert_ok(pairing_parse(&pairing, "all"));
    assert_int_equal(pairing, PAIRING_ALL);
    assert_ok(tie_policy_parse(&policy, "soft"));
    assert_int_equal(policy, TIE_SOFT);
    status_hold(true);
    assert_int_equal(pairing_parse(&pairing, "best"), RL_EINVAL);
    assert_int_equal(tie_policy_parse(&policy, ""), RL_EINVAL);
    status_drop();
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_penalty_comes_before_comparing),
        cmocka_unit_test(test_ties_follow_the_policy),
        cmocka_unit_test(test_identical_responses_weigh_nothing),
        cmocka_unit_test(test_best_against_worst),
        cmocka_unit_test(test_a_score_that_did_not_come_makes_no_pair),
        cmocka_unit_test(test_equal_scores_tie_the_first_two),
        cmocka_unit_test(test_first_is_the_lower_sample),
        cmocka_unit_test(test_all_pairs_share_the_weight_of_one),
        cmocka_unit_test(test_pair_takes_the_first_two),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
