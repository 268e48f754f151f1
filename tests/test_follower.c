/* Models that follow the policy: where they start, how they move, and which version of the
 * reference scores which batch.  Runs of one rank on the demo's model. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/run.h"

#define DEMO "launch/demo/"
#define STEPS 6

/* A run, open; `more` is key=value and has the last word.  The caller closes it by end_run. */
static void start_run(struct run *r, const char *more)
{
    const char *folder = support_folder();
    char cfg[1024], copy[256], *words[8], *save;
    struct config *c;
    int n = 0;

    snprintf(cfg, sizeof cfg,
             "algorithm = \"online_dpo\"; model = \"" DEMO "model\"; output = \"%s/run\";\n"
             "prompts = \"" DEMO "prompts.jsonl\";\n"
             "rewards = { kind = \"words\"; words = [\"a\", \"the\", \"and\"]; cap = 9; };\n"
             "prompts_per_step = 3; samples_per_prompt = 4; max_new = 12; threads = 1;\n"
             "reduction_leaves = 2; steps = %d; eval_every = 0; checkpoint_every = 0;\n"
             "lr = 1e-3;\n", folder, STEPS);
    snprintf(copy, sizeof copy, "%s", more);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    assert_ok(config_open(&c, support_write(folder, "x.cfg", cfg), words, n));
    assert_ok(run_open(r, c, comm_alone()));
}

static void end_run(struct run *r)
{
    struct config *c = (struct config *)r->config;
    struct comm *alone = r->world;

    run_close(r);
    comm_stop(alone);
    config_close(c);
}

static size_t bytes_of(struct model *m)
{
    return model_size(model_shape(m)) * sizeof(float);
}

static bool same(struct model *a, struct model *b)
{
    return memcmp(model_weights(a), model_weights(b), bytes_of(a)) == 0;
}

/* ---- where it starts */

static bool starts_as_the_policy(const char *more)
{
    struct run r;
    bool equal;

    start_run(&r, more);
    equal = same(r.policy, r.reference ? r.reference : r.reference_copy.model);
    end_run(&r);
    return equal;
}

static void test_a_reference_starts_as_the_model_does(void **state)
{
    (void)state;
    assert_true(starts_as_the_policy("ref.update=every"));
    assert_true(starts_as_the_policy("model_init=random ref.update=every"));
    assert_true(starts_as_the_policy("model_init=random ref.update=ema"));
    assert_true(starts_as_the_policy("model_init=random"));
}

static void test_another_reference_is_read(void **state)
{
    (void)state;
    assert_true(starts_as_the_policy("refmodel=./" DEMO "model ref.update=every"));
    assert_false(starts_as_the_policy("model_init=random refmodel=./" DEMO "model"));
    assert_false(starts_as_the_policy("model_init=random refmodel=./" DEMO "model "
                                      "ref.update=every"));
}

static void test_random_weights_need_no_files(void **state)
{
    const char *folder = support_folder();
    char more[256], command[256];

    (void)state;
    snprintf(command, sizeof command, "cp " DEMO "model/*.json %s", folder);
    assert_int_equal(system(command), 0);
    snprintf(more, sizeof more, "model=%s model_init=random ref.update=every", folder);
    assert_true(starts_as_the_policy(more));
}

/* The judge begins as the policy too, whether it is a mean of it or the reference. */
static void test_a_judge_starts_as_the_model_does(void **state)
{
    static const char osp[] = "algorithm=osp rewards=() osp.gate=false "
                              "model_init=random ";
    static const char *const kinds[] = { "osp.judge=ema", "osp.judge=frozen" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct run r;
        char more[256];

        snprintf(more, sizeof more, "%s%s", osp, kinds[i]);
        start_run(&r, more);
        assert_true(same(r.policy, i == 0 ? r.judge_mean.model : r.reference));
        end_run(&r);
    }
}

/* ---- how it moves */

static void test_a_mean_takes_its_share_of_each_step(void **state)
{
    size_t n;
    float *before, *own;
    const float *policy;
    struct run r;

    (void)state;
    start_run(&r, "ref.update=ema ref.decay=0.75");
    assert_ok(state_resume(&r, false));
    assert_ok(run_begin(&r));
    n = bytes_of(r.policy) / sizeof(float);
    before = malloc(bytes_of(r.policy));
    assert_non_null(before);
    own = model_weights(r.reference_copy.model);
    policy = model_weights(r.policy);
    for (int step = 0; step < 2; step++) {
        memcpy(before, own, bytes_of(r.policy));
        assert_ok(iteration(&r));
        assert_false(same(r.policy, r.reference_copy.model));
        for (size_t i = 0; i < n; i++)
            if (own[i] != 0.75f * before[i] + 0.25f * policy[i])
                fail_msg("step %d, weight %zu: %g of %g and %g", step, i, (double)own[i],
                         (double)before[i], (double)policy[i]);
    }
    free(before);
    end_run(&r);
}

/* ---- which version scores which batch */

/* The batch of step s was sampled by version v.  Where the reference is a copy of that version its
 * log-probabilities are the actor's to the bit. */
static bool sampled_by_the_reference(struct run *r, int64_t s)
{
    const struct batch *b = ring_batch(&r->train, ROLE_LEARNER, s);

    assert_int_equal(b->step, s);
    for (int n = 0; n < b->N; n++)
        for (int t = b->start[n] + b->prompt_len[n]; t < b->start[n + 1]; t++)
            if (b->ref_logp[t] != b->actor_logp[t])
                return false;
    return true;
}

/* want: a letter a step, '=' where they are equal. */
static void reference_is_the_actor(const char *more, const char *want)
{
    struct run r;

    start_run(&r, more);
    assert_ok(state_resume(&r, false));
    assert_ok(run_begin(&r));
    for (int64_t s = 0; s < STEPS; s++) {
        assert_ok(iteration(&r));
        if (sampled_by_the_reference(&r, s) != (want[s] == '='))
            fail_msg("%s: the reference of step %lld is %s the actor", more, (long long)s,
                     want[s] == '=' ? "not" : "as");
    }
    end_run(&r);
}

static void test_a_batch_meets_the_reference_of_the_version_that_sampled_it(void **state)
{
    (void)state;
    reference_is_the_actor("ref.update=every ref.every=1 max_lag=0", "======");
    reference_is_the_actor("ref.update=every ref.every=1 max_lag=1", "======");
    reference_is_the_actor("ref.update=ema ref.decay=0 max_lag=1", "======");
}

/* Versions that sample: 0 1 2 3 4 5, and 0 0 1 2 3 4 with lag 1; copies are of 0, 3, ... */
static void test_copies_are_of_multiples_of_every(void **state)
{
    (void)state;
    reference_is_the_actor("ref.update=every ref.every=3 max_lag=0", "=..=..");
    reference_is_the_actor("ref.update=every ref.every=3 max_lag=1", "==..=.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reference_starts_as_the_model_does),
        cmocka_unit_test(test_another_reference_is_read),
        cmocka_unit_test(test_random_weights_need_no_files),
        cmocka_unit_test(test_a_judge_starts_as_the_model_does),
        cmocka_unit_test(test_a_mean_takes_its_share_of_each_step),
        cmocka_unit_test(test_a_batch_meets_the_reference_of_the_version_that_sampled_it),
        cmocka_unit_test(test_copies_are_of_multiples_of_every),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
