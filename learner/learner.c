/* The story of an update (learner_update), and what a learner is made of. */
#include "learner/learner.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "learner/internal.h"

const struct algorithm algorithms[] = {
    { "online_dpo", COL_TOKENS | COL_ACTOR_LOGP | COL_REF_LOGP | COL_REWARD, true,
      dpo_setup, dpo_layout, dpo_targets, dpo_count, dpo_loss, dpo_report },
    { "lm", COL_TOKENS, false,
      lm_setup, lm_layout, lm_targets, lm_count, lm_loss, lm_report },
    { NULL, 0, false, NULL, NULL, NULL, NULL, NULL, NULL },
};

const struct algorithm *algorithm_find(const char *name)
{
    for (const struct algorithm *a = algorithms; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

/* ---- what it is made of */

/* Leaves of the tree: of the configuration, or as few as the ranks need. */
static int set_leaves(struct learner *ln, int ranks)
{
    const struct config *c = ln->config;

    ln->fast = strcmp(c->reduction, "fast") == 0;
    if (ln->fast) {
        for (ln->leaves = 1; ln->leaves < ranks;)
            ln->leaves *= 2;
        return RL_OK;
    }
    if (ranks > c->reduction_leaves)
        return rl_error(RL_EINVAL, "reduction_leaves: %lld leaves cannot be shared by %d learner "
                        "ranks; raise it (a power of two) or use fewer learners",
                        (long long)c->reduction_leaves, ranks);
    ln->leaves = (int)c->reduction_leaves;
    return RL_OK;
}

/* Sizes and settings, before any memory.  ln->stats.team is not needed yet. */
static int setup(struct learner *ln, const struct config *c, int ranks, int P, int k,
                 int max_row_tokens)
{
    int64_t micro = c->micro_rows, used, table;
    int rc = RL_OK;

    ln->config = c;
    ln->P = P;
    ln->k = k;
    ln->max_row_tokens = max_row_tokens;
    ln->algorithm = algorithm_find(c->algorithm);
    if (!ln->algorithm)
        return rl_error(RL_EINVAL, "algorithm: '%s' is not one of online_dpo, lm", c->algorithm);
    TRY(set_leaves(ln, ranks));
    TRY(ln->algorithm->setup(ln));
    used = ln->algorithm->rollouts && ln->dpo.pairing != PAIRING_ALL ? 2 : k;   /* of a group */
    micro = micro < used ? used : micro;
    micro = micro < (int64_t)P * used ? micro : (int64_t)P * used;
    table = (int64_t)P * (k + ln->dpo.pairs_per_group);
    if (table > INT_MAX / (PAIR_TERMS + c->n_rewards) || micro > INT_MAX / max_row_tokens)
        return rl_error(RL_ENOFIT, "micro_rows: %lld rows of %d tokens and %lld rows and pairs in "
                        "a step are too many for one learner", (long long)micro, max_row_tokens,
                        (long long)table);
    ln->micro.max_rows = (int)micro;
    ln->micro.max_tokens = (int)micro * max_row_tokens;
done:
    return rc;
}

/* Doubles in the largest table of a step: pairs, rows, or what learner_measure gathers. */
static size_t table_room(const struct learner *ln)
{
    size_t row = (size_t)ln->config->n_rewards + MEASURE_TERMS;
    size_t pairs = (size_t)ln->P * ln->dpo.pairs_per_group * PAIR_TERMS;
    size_t rows = (size_t)ln->P * ln->k * (row > ROW_TERMS ? row : ROW_TERMS);

    return pairs > rows ? pairs : rows;
}

static void layout(struct learner *ln, struct memory *memory, size_t weights, int ranks)
{
    ln->grads = memory_take(memory, weights * sizeof(float));
    ln->place = memory_take(memory, (size_t)ln->P * ln->k * sizeof(int));
    micro_layout(&ln->micro, memory);
    stats_layout(&ln->stats, memory, ranks, table_room(ln));
    ln->algorithm->layout(ln, memory);
}

int learner_create(struct learner **out, const struct config *config, struct model *model,
                   struct comm *team, int P, int k, int max_row_tokens)
{
    struct learner *ln = calloc(1, sizeof *ln);
    size_t weights = model_size(model_shape(model));
    int rc = RL_OK;

    *out = NULL;
    if (!ln)
        return rl_error(RL_ENOFIT, "no memory for the learner");
    ln->model = model;
    ln->team = ln->stats.team = team;
    TRY(setup(ln, config, comm_size(team), P, k, max_row_tokens));
    memory_count(&ln->memory);
    layout(ln, &ln->memory, weights, comm_size(team));
    TRY(memory_open(&ln->memory));
    layout(ln, &ln->memory, weights, comm_size(team));
    TRY(trainer_create(&ln->trainer, model, ln->micro.max_rows, ln->micro.max_tokens,
                       config->recompute));
    TRY(tree_create(&ln->tree, team, weights, ln->leaves));
    TRY(optimizer_create(&ln->optimizer, config, model));
done:
    if (rc == RL_OK)
        *out = ln;
    else
        learner_destroy(ln);
    return rc;
}

void learner_destroy(struct learner *ln)
{
    if (!ln)
        return;
    optimizer_destroy(ln->optimizer);
    tree_destroy(ln->tree);
    trainer_destroy(ln->trainer);
    stats_free(&ln->stats);
    memory_close(&ln->memory);
    free(ln);
}

int64_t learner_bytes(const struct config *config, const struct model_shape *shape,
                      struct compute *compute, int ranks, int rank, int P, int k,
                      int max_row_tokens)
{
    struct learner ln = { 0 };
    struct memory memory;
    int rc = setup(&ln, config, ranks, P, k, max_row_tokens);

    if (rc != RL_OK)
        return rc;
    memory_count(&memory);
    layout(&ln, &memory, model_size(shape), ranks);
    return (int64_t)(memory.peak + tree_bytes(model_size(shape), ln.leaves, ranks, rank) +
                     trainer_bytes(shape, compute, ln.micro.max_rows, ln.micro.max_tokens,
                                   config->recompute) + optimizer_bytes(shape));
}

/* ---- one update */

/* Is the batch what this learner was made for?  Not collective. */
static int check(const struct learner *ln, const struct batch *b)
{
    int first, end;

    if (b->status != RL_OK)
        return b->status;           /* its line was written where it happened */
    if (b->P < 1 || b->P > ln->P || b->k != ln->k || b->groups < 0 || b->groups > b->P)
        return rl_error(RL_EBUG, "step %lld: a batch of %d groups of %d for a learner of %d of %d",
                        (long long)b->step, b->P, b->k, ln->P, ln->k);
    if (!ln->fast) {
        first = (int)((int64_t)tree_first(ln->tree) * b->P / ln->leaves);
        end = (int)((int64_t)tree_end(ln->tree) * b->P / ln->leaves);
        if (b->group != first || b->groups != end - first)
            return rl_error(RL_EBUG, "step %lld: groups %d .. %d came to the learner of %d .. %d",
                            (long long)b->step, b->group, b->group + b->groups, first, end);
    }
    if (b->groups > 0 && (b->filled & ln->algorithm->columns) != ln->algorithm->columns)
        return rl_error(RL_EBUG, "step %lld: %s needs columns %#x of the batch and got %#x",
                        (long long)b->step, ln->algorithm->name, ln->algorithm->columns, b->filled);
    if (ln->algorithm->columns & COL_REWARD && b->R != ln->config->n_rewards)
        return rl_error(RL_EBUG, "step %lld: %d reward columns for %d rewards", (long long)b->step,
                        b->R, ln->config->n_rewards);
    return micro_check(b, ln->max_row_tokens);
}

/* The sum over all ranks, then new weights. */
static int step(struct learner *ln, struct metrics *m)
{
    double norm, lr, t = clock_now();
    int rc = RL_OK;

    TRY(comm_tree_sum(ln->tree, ln->grads));
    ln->seconds[2] += clock_now() - t;
    t = clock_now();
    TRY(optimizer_step(ln->optimizer, ln->grads, ln->version, &norm, &lr));
    ln->seconds[3] += clock_now() - t;
    metrics_set(m, "optim/lr", lr);
    metrics_set(m, "optim/grad_norm", norm);
done:
    return rc;
}

int learner_update(struct learner *ln, struct batch *b, struct metrics *m)
{
    static const char *const names[] = { "time/forward", "time/backward", "time/reduce",
                                         "time/optimizer" };
    int rc = RL_OK;

    memset(ln->seconds, 0, sizeof ln->seconds);
    rc = check(ln, b);
    if (rc == RL_OK)
        rc = ln->algorithm->targets(ln, b);
    TRY(stats_begin(&ln->stats, b, rc));
    TRY(ln->algorithm->count(ln, b));
    TRY(comm_agree(ln->team, gradients_add(ln, b)));
    TRY(ln->algorithm->report(ln, b, m));
    if (ln->total > 0)
        TRY(step(ln, m));
    else
        tree_clear(ln->tree);       /* no pair is left, on any rank: there is nothing to learn */
    metrics_set(m, "optim/skipped", !(ln->total > 0));
    for (int i = 0; i < 4; i++)
        metrics_set(m, names[i], ln->seconds[i]);
    ln->tokens += ln->counted[1];
    ln->version++;
done:
    if (rc != RL_OK)
        tree_clear(ln->tree);       /* leaves of an update that did not come to its end */
    return rc;
}

/* ---- evaluation on text */

/* Forward of the packed rows; one number for each into out. */
static int nll_pass(struct learner *ln, const struct batch *b, double *out)
{
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    TRY(model_logprobs(ln->trainer, micro->tokens, micro->start, micro->N, 1.0f, false, micro->logp,
                       NULL));
    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        out[n] = -row_sum(micro->logp, from + shift, end + shift);
    }
    micro_clear(micro);
done:
    return rc;
}

static int nll_rows(struct learner *ln, const struct batch *b, double *out)
{
    int rc = RL_OK;

    TRY(micro_check(b, ln->max_row_tokens));
    micro_clear(&ln->micro);
    for (int n = 0; n < b->N; n++) {
        micro_add(&ln->micro, b, n);
        if (ln->micro.N == ln->micro.max_rows || n == b->N - 1)
            TRY(nll_pass(ln, b, out));
    }
done:
    return rc;
}

int learner_nll(struct learner *ln, const struct batch *b, double *sum, int64_t *count)
{
    int rc = RL_OK;

    *sum = 0;
    *count = 0;
    TRY(stats_begin(&ln->stats, b, b->status));
    TRY(stats_room(&ln->stats, (size_t)b->k));
    TRY(comm_agree(ln->team, nll_rows(ln, b, ln->stats.mine)));
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        *count += end > from ? end - from : 0;
    }
    TRY(comm_sum_int64(ln->team, count, 1, PHASE_EVAL));
    TRY(stats_gather(&ln->stats, ln->stats.mine, (size_t)b->k));
    for (int n = 0; n < b->P * b->k; n++)
        *sum += ln->stats.all[n];
done:
    return rc;
}

/* ---- state */

struct optimizer *learner_optimizer(struct learner *ln)
{
    return ln->optimizer;
}

int64_t learner_version(const struct learner *ln)
{
    return ln->version;
}

void learner_set_version(struct learner *ln, int64_t version)
{
    ln->version = version;
}

int64_t learner_tokens(const struct learner *ln)
{
    return ln->tokens;
}

void learner_set_tokens(struct learner *ln, int64_t tokens)
{
    ln->tokens = tokens;
}
