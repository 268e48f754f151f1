/* What a learner is made of: sizes and settings first, then one block of memory, then trainers,
 * trees and optimizers of what is trained. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/workspace.h"
#include "comm/link.h"
#include "learner/internal.h"

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

static int find_method(struct learner *ln)
{
    const struct algorithm *a = algorithm_find(ln->config->algorithm);

    if (!a)
        return rl_error(RL_EINVAL, "algorithm: there is no '%s'", ln->config->algorithm);
    ln->algorithm = a;
    ln->method = a->method;
    ln->state = calloc(1, ln->method->state ? ln->method->state : 1);
    if (!ln->state)
        return rl_error(RL_ENOFIT, "no memory for the learner");
    return ln->method->check ? ln->method->check(ln->config, a) : RL_OK;
}

/* Room of a micro-batch. */
static int set_micro(struct learner *ln)
{
    int64_t micro = ln->config->micro_rows, used = ln->used_rows;
    size_t group = (size_t)ln->k * (size_t)(ROW_TERMS + MEASURE_TERMS + ln->config->n_rewards);

    group = ln->group_terms > group ? ln->group_terms : group;
    micro = micro < used ? used : micro;
    micro = micro < (int64_t)ln->P * used ? micro : (int64_t)ln->P * used;
    micro = micro < ln->pass_rows ? ln->pass_rows : micro;
    if (group > (size_t)INT_MAX / (size_t)ln->P || micro > INT_MAX / ln->max_row_tokens)
        return rl_error(RL_ENOFIT, "micro_rows: %lld rows of %d tokens and %d prompts of %d rows "
                        "are too many for one learner", (long long)micro, ln->max_row_tokens,
                        ln->P, ln->k);
    ln->micro.max_tokens = (int)micro * ln->max_row_tokens;
    return RL_OK;
}

/* Sizes and settings, before any memory.  ln->stats.team is not needed yet. */
static int setup(struct learner *ln, const struct learner_size *size)
{
    int first, groups, rc = RL_OK;

    ln->config = size->config;
    ln->records = size->records;
    ln->P = size->P;
    ln->k = size->k;
    ln->max_row_tokens = size->max_row_tokens;
    ln->shape = *size->policy;
    ln->ranks = size->ranks;
    ln->rank = size->rank;
    ln->text.rows = size->text_rows;
    TRY(find_method(ln));
    TRY(set_leaves(ln, size->ranks));
    share_of(ln->P, (int)ln->config->reduction_leaves, size->ranks, size->rank, &first, &groups);
    ln->rows = groups * ln->k;
    ln->kl_coef = ln->config->beta;
    ln->objectives = size->objectives > 1 ? size->objectives : 1;
    ln->outputs = OUT_LOGP;
    ln->temperature = (float)algorithm_temperature(ln->algorithm, size->config);
    ln->scores = size->critic ? size->critic->scores : size->policy->scores;
    ln->used_rows = ln->k;
    ln->passes = 1;
    ln->critic_lr = ln->config->lr;
    TRY(ln->method->setup(ln));
    TRY(set_micro(ln));
done:
    return rc;
}

/* Doubles in the largest table of a step: rows, what learner_measure gathers, or the method's. */
static size_t table_room(const struct learner *ln)
{
    size_t row = (size_t)ln->config->n_rewards + MEASURE_TERMS;
    size_t group = (size_t)ln->k * (row > ROW_TERMS ? row : ROW_TERMS);

    return (size_t)ln->P * (group > ln->group_terms ? group : ln->group_terms);
}

static void layout(struct learner *ln, struct memory *memory, const struct learner_size *size)
{
    ln->policy.grads = memory_take(memory, model_size(size->policy) * sizeof(float));
    if (size->critic)
        ln->critic.grads = memory_take(memory, model_size(size->critic) * sizeof(float));
    ln->place = memory_take(memory, (size_t)ln->P * ln->k * sizeof(int));
    ln->row_terms = memory_take(memory, (size_t)ln->P * ln->k * ROW_TERMS * sizeof(double));
    micro_layout(&ln->micro, memory, ln->outputs, ln->scores);
    scores_layout(&ln->rewards, memory, ln->config->n_rewards);
    stats_layout(&ln->stats, memory, size->ranks, table_room(ln));
    ptx_layout(ln, memory, size->ranks);
    ln->method->layout(ln, memory);
}

static int open_trainer(struct learner *ln, struct trainee *t)
{
    int room = ln->micro.max_tokens;

    if (ln->blocks && t == &ln->policy)
        return trainer_create_blocks(&t->trainer, t->model, room, room, ln->config->recompute);
    return trainer_create(&t->trainer, t->model, room, room, ln->config->recompute);
}

static int open_trainee(struct learner *ln, struct trainee *t, struct model *model, double lr)
{
    int rc = RL_OK;

    t->model = model;
    TRY(tree_create(&t->tree, ln->team, model_size(model_shape(model)), ln->leaves));
    if (ln->fast)
        tree_any_order(t->tree);
    TRY(optimizer_create(&t->optimizer, ln->config, model, lr));
done:
    return rc;
}

/* Both trainers' passes live at once: a critic's forward pass may come before the policy's backward
 * pass. */
static int open_trainers(struct learner *ln)
{
    struct workspace *w = model_compute(ln->policy.model)->workspace;
    int rc = RL_OK;

    workspace_together(w, true);
    TRY(open_trainer(ln, &ln->policy));
    if (ln->critic.model)
        TRY(open_trainer(ln, &ln->critic));
done:
    workspace_together(w, false);
    return rc;
}

static void close_trainee(struct trainee *t)
{
    optimizer_destroy(t->optimizer);
    tree_destroy(t->tree);
    trainer_destroy(t->trainer);
}

int learner_create(struct learner **out, const struct learner_parts *parts)
{
    struct learner *ln = calloc(1, sizeof *ln);
    struct learner_size size = {
        .config = parts->config, .policy = model_shape(parts->policy),
        .critic = parts->critic ? model_shape(parts->critic) : NULL,
        .compute = model_compute(parts->policy), .records = parts->records,
        .ranks = comm_size(parts->team),
        .rank = comm_rank(parts->team), .P = parts->P, .k = parts->k,
        .max_row_tokens = parts->max_row_tokens, .objectives = parts->objectives,
        .text_rows = parts->text_rows,
    };
    int rc = RL_OK;

    *out = NULL;
    if (!ln)
        return rl_error(RL_ENOFIT, "no memory for the learner");
    ln->team = ln->stats.team = ln->text.stats.team = parts->team;
    ln->judge = parts->judge;
    TRY(setup(ln, &size));
    memory_count(&ln->memory);
    layout(ln, &ln->memory, &size);
    ln->memory.lower = "micro_rows, prompts_per_step or samples_per_prompt";
    TRY(memory_open(&ln->memory));
    layout(ln, &ln->memory, &size);
    TRY(open_trainee(ln, &ln->policy, parts->policy, parts->config->lr));
    if (parts->critic)
        TRY(open_trainee(ln, &ln->critic, parts->critic, ln->critic_lr));
    TRY(open_trainers(ln));
    if (ln->method->open)
        TRY(ln->method->open(ln));
    TRY(health_open(ln));
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
    if (ln->method && ln->method->close)
        ln->method->close(ln);
    health_close(ln);
    close_trainee(&ln->critic);
    close_trainee(&ln->policy);
    stats_free(&ln->stats);
    stats_free(&ln->text.stats);
    memory_close(&ln->memory);
    free(ln->state);
    free(ln);
}

static size_t trainee_bytes(const struct learner *ln, const struct model_shape *shape,
                            const struct learner_size *size, bool blocks)
{
    int room = ln->micro.max_tokens;
    bool again = ln->config->recompute;
    size_t (*bytes)(const struct model_shape *shape, struct compute *k, int max_rows,
                    int max_tokens, bool recompute) = blocks ? trainer_bytes_blocks : trainer_bytes;
    size_t passes = bytes(shape, size->compute, room, room, again);

    return tree_bytes(model_size(shape), ln->leaves, size->ranks, size->rank) + passes +
           optimizer_bytes(shape);
}

/* Rows of a pass: all that this rank has of a batch, when they are short. */
static int most_rows(const struct learner *ln)
{
    int64_t per_group = ln->used_rows > ln->k ? ln->used_rows : ln->k;
    int64_t rows = (int64_t)ln->rows / ln->k * per_group + ln->text.rows;

    return rows < ln->micro.max_tokens ? (int)rows : ln->micro.max_tokens;
}

int64_t learner_bytes(const struct learner_size *size)
{
    struct learner ln = { 0 };
    struct memory memory;
    size_t bytes = 0;
    int rc = RL_OK;

    TRY(setup(&ln, size));
    memory_count(&memory);
    layout(&ln, &memory, size);
    workspace_together(size->compute->workspace, true);
    bytes = memory.peak + trainee_bytes(&ln, size->policy, size, ln.blocks);
    if (size->critic)
        bytes += trainee_bytes(&ln, size->critic, size, false);
    workspace_together(size->compute->workspace, false);
    if (size->compute->load)
        size->compute->load->pass_rows = most_rows(&ln);
    if (ln.method->bytes)
        bytes += ln.method->bytes(&ln, size);
done:
    free(ln.state);
    return rc == RL_OK ? (int64_t)bytes : rc;
}
