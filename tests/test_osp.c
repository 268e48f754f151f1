/* OSP: what two orders say of an answer, ranked pairs with graded strengths, and the update. */
#include <math.h>

#include "compute/math.h"
#include "data/verdict.h"
#include "learner/osp/ranking.h"
#include "tests/tiny_learner.h"

#define K 4
#define ROOM (K * (K - 1) / 2)

static const struct osp_settings plain = { .most = 6, .n_ref = 100 };
static const double lam[K] = { 0, 1, -0.5, 2 };         /* response 0 is the baseline */
static const int equal_lengths[K] = { 10, 10, 10, 10 };

static int rank(struct pair *pair, const struct osp_settings *set, const double *x, const int *n)
{
    int order[K];

    return osp_rank(pair, set, x, n, K, 0, order);
}

static double weight_of(const struct pair *pair)
{
    double sum = 0;

    for (int i = 0; i < ROOM; i++)
        sum += pair[i].weight;
    return sum;
}

/* ---- verdicts */

static void test_a_favour_for_a_slot_moves_the_bias_only(void **state)
{
    struct said plain_slots = said_of(2.0, 0.5, 1.25, 1.0);
    struct said favoured = said_of(2.0 + 0.75, 0.5, 1.25 + 0.75, 1.0);

    (void)state;
    assert_true(favoured.lam == plain_slots.lam);
    assert_true(favoured.bias == plain_slots.bias + 0.75);
}

/* Asked about the baseline instead, the same two questions come in the other order. */
static void test_the_order_of_the_questions_turns_the_sign_only(void **state)
{
    struct said candidate = said_of(2.0, 0.5, 1.25, 1.0), baseline = said_of(1.25, 1.0, 2.0, 0.5);

    (void)state;
    assert_true(baseline.lam == -candidate.lam && baseline.bias == candidate.bias);
}

static void test_probabilities_do_not_cancel_a_favour(void **state)
{
    struct osp_settings logit = plain, probability = plain;

    (void)state;
    probability.probability = true;
    assert_true(osp_strength(&logit, 0.6, 3) == 0.6);
    assert_true(osp_strength(&probability, 0.6, 3) < 0.5);
    assert_true(osp_strength(&probability, 0.6, 3) > 0);
    assert_true(fabs(osp_strength(&probability, 0.6, 0) - 0.6) < 1e-12);
}

static void test_strengths_are_clamped(void **state)
{
    (void)state;
    assert_true(osp_strength(&plain, 40, 0) == 6 && osp_strength(&plain, -40, 0) == -6);
}

/* ---- pairs */

static void test_every_pair_set(void **state)
{
    static const struct { enum osp_pairs pairs; int count; const int pair[ROOM][2]; } cases[] = {
        { OSP_ALL, 6, { { 0, 2 }, { 1, 0 }, { 1, 2 }, { 3, 0 }, { 3, 1 }, { 3, 2 } } },
        { OSP_ADJACENT, 3, { { 0, 2 }, { 1, 0 }, { 3, 1 } } },
        { OSP_VS_BASELINE, 3, { { 0, 2 }, { 1, 0 }, { 3, 0 } } },
        { OSP_BEST_WORST, 1, { { 3, 2 } } },
    };

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct osp_settings set = plain;
        struct pair pair[ROOM];
        set.pairs = cases[c].pairs;
        assert_int_equal(rank(pair, &set, lam, equal_lengths), cases[c].count);
        for (int i = 0; i < cases[c].count; i++) {
            int w = cases[c].pair[i][0], l = cases[c].pair[i][1];
            assert_true(pair[i].winner == w && pair[i].loser == l);
            assert_true(fabs(pair[i].target - 1 / (1 + rw_exp(lam[l] - lam[w]))) < 1e-12);
        }
        assert_true(fabs(weight_of(pair) - 1) < 1e-12);
    }
}

/* bt gives back what was judged against the baseline; affine halves its distance from a half. */
static void test_affine_strength_is_half_as_far_from_a_tie(void **state)
{
    struct osp_settings bt = plain, affine = plain;
    struct pair a[ROOM], b[ROOM];

    (void)state;
    bt.pairs = affine.pairs = OSP_VS_BASELINE;
    affine.affine = true;
    assert_int_equal(rank(a, &bt, lam, equal_lengths), rank(b, &affine, lam, equal_lengths));
    for (int i = 0; i < K - 1; i++)
        assert_true(fabs((a[i].target - 0.5) / 2 - (b[i].target - 0.5)) < 1e-12);
}

static void test_weak_pairs_are_dropped_and_the_rest_weighs_one(void **state)
{
    struct osp_settings set = plain;
    struct pair pair[ROOM];

    (void)state;
    set.min_strength = 0.3;             /* logit(0.8) is 1.386 */
    assert_int_equal(rank(pair, &set, lam, equal_lengths), 3);
    for (int i = 0; i < 3; i++)
        assert_true(pair[i].target >= 0.8 && fabs(pair[i].weight - 1.0 / 3) < 1e-12);
    set.graded = true;
    assert_int_equal(rank(pair, &set, lam, equal_lengths), 3);
    assert_true(fabs(weight_of(pair) - 1) < 1e-12);
    assert_true(fabs(pair[0].weight / pair[1].weight -
                     (2 * pair[0].target - 1) / (2 * pair[1].target - 1)) < 1e-12);
}

static void test_equal_strengths_make_no_pair(void **state)
{
    static const double equal[K] = { 0, 0, 0, 0 }, one[K] = { 0, 0, 0, 1 };
    struct pair pair[ROOM];

    (void)state;
    assert_int_equal(rank(pair, &plain, equal, equal_lengths), 0);
    assert_true(weight_of(pair) == 0);
    assert_int_equal(rank(pair, &plain, one, equal_lengths), 3);
}

static void test_longer_answers_are_preferred_less(void **state)
{
    static const int lengths[K] = { 10, 60, 10, 10 };
    struct osp_settings set = plain;
    struct pair pair[ROOM];

    (void)state;
    set.length_penalty = 1;             /* response 1: 0.5 less */
    assert_int_equal(rank(pair, &set, lam, lengths), ROOM);
    for (int i = 0; i < ROOM; i++) {
        double x = lam[pair[i].winner] - lam[pair[i].loser] -
                   (lengths[pair[i].winner] - lengths[pair[i].loser]) / 100.0;
        assert_true(x > 0 && fabs(pair[i].target - 1 / (1 + rw_exp(-x))) < 1e-12);
    }
}

/* 200 tokens more outweigh a lam of 1, in every strength and pair set. */
static void test_a_penalty_may_turn_a_pair_round(void **state)
{
    static const int lengths[K] = { 10, 210, 10, 10 };

    (void)state;
    for (int affine = 0; affine < 2; affine++)
        for (int pairs = OSP_ALL; pairs <= OSP_BEST_WORST; pairs++) {
            struct osp_settings set = plain;
            struct pair pair[ROOM];
            bool worst = false;
            set.length_penalty = 1;
            set.affine = affine;
            set.pairs = (enum osp_pairs)pairs;
            assert_true(rank(pair, &set, lam, lengths) > 0);
            for (int i = 0; i < ROOM && pair[i].weight > 0; i++) {
                assert_true(pair[i].winner != 1 && pair[i].target > 0.5 && pair[i].target <= 1);
                worst |= pair[i].loser == 1;
            }
            assert_true(worst);
        }
}

/* ---- the update */

static struct config_reward judged[] = {
    { .kind = "judge", .name = "judge", .column = "strength", .weight = 1 },
    { .kind = "judge", .name = "judge_bias", .column = "bias" },
};

static struct config osp_config(void)
{
    struct config c = settings("osp");

    c.rewards = judged;
    c.n_rewards = 2;
    c.osp.judge = "current";
    c.osp.average = "logit";
    c.osp.pairs = "all";
    c.osp.strength = "bt";
    c.osp.weight = "equal";
    c.osp.link = "sigmoid";
    c.osp.clamp = 6;
    c.osp.length_ref = 100;
    return c;
}

/* The baseline's own verdict is 0; the others' are what the made-up scores say. */
static void open_osp(struct run *r, struct config c, struct comm *team)
{
    open_groups(r, c, "cpu", team, TINY_P, TINY_K);
    for (int n = 0; n < r->b->N; n++) {
        double *said = r->b->reward + (size_t)n * 2;
        said[0] = n % TINY_K ? (said[0] - 3) / 2 : 0;
        said[1] = n % TINY_K ? (said[1] - 3) / 4 : 0;
    }
}

/* At the reference every margin is 0, and p ln 2 + (1 - p) ln 2 is ln 2 for every p. */
static void test_the_first_loss_is_log_2(void **state)
{
    struct comm *team = comm_alone();
    struct run r;

    (void)state;
    open_osp(&r, osp_config(), team);
    assert_true(fabs(update(&r) - 0.69314718055994530942) < 1e-6);
    assert_true(metrics_get(r.m, "osp/strength/mean", 0) > 0.5);
    assert_true(metrics_get(r.m, "osp/pairs_per_prompt", 0) > 2);
    assert_true(metrics_get(r.m, "osp/order_agreement", -1) >= 0);
    assert_true(metrics_get(r.m, "spce/kl", -1) > 0);
    close_run(&r);
    comm_stop(team);
}

static void test_updates_lower_what_is_above_the_floor(void **state)
{
    static const char *const links[] = { "sigmoid", "affine" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct comm *team = comm_alone();
        struct config c = osp_config();
        double first, last = 0;
        struct run r;
        c.osp.link = (char *)links[i];
        open_osp(&r, c, team);
        first = update(&r);
        for (int s = 0; s < 20; s++)
            last = update(&r);
        if (!(last < first - 0.005))
            fail_msg("%s: %g after %g", links[i], last, first);
        close_run(&r);
        comm_stop(team);
    }
}

static void test_a_prompt_that_was_not_judged_is_left_out(void **state)
{
    struct comm *team = comm_alone();
    struct run r;
    double all;

    (void)state;
    open_osp(&r, osp_config(), team);
    update(&r);
    all = metrics_get(r.m, "osp/pairs_per_prompt", 0);
    close_run(&r);
    open_osp(&r, osp_config(), team);
    r.b->reward[2] = NAN;
    update(&r);
    assert_true(metrics_get(r.m, "osp/pairs_per_prompt", 0) < all);
    close_run(&r);
    comm_stop(team);
}

static void test_bad_settings_are_refused(void **state)
{
    struct config c[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        c[i] = osp_config();
    c[0].samples_per_prompt = 1;
    c[1].n_rewards = 1;
    c[2].osp.gate = true;
    c[3].osp.pairs = "vs_baseline";
    c[3].osp.baseline = "answer";
    status_hold(true);
    for (int i = 0; i < 4; i++) {
        c[i].prompts = "prompts.jsonl";
        assert_int_equal(algorithm_check(&c[i]), RL_EINVAL);
        status_drop();
    }
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_favour_for_a_slot_moves_the_bias_only),
        cmocka_unit_test(test_the_order_of_the_questions_turns_the_sign_only),
        cmocka_unit_test(test_probabilities_do_not_cancel_a_favour),
        cmocka_unit_test(test_strengths_are_clamped),
        cmocka_unit_test(test_every_pair_set),
        cmocka_unit_test(test_affine_strength_is_half_as_far_from_a_tie),
        cmocka_unit_test(test_weak_pairs_are_dropped_and_the_rest_weighs_one),
        cmocka_unit_test(test_equal_strengths_make_no_pair),
        cmocka_unit_test(test_longer_answers_are_preferred_less),
        cmocka_unit_test(test_a_penalty_may_turn_a_pair_round),
        cmocka_unit_test(test_the_first_loss_is_log_2),
        cmocka_unit_test(test_updates_lower_what_is_above_the_floor),
        cmocka_unit_test(test_a_prompt_that_was_not_judged_is_left_out),
        cmocka_unit_test(test_bad_settings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
