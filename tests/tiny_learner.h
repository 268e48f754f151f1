/* A learner of a tiny random model on made-up batches: for one process, and under mpirun. */
#ifndef TESTS_TINY_LEARNER_H
#define TESTS_TINY_LEARNER_H

#include "comm/link.h"
#include "learner/internal.h"
#include "learner/policy/rules.h"
#include "tests/tiny_batch.h"

static struct config_reward one_reward = { .kind = "length", .name = "len", .weight = 2 };

/* Policy gradients: what is not set is the algorithm's. */
static inline void policy_settings(struct config *c)
{
    c->max_new = TINY_ROW;
    c->ppo.clip_low = c->ppo.clip_high = c->ppo.dual_clip = c->ppo.kl_coef = -1;
    c->ppo.critic_lr = c->ppo.overlong = -1;
    c->ppo.max_resample = -1;
    c->ppo.gamma = 1;
    c->ppo.lambda = 0.95;
    c->ppo.critic = "own";
    c->ppo.value_clip = 0.2;
    c->ppo.vf_coef = 0.1;
    c->ppo.variance = "population";
    c->ppo.group_std = "unbiased";
    c->ppo.kl_control = "fixed";
    c->ppo.kl_target = 6;
    c->ppo.kl_horizon = 10000;
    c->ppo.reward_norm = "none";
    c->ppo.missing_eos_score = -1e30;
    c->ppo.tis = "off";
    c->ppo.tis_max = 2;
}

static inline void reward_model_settings(struct config *c)
{
    c->reward_model.heads = "one";
    c->reward_model.link = "logistic";
    c->reward_model.margin = "given";
    c->reward_model.margin_scale = 1;
    c->reward_model.center = 0.01;
    c->reward_model.train = "all";
    c->more.decay = 0.5;
    c->more.normalise = "none";
    c->pal.dim = 4;
    c->pal.prototypes = 3;
    c->pal.model = "a";
    c->pal.distance = "euclidean";
    c->pal.factor = 2;
    c->pal.fit = "all";
    c->gpm.dim = 4;
    c->gpm.tau = 0.5;
    c->gpm.scale = "fixed";
    c->gpm.unit = true;
}

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
    c.dpo.gamma = 0.5;
    c.kto.labels = "group_mean";
    c.kto.lambda_d = c.kto.lambda_u = 1;
    c.bco.delta = "running";
    c.bco.udm_rows = 40;
    c.bco.udm_min = 0.5;
    c.bco.udm_max = 10;
    c.list.preference = "score";
    c.list.labels = "scaled";
    c.list.eta = c.list.temperature = 1;
    c.list.sft = 0.05;
    c.lcpo.eta = 0.9;
    c.lcpo.rate = 0.1;
    c.lcpo.annotators = 4;
    c.spa.alpha = c.spa.quantile = 0.1;
    c.spa.lambda = 0.5;
    c.spa.window = 16;
    c.dpo.tie_eps = 1e-6;
    c.eval.alpha = 0.9;
    c.orchestrator.temperature = 1;
    c.adam.beta1 = 0.9;
    c.adam.beta2 = 0.95;
    c.adam.eps = 1e-8;
    c.adam.eps_mode = "torch";
    policy_settings(&c);
    reward_model_settings(&c);
    if (strcmp(algorithm, "lm") == 0)
        c.n_rewards = 0;
    return c;
}

struct run {
    struct tiny tiny, critic;   /* a critic of its own: else its model is NULL */
    struct model_shape shapes[2];
    struct config config;
    struct comm *team;
    struct tiny_batch batch;
    struct batch *b;
    struct learner *learner;
    struct metrics *m;
};

/* A reward model in place of the policy; or a model of scores beside it, or a score head on it,
 * where the algorithm wants one. */
static inline void open_models(struct run *r, const char *compute)
{
    struct policy_wants wants = policy_wants(&r->config);
    struct model_shape *shape = &r->shapes[0];

    memset(&r->critic, 0, sizeof r->critic);
    r->shapes[0] = r->shapes[1] = tiny_shapes[0];
    shape->scores = wants.shared + algorithm_adapter(algorithm_find(r->config.algorithm),
                                                     &r->config);
    if (algorithm_scores(algorithm_find(r->config.algorithm), &r->config, TINY_OBJECTIVES,
                         TINY_USERS, &shape->verdict, &shape->scores))
        shape->lm = false;
    r->tiny = tiny_open_shape(&r->shapes[0], compute);
    if (!wants.critic_from)
        return;
    r->shapes[1].lm = false;
    r->shapes[1].scores = 1;
    r->critic = tiny_open_shape(&r->shapes[1], compute);
}

/* The share of this rank of the team in a step of P groups of k rows. */
static inline void open_groups(struct run *r, struct config config, const char *compute,
                               struct comm *team, int P, int k)
{
    int group, groups;

    r->config = config;
    r->config.model = "tiny";
    r->config.prompts_per_step = P;
    r->config.samples_per_prompt = k;
    open_models(r, compute);
    r->team = team;
    share_of(P, (int)config.reduction_leaves, comm_size(team), comm_rank(team), &group, &groups);
    r->b = tiny_batch_open(&r->batch, r->tiny.model, P, k,
                           r->config.n_rewards > 0 ? r->config.n_rewards : 1, group, groups);
    assert_ok(metrics_create(&r->m));
    assert_ok(learner_create(&r->learner, &(struct learner_parts){
        .config = &r->config, .policy = r->tiny.model, .critic = r->critic.model, .team = team,
        .P = P, .k = k, .max_row_tokens = TINY_ROW, .objectives = TINY_OBJECTIVES }));
}

/* The same for rollouts and rows of text. */
static inline void open_run(struct run *r, struct config config, const char *compute,
                            struct comm *team, int P)
{
    int k = strcmp(config.algorithm, "lm") == 0         ? 1
            : strcmp(config.dpo.pairing, "pair") == 0 ? 2 : TINY_K;

    open_groups(r, config, compute, team, P, k);
}

static inline void close_run(struct run *r)
{
    learner_destroy(r->learner);
    metrics_destroy(r->m);
    tiny_batch_close(&r->batch);
    tiny_close(&r->tiny);
    if (r->critic.model)
        tiny_close(&r->critic);
}

static inline double update(struct run *r)
{
    assert_ok(learner_update(r->learner, r->b, r->m));
    return metrics_get(r->m, "loss", -1);
}

static inline void assert_same_weights(struct run *a, struct run *b, const char *name)
{
    if (memcmp(model_weights(a->tiny.model), model_weights(b->tiny.model),
               a->tiny.size * sizeof(float)) != 0)
        fail_msg("%s: the weights differ", name);
}

#endif
