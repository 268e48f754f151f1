/* Policy gradients from step to step: scores that are missing or equal, what is kept, what cannot
 * work, and the memory it takes. */
#include <malloc.h>
#include <math.h>

#include "tests/tiny_policy.h"

/* ---- scores */

static void test_missing_scores_have_advantage_0(void **state)
{
    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        struct run r;
        open_alone(&r, c, "cpu");
        for (int n = 0; n < r.b->N; n += 5)
            r.b->reward[n] = NAN;
        update(&r);
        assert_true(isfinite(metrics_get(r.m, "loss", NAN)));
        assert_true(isfinite(metrics_get(r.m, "adv/std", NAN)));
        if (a->method && policy_wants(&r.config).critic)
            assert_true(isfinite(metrics_get(r.m, "value/loss", NAN)));
        close_run(&r);
    }
}

static void equal_scores(struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        b->reward[n] = 0.1;
}

/* Groups of equal scores: no gradient but that of the KL, which is 0 at the reference. */
static void test_equal_scores_change_nothing(void **state)
{
    static const char *const names[] = { "rloo", "grpo", "dr_grpo", "gspo", "opo" };

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct config c = settings(names[i]);
        struct run r;
        open_alone(&r, c, "ref");
        equal_scores(r.b);
        update(&r);
        assert_true(metrics_get(r.m, "optim/grad_norm", 1) == 0);
        assert_true(metrics_get(r.m, "adv/std", 1) == 0);
        close_run(&r);
    }
}

static void test_groups_without_signal_are_left_out(void **state)
{
    struct config c = settings("dapo");
    struct run r;

    (void)state;
    c.ppo.overlong = 0;
    open_alone(&r, c, "ref");
    for (int n = 0; n < 2 * TINY_K; n++)
        r.b->reward[n] = 5;
    for (int n = 2 * TINY_K; n < r.b->N; n++)
        r.b->reward[n] = n % 2;
    update(&r);
    assert_true(fabs(metrics_get(r.m, "data/dropped_frac", 0) - 2.0 / TINY_P) < 1e-12);
    assert_int_equal(learner_tokens(r.learner), r.b->T - r.b->start[2 * TINY_K]);
    equal_scores(r.b);
    metrics_clear(r.m);
    assert_ok(learner_update(r.learner, r.b, r.m));     /* none is left */
    assert_false(metrics_has(r.m, "loss"));
    assert_true(metrics_get(r.m, "optim/skipped", 0) == 2);
    assert_true(metrics_get(r.m, "data/dropped_frac", 0) == 1);
    close_run(&r);
}

static void test_cut_responses_can_be_left_out(void **state)
{
    struct config c = settings("grpo");
    struct run r;
    int cut = 0;

    (void)state;
    c.ppo.overlong_filter = "yes";
    open_alone(&r, c, "ref");
    for (int n = 0; n < r.b->N; n++)
        cut += r.b->finish[n] == FINISH_LENGTH;
    update(&r);
    assert_true(cut > 0);
    assert_true(fabs(metrics_get(r.m, "data/dropped_frac", 0) - (double)cut / r.b->N) < 1e-12);
    close_run(&r);
}

/* ---- what goes on from step to step */

static double *value_of(struct learner *ln, const char *name)
{
    struct learner_value values[LEARNER_VALUES];
    int n = learner_values(ln, values);

    for (int i = 0; i < n; i++)
        if (strcmp(values[i].name, name) == 0)
            return values[i].x;
    return NULL;
}

static void test_the_coefficient_follows_the_kl(void **state)
{
    struct config c = settings("ppo");
    struct run r;

    (void)state;
    c.ppo.kl_control = "adaptive";
    c.ppo.kl_target = 1;
    c.ppo.kl_horizon = 100;
    c.ppo.kl_coef = 0.5;
    open_alone(&r, c, "cpu");
    for (int t = 0; t < r.b->T; t++)
        r.b->ref_logp[t] *= 3;                  /* far away: more pull */
    assert_true(*value_of(r.learner, "kl_coef") == 0.5);
    update(&r);
    assert_true(metrics_get(r.m, "kl/coef", 0) == 0.5);
    assert_true(fabs(*value_of(r.learner, "kl_coef") - 0.5 * (1 + 0.2 * r.b->N / 100)) < 1e-12);
    assert_ok(learner_measure(r.learner, r.b, r.m, ""));
    assert_true(fabs(metrics_get(r.m, "reward/rlhf", 0) - metrics_get(r.m, "reward/mean", 0) +
                     0.5 * metrics_get(r.m, "kl/ref", 0)) < 1e-9);
    close_run(&r);
}

static void test_scores_are_normalised(void **state)
{
    static const char *const kinds[] = { "none", "running", "reference" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct config c = settings("reinforce_pp");
        struct run r;
        double mean = 0, squares = 0;
        c.ppo.whiten = "no";
        c.ppo.kl_in = "none";
        c.ppo.reward_norm = (char *)kinds[i];
        c.lr = 0;
        open_alone(&r, c, "ref");
        for (int n = 0; n < r.b->N; n++)
            mean += 2 * r.b->reward[n] / r.b->N;
        for (int n = 0; n < r.b->N; n++)
            squares += pow(2 * r.b->reward[n] - mean, 2) / r.b->N;
        if (i == 2)
            assert_ok(learner_observe(r.learner, r.b));
        for (int n = 0; i == 2 && n < r.b->N; n++)
            r.b->reward[n] += 50;       /* what comes later does not move it */
        update(&r);
        double got = 0, tokens = 0;
        for (int n = 0; n < r.b->N; n++) {
            int length = r.b->start[n + 1] - r.b->start[n] - r.b->prompt_len[n];
            double score = 2 * r.b->reward[n];
            got += length * (i == 0 ? score : (score - mean) / sqrt(squares));
            tokens += length;
        }
        assert_true(fabs(metrics_get(r.m, "return/mean", 0) - got / tokens) < 1e-9);
        assert_true(value_of(r.learner, "reward_norm")[0] == (i == 0 ? 0 : r.b->N));
        close_run(&r);
    }
}

static struct tiny_batch text;

static void open_text(struct run *r, struct config config, int rows)
{
    struct learner_parts parts = { .config = &r->config, .team = alone, .P = TINY_P, .k = TINY_K,
                                   .max_row_tokens = TINY_ROW, .text_rows = rows };

    open_alone(r, config, "cpu");
    learner_destroy(r->learner);
    parts.policy = r->tiny.model;
    parts.critic = r->critic.model;
    assert_ok(learner_create(&r->learner, &parts));
    learner_set_text(r->learner, tiny_batch_open(&text, r->tiny.model, rows, 1, 1, 0, rows));
}

/* PPO-ptx: the text becomes likely while the scores teach nothing; the loss has both. */
static void test_text_beside_the_responses(void **state)
{
    struct config c = settings("grpo");
    struct run r;
    double first, last, sum;
    int64_t count;

    (void)state;
    c.ppo.kl_in = "none";
    c.ppo.ptx_coef = 0.5;
    c.ppo.minibatches = 2;
    c.text = (struct strings){ (char *[]){ "t" }, 1 };
    c.rows_per_step = 5;
    open_text(&r, c, 5);
    equal_scores(r.b);
    assert_ok(learner_nll(r.learner, &text.b, &sum, &count));
    first = sum / (double)count;
    last = update(&r);
    assert_int_equal(learner_tokens(r.learner), all_tokens(r.b) + 5 * TINY_ROW);
    assert_true(last > 0.4 * first && last < 0.6 * first);
    for (int i = 0; i < 20; i++)
        update(&r);
    assert_ok(learner_nll(r.learner, &text.b, &sum, &count));
    last = sum / (double)count;
    if (!(last < 0.8 * first))
        fail_msg("text: %g, then %g", first, last);
    tiny_batch_close(&text);
    close_run(&r);
}

/* A batch of older weights: with tis the ratio is to the weights at hand, and the loss is weighed
 * by what they say of the rows. */
static void test_truncated_importance_sampling(void **state)
{
    static const char *const kinds[] = { "token", "response" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct config c = settings("grpo");
        struct run r;
        double plain;
        c.ppo.tis = (char *)kinds[i];
        c.ppo.tis_max = i ? 1.01 : 2;
        c.ppo.kl_in = "none";
        c.lr = 0;
        open_alone(&r, c, "cpu");
        update(&r);
        plain = metrics_get(r.m, "optim/grad_norm", 0);
        assert_false(metrics_get(r.m, "time/value", -1) > 0);       /* nothing was looked at */
        for (int t = 0; t < r.b->T; t++)
            r.b->actor_logp[t] *= 1.5f;
        update(&r);
        assert_true(metrics_get(r.m, "policy/ratio/max", 0) == 1);
        assert_true(metrics_get(r.m, "kl/approx", 1) == 0);
        assert_true(fabs(metrics_get(r.m, "optim/grad_norm", 0) - plain) > 0.01 * plain);
        assert_true(i == 0 || metrics_get(r.m, "optim/grad_norm", 1) == 0);     /* all too far */
        close_run(&r);
    }
}

/* ---- what cannot work, and what it takes */

static void test_settings_that_cannot_work(void **state)
{
    static const struct { const char *name, *key; int k, minibatches; double dual; char *advantage,
                          *agg, *ratio, *text; } wrong[] = {
        { "grpo", "samples_per_prompt", 1, 0, -1, NULL, NULL, NULL, "" },
        { "grpo", "ppo.advantage", 4, 0, -1, "crpo", NULL, NULL, "" },
        { "grpo", "ppo.agg", 4, 0, -1, NULL, "mean", NULL, "" },
        { "ppo", "ppo.ratio", 4, 0, -1, NULL, NULL, "response", "" },
        { "ppo", "ppo.dual_clip", 4, 0, 0.5, NULL, NULL, NULL, "" },
        { "rloo", "ppo.minibatches", 4, 25, -1, NULL, NULL, NULL, "" },
    };

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct config c = settings(wrong[i].name);
        c.model = "tiny";
        c.prompts_per_step = TINY_P;
        c.samples_per_prompt = wrong[i].k;
        c.ppo.minibatches = wrong[i].minibatches;
        c.ppo.dual_clip = wrong[i].dual;
        c.ppo.advantage = wrong[i].advantage;
        c.ppo.agg = wrong[i].agg;
        c.ppo.ratio = wrong[i].ratio;
        c.prompts = "p";
        assert_int_equal(algorithm_check(&c), RL_EINVAL);
        if (!strstr(status_message(), wrong[i].key))
            fail_msg("\"%s\" does not name %s", status_message(), wrong[i].key);
        status_drop();
    }
    status_hold(false);
}

#ifndef SANITIZED
static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* `plan` says what create takes, and updates take nothing. */
static void test_memory_is_planned(void **state)
{
    static const char *const critics[] = { "own", "shared" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct config c = settings("ppo");
        struct run r;
        size_t before, taken, planned;
        c.ppo.critic = (char *)critics[i];
        open_alone(&r, c, "cpu");
        update(&r);
        before = heap();
        for (int j = 0; j < 3; j++)
            update(&r);
        assert_true(heap() == before);
        learner_destroy(r.learner);
        planned = (size_t)learner_bytes(&(struct learner_size){
            .config = &r.config, .policy = model_shape(r.tiny.model),
            .critic = r.critic.model ? model_shape(r.critic.model) : NULL,
            .compute = r.tiny.compute, .ranks = 1, .P = TINY_P, .k = TINY_K,
            .max_row_tokens = TINY_ROW });
        before = heap();
        assert_ok(learner_create(&r.learner, &(struct learner_parts){
            .config = &r.config, .policy = r.tiny.model, .critic = r.critic.model, .team = alone,
            .P = TINY_P, .k = TINY_K, .max_row_tokens = TINY_ROW }));
        taken = heap() - before;
        if (taken < planned || taken > planned + planned / 100 + 65536)
            fail_msg("planned %zu bytes, took %zu", planned, taken);
        close_run(&r);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_scores_have_advantage_0),
        cmocka_unit_test(test_equal_scores_change_nothing),
        cmocka_unit_test(test_groups_without_signal_are_left_out),
        cmocka_unit_test(test_cut_responses_can_be_left_out),
        cmocka_unit_test(test_the_coefficient_follows_the_kl),
        cmocka_unit_test(test_scores_are_normalised),
        cmocka_unit_test(test_text_beside_the_responses),
        cmocka_unit_test(test_truncated_importance_sampling),
        cmocka_unit_test(test_settings_that_cannot_work),
#ifndef SANITIZED
        cmocka_unit_test(test_memory_is_planned),
#endif
    };
    int failed;

    alone = comm_alone();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(alone);
    return failed;
}
