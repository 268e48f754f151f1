/* raco.solve = "leaf": a solve for every leaf of the batch, as the authors' code has one for every
 * micro-batch of a process.
 *
 *   leaf      g_i of its pairs -> H -> a -> sum_i a_i g_i
 *   step      the tree's sum of those
 *
 * A leaf is whole on one rank and the same for any number of ranks, so no gradient is exchanged
 * before the solve, and the bits do not depend on the placement. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/raco/raco.h"

/* What a leaf's solve found, in doubles; then a (K), p (K), the mixture (K), H (K,K). */
enum { LEAF_USED, LEAF_PATH, LEAF_GUARDED, LEAF_GAP, LEAF_G0, LEAF_UPDATE, LEAF_LEAST, LEAF_TERMS };

static size_t stride_of(const struct raco *r)
{
    return LEAF_TERMS + (size_t)r->K * (size_t)(3 + r->K);
}

void leaves_layout(struct learner *ln, struct memory *memory)
{
    struct raco *r = ln->state;
    size_t bytes = (size_t)ln->leaves * stride_of(r) * sizeof(double);

    r->found = memory_take(memory, bytes);
    r->all_found = memory_take(memory, bytes);
}

static bool has_rows(const struct learner *ln, const struct batch *b, int leaf)
{
    int first, end;

    leaf_groups(ln, b, leaf, &first, &end);
    for (int n = first * b->k; n < end * b->k; n++)
        if (ln->place[n] >= 0)
            return true;
    return false;
}

/* H of the gradients in r->g, all of it made here. */
static void leaf_gram(struct learner *ln, double *H)
{
    struct raco *r = ln->state;

    gram_pieces(ln, (const float *const *)r->g, 0, 0, r->pieces, r->gram);
    gram_sum(r->gram, r->pieces, r->K, H);
}

/* One leaf: found (stride), and its part of the step's gradient into its slot of the tree. */
static int leaf_solve(struct learner *ln, const struct batch *b, int leaf, double *found)
{
    struct raco *r = ln->state;
    struct combine_report report;
    double *a = found + LEAF_TERMS;
    size_t K = (size_t)r->K, n = model_size(&ln->shape);
    float *slot = tree_slot(ln->policy.tree, leaf);
    bool held = false;
    int rc = RL_OK;

    if (!slot)
        return rl_error(RL_EBUG, "leaf %d of the gradients has no buffer", leaf);
    for (int i = 0; i < r->K; i++) {
        memset(r->g[i], 0, n * sizeof(float));
        TRY(leaf_objective(ln, b, leaf, i, &held));
    }
    leaf_gram(ln, a + 3 * K);
    combine_solve(r->rule, a + 3 * K, r->w, r->K, &r->set, a, &report);
    memcpy(a + K, report.p, K * sizeof(double));
    memcpy(a + 2 * K, report.mix, K * sizeof(double));
    found[LEAF_USED] = 1;
    found[LEAF_PATH] = report.path;
    found[LEAF_GUARDED] = report.guarded;
    found[LEAF_GAP] = report.gap;
    found[LEAF_G0] = report.g0_norm;
    found[LEAF_UPDATE] = report.update_norm;
    found[LEAF_LEAST] = report.min_decrease;
    store_combine(ln, a, slot);
done:
    return rc;
}

static int solve_leaves(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    double *found = r->found;
    int rc = RL_OK;

    for (int leaf = tree_first(ln->policy.tree); leaf < tree_end(ln->policy.tree); leaf++) {
        memset(found, 0, stride_of(r) * sizeof(double));
        if (has_rows(ln, b, leaf))
            TRY(leaf_solve(ln, b, leaf, found));
        tree_push(ln->policy.tree, leaf);
        found += stride_of(r);
    }
done:
    return rc;
}

/* found (stride) of one leaf into the step's report: means; of the worst, the worst. */
static void add_found(struct raco *r, const double *found, int leaves)
{
    struct combine_report *to = &r->report;
    const double *a = found + LEAF_TERMS;
    double part = 1.0 / leaves;

    to->path = found[LEAF_PATH] > to->path ? (enum combine_path)found[LEAF_PATH] : to->path;
    to->guarded = to->guarded || found[LEAF_GUARDED] > 0;
    to->gap = fmax(to->gap, found[LEAF_GAP]);
    to->min_decrease = fmin(to->min_decrease, found[LEAF_LEAST]);
    to->g0_norm += part * found[LEAF_G0];
    to->update_norm += part * found[LEAF_UPDATE];
    for (int i = 0; i < r->K; i++) {
        r->a[i] += part * a[i];
        to->p[i] += part * a[r->K + i];
        to->mix[i] += part * a[2 * r->K + i];
    }
    for (int i = 0; i < r->K * r->K; i++)
        r->H[i] += part * a[3 * r->K + i];
}

static int gather(struct learner *ln)
{
    struct raco *r = ln->state;
    size_t stride = stride_of(r);
    int used = 0, rc = RL_OK;
    double kept[COMBINE_MAX];

    for (int rank = 0; rank < ln->ranks; rank++) {
        int first, end;

        leaf_share(ln->leaves, ln->ranks, rank, &first, &end);
        r->counts[rank] = (size_t)(end - first) * stride * sizeof(double);
    }
    TRY(comm_allgather(ln->team, r->found, r->all_found, r->counts, PHASE_REDUCE));
    for (int leaf = 0; leaf < ln->leaves; leaf++)
        used += r->all_found[(size_t)leaf * stride + LEAF_USED] > 0;
    memcpy(kept, r->a, sizeof kept);
    memset(r->a, 0, sizeof r->a);
    memset(r->H, 0, sizeof r->H);
    r->report = (struct combine_report){ .min_decrease = INFINITY };
    for (int leaf = 0; leaf < ln->leaves; leaf++)
        if (r->all_found[(size_t)leaf * stride + LEAF_USED] > 0)
            add_found(r, r->all_found + (size_t)leaf * stride, used);
    r->solved = true;
    if (r->report.path == COMBINE_SKIP) {
        memcpy(r->a, kept, sizeof kept);
        ln->total = 0;              /* no step */
    }
done:
    return rc;
}

int leaves_gradient(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    struct trace t;
    int rc = RL_OK;

    r->set.seed = (uint64_t)ln->config->seed;
    r->set.step = (uint32_t)ln->version;
    TRY(comm_agree(ln->team, solve_leaves(ln, b)));
    t = trace_begin("reduce");
    TRY(comm_tree_sum(ln->policy.tree, ln->policy.grads));
    rc = gather(ln);
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}
