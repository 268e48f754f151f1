/* See reward_models.h. */
#include "launch/reward_models.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "reward/scorer.h"

static bool is_model(const struct config_reward *c)
{
    return c->kind && strcmp(c->kind, "model") == 0;
}

static int refuse(const struct config *c, int i, const char *key, const char *what)
{
    return rl_error(RL_EINVAL, "%s: rewards[%d]: %s: %s", c->rewards[i].where, i, key, what);
}

static int check(const struct reward_sources *r, const struct source *s,
                 const struct source *policy)
{
    if (s->shape.lm || s->shape.scores < 1)
        return rl_error(RL_EINVAL, "%s: a language model has no scores; the reward \"model\" needs "
                        "a reward model (algorithm \"reward_model\" trains one)", s->path);
    if (s->shape.V != policy->shape.V)
        return rl_error(RL_EINVAL, "%s: vocabulary of %d tokens, but the policy's is %d: the "
                        "reward model must share the tokenizer", s->path, s->shape.V,
                        policy->shape.V);
    if (s->shape.context < r->row_tokens)
        return rl_error(RL_EINVAL, "%s: %d positions, but rows may have %d tokens; lower max_new",
                        s->path, s->shape.context, r->row_tokens);
    return RL_OK;
}

/* The source of reward i: one that was opened for an earlier one, or a new one. */
static int add(struct reward_sources *r, const struct config *c, int i,
               const struct source *policy)
{
    struct source *s = &r->items[r->n];
    int rc = RL_OK;

    if (!c->rewards[i].model)
        return refuse(c, i, "model", "missing; a folder, checkpoint or run of a reward model");
    TRY(source_open(s, c->rewards[i].model));
    r->of[i] = r->n++;                  /* from here on reward_sources_close closes it */
    TRY(check(r, s, policy));
    for (int k = 0; k < r->n - 1; k++)
        if (strcmp(r->items[k].path, s->path) == 0) {
            r->of[i] = k;
            source_close(s);
            r->n--;
            break;
        }
done:
    return rc;
}

int reward_sources_open(struct reward_sources *r, const struct config *c,
                        const struct source *policy, int row_tokens)
{
    size_t n = (size_t)c->n_rewards + 1;
    int rc = RL_OK;

    *r = (struct reward_sources){ .row_tokens = row_tokens };
    r->items = calloc(n, sizeof *r->items);
    r->of = malloc(n * sizeof *r->of);
    if (!r->items || !r->of)
        return rl_error(RL_ENOFIT, "no memory for %d rewards", c->n_rewards);
    for (int i = 0; i < c->n_rewards; i++) {
        r->of[i] = -1;
        if (is_model(&c->rewards[i]))
            TRY(add(r, c, i, policy));
    }
done:
    return rc;
}

void reward_sources_close(struct reward_sources *r)
{
    for (int k = 0; k < r->n; k++)
        source_close(&r->items[k]);
    free(r->items);
    free(r->of);
    memset(r, 0, sizeof *r);
}

int orchestrator_open(struct source *s, const struct config *c, const struct source *policy,
                      int longest_prompt)
{
    const char *where = config_where(c, "orchestrator.model");
    int rc = RL_OK;

    TRY(source_open(s, c->orchestrator.model));
    if (!s->shape.lm || s->shape.scores == 0)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: %s has no weights of rewards; give a "
                        "run or checkpoint of algorithm \"orchestrator\" (an export for Hugging "
                        "Face leaves them out)", where, s->path);
    if (s->shape.scores != c->n_rewards)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: %s weighs %d rewards, and there are %d",
                        where, s->path, s->shape.scores, c->n_rewards);
    if (s->shape.V != policy->shape.V)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: %s has a vocabulary of %d tokens, but "
                        "the policy's is %d: both must share the tokenizer", where, s->path,
                        s->shape.V, policy->shape.V);
    if (s->shape.context < longest_prompt)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: %s has %d positions, but the longest "
                        "prompt has %d tokens", where, s->path, s->shape.context, longest_prompt);
done:
    return rc;
}

/* Rows of a scorer have room for a context where a column has one (reward.c). */
static int row_of(const struct reward_sources *r, const struct config *c, int k)
{
    for (int i = 0; i < c->n_rewards; i++)
        if (r->of[i] == k && c->rewards[i].contexts.count > 0)
            return r->items[k].shape.context;
    return r->row_tokens;
}

size_t reward_sources_bytes(const struct reward_sources *r, const struct config *c,
                            int micro_rows, struct compute *compute)
{
    size_t bytes = 0;

    for (int k = 0; k < r->n; k++)
        bytes += model_bytes(&r->items[k].shape, compute) +
                 scorer_bytes(&r->items[k].shape, compute, micro_rows, row_of(r, c, k));
    return bytes;
}

int reward_models_open(struct model ***out, const struct reward_sources *r, const struct config *c,
                       struct compute *compute)
{
    struct model **models = *out = calloc((size_t)c->n_rewards + 1, sizeof *models);
    int rc = RL_OK;

    if (!models)
        return rl_error(RL_ENOFIT, "no memory for %d rewards", c->n_rewards);
    for (int i = 0; i < c->n_rewards; i++) {
        for (int j = 0; j < i && r->of[i] >= 0 && !models[i]; j++)
            if (r->of[j] == r->of[i])
                models[i] = models[j];
        if (r->of[i] >= 0 && !models[i])
            TRY(source_model(&models[i], &r->items[r->of[i]], compute));
    }
done:
    if (rc != RL_OK) {
        reward_models_close(models, c);
        *out = NULL;
    }
    return rc;
}

void reward_models_close(struct model **models, const struct config *c)
{
    if (!models)
        return;
    for (int i = 0; i < c->n_rewards; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++)
            seen |= models[j] == models[i];
        if (!seen)
            model_destroy(models[i]);
    }
    free(models);
}
