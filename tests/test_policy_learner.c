/* Policy gradients through the whole learner, for every algorithm that is one. */
#include <malloc.h>
#include <math.h>

#include "tests/tiny_learner.h"

static struct comm *alone;      /* a team of one */

static void open_alone(struct run *r, struct config config, const char *compute)
{
    open_run(r, config, compute, alone, TINY_P);
}

/* The next row of algorithms[] that is a policy gradient; begin with algorithms. */
static const struct algorithm *next_policy(const struct algorithm *a)
{
    for (; a->name; a++) {
        struct config c = settings(a->name);
        c.model = "tiny";
        c.prompts_per_step = TINY_P;
        if (policy_wants(&c).policy)
            return a;
    }
    return NULL;
}

#define EACH_POLICY(a) \
    for (const struct algorithm *a = algorithms; (a = next_policy(a)) != NULL; a++)

static double sum_of(const struct batch *b, const float *x, int n)
{
    double sum = 0;

    for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
        sum += (double)x[t];
    return sum;
}

static void logprobs(struct run *r, float *logp)
{
    struct trainer *t;

    assert_ok(trainer_create(&t, r->tiny.model, r->b->N, r->b->T, false));
    assert_ok(model_logprobs(t, r->b->tokens, r->b->start, r->b->N, 1.0f, false, logp, NULL));
    trainer_destroy(t);
}

/* How much more likely responses of more than their group's mean score became. */
static double gained(struct run *r)
{
    float logp[TINY_P * TINY_K * TINY_ROW];
    double sum = 0;

    logprobs(r, logp);
    for (int n = 0; n < r->b->N; n++) {
        double mean = 0;
        for (int i = 0; i < TINY_K; i++)
            mean += r->b->reward[n / TINY_K * TINY_K + i] / TINY_K;
        sum += (r->b->reward[n] - mean) * (sum_of(r->b, logp, n) - sum_of(r->b, r->b->actor_logp,
                                                                          n));
    }
    return sum;
}

static void test_what_scores_well_becomes_likely(void **state)
{
    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        struct run r;
        c.ppo.max_resample = 0;
        c.ppo.overlong = 0;
        open_alone(&r, c, "cpu");
        for (int i = 0; i < 3; i++)
            update(&r);
        if (!(gained(&r) > 0.1))
            fail_msg("%s: gained %g", a->name, gained(&r));
        assert_int_equal(r.learner->version, 3);
        close_run(&r);
    }
}

/* ---- the first mini-batch */

static void test_first_minibatch(void **state)
{
    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        struct run r;
        c.ppo.epochs = c.ppo.minibatches = 1;
        open_alone(&r, c, "cpu");
        update(&r);
        assert_true(metrics_get(r.m, "policy/ratio/mean", 0) == 1);
        assert_true(metrics_get(r.m, "policy/ratio/max", 0) == 1);
        assert_true(metrics_get(r.m, "policy/ratio/var", 1) == 0);
        assert_true(metrics_get(r.m, "kl/approx", 1) == 0);
        assert_true(metrics_get(r.m, "policy/clipfrac", 1) == 0);
        assert_true(metrics_get(r.m, "mismatch/logp_abs_max", 1) == 0);
        close_run(&r);
    }
}

static void test_another_actor_is_an_error(void **state)
{
    struct config c = settings("ppo");
    struct run r;

    (void)state;
    c.ppo.minibatches = 1;
    open_alone(&r, c, "ref");
    r.b->actor_logp[r.b->start[2] - 1] *= 1 + 1e-6f;
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_EBUG);
    assert_true(learner_whole(r.learner));
    close_run(&r);
}

/* Weights between two mini-batches belong to no step. */
static void test_a_failure_half_way_is_known(void **state)
{
    struct config c = settings("grpo");
    struct run r;

    (void)state;
    c.lr = 1e30;
    c.clip_norm = 0;
    c.ppo.epochs = 6;
    open_alone(&r, c, "cpu");
    status_hold(true);
    assert_int_equal(learner_update(r.learner, r.b, r.m), RL_ENAN);
    assert_int_equal(r.learner->version, 0);
    assert_false(learner_whole(r.learner));
    status_drop();
    status_hold(false);
    close_run(&r);
}

/* ---- gradients */

static double loss_at(struct run *r, struct tiny *of, size_t at, float x, const char *metric)
{
    model_weights(of->model)[at] = x;
    model_changed(of->model);
    metrics_clear(r->m);
    assert_ok(learner_update(r->learner, r->b, r->m));
    return metrics_get(r->m, metric, NAN);
}

/* The moment of an update that changes nothing is the gradient; the loss at both sides is told by
 * further updates of that kind. */
static void check_slope(const char *name, struct run *r, struct tiny *of, const float *m, size_t at,
                        const char *metric, double scale)
{
    float x = model_weights(of->model)[at], h = 4e-3f;
    double slope = (double)m[at] / (double)(1 - 0.9f);
    double up = loss_at(r, of, at, x + h, metric), down = loss_at(r, of, at, x - h, metric);
    double measured = scale * (up - down) / ((double)(x + h) - (double)(x - h));

    if (fabs(measured - slope) > 3e-3 * fabs(slope) + 2e-5 || fabs(slope) < 1e-5)
        fail_msg("%s: gradient %g, slope %g of %s", name, slope, measured, metric);
    loss_at(r, of, at, x, metric);
}

static struct config still(const char *name)
{
    struct config c = settings(name);

    c.clip_norm = 0;
    c.lr = c.ppo.critic_lr = 0;
    c.ppo.epochs = c.ppo.minibatches = 1;
    c.ppo.max_resample = 0;
    c.ppo.entropy_coef = 0.05;
    c.ppo.dual_clip = 3;
    return c;
}

static void test_update_follows_the_slope(void **state)
{
    (void)state;
    EACH_POLICY(a)
        for (int kl = 0; kl < 3; kl++) {
            static const char *const kls[] = { "k1", "k2", "k3" };
            struct config c = still(a->name);
            struct run r;
            c.ppo.kl_in = "loss";
            c.ppo.kl = (char *)kls[kl];
            c.ppo.kl_coef = 0.3;
            open_alone(&r, c, "ref");
            for (int t = 0; t < r.b->T; t++) {
                r.b->actor_logp[t] *= t % 3 ? 1.05f : 0.9f;     /* ratios beside 1 */
                r.b->ref_logp[t] *= 1.25f;
            }
            for (int n = 0; n < r.b->N; n++)
                r.b->version[n] = 9;            /* of other weights: nothing is asserted */
            assert_ok(learner_update(r.learner, r.b, r.m));
            check_slope(a->name, &r, &r.tiny, optimizer_m(r.learner->policy.optimizer), 64 * 3 + 5,
                        "loss", 1);
            close_run(&r);
        }
}

/* With lambda = 1 returns do not depend on the critic, so that its loss alone has a slope. */
static void test_critic_follows_the_slope(void **state)
{
    struct learner_flat flats[LEARNER_FLATS];
    struct config c = still("ppo");
    struct run r;
    size_t last;

    (void)state;
    c.ppo.lambda = 1;
    c.ppo.value_clip = 0;
    c.ppo.vf_coef = 0.5;
    open_alone(&r, c, "ref");
    assert_int_equal(learner_flats(r.learner, flats), 6);
    assert_string_equal(flats[4].folder, "critic_adam_m");
    last = model_arrays(r.critic.model, &(int){ 0 })[0].offset + 64 * 3 + 5;
    assert_ok(learner_update(r.learner, r.b, r.m));
    check_slope("critic", &r, &r.critic, flats[4].data, last, "value/loss", 0.5);
    close_run(&r);
}

/* ---- how the work is cut */

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

static void test_micro_batches_do_not_change_a_bit(void **state)
{
    static const int64_t micro[] = { 2, 4, 100 };

    (void)state;
    EACH_POLICY(a) {
        struct config c = settings(a->name);
        size_t n = model_size(&tiny_shapes[0]);
        float *one, *other;
        c.ppo.epochs = 2;
        c.ppo.minibatches = 3;
        c.ppo.entropy_coef = 0.01;
        c.micro_rows = 1;
        one = weights_after(c, 2, "cpu");
        for (int j = 0; j < 3; j++) {
            c.micro_rows = micro[j];
            c.recompute = j == 1;
            other = weights_after(c, 2, "cpu");
            assert_bits(one, other, n);
            free(other);
        }
        free(one);
    }
}

static int64_t all_tokens(const struct batch *b)
{
    return b->start[b->N];
}

/* Each row once an epoch, whatever the number of mini-batches. */
static void test_minibatches_are_a_partition(void **state)
{
    (void)state;
    for (int parts = 1; parts <= TINY_P * TINY_K; parts += 5) {
        struct config c = settings("rloo");
        struct run r;
        c.ppo.epochs = 3;
        c.ppo.minibatches = parts;
        open_alone(&r, c, "ref");
        update(&r);
        assert_int_equal(learner_tokens(r.learner), 3 * all_tokens(r.b));
        close_run(&r);
    }
}

static void test_a_shared_critic_learns(void **state)
{
    struct config c = settings("ppo");
    struct learner_flat flats[LEARNER_FLATS];
    struct run r;
    double first, last = 0;

    (void)state;
    c.ppo.critic = "shared";
    c.ppo.vf_coef = 1;
    c.ppo.value_clip = 0;
    open_alone(&r, c, "cpu");
    assert_int_equal(learner_flats(r.learner, flats), 3);
    update(&r);
    first = metrics_get(r.m, "value/loss", -1);
    for (int i = 0; i < 15; i++) {
        update(&r);
        last = metrics_get(r.m, "value/loss", -1);
    }
    if (!(last < 0.7 * first))
        fail_msg("value loss %g, then %g", first, last);
    assert_true(metrics_get(r.m, "value/explained_var", 0) > 0.1);
    close_run(&r);
}

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
        cmocka_unit_test(test_what_scores_well_becomes_likely),
        cmocka_unit_test(test_first_minibatch),
        cmocka_unit_test(test_another_actor_is_an_error),
        cmocka_unit_test(test_a_failure_half_way_is_known),
        cmocka_unit_test(test_update_follows_the_slope),
        cmocka_unit_test(test_critic_follows_the_slope),
        cmocka_unit_test(test_micro_batches_do_not_change_a_bit),
        cmocka_unit_test(test_minibatches_are_a_partition),
        cmocka_unit_test(test_a_shared_critic_learns),
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
