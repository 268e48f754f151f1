/* Policy gradients: PPO (Schulman et al. 2017) and its relatives without a critic.
 *
 *   scores -> rewards -> advantages     of the whole step, over all ranks           rewards.c
 *   epochs x mini-batches:              rows -> ratio -> clipped loss -> step       steps.c
 *
 * The log-probability at the rollout's weights *is* actor_logp: no second pass for it.  Only a
 * critic, or truncated importance sampling of a batch that lags, looks at the rows before. */
#include "learner/policy/method.h"

#include <string.h>

#include "base/status.h"

static int policy_check(const struct config *c, const struct algorithm *a)
{
    struct policy_rules r;

    return policy_rules(&r, c, a->variant);
}

static int policy_setup(struct learner *ln)
{
    struct policy *p = ln->state;
    int rc = RL_OK;

    TRY(policy_rules(&p->rules, ln->config, ln->algorithm->variant));
    ln->passes = p->rules.epochs * p->rules.minibatches;
    ln->group_terms = (size_t)ln->k * POLICY_TERMS;
    if (p->rules.entropy_coef > 0)
        ln->outputs |= OUT_ENTROPY;
    if (p->rules.critic)
        ln->outputs |= OUT_SCORE;
    if (ln->config->ppo.critic_lr >= 0)
        ln->critic_lr = ln->config->ppo.critic_lr;
    ln->text.coef = p->rules.ptx_coef;
    p->kl_coef = p->rules.kl_coef;
    ln->kl_coef = p->rules.kl_in == KL_NOWHERE ? 0 : p->kl_coef;
done:
    return rc;
}

static void policy_layout(struct learner *ln, struct memory *memory)
{
    struct policy *p = ln->state;
    size_t rows = (size_t)ln->rows, row = (size_t)ln->max_row_tokens, tokens = rows * row;

    p->kept = memory_take(memory, rows * sizeof *p->kept);
    p->failed = memory_take(memory, rows * sizeof *p->failed);
    p->score = memory_take(memory, rows * sizeof *p->score);
    p->after = memory_take(memory, rows * sizeof *p->after);
    p->terms = memory_take(memory, rows * POLICY_TERMS * sizeof *p->terms);
    p->adv = memory_take(memory, tokens * sizeof *p->adv);
    p->ret = memory_take(memory, tokens * sizeof *p->ret);
    p->value = memory_take(memory, (p->rules.critic ? tokens : 0) * sizeof *p->value);
    p->old = memory_take(memory, (p->rules.tis ? tokens : 0) * sizeof *p->old);
    p->kl = memory_take(memory, row * sizeof *p->kl);
    p->reward = memory_take(memory, row * sizeof *p->reward);
    p->scores = memory_take(memory, (size_t)ln->k * sizeof *p->scores);
    p->advs = memory_take(memory, (size_t)ln->k * sizeof *p->advs);
    p->lengths = memory_take(memory, (size_t)ln->k * sizeof *p->lengths);
    p->order = memory_take(memory, (size_t)ln->P * (size_t)ln->k * sizeof *p->order);
}

static int policy_values(struct learner *ln, struct learner_value *out)
{
    struct policy *p = ln->state;

    out[0] = (struct learner_value){ "kl_coef", &p->kl_coef, 1 };
    out[1] = (struct learner_value){ "reward_norm", &p->norm.count, 3 };
    return 2;
}

/* ---- before the update */

/* Were these weights not the ones that sampled the row, and does that matter? */
static bool has_other_old(const struct learner *ln, const struct batch *b, int n)
{
    const struct policy *p = ln->state;

    return p->rules.tis != TIS_OFF && b->version[n] != ln->version;
}

double policy_old(const struct learner *ln, const struct batch *b, int n, int t)
{
    const struct policy *p = ln->state;

    return has_other_old(ln, b, n) ? (double)p->old[t] : (double)b->actor_logp[t];
}

/* Marks the rows that must be looked at. */
static int policy_targets(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;

    if (b->N > ln->rows)
        return rl_error(RL_EBUG, "step %lld: %d rows for a learner of %d", (long long)b->step, b->N,
                        ln->rows);
    memset(p->terms, 0, (size_t)b->N * POLICY_TERMS * sizeof *p->terms);
    p->updates = 0;
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        bool wanted = p->rules.critic || has_other_old(ln, b, n);
        ln->place[n] = from < end && wanted ? 0 : -1;
    }
    return RL_OK;
}

static int policy_look(struct learner *ln, const struct batch *b)
{
    struct policy *p = ln->state;
    const struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];          /* from the batch to the packed rows */
        if (has_other_old(ln, b, n))
            memcpy(p->old + from, micro->logp + from + shift,
                   (size_t)(end - from) * sizeof *p->old);
        if (!p->rules.critic)
            continue;
        /* The value before token t is what the head says at the token before it. */
        for (int t = from; t < end; t++)
            p->value[t] = micro->score[(size_t)(t - 1 + shift) * ln->scores];
        p->after[n] = micro->score[(size_t)(end - 1 + shift) * ln->scores];
    }
    return RL_OK;
}

const struct method method_policy = {
    .state = sizeof(struct policy), .sampling_temperature = true, .check = policy_check,
    .setup = policy_setup, .layout = policy_layout, .values = policy_values,
    .observe = policy_observe, .targets = policy_targets, .look = policy_look,
    .prepare = policy_prepare, .select = policy_select, .count = policy_count,
    .loss = policy_loss, .report = policy_report, .finish = policy_finish,
};
