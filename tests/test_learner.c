/* The learner in one process: it learns, and how the work is cut does not change a bit. */
#include <malloc.h>
#include <math.h>

#include "learner/losses/loss.h"
#include "tests/tiny_learner.h"

static struct comm *alone;      /* a team of one */

static void open_alone(struct run *r, struct config config, const char *compute)
{
    open_run(r, config, compute, alone, TINY_P);
}

/* n updates on one batch; returns the weights, the caller frees them. */
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

static void test_every_loss_falls_on_a_fixed_preference(void **state)
{
    static const char *const pairings[] = { "pair", "best_worst", "all" };

    (void)state;
    for (const struct loss *l = losses; l->name; l++)
        for (int p = 0; p < 3; p++) {
            struct config c = settings("online_dpo");
            struct run r;
            double first, last = 0;
            if (l->needs & (LOSS_MARGIN | LOSS_SIGNS | LOSS_CONFIDENCE))
                continue;           /* more than a pair of responses */
            c.dpo.loss = (char *)l->name;
            c.dpo.pairing = (char *)pairings[p];
            open_alone(&r, c, "cpu");
            first = update(&r);
            for (int i = 0; i < 20; i++)
                last = update(&r);
            if (!(last < 0.9 * first))
                fail_msg("%s, %s: %g, after 20 updates %g", l->name, pairings[p], first, last);
            if (l->needs & LOSS_REF) {      /* others may raise both by likelihood */
                assert_true(metrics_get(r.m, "dpo/rewards/margins", 0) > 0);
                assert_true(metrics_get(r.m, "dpo/rewards/accuracies", 0) > 0.5);
            }
            assert_int_equal(r.learner->version, 21);
            close_run(&r);
        }
}

static void test_first_loss_is_log_2_and_nothing_differs(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, settings("online_dpo"), "cpu");
    assert_true(fabs(update(&r) - 0.69314718055994531) < 1e-12);
    assert_true(metrics_get(r.m, "mismatch/logp_abs_max", 1) == 0);
    assert_true(metrics_get(r.m, "mismatch/logp_abs_mean", 1) == 0);
    assert_true(metrics_get(r.m, "dpo/rewards/accuracies", 1) == 0);
    assert_true(metrics_get(r.m, "async/lag/max", 1) == 0);
    metrics_clear(r.m);
    update(&r);                     /* the same rows are of older weights now */
    assert_false(metrics_has(r.m, "mismatch/logp_abs_max"));
    assert_true(metrics_get(r.m, "async/lag/mean", 0) == 1);
    close_run(&r);
}

/* A learner that is not the actor's model must not start. */
static void test_other_log_probs_at_the_start_are_an_error(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    for (int n = 0; n < r.b->N; n++)
        for (int t = r.b->start[n] + r.b->prompt_len[n]; t < r.b->start[n + 1]; t++)
            r.b->actor_logp[t] = r.b->ref_logp[t] = -0.1f * (float)(n + 1);
    status_hold(true);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    assert_non_null(strstr(status_message(), "log 2"));
    status_drop();
    status_hold(false);
    close_run(&r);
}

static void test_micro_batches_do_not_change_a_bit(void **state)
{
    static const int64_t micro[] = { 2, 4, 100 };
    static const char *const names[] = { "online_dpo", "lm" };

    (void)state;
    for (int i = 0; i < 2 * 2; i++) {
        struct config c = settings(names[i / 2]);
        size_t n = model_size(&tiny_shapes[0]);
        float *one, *other;
        c.dpo.pairing = "all";
        c.micro_rows = 1;
        one = weights_after(c, 3, tiny_computes[i % 2]);
        for (int j = 0; j < 3; j++) {
            c.micro_rows = micro[j];
            c.recompute = j == 1;
            other = weights_after(c, 3, tiny_computes[i % 2]);
            assert_bits(one, other, n);
            free(other);
        }
        free(one);
    }
}

/* 24 rows of 5 to 14 tokens of 16: room for 8 of full length makes two passes, not three. */
static void test_short_rows_share_the_room_of_a_pass(void **state)
{
    struct config c = settings("online_dpo");
    struct run r;
    int passes = 0, rows = 0, total = 0;

    (void)state;
    c.dpo.pairing = "all";
    c.micro_rows = 2 * TINY_K;
    open_alone(&r, c, "ref");
    for (int n = 0; n < r.b->N; n++) {
        r.learner->place[n] = n / TINY_K == 2 || n == 5 ? -1 : 0;
        total += r.learner->place[n] < 0 ? 0 : r.b->start[n + 1] - r.b->start[n];
    }
    for (int group = 0, end; group < r.b->groups; group = end, passes++) {
        const struct micro *m = &r.learner->micro;
        end = micro_pack(r.learner, r.b, group, r.b->groups, r.b->groups);
        assert_true(m->group == group && m->groups == end - group);
        assert_true(m->T == m->start[m->N] && m->T <= 2 * TINY_K * TINY_ROW);
        assert_true(abs(m->T - total / 2) <= TINY_K * TINY_ROW / 2);    /* half a group */
        for (int i = 0; i < m->N; i++)
            assert_int_equal(r.learner->place[m->row[i]], i);
        rows += m->N;
    }
    assert_int_equal(passes, 2);
    assert_int_equal(rows, r.b->N - TINY_K - 1);
    assert_true(r.learner->place[2 * TINY_K] < 0 && r.learner->place[5] < 0);
    close_run(&r);
}

/* With one leaf there is nothing to cut: "fast" on one rank is the same sum. */
static void test_fast_is_one_leaf(void **state)
{
    struct config c = settings("online_dpo");
    float *one, *fast;

    (void)state;
    c.reduction_leaves = 1;
    one = weights_after(c, 2, "ref");
    c.reduction = "fast";
    c.reduction_leaves = 8;
    fast = weights_after(c, 2, "ref");
    assert_bits(one, fast, model_size(&tiny_shapes[0]));
    free(one);
    free(fast);
}

/* Central differences of the loss over some weights: the whole way from scores to gradient. */
static void test_update_follows_the_slope(void **state)
{
    struct config c = settings("online_dpo");
    struct run r;
    float *before, moved;
    double up, down;
    size_t at = 64 * 3 + 5;

    (void)state;
    c.clip_norm = 0;
    c.lr = 0;                       /* the moments tell the gradient, the weights stay */
    c.dpo.pairing = "all";
    open_alone(&r, c, "ref");
    for (int n = 0; n < r.b->T; n++)
        r.b->ref_logp[n] *= 1.25f;  /* away from the first update's symmetry */
    before = model_weights(r.tiny.model);
    update(&r);
    double slope = optimizer_m(r.learner->policy.optimizer)[at] / (double)(1 - 0.9f);
    moved = before[at];
    before[at] = moved + 1e-2f;
    model_changed(r.tiny.model);
    up = update(&r);
    before[at] = moved - 1e-2f;
    model_changed(r.tiny.model);
    down = update(&r);
    if (!(fabs((up - down) / 2e-2 - slope) < 2e-3 * fabs(slope) + 1e-5) || fabs(slope) < 1e-5)
        fail_msg("gradient %g, slope %g", slope, (up - down) / 2e-2);
    close_run(&r);
}

static void test_a_batch_of_ties_changes_nothing(void **state)
{
    struct run r;
    float *before;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    before = malloc(r.tiny.size * sizeof *before);
    assert_non_null(before);
    memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    for (int n = 0; n < r.b->N; n++)
        r.b->reward[n] = 3;
    assert_ok(learner_update(r.learner, r.b, r.m));
    assert_bits(before, model_weights(r.tiny.model), r.tiny.size);
    assert_false(metrics_has(r.m, "loss"));
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    assert_true(metrics_get(r.m, "dpo/tie_frac", 0) == 1);
    assert_true(metrics_get(r.m, "data/dropped_frac", 0) == 1);
    assert_int_equal(r.learner->version, 1);
    free(before);
    close_run(&r);
}

/* Tokens trained on are those of the rows that occur in a pair: two of the four responses here. */
static void test_rows_without_a_pair_are_not_run(void **state)
{
    struct run r;
    int64_t all = 0, best = 0;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    for (int g = 0; g < TINY_P; g++)
        for (int s = 0; s < TINY_K; s++) {
            int n = g * TINY_K + s, length = r.b->start[n + 1] - r.b->start[n];
            r.b->reward[n] = s;
            all += length;
            best += s == 0 || s == TINY_K - 1 ? length : 0;
        }
    update(&r);
    assert_int_equal(learner_tokens(r.learner), best);
    assert_true(best < all);
    close_run(&r);
}

static void test_numbers_gone_bad_leave_the_weights(void **state)
{
    struct run r;
    float *w, first;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    w = model_weights(r.tiny.model);
    status_hold(true);
    first = w[0];
    w[0] = w[1] = INFINITY;
    model_changed(r.tiny.model);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    assert_int_equal(r.learner->version, 0);
    w[0] = first;
    status_drop();
    status_hold(false);
    close_run(&r);
}

static void test_failed_batches_are_not_trained_on(void **state)
{
    struct run r;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    status_hold(true);
    r.b->status = RL_EINVAL;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EINVAL);
    r.b->status = RL_OK;
    r.b->filled &= ~(unsigned)COL_REF_LOGP;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    r.b->filled |= COL_REF_LOGP;
    r.b->group = 1;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    r.b->group = 0;
    r.b->prompt_len[3] = TINY_ROW + 1;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    status_drop();
    status_hold(false);
    close_run(&r);
}

static void test_measure_by_hand(void **state)
{
    struct run r;
    double mean = 0, kl = 0, entropy = 0, length = 0, eos = 0;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    for (int n = 0; n < r.b->N; n++) {
        mean += 2 * r.b->reward[n] / r.b->N;
        length += (double)(r.b->start[n + 1] - r.b->start[n] - r.b->prompt_len[n]) / r.b->N;
        eos += (r.b->finish[n] == FINISH_EOS) / (double)r.b->N;
        for (int t = r.b->start[n]; t < r.b->start[n + 1]; t++) {
            entropy -= (double)r.b->actor_logp[t] / r.b->N;
            r.b->ref_logp[t] *= 1.5f;
            kl += ((double)r.b->actor_logp[t] - (double)r.b->ref_logp[t]) / r.b->N;
        }
    }
    assert_ok(learner_measure(r.learner, r.b, r.m, ""));
    assert_true(fabs(metrics_get(r.m, "reward/mean", 0) - mean) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "reward/len/mean", 0) - mean / 2) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "kl/ref", 0) - kl) < 1e-9);
    assert_true(fabs(metrics_get(r.m, "reward/rlhf", 0) - mean + 0.1 * kl) < 1e-9);
    assert_true(fabs(metrics_get(r.m, "policy/entropy", 0) - entropy) < 1e-9);
    assert_true(fabs(metrics_get(r.m, "len/response/mean", 0) - length) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "rollout/eos_ratio", 0) - eos) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "len/clip_ratio", 0) - 1 + eos) < 1e-12);
    assert_true(metrics_has(r.m, "rollout/zero_std_frac") && metrics_has(r.m, "reward/len_corr"));
    metrics_clear(r.m);
    assert_ok(learner_measure(r.learner, r.b, r.m, "eval/x/"));
    assert_true(fabs(metrics_get(r.m, "eval/x/score", 0) - mean) < 1e-12);
    assert_true(fabs(metrics_get(r.m, "eval/x/kl", 0) - kl) < 1e-9);
    assert_true(fabs(metrics_get(r.m, "eval/x/len", 0) - length) < 1e-12);
    assert_false(metrics_has(r.m, "reward/mean"));
    close_run(&r);
}

/* An evaluation may be larger than a step. */
static void test_measure_grows(void **state)
{
    struct run r;
    struct tiny_batch large;
    struct batch *b;
    double mean = 0;

    (void)state;
    open_alone(&r, settings("online_dpo"), "ref");
    b = tiny_batch_open(&large, r.tiny.model, 50, 3, 1, 0, 50);
    for (int n = 0; n < b->N; n++)
        mean += 2 * b->reward[n] / b->N;
    assert_ok(learner_measure(r.learner, b, r.m, "eval/x/"));
    assert_true(fabs(metrics_get(r.m, "eval/x/score", 0) - mean) < 1e-12);
    update(&r);
    tiny_batch_close(&large);
    close_run(&r);
}

static void test_lm_learns_its_rows(void **state)
{
    struct run r;
    double first, last = 0, sum;
    int64_t count;

    (void)state;
    open_alone(&r, settings("lm"), "cpu");
    assert_ok(learner_nll(r.learner, r.b, &sum, &count));
    assert_int_equal(count, TINY_P * (TINY_ROW - 1));
    first = update(&r);
    assert_true(fabs(first - sum / (double)count) < 1e-12);
    for (int i = 0; i < 30; i++)
        last = update(&r);
    if (!(last < 0.8 * first))
        fail_msg("loss %g, after 30 updates %g", first, last);
    assert_int_equal(learner_tokens(r.learner), 31 * TINY_P * TINY_ROW);
    assert_false(metrics_has(r.m, "dpo/tie_frac"));
    close_run(&r);
}

static void test_settings_that_cannot_work(void **state)
{
    static const struct { const char *key, *loss, *pairing, *algorithm; int k; } wrong[] = {
        { "dpo.loss", "sigmoidal", "all", "online_dpo", 4 },
        { "dpo.pairing", "ipo", "pair", "online_dpo", 4 },
        { "samples_per_prompt", "ipo", "best_worst", "online_dpo", 1 },
        { "algorithm", "ipo", "best_worst", "offline", 4 },
    };
    struct tiny t = tiny_open(0, "ref");
    struct learner *ln;

    (void)state;
    status_hold(true);
    for (int i = 0; i < 4; i++) {
        struct config c = settings(wrong[i].algorithm);
        c.dpo.loss = (char *)wrong[i].loss;
        c.dpo.pairing = (char *)wrong[i].pairing;
        c.samples_per_prompt = wrong[i].k;
        assert_int_equal(learner_create(&ln, &(struct learner_parts){
            .config = &c, .policy = t.model, .team = alone, .P = 6, .k = wrong[i].k,
            .max_row_tokens = TINY_ROW }), RL_EINVAL);
        assert_null(ln);
        assert_non_null(strstr(status_message(), wrong[i].key));
    }
    status_drop();
    status_hold(false);
    tiny_close(&t);
}

#ifndef SANITIZED
static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* `plan` says what create takes, but for some small structs. */
static void test_bytes_are_those_of_create(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        struct tiny t = tiny_open(1, "cpu");
        struct config c = settings("online_dpo");
        struct learner *ln;
        size_t planned, before = heap(), taken;
        c.recompute = recompute;
        c.micro_rows = 16;
        planned = (size_t)learner_bytes(&(struct learner_size){
            .config = &c, .policy = t.shape, .compute = t.compute, .ranks = 1, .P = TINY_P,
            .k = TINY_K, .max_row_tokens = 200 });
        assert_ok(learner_create(&ln, &(struct learner_parts){
            .config = &c, .policy = t.model, .team = alone, .P = TINY_P, .k = TINY_K,
            .max_row_tokens = 200 }));
        taken = heap() - before;
        if (taken < planned || taken > planned + planned / 100 + 65536)
            fail_msg("planned %zu bytes, took %zu", planned, taken);
        learner_destroy(ln);
        tiny_close(&t);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_loss_falls_on_a_fixed_preference),
        cmocka_unit_test(test_first_loss_is_log_2_and_nothing_differs),
        cmocka_unit_test(test_other_log_probs_at_the_start_are_an_error),
        cmocka_unit_test(test_micro_batches_do_not_change_a_bit),
        cmocka_unit_test(test_short_rows_share_the_room_of_a_pass),
        cmocka_unit_test(test_fast_is_one_leaf),
        cmocka_unit_test(test_update_follows_the_slope),
        cmocka_unit_test(test_a_batch_of_ties_changes_nothing),
        cmocka_unit_test(test_rows_without_a_pair_are_not_run),
        cmocka_unit_test(test_numbers_gone_bad_leave_the_weights),
        cmocka_unit_test(test_failed_batches_are_not_trained_on),
        cmocka_unit_test(test_measure_by_hand),
        cmocka_unit_test(test_measure_grows),
        cmocka_unit_test(test_lm_learns_its_rows),
        cmocka_unit_test(test_settings_that_cannot_work),
#ifndef SANITIZED
        cmocka_unit_test(test_bytes_are_those_of_create),
#endif
    };

    int failed;

    alone = comm_alone();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return failed;
}
