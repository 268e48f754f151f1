/* A learner of a tiny random model on made-up batches: for one process, and under mpirun. */
#ifndef TESTS_TINY_LEARNER_H
#define TESTS_TINY_LEARNER_H

#include "comm/link.h"
#include "learner/learner.h"
#include "tests/tiny_batch.h"

static struct config_reward one_reward = { .kind = "length", .name = "len", .weight = 2 };

static inline struct config settings(const char *algorithm)
{
    struct config c = { .algorithm = (char *)algorithm, .rewards = &one_reward, .n_rewards = 1,
                        .steps = 100, .micro_rows = 4, .beta = 0.1, .lr = 3e-3,
                        .schedule = "constant", .reduction = "reproducible",
                        .reduction_leaves = 4, .clip_norm = 1, .samples_per_prompt = TINY_K,
                        .temperature = 1 };

    c.dpo.loss = "sigmoid";
    c.dpo.pairing = "best_worst";
    c.dpo.tie_policy = "drop";
    c.dpo.nll_of = "mean";
    c.dpo.epsilon = c.dpo.lambda = 0.1;
    c.dpo.margin = c.dpo.kappa = 1;
    c.dpo.zeta = 0.5;
    c.dpo.affine_eps = 0.01;
    c.dpo.tie_eps = 1e-6;
    c.adam.beta1 = 0.9;
    c.adam.beta2 = 0.95;
    c.adam.eps = 1e-8;
    c.adam.eps_mode = "torch";
    if (strcmp(algorithm, "lm") == 0)
        c.n_rewards = 0;
    return c;
}

struct run {
    struct tiny tiny;
    struct config config;
    struct comm *team;
    struct tiny_batch batch;
    struct batch *b;
    struct learner *learner;
    struct metrics *m;
};

/* The share of this rank of the team in a step of P prompts. */
static inline void open_run(struct run *r, struct config config, const char *compute,
                            struct comm *team, int P)
{
    int k = strcmp(config.algorithm, "lm") == 0 ? 1 : TINY_K, group, groups;

    if (strcmp(config.dpo.pairing, "pair") == 0)
        k = 2;
    r->tiny = tiny_open(0, compute);
    r->config = config;
    r->config.samples_per_prompt = k;
    r->team = team;
    share_of(P, (int)config.reduction_leaves, comm_size(team), comm_rank(team), &group, &groups);
    r->b = tiny_batch_open(&r->batch, r->tiny.model, P, k, group, groups);
    assert_ok(metrics_create(&r->m));
    assert_ok(learner_create(&r->learner, &(struct learner_parts){
        .config = &r->config, .policy = r->tiny.model, .team = team, .P = P, .k = k,
        .max_row_tokens = TINY_ROW }));
}

static inline void close_run(struct run *r)
{
    learner_destroy(r->learner);
    metrics_destroy(r->m);
    tiny_batch_close(&r->batch);
    tiny_close(&r->tiny);
}

static inline double update(struct run *r)
{
    assert_ok(learner_update(r->learner, r->b, r->m));
    return metrics_get(r->m, "loss", -1);
}

#endif
