/* Gradients: leaf by leaf, micro-batch by micro-batch.
 *
 *   batch   | g0 g1 | g2 g3 | g4 g5 | g6 g7 |      groups; a leaf is a run of whole groups
 *   leaf      [   0   ] [   1   ] ...
 *   micro     [ g0  g1   g2 ] [ g3 ...             whole groups, about equally heavy (micro.c)
 *
 * A micro-batch may have rows of several leaves; each leaf's sums over tokens go to its own buffer.
 * A later micro-batch of a leaf goes on where the earlier stopped, so the cut into micro-batches
 * cannot change a bit.  With reduction = "fast" a rank's groups are one
 * leaf. */
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/internal.h"

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

static bool any(const float *x, size_t i, size_t end)
{
    while (x && i < end && x[i] == 0.0f)
        i++;
    return x && i < end;
}

/* Has an output of these rows a gradient?  A pass without one (pairs of equal rewards) would add
 * zeros.  Leaving it out may leave -0 where +0 would be, which reaches nothing: the optimizer adds
 * it to moments, and they are never -0. */
static bool has_gradient(const struct learner *ln, const struct model_outputs *d, int row,
                         int end)
{
    size_t from = (size_t)ln->micro.start[row], to = (size_t)ln->micro.start[end];
    size_t S = (size_t)ln->scores;

    return any(d->logp, from, to) || any(d->entropy, from, to) ||
           any(d->score, from * S, to * S);
}

static struct model_outputs slopes_of(const struct learner *ln, const struct trainee *t)
{
    const struct micro *m = &ln->micro;

    return outputs_of(ln, t, m->dlogp, m->dentropy, m->dscore);
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
    struct model_outputs d = slopes_of(ln, &ln->policy);
    int rc = RL_OK;

    clear_gradients(ln);
    TRY(ln->method->loss(ln, b));
    if (has_gradient(ln, &d, 0, ln->micro.N))
        TRY(model_run_backward(ln->policy.trainer, &d, grads));
done:
    return rc;
}

/* ---- leaves under way: the one to be pushed next, and those ahead of it in the micro-batch */

struct slot { float *grads; bool fresh; };              /* NULL before rows that have a gradient */
struct open { struct slot policy, critic; };

struct span {
    int leaf;                                           /* the first */
    struct open open[LEAF_ROWS_MOST];
};

static int no_buffer(int leaf)
{
    return rl_error(RL_EBUG, "leaf %d of the gradients has no buffer", leaf);
}

/* The rows of the micro-batch that are of the span's leaf i end here. */
static int leaf_rows_end(const struct learner *ln, const struct batch *b, int leaf)
{
    const struct micro *m = &ln->micro;
    int first, end, i = 0;

    leaf_groups(ln, b, leaf, &first, &end);
    while (i < m->N && m->row[i] / b->k < end)
        i++;
    return i;
}

/* The cut of the micro-batch into leaves, those with a gradient with their buffers; returns how
 * many leaves, 0: none has a gradient. */
static int cut_leaves(struct learner *ln, const struct batch *b, struct trainee *t,
                      const struct model_outputs *d, struct span *s, struct leaf_rows *leaves,
                      int *n)
{
    bool some = false;

    for (int begin = 0, i = *n = 0; begin < ln->micro.N; begin = leaves[i++].end) {
        struct slot *slot = t == &ln->policy ? &s->open[i].policy : &s->open[i].critic;

        leaves[i] = (struct leaf_rows){ .end = leaf_rows_end(ln, b, s->leaf + i) };
        *n = i + 1;
        if (has_gradient(ln, d, begin, leaves[i].end)) {
            some = true;
            if (!slot->grads)
                *slot = (struct slot){ tree_slot_raw(t->tree, s->leaf + i), true };
            if (!slot->grads)
                return no_buffer(s->leaf + i);
        }
        leaves[i].grads = slot->grads;
        leaves[i].fresh = slot->fresh;
        slot->fresh = false;
    }
    *n = some ? *n : 0;
    return RL_OK;
}

static int backward_one(struct learner *ln, const struct batch *b, struct trainee *t,
                        struct span *s)
{
    struct model_outputs d = slopes_of(ln, t);
    struct leaf_rows leaves[LEAF_ROWS_MOST];
    int n, rc = RL_OK;

    TRY(cut_leaves(ln, b, t, &d, s, leaves, &n));
    if (n > 0)
        TRY(model_backward_leaves(t->trainer, &d, leaves, n));
done:
    return rc;
}

/* Where the loss itself adds gradients: to parameters that no forward pass reads. */
static int take_for_loss(struct learner *ln, struct span *s)
{
    struct slot *slot = &s->open[0].policy;

    ln->leaf_grads = NULL;
    if (ln->shape.verdict.kind == VERDICT_SCORES)
        return RL_OK;
    if (!slot->grads)
        slot->grads = tree_slot(ln->policy.tree, s->leaf);
    if (!slot->grads)
        return no_buffer(s->leaf);
    ln->leaf_grads = slot->grads;
    return RL_OK;
}

/* Forward -> loss -> gradients of the packed rows, added to their leaves. */
static int pass(struct learner *ln, const struct batch *b, struct span *s)
{
    struct trace t = trace_begin("forward");
    int rc = RL_OK;

    TRY(micro_forward(ln, !ln->parameters_only));
    clear_gradients(ln);
    TRY(take_for_loss(ln, s));
    TRY(ln->method->loss(ln, b));
    ln->seconds[SECONDS_FORWARD] += trace_end(t, TRACE_TOKENS, ln->micro.T);
    t = trace_begin("backward");
    if (!ln->parameters_only)
        TRY(backward_one(ln, b, &ln->policy, s));
    if (ln->critic.model)
        TRY(backward_one(ln, b, &ln->critic, s));
    ln->seconds[SECONDS_BACKWARD] += trace_end(t, TRACE_TOKENS, ln->micro.T);
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

/* Texts of the pretraining mix come last in a leaf. */
static int text_of_leaf(struct learner *ln, struct span *s)
{
    struct slot *slot = &s->open[0].policy;
    int first, end, rc = RL_OK;

    if (ln->text.rows == 0)
        return RL_OK;
    leaf_groups(ln, ln->text.b, s->leaf, &first, &end);
    if (!ptx_is_in(ln, first, end))
        return RL_OK;
    if (!slot->grads)
        slot->grads = tree_slot(ln->policy.tree, s->leaf);
    if (!slot->grads)
        return no_buffer(s->leaf);
    TRY(ptx_add(ln, first, end, slot->grads));
done:
    return rc;
}

static int leaf_close(struct learner *ln, struct span *s)
{
    const struct open *now = &s->open[0];
    int rc = RL_OK;

    TRY(text_of_leaf(ln, s));
    if (now->policy.grads)
        TRY(model_backward_finish(ln->policy.trainer, now->policy.grads));
    if (now->critic.grads)
        TRY(model_backward_finish(ln->critic.trainer, now->critic.grads));
    tree_push(ln->policy.tree, s->leaf);
    if (ln->critic.model)
        tree_push(ln->critic.tree, s->leaf);
    s->leaf++;
    memmove(s->open, s->open + 1, sizeof s->open - sizeof *s->open);
    s->open[LEAF_ROWS_MOST - 1] = (struct open){ { NULL, false }, { NULL, false } };
done:
    return rc;
}

/* How many leaves a micro-batch may have rows of: as many as have buffers.  One where gradients of
 * a leaf come from elsewhere too. */
static int leaves_ahead(const struct learner *ln)
{
    int n = tree_ahead(ln->policy.tree);

    if (ln->text.rows > 0 || ln->shape.verdict.kind != VERDICT_SCORES)
        return 1;
    if (ln->critic.model && tree_ahead(ln->critic.tree) < n)
        n = tree_ahead(ln->critic.tree);
    return n < LEAF_ROWS_MOST ? n : LEAF_ROWS_MOST;
}

int gradients_add(struct learner *ln, const struct batch *b)
{
    struct span s = { .leaf = tree_first(ln->policy.tree) };
    int group, last, first, end, ahead, rc = RL_OK;

    leaf_groups(ln, b, s.leaf, &group, &end);
    while (s.leaf < tree_end(ln->policy.tree)) {
        leaf_groups(ln, b, s.leaf, &first, &end);
        if (group >= end) {
            TRY(leaf_close(ln, &s));        /* a leaf without any row counts as zeros */
            continue;
        }
        ahead = ln->fast ? 1 : leaves_ahead(ln);
        leaf_groups(ln, b, s.leaf + ahead - 1, &first, &last);
        group = micro_pack(ln, b, group, last, ahead > 1 ? b->groups : last);
        if (ln->micro.N > 0)                /* else no row of these groups is marked */
            TRY(pass(ln, b, &s));
    }
done:
    return rc;
}

int gradients_look(struct learner *ln, const struct batch *b)
{
    struct trace t;
    int rc = RL_OK;

    for (int group = 0; group < b->groups;) {
        group = micro_pack(ln, b, group, b->groups, b->groups);
        if (ln->micro.N == 0)
            continue;
        ln->looked = true;
        t = trace_begin("forward");
        TRY(micro_forward(ln, false));
        TRY(ln->method->look(ln, b));
        trace_end(t, TRACE_TOKENS, ln->micro.T);
    }
done:
    return rc;
}
