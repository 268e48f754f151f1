/* Supervised fine-tuning: responses only, by the weight of their record; and what is measured on
 * held-out pairs. */
#include <math.h>

#include "learner/ranked.h"
#include "tests/tiny_learner.h"

static struct comm *alone;

/* Rows of prompts of 3 tokens and weight 1. */
static void open_sft(struct run *r)
{
    struct config c = settings("sft");

    c.n_rewards = 0;
    open_groups(r, c, "cpu", alone, TINY_P, 1);
    r->b->filled = COL_TOKENS | COL_LABEL;
    for (int n = 0; n < r->b->N; n++) {
        r->b->prompt_len[n] = 3;
        r->b->weight[n] = 1;
    }
}

/* Log-probabilities of the rows under the weights as they are. */
static void logprobs(const struct run *r, float *logp)
{
    struct trainer *t;

    assert_ok(trainer_create(&t, r->tiny.model, r->b->N, r->b->T, false));
    assert_ok(model_logprobs(t, r->b->tokens, r->b->start, r->b->N, 1.0f, false, logp, NULL));
    trainer_destroy(t);
}

static void test_the_loss_is_the_weighted_mean_over_response_tokens(void **state)
{
    float logp[TINY_P * TINY_ROW];
    double sum = 0, tokens = 0;
    struct run r;

    (void)state;
    open_sft(&r);
    r.b->weight[1] = 3;
    r.b->weight[2] = 0;
    logprobs(&r, logp);
    for (int n = 0; n < r.b->N; n++)
        for (int t = r.b->start[n] + 3; t < r.b->start[n + 1]; t++) {
            sum -= r.b->weight[n] * (double)logp[t];
            tokens += r.b->weight[n];
        }
    assert_true(fabs(update(&r) - sum / tokens) < 1e-12);
    assert_int_equal(learner_tokens(r.learner), (TINY_P - 1) * TINY_ROW);
    for (int i = 0; i < 30; i++)
        update(&r);
    assert_true(metrics_get(r.m, "loss", 9) < 0.8 * sum / tokens);
    close_run(&r);
}

/* The weights after three updates of a batch that `change` has changed. */
static float *weights_after(void (*change)(struct batch *b))
{
    struct run r;
    float *w;

    open_sft(&r);
    if (change)
        change(r.b);
    for (int i = 0; i < 3; i++)
        update(&r);
    w = malloc(r.tiny.size * sizeof *w);
    assert_non_null(w);
    memcpy(w, model_weights(r.tiny.model), r.tiny.size * sizeof *w);
    close_run(&r);
    return w;
}

static size_t tiny_size(void)
{
    return model_size(&tiny_shapes[0]);
}

static void double_weights(struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        b->weight[n] = 2;
}

static void leave_one_out(struct batch *b)
{
    b->weight[2] = 0;
}

static void leave_another_out(struct batch *b)
{
    leave_one_out(b);
    for (int t = b->start[2]; t < b->start[3]; t++)
        b->tokens[t] = 1;
}

static void check_equal(void (*a)(struct batch *), void (*b)(struct batch *), bool equal)
{
    float *x = weights_after(a), *y = weights_after(b);

    assert_int_equal(memcmp(x, y, tiny_size() * sizeof *x) == 0, equal);
    free(x);
    free(y);
}

static void test_only_relative_weights_count(void **state)
{
    (void)state;
    check_equal(NULL, double_weights, true);
    check_equal(NULL, leave_one_out, false);
    check_equal(leave_one_out, leave_another_out, true);
}

static void test_without_a_row_that_counts_nothing_is_learned(void **state)
{
    struct run r;
    float *before;

    (void)state;
    open_sft(&r);
    before = malloc(r.tiny.size * sizeof *before);
    assert_non_null(before);
    memcpy(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    for (int n = 0; n < r.b->N; n++)
        r.b->weight[n] = 0;
    update(&r);
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 1);
    assert_false(metrics_has(r.m, "loss"));
    assert_memory_equal(before, model_weights(r.tiny.model), r.tiny.size * sizeof *before);
    free(before);
    close_run(&r);
}

/* Two rows a pair, more pairs than a step has; the figures are those of the log-probabilities. */
static void test_held_out_pairs_are_ranked(void **state)
{
    float logp[2 * TINY_P * 2 * TINY_ROW];
    double table[4 * TINY_P * 4];
    struct tiny_batch held;
    struct ranked want;
    struct run r, of_pairs;
    struct batch *b;

    (void)state;
    open_sft(&r);
    b = tiny_batch_open(&held, r.tiny.model, 2 * TINY_P, 2, 1, 0, 2 * TINY_P);
    b->filled = COL_TOKENS | COL_REWARD | COL_LABEL | COL_REF_LOGP;
    for (int t = 0; t < b->T; t++)
        b->ref_logp[t] *= 0.5f;
    of_pairs = r;
    of_pairs.b = b;
    logprobs(&of_pairs, logp);
    for (int n = 0; n < b->N; n++) {
        double *row = table + 4 * n;
        row[RANKED_S] = row[RANKED_R] = 0;
        row[RANKED_N] = b->start[n + 1] - b->start[n] - b->prompt_len[n];
        row[RANKED_COLUMNS] = b->reward[n] = n % 2;     /* the second is the better */
        for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++) {
            row[RANKED_S] += (double)logp[t];
            row[RANKED_R] += (double)b->ref_logp[t];
        }
    }
    want = ranked_count(table, 2 * TINY_P, 4, 0, r.config.beta, r.config.eval.alpha);
    assert_int_equal(want.pairs, 2 * TINY_P);
    assert_ok(learner_measure_pairs(r.learner, b, r.m, "eval/x/", NULL));
#define FIGURE(name) metrics_get(r.m, "eval/x/" name, -1)
    assert_true(FIGURE("ranking_accuracy") == (double)want.raw / want.pairs);
    assert_true(FIGURE("ranking_accuracy_per_token") == (double)want.per_token / want.pairs);
    assert_true(FIGURE("ranking_accuracy_ideal") == (double)want.ideal / want.pairs);
    assert_true(FIGURE("accuracy") == (double)want.accurate / want.pairs);
    assert_true(FIGURE("margin") == want.margin / want.pairs);
    assert_true(FIGURE("perplexity") > 1);
    tiny_batch_close(&held);
    close_run(&r);
}

static int open_team(void **state)
{
    (void)state;
    alone = comm_alone();
    return alone ? 0 : -1;
}

static int close_team(void **state)
{
    (void)state;
    comm_stop(alone);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_loss_is_the_weighted_mean_over_response_tokens),
        cmocka_unit_test(test_only_relative_weights_count),
        cmocka_unit_test(test_without_a_row_that_counts_nothing_is_learned),
        cmocka_unit_test(test_held_out_pairs_are_ranked),
    };

    return cmocka_run_group_tests(tests, open_team, close_team);
}
