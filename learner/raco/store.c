/* raco.mode = "store": K gradients at once.
 *
 *   common groups   one backward pass into the learner's own tree
 *   own groups      K backward passes of one forward pass, each into a tree of its own
 *   g_i = own_i + (B_0 / B_i) common          after the sums over ranks
 *
 * The reference for the other modes, and the only one that needs no pass over all rows of a learner
 * at once. */
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/raco/raco.h"

int store_open(struct learner *ln)
{
    struct raco *r = ln->state;
    int rc = RL_OK;

    for (int i = 0; i < r->K; i++)
        TRY(tree_create(&r->own[i], ln->team, model_size(&ln->shape), ln->leaves));
done:
    return rc;
}

double common_factor(const struct raco *r, int i)
{
    return r->B[i] > 0 ? r->B[0] / r->B[i] : 0;
}

void add_common(const struct raco *r, int i, float *own, const float *common, size_t n)
{
    float factor = (float)common_factor(r, i);

    for (size_t j = 0; j < n; j++)
        own[j] += factor * common[j];
}

static void only(struct raco *r, int i)
{
    memset(r->coef, 0, sizeof r->coef);
    r->coef[i] = 1;
    r->compare = i == 0;
}

static int forward(struct learner *ln)
{
    struct trace t = trace_begin("forward");
    int rc = ln->micro.N > 0 ? micro_forward(ln, true) : RL_OK;

    ln->seconds[SECONDS_FORWARD] += trace_end(t, TRACE_NOTHING, 0);
    return rc;
}

/* Where the gradient of objective i of a leaf goes; without trees of their own: to g_i itself. */
static float *slot_of(struct raco *r, int i, int leaf)
{
    return r->own[i] ? tree_slot(r->own[i], leaf) : r->g[i];
}

int leaf_objective(struct learner *ln, const struct batch *b, int leaf, int i, bool *held)
{
    struct raco *r = ln->state;
    float *slot = NULL;
    int first, end, rc = RL_OK;
    struct trace t;

    only(r, i);
    leaf_groups(ln, b, leaf, &first, &end);
    for (int group = first, next; group < end; group = next) {
        next = end;
        if (!*held) {
            next = micro_pack(ln, b, group, end, end);
            *held = group == first && next == end;
            TRY(forward(ln));
        }
        if (ln->micro.N == 0)
            continue;                   /* no row of these groups is marked */
        slot = slot_of(r, i, leaf);
        if (!slot)
            return rl_error(RL_EBUG, "leaf %d of objective %d has no buffer", leaf, i);
        t = trace_begin("backward");
        TRY(micro_backward(ln, b, slot));
        ln->seconds[SECONDS_BACKWARD] += trace_end(t, TRACE_NOTHING, 0);
    }
    if (slot)
        TRY(model_backward_finish(ln->policy.trainer, slot));
done:
    return rc;
}

static int own_leaves(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    int rc = RL_OK;

    for (int i = 0; i < r->K; i++)
        tree_clear(r->own[i]);          /* an update before may not have come to its end */
    for (int leaf = tree_first(r->own[0]); leaf < tree_end(r->own[0]); leaf++) {
        bool held = false;

        for (int i = 0; i < r->K; i++) {
            TRY(leaf_objective(ln, b, leaf, i, &held));
            tree_push(r->own[i], leaf);
        }
    }
done:
    return rc;
}

static int common_gradient(struct learner *ln, const struct batch *b)
{
    struct trace t;
    int rc = RL_OK;

    only(ln->state, 0);
    raco_mark(ln, b, KIND_COMMON);
    TRY(comm_agree(ln->team, gradients_add(ln, b)));
    t = trace_begin("reduce");
    TRY(comm_tree_sum(ln->policy.tree, ln->policy.grads));
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

static int own_gradients(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    struct trace t;
    int rc = RL_OK;

    raco_mark(ln, b, KIND_OWN);
    TRY(comm_agree(ln->team, own_leaves(ln, b)));
    t = trace_begin("reduce");
    for (int i = 0; i < r->K; i++)
        TRY(comm_tree_sum(r->own[i], r->g[i]));
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

int store_gradients(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    size_t n = model_size(&ln->shape);
    int rc = RL_OK;

    if (r->kinds & KIND_COMMON)
        TRY(common_gradient(ln, b));
    if (r->kinds & KIND_OWN)
        TRY(own_gradients(ln, b));
    for (int i = 0; i < r->K; i++) {
        if (!(r->kinds & KIND_OWN))
            memset(r->g[i], 0, n * sizeof(float));
        if (r->kinds & KIND_COMMON)
            add_common(r, i, r->g[i], ln->policy.grads, n);
    }
    gram_make(ln, (const float *const *)r->g, 0, n);
    rc = gram_gather(ln);
done:
    return rc;
}

void store_combine(const struct learner *ln, const double *a, float *out)
{
    const struct raco *r = ln->state;
    size_t n = model_size(&ln->shape);

    for (size_t j = 0; j < n; j++) {
        double sum = 0;

        for (int i = 0; i < r->K; i++)
            sum += a[i] * (double)r->g[i][j];
        out[j] = (float)sum;
    }
}
