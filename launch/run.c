/* A rank's part of a run is made here, in the order in which things depend on each other; see
 * run.h. */
#include "launch/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"

/* Groups of a step, and rows of a group. */
static int step_groups(const struct run *r)
{
    const struct config *c = r->config;

    return (int)(r->algorithm->rollouts ? c->prompts_per_step : c->rows_per_step);
}

static int group_rows(const struct run *r)
{
    return r->algorithm->rollouts ? (int)r->config->samples_per_prompt : 1;
}

/* ---- what the configuration names: models' small files, prompts, text */

static int open_sources(struct run *r)
{
    const struct config *c = r->config;
    int rc = RL_OK;

    TRY(source_open(&r->policy_source, c->model));
    if (r->algorithm->rollouts)
        TRY(source_open(&r->reference_source,
                        c->refmodel && *c->refmodel ? c->refmodel : c->model));
    if (r->algorithm->rollouts && r->reference_source.shape.V != r->policy_source.shape.V)
        rc = rl_error(RL_EINVAL,
                      "%s: vocabulary of %d tokens, but the model's is %d: the reference model "
                      "must share the tokenizer",
                      c->refmodel, r->reference_source.shape.V, r->policy_source.shape.V);
done:
    return rc;
}

static int open_prompts(struct run *r)
{
    const struct config *c = r->config;
    const struct source *s = &r->policy_source;
    int limit = s->shape.context - 1;       /* room for one new token */
    bool skip = strcmp(c->long_prompts, "skip") == 0;
    int longest, rc = RL_OK;

    TRY(prompts_open(&r->prompts, c->prompts, s->tokenizer, s->shape.V, limit, skip));
    longest = prompts_longest(r->prompts);
    if (c->eval_prompts && *c->eval_prompts) {
        TRY(prompts_open(&r->eval_prompts, c->eval_prompts, s->tokenizer, s->shape.V, limit, skip));
        if (prompts_longest(r->eval_prompts) > longest)
            longest = prompts_longest(r->eval_prompts);
    }
    r->longest_prompt = longest;
    r->row_tokens = longest + (int)c->max_new < s->shape.context ? longest + (int)c->max_new
                                                                 : s->shape.context;
done:
    return rc;
}

/* Rows of a file that are evaluated: all, or the first eval_rows. */
static int eval_count(const struct config *c, int64_t there)
{
    return (int)(c->eval_rows > 0 && c->eval_rows < there ? c->eval_rows : there);
}

static int open_text(struct run *r)
{
    const struct config *c = r->config;
    const struct source *s = &r->policy_source;
    int eos = s->n_eos ? s->eos[0] : -1, n = c->eval_text.count;
    int row = c->row_tokens > 0 ? (int)c->row_tokens : s->shape.context;
    int rc = RL_OK;

    if (row > s->shape.context)
        return rl_error(RL_EINVAL, "%s: row_tokens = %d, but the model has %d positions",
                        config_where(c, "row_tokens"), row, s->shape.context);
    if (!r->algorithm->rollouts) {
        r->row_tokens = row;
        TRY(corpus_open(&r->corpus, &c->text, s->tokenizer, s->shape.V, s->bos, eos, row));
    }
    r->eval_corpus = calloc((size_t)n + 1, sizeof *r->eval_corpus);
    r->eval_rows = calloc((size_t)n + 1, sizeof *r->eval_rows);
    if (!r->eval_corpus || !r->eval_rows)
        return rl_error(RL_ENOFIT, "no memory for %d evaluation texts", n);
    for (int i = 0; i < n; i++) {
        struct strings one = { &c->eval_text.items[i], 1 };
        TRY(corpus_open(&r->eval_corpus[i], &one, s->tokenizer, s->shape.V, s->bos, eos, row));
    }
    if (n && row > r->row_tokens)
        r->row_tokens = row;
done:
    return rc;
}

/* ---- models and roles */

/* Learners read the weights (or make them up); an actor that is no learner gets them through the
 * feed. */
static int open_policy(struct run *r)
{
    bool random = strcmp(r->config->model_init, "random") == 0;
    int rc = RL_OK;

    if (run_holds(r, ROLE_LEARNER) && !random)
        return source_model(&r->policy, &r->policy_source, r->compute);
    TRY(model_create(&r->policy, &r->policy_source.shape, r->compute));
    if (random)
        model_randomize(r->policy, (uint64_t)r->config->seed, 0.02);
done:
    return rc;
}

static int open_models(struct run *r)
{
    int rc = RL_OK;

    if (run_holds(r, ROLE_ACTOR | ROLE_LEARNER))
        TRY(open_policy(r));
    if (run_holds(r, ROLE_REFMODEL))
        TRY(source_model(&r->reference, &r->reference_source, r->compute));
done:
    return rc;
}

struct actor_settings run_actor_settings(const struct config *c, const struct source *policy,
                                         int longest_prompt, int max_rows)
{
    max_rows = max_rows > 0 ? max_rows : 1;     /* an actor without work still stands ready */
    return (struct actor_settings){
        .temperature = (float)c->temperature, .loss_temperature = 1.0f,
        .top_k = (int)c->top_k, .top_p = (float)c->top_p, .min_p = (float)c->min_p,
        .max_new = (int)c->max_new, .eos = policy->eos, .n_eos = policy->n_eos,
        .seed = (uint64_t)c->seed, .max_prompt = longest_prompt,
        .rows_at_once = max_rows < ACTOR_ROWS ? max_rows : ACTOR_ROWS, .max_rows = max_rows,
    };
}

static int open_roles(struct run *r)
{
    const struct config *c = r->config;
    int rc = RL_OK;

    if (run_holds(r, ROLE_ACTOR)) {
        struct actor_settings settings;
        int train = ring_batch(&r->train, ROLE_ACTOR, 0)->max_rows, max_rows = train;
        if (r->eval.P > 0 && ring_batch(&r->eval, ROLE_ACTOR, 0)->max_rows > train)
            max_rows = ring_batch(&r->eval, ROLE_ACTOR, 0)->max_rows;
        settings = run_actor_settings(c, &r->policy_source, r->longest_prompt, max_rows);
        TRY(actor_create(&r->actor, r->policy, &settings));
    }
    if (run_holds(r, ROLE_REWARD))
        TRY(reward_create(&r->reward, c, r->policy_source.tokenizer));
    if (run_holds(r, ROLE_REFMODEL))
        TRY(refmodel_create(&r->refmodel, r->reference, (int)c->micro_rows, r->row_tokens, 1.0f));
    if (run_holds(r, ROLE_LEARNER))
        TRY(learner_create(&r->learner, c, r->policy, r->team, r->train.P, r->train.k,
                           r->row_tokens));
done:
    return rc;
}

/* ---- rings between the roles */

static int open_rings(struct run *r)
{
    const struct config *c = r->config;
    bool rollouts = r->algorithm->rollouts;
    int P = step_groups(r), k = group_rows(r), leaves = (int)c->reduction_leaves, rc = RL_OK;
    int row = c->row_tokens > 0 ? (int)c->row_tokens : r->policy_source.shape.context;

    TRY(ring_open(&r->train, r->world, &r->placement, leaves, P, k,
                  rollouts ? (int)c->max_lag + 1 : 1, r->row_tokens, c->n_rewards, rollouts));
    if (rollouts && r->eval_prompts)
        TRY(ring_open(&r->eval, r->world, &r->placement, leaves,
                      eval_count(c, prompts_count(r->eval_prompts)), 1, 1, r->row_tokens,
                      c->n_rewards, true));
    for (int i = 0; i < c->eval_text.count; i++)
        TRY(ring_open(&r->eval_rows[i], r->world, &r->placement, leaves,
                      eval_count(c, corpus_rows(r->eval_corpus[i])), 1, 1, row, 0, false));
done:
    return rc;
}

static int open_feed(struct run *r)
{
    const struct ranklist *learners = placement_of(&r->placement, ROLE_LEARNER);
    const struct ranklist *actors = placement_of(&r->placement, ROLE_ACTOR);
    bool apart = false;

    for (int i = 0; i < actors->count; i++)
        apart |= placement_index(&r->placement, ROLE_LEARNER, actors->rank[i]) < 0;
    if (!apart)
        return RL_OK;
    return feed_open(&r->feed, r->world, learners->rank, learners->count, actors->rank,
                     actors->count, model_size(&r->policy_source.shape));
}

/* ---- the whole */

static int threads_per_rank(int ranks)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores > ranks ? (int)(cores / ranks) : 1;
}

/* What needs no other rank. */
static int open_alone(struct run *r)
{
    int threads = (int)r->config->threads, rc = RL_OK;

    if (threads == 0)
        threads = threads_per_rank(comm_ranks_on_host(r->world));
    TRY(compute_open(&r->compute, r->config->device, threads));
    TRY(metrics_create(&r->metrics));
    TRY(open_sources(r));
    if (r->algorithm->rollouts)
        TRY(open_prompts(r));
    TRY(open_text(r));
    TRY(ring_check(step_groups(r), group_rows(r), r->row_tokens));
    TRY(open_models(r));
    if (comm_rank(r->world) == r->recorder)
        TRY(folder_create(&r->folder, r->config->output));
    else
        TRY(path_join(r->folder.checkpoints, sizeof r->folder.checkpoints, r->config->output,
                      "checkpoints"));
done:
    return rc;
}

static int tell_roles(struct run *r)
{
    struct text text = { 0 };
    int rc;

    placement_text(&r->placement, comm_rank(r->world), &text);
    rc = comm_set_roles(r->world, text.data);
    text_free(&text);
    return rc;
}

int run_open(struct run *r, const struct config *config, struct comm *world)
{
    int rc = RL_OK;

    memset(r, 0, sizeof *r);
    r->config = config;
    r->world = world;
    r->started = clock_now();
    r->saved = -1;
    r->algorithm = algorithm_find(config->algorithm);
    comm_set_deadline(world, config->deadline);
    TRY(comm_agree(world, placement_make(&r->placement, config, comm_size(world))));
    r->roles = r->placement.roles[comm_rank(world)];
    r->recorder = placement_of(&r->placement, ROLE_LEARNER)->rank[0];
    TRY(tell_roles(r));
    TRY(comm_split(world, run_holds(r, ROLE_LEARNER) ? 0 : -1, "learners", &r->team));
    TRY(comm_agree(world, open_alone(r)));
    TRY(open_rings(r));
    TRY(open_feed(r));
    TRY(comm_agree(world, open_roles(r)));
done:
    return rc;
}

void run_close(struct run *r)
{
    folder_close(&r->folder);
    learner_destroy(r->learner);
    refmodel_destroy(r->refmodel);
    reward_destroy(r->reward);
    actor_destroy(r->actor);
    feed_close(r->feed);
    ring_close(&r->train);
    ring_close(&r->eval);
    for (int i = 0; r->eval_rows && i < r->config->eval_text.count; i++) {
        ring_close(&r->eval_rows[i]);
        corpus_close(r->eval_corpus[i]);
    }
    free(r->eval_rows);
    free(r->eval_corpus);
    model_destroy(r->policy);
    model_destroy(r->reference);
    prompts_close(r->prompts);
    prompts_close(r->eval_prompts);
    corpus_close(r->corpus);
    source_close(&r->policy_source);
    source_close(&r->reference_source);
    metrics_destroy(r->metrics);
    compute_close(r->compute);
    comm_free(r->team);
    placement_free(&r->placement);
    memset(r, 0, sizeof *r);
}
