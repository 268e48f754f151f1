/* Gradients: leaf by leaf, micro-batch by micro-batch.
 *
 *   batch   | g0 g1 | g2 g3 | g4 g5 | g6 g7 |      groups; a leaf is a run of whole groups
 *   leaf      [   0   ] [   1   ] ...
 *   micro       g0  g1                             whole groups, about micro_rows used rows
 *
 * A later micro-batch of a leaf goes on where the earlier stopped (model_backward adds), so the
 * cut into micro-batches cannot change a bit.  With reduction = "fast" a rank's groups are one
 * leaf. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "learner/internal.h"

int row_response(const struct batch *b, int n, int *from)
{
    int first = b->prompt_len[n] > 1 ? b->prompt_len[n] : 1;

    *from = b->start[n] + first;
    return b->start[n + 1];
}

double row_sum(const float *x, int from, int end)
{
    double sum = 0;

    for (int t = from; t < end; t++)
        sum += (double)x[t];
    return sum;
}

void row_fill(float *x, int from, int end, double value)
{
    for (int t = from; t < end; t++)
        x[t] = (float)value;
}

int micro_check(const struct batch *b, int max_row_tokens)
{
    if (b->N != b->groups * b->k)
        return rl_error(RL_EBUG, "step %lld: %d rows in %d groups of %d", (long long)b->step, b->N,
                        b->groups, b->k);
    for (int n = 0; n < b->N; n++) {
        int length = b->start[n + 1] - b->start[n];
        if (length < 1 || length > max_row_tokens || b->prompt_len[n] < 0 ||
            b->prompt_len[n] > length)
            return rl_error(RL_EBUG, "step %lld: row %d has %d tokens, %d of them prompt; there is "
                            "room for %d", (long long)b->step, b->group * b->k + n, length,
                            b->prompt_len[n], max_row_tokens);
    }
    return RL_OK;
}

int gradients_count(struct learner *ln, const struct batch *b)
{
    ln->counted[0] = ln->counted[1] = 0;
    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        if (ln->place[n] < 0)
            continue;
        ln->counted[0] += end > from ? end - from : 0;
        ln->counted[1] += end - b->start[n];
    }
    return comm_sum_int64(ln->team, ln->counted, 2, PHASE_COUNT);
}

void micro_layout(struct micro *micro, struct memory *memory, unsigned outputs, int scores)
{
    size_t rows = (size_t)micro->max_rows, tokens = (size_t)micro->max_tokens;
    size_t entropies = outputs & OUT_ENTROPY ? tokens : 0;
    size_t values = outputs & OUT_SCORE ? tokens * (size_t)scores : 0;

    micro->row = memory_take(memory, rows * sizeof(int));
    micro->start = memory_take(memory, (rows + 1) * sizeof(int));
    micro->tokens = memory_take(memory, tokens * sizeof(int));
    micro->logp = memory_take(memory, tokens * sizeof(float));
    micro->dlogp = memory_take(memory, tokens * sizeof(float));
    micro->entropy = memory_take(memory, entropies * sizeof(float));
    micro->dentropy = memory_take(memory, entropies * sizeof(float));
    micro->score = memory_take(memory, values * sizeof(float));
    micro->dscore = memory_take(memory, values * sizeof(float));
    micro->S = memory_take(memory, rows * sizeof(double));
    micro->R = memory_take(memory, rows * sizeof(double));
    micro->slope = memory_take(memory, rows * sizeof(double));
}

void micro_clear(struct micro *micro)
{
    micro->N = micro->T = micro->groups = 0;
    micro->start[0] = 0;
}

void micro_add(struct micro *micro, const struct batch *b, int n)
{
    int length = b->start[n + 1] - b->start[n];

    memcpy(micro->tokens + micro->T, b->tokens + b->start[n], (size_t)length * sizeof(int));
    micro->T += length;
    micro->row[micro->N++] = n;
    micro->start[micro->N] = micro->T;
}

int micro_pack(struct learner *ln, const struct batch *b, int group, int end, int rows)
{
    struct micro *micro = &ln->micro;

    micro_clear(micro);
    micro->group = group;
    for (; group < end; group++) {
        int used = 0;
        for (int n = group * b->k; n < (group + 1) * b->k; n++)
            used += ln->place[n] >= 0;
        if (micro->N > 0 && micro->N + used > rows)
            break;
        for (int n = group * b->k; n < (group + 1) * b->k; n++)
            if (ln->place[n] >= 0) {
                ln->place[n] = micro->N;
                micro_add(micro, b, n);
            }
        micro->groups++;
    }
    return group;
}

/* The outputs or their gradients, those that `trainee` has and the method wants. */
static struct model_outputs outputs_of(const struct learner *ln, const struct trainee *trainee,
                                       float *logp, float *entropy, float *score)
{
    bool policy = trainee == &ln->policy, scored = ln->critic.model ? !policy : policy;

    return (struct model_outputs){
        .logp = policy && ln->outputs & OUT_LOGP ? logp : NULL,
        .entropy = policy && ln->outputs & OUT_ENTROPY ? entropy : NULL,
        .score = scored && ln->outputs & OUT_SCORE ? score : NULL,
    };
}

static int forward_one(struct learner *ln, struct trainee *t, bool keep)
{
    struct micro *m = &ln->micro;
    struct model_outputs out = outputs_of(ln, t, m->logp, m->entropy, m->score);

    return model_run(t->trainer, m->tokens, m->start, m->N, ln->temperature, keep, &out);
}

static int backward_one(struct learner *ln, struct trainee *t, float *grads)
{
    struct micro *m = &ln->micro;
    struct model_outputs d = outputs_of(ln, t, m->dlogp, m->dentropy, m->dscore);

    return model_run_backward(t->trainer, &d, grads);
}

int micro_forward(struct learner *ln, bool keep)
{
    int rc = RL_OK;

    TRY(forward_one(ln, &ln->policy, keep));
    if (ln->critic.model)
        TRY(forward_one(ln, &ln->critic, keep));
done:
    return rc;
}

static void clear_gradients(struct learner *ln)
{
    struct micro *m = &ln->micro;
    size_t T = (size_t)m->T;

    memset(m->dlogp, 0, T * sizeof(float));
    if (ln->outputs & OUT_ENTROPY)
        memset(m->dentropy, 0, T * sizeof(float));
    if (ln->outputs & OUT_SCORE)
        memset(m->dscore, 0, T * (size_t)ln->scores * sizeof(float));
}

int micro_backward(struct learner *ln, const struct batch *b, float *grads)
{
    int rc = RL_OK;

    clear_gradients(ln);
    TRY(ln->method->loss(ln, b));
    TRY(backward_one(ln, &ln->policy, grads));
done:
    return rc;
}

/* A leaf under way: its buffers, NULL before its first row. */
struct slots { float *policy, *critic; };

static int slots_take(struct learner *ln, int leaf, struct slots *slots)
{
    if (!slots->policy)
        slots->policy = tree_slot(ln->policy.tree, leaf);
    if (ln->critic.model && !slots->critic)
        slots->critic = tree_slot(ln->critic.tree, leaf);
    if (!slots->policy || (ln->critic.model && !slots->critic))
        return rl_error(RL_EBUG, "leaf %d of the gradients has no buffer", leaf);
    return RL_OK;
}

/* Forward -> loss -> gradients of the packed rows, added to the slots. */
static int pass(struct learner *ln, const struct batch *b, const struct slots *slots)
{
    double t = clock_now();
    int rc = RL_OK;

    TRY(micro_forward(ln, !ln->parameters_only));
    clear_gradients(ln);
    ln->leaf_grads = slots->policy;
    TRY(ln->method->loss(ln, b));
    ln->seconds[SECONDS_FORWARD] += clock_now() - t;
    t = clock_now();
    if (!ln->parameters_only)
        TRY(backward_one(ln, &ln->policy, slots->policy));
    if (ln->critic.model)
        TRY(backward_one(ln, &ln->critic, slots->critic));
    ln->seconds[SECONDS_BACKWARD] += clock_now() - t;
done:
    return rc;
}

static int leaf_close(struct learner *ln, int leaf, const struct slots *slots)
{
    int rc = RL_OK;

    if (slots->policy)
        TRY(model_backward_finish(ln->policy.trainer, slots->policy));
    if (slots->critic)
        TRY(model_backward_finish(ln->critic.trainer, slots->critic));
    tree_push(ln->policy.tree, leaf);
    if (ln->critic.model)
        tree_push(ln->critic.tree, leaf);
done:
    return rc;
}

void leaf_groups(const struct learner *ln, const struct batch *b, int leaf, int *first, int *end)
{
    if (ln->fast) {
        *first = 0;
        *end = leaf == tree_first(ln->policy.tree) ? b->groups : 0;
    } else {
        *first = (int)((int64_t)leaf * b->P / ln->leaves) - b->group;
        *end = (int)((int64_t)(leaf + 1) * b->P / ln->leaves) - b->group;
    }
}

int micro_rows(const struct learner *ln)
{
    int64_t rows = ln->config->micro_rows;

    return rows < ln->micro.max_rows ? (int)rows : ln->micro.max_rows;
}

static int text_of_leaf(struct learner *ln, int leaf, struct slots *slots)
{
    int first, end, rc = RL_OK;

    if (ln->text.rows == 0)
        return RL_OK;
    leaf_groups(ln, ln->text.b, leaf, &first, &end);
    if (!ptx_is_in(ln, first, end))
        return RL_OK;
    TRY(slots_take(ln, leaf, slots));
    TRY(ptx_add(ln, first, end, slots->policy));
done:
    return rc;
}

int gradients_add(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    for (int leaf = tree_first(ln->policy.tree); leaf < tree_end(ln->policy.tree); leaf++) {
        struct slots slots = { NULL, NULL };    /* a leaf without rows counts as zeros */
        int group, end;
        leaf_groups(ln, b, leaf, &group, &end);
        while (group < end) {
            group = micro_pack(ln, b, group, end, micro_rows(ln));
            if (ln->micro.N == 0)
                continue;           /* no row of these groups is marked */
            TRY(slots_take(ln, leaf, &slots));
            TRY(pass(ln, b, &slots));
        }
        TRY(text_of_leaf(ln, leaf, &slots));
        TRY(leaf_close(ln, leaf, &slots));
    }
done:
    return rc;
}

int gradients_look(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    for (int group = 0; group < b->groups;) {
        group = micro_pack(ln, b, group, b->groups, micro_rows(ln));
        if (ln->micro.N == 0)
            continue;
        ln->looked = true;
        TRY(micro_forward(ln, false));
        TRY(ln->method->look(ln, b));
    }
done:
    return rc;
}
