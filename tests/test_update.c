/* Six updates of real models against the worked numbers of their golden_train.json (float64):
 * losses, gradient norms, and where the log-probabilities of both responses end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "launch/models.h"
#include "learner/learner.h"
#include "tests/support.h"

static struct config_reward given = { .kind = "length", .name = "given", .weight = 1 };

/* What the file says of its AdamW: lr 2e-5, betas 0.9 and 0.95, decay 0.1, no clipping. */
static struct config settings(double beta)
{
    struct config c = { .algorithm = "online_dpo", .rewards = &given, .n_rewards = 1, .steps = 6,
                        .micro_rows = 2, .beta = beta, .lr = 2e-5, .schedule = "constant",
                        .reduction = "reproducible", .reduction_leaves = 8,
                        .samples_per_prompt = 2 };

    c.dpo.loss = "sigmoid";
    c.dpo.pairing = "pair";
    c.dpo.tie_policy = "drop";
    c.dpo.nll_of = "mean";
    c.adam.beta1 = 0.9;
    c.adam.beta2 = 0.95;
    c.adam.eps = 1e-8;
    c.adam.weight_decay = 0.1;
    c.adam.eps_mode = "torch";
    return c;
}

static int append(int *tokens, int n, const struct json *ids)
{
    for (size_t i = 0; i < json_size(ids); i++)
        tokens[n++] = (int)json_int(json_at(ids, i), 0);
    return n;
}

/* The pair as a step of one prompt; actor and reference are the model as loaded. */
static void fill(struct batch *b, struct model *model, const struct json *dpo)
{
    const struct json *prompt = json_get(dpo, "prompt_ids");
    struct trainer *t;

    b->P = 1, b->k = 2, b->groups = 1, b->N = 2, b->filled = COL_ROLLOUT;
    for (int n = 0; n < 2; n++) {
        int end = append(b->tokens, b->start[n], prompt);
        b->start[n + 1] = append(b->tokens, end, json_get(dpo, n == 0 ? "chosen_ids"
                                                                      : "rejected_ids"));
        b->prompt_len[n] = (int)json_size(prompt);
        b->finish[n] = FINISH_LENGTH;
        b->reward[n] = n == 0 ? 1 : 0;
        b->prompt[n] = b->version[n] = 0;
    }
    b->T = b->start[2];
    assert_ok(trainer_create(&t, model, 2, b->T, false));
    assert_ok(model_logprobs(t, b->tokens, b->start, 2, 1.0f, false, b->ref_logp, NULL));
    trainer_destroy(t);
    memcpy(b->actor_logp, b->ref_logp, (size_t)b->T * sizeof(float));
}

static void near(const char *what, int step, double got, const struct json *want, double relative,
                 double absolute)
{
    double x = json_number(want, NAN);

    if (!(fabs(got - x) <= relative * fabs(x) + absolute))
        fail_msg("%s of step %d: %.9g instead of %.9g", what, step, got, x);
}

static void six_updates(struct learner *ln, struct batch *b, const struct json *dpo)
{
    const struct json *want = json_get(dpo, "adamw"), *after = json_get(want, "after_6_steps");
    struct metrics *m;

    assert_ok(metrics_create(&m));
    for (int i = 0; i < 7; i++) {
        assert_ok(learner_update(ln, b, m));
        if (i == 6)
            break;
        near("loss", i, metrics_get(m, "loss", NAN),
             json_at(json_get(want, "loss_before_each_step"), (size_t)i), 0, 2e-5);
        near("gradient norm", i, metrics_get(m, "optim/grad_norm", NAN),
             json_at(json_get(want, "grad_norm_before_each_step"), (size_t)i), 1e-3, 0);
    }
    near("log-probability", 6, metrics_get(m, "dpo/logps/chosen", NAN),
         json_get(after, "chosen_logprob"), 0, 2e-3);
    near("log-probability", 6, metrics_get(m, "dpo/logps/rejected", NAN),
         json_get(after, "rejected_logprob"), 0, 2e-3);
    metrics_destroy(m);
}

static void check_model(const char *name)
{
    const char *folder = support_shared_path(name);
    struct json *file = json_read(support_path(folder, "golden_train.json"));
    const struct json *dpo = json_get(file, "dpo");
    struct config c = settings(json_number(json_get(dpo, "beta"), NAN));
    struct comm *alone = comm_alone();
    struct memory memory;
    struct compute *compute;
    struct learner *learner;
    struct source source;
    struct model *model;
    struct batch b;

    assert_non_null(dpo);
    assert_ok(source_open(&source, folder));
    assert_ok(compute_open(&compute, "cpu", "fp32", 1));
    assert_ok(source_model(&model, &source, compute));
    memset(&b, 0, sizeof b);
    memory_count(&memory);
    batch_layout(&b, &memory, 2, 512, 1);
    assert_ok(memory_open(&memory));
    batch_layout(&b, &memory, 2, 512, 1);
    batch_clear(&b);
    fill(&b, model, dpo);
    assert_ok(learner_create(&learner, &(struct learner_parts){ .config = &c, .policy = model,
                             .team = alone, .P = 1, .k = 2, .max_row_tokens = 256 }));
    six_updates(learner, &b, dpo);
    learner_destroy(learner);
    memory_close(&memory);
    model_destroy(model);
    compute_close(compute);
    source_close(&source);
    comm_stop(alone);
    json_free(file);
}

static void test_tinystories_656k(void **state)
{
    (void)state;
    check_model("data/models/tinystories-656k");
}

static void test_stories260k(void **state)
{
    (void)state;
    check_model("data/models/stories260K");
}

static void test_stories_char_936k(void **state)
{
    (void)state;
    check_model("data/models/stories-char-936k");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tinystories_656k),
        cmocka_unit_test(test_stories260k),
        cmocka_unit_test(test_stories_char_936k),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
