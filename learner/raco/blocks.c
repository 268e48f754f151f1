/* raco.mode = "two_pass" and "sketch": H without K stored gradients.
 *
 * The gradient of L_i is the sum over rows of dL_i/dS times the gradient of the row's
 * log-probability, so one backward pass over activations, with 1 on every response token, serves
 * all objectives.
 * Block by block from the head down, and part by part of a block (model_parts),
 *
 *   two_pass   the K gradients of the part are summed over leaves and ranks, multiplied with each
 *              other into H, and forgotten
 *   sketch     the K gradients of the part in each leaf go into K CountSketches of the leaf; those
 *              are summed in the end
 *
 * and a second, ordinary pass takes sum_i a_i dL_i/dS.  All rows of a learner are in one pass,
 * whatever micro_rows says (recompute = true keeps the layers' inputs only): a block's gradients
 * are complete before the next block begins. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/raco/raco.h"

int blocks_rows(const struct learner *ln)
{
    int first, end, most;

    leaf_share(ln->leaves, ln->ranks, ln->rank, &first, &end);
    most = (int)(((int64_t)ln->P * (end - first) + ln->leaves - 1) / ln->leaves);
    return (ln->fast ? ln->P : most) * ln->used_rows;
}

static size_t largest_part(const struct learner *ln)
{
    size_t most = 0, from, count;

    for (int block = 0; block < model_blocks(&ln->shape); block++)
        for (int part = 0; part < model_parts(&ln->shape, block); part++) {
            model_part_range(&ln->shape, block, part, &from, &count);
            most = count > most && gram_in_scope(ln, block) ? count : most;
        }
    return most;
}

static int leaves_held(const struct learner *ln)
{
    int first, end;

    leaf_share(ln->leaves, ln->ranks, ln->rank, &first, &end);
    return end - first;
}

static size_t tree_floats(const struct learner *ln)
{
    const struct raco *r = ln->state;

    return r->mode == MODE_SKETCH ? (size_t)(1 + r->K) * r->buckets : largest_part(ln);
}

void blocks_layout_raco(struct learner *ln, struct memory *memory)
{
    struct raco *r = ln->state;
    size_t rows = (size_t)blocks_rows(ln), block = largest_part(ln) * sizeof(float);
    size_t sketches = (size_t)(1 + r->K) * r->buckets;

    r->slope = memory_take(memory, (size_t)r->K * rows * sizeof *r->slope);
    r->scale = memory_take(memory, (size_t)(1 + r->K) * rows * sizeof *r->scale);
    r->common = memory_take(memory, block);
    for (int i = 0; i < r->K && r->mode == MODE_TWO_PASS; i++)
        r->g[i] = memory_take(memory, block);
    if (r->mode == MODE_SKETCH) {
        r->sketch = memory_take(memory, (size_t)leaves_held(ln) * sketches * sizeof *r->sketch);
        r->sketch_sum = memory_take(memory, sketches * sizeof *r->sketch_sum);
    }
}

int blocks_open(struct learner *ln)
{
    struct raco *r = ln->state;

    return tree_create(&r->block_tree, ln->team, tree_floats(ln), ln->leaves);
}

size_t blocks_bytes(const struct learner *ln, const struct learner_size *size)
{
    return tree_bytes(tree_floats(ln), ln->leaves, size->ranks, size->rank);
}

/* ---- one pass over activations for all objectives */

/* Row n's factor in each of the 1 + K gradients: the common groups' is that of objective 0. */
static void set_scales(struct learner *ln, const struct batch *b)
{
    const struct raco *r = ln->state;
    const struct micro *micro = &ln->micro;
    int N = micro->N;

    for (int n = 0; n < N; n++) {
        bool common = r->kind[micro->row[n] / b->k] == KIND_COMMON;

        r->scale[n] = common ? (float)r->slope[n] : 0;
        for (int i = 0; i < r->K; i++)
            r->scale[(1 + i) * N + n] = common ? 0 : (float)r->slope[i * N + n];
    }
}

/* Forward pass over all rows held here; the backward pass is at the head. */
static int begin(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    struct micro *micro = &ln->micro;
    struct model_outputs ones = { .logp = micro->dlogp };
    int rc = RL_OK;

    r->compare = true;
    raco_mark(ln, b, KIND_ANY);
    if (micro_pack(ln, b, 0, b->groups, b->groups) != b->groups)
        return rl_error(RL_EBUG, "%d groups of the step have no room in one pass", b->groups);
    if (micro->N == 0)
        return RL_OK;
    TRY(micro_forward(ln, true));
    TRY(raco_slopes(ln, b, r->slope));
    set_scales(ln, b);
    memset(micro->dlogp, 0, (size_t)micro->T * sizeof(float));
    for (int i = 0; i < micro->N; i++) {
        int from, end = row_response(b, micro->row[i], &from);
        int shift = micro->start[i] - b->start[micro->row[i]];

        row_fill(micro->dlogp, from + shift, end + shift, 1);
    }
    TRY(model_backward_begin(ln->policy.trainer, &ones));
done:
    return rc;
}

/* Rows of the pass that belong to a leaf, as [*first, *end). */
static void leaf_rows(const struct learner *ln, const struct batch *b, int leaf, int *first,
                      int *end)
{
    const struct micro *micro = &ln->micro;
    int group, group_end;

    leaf_groups(ln, b, leaf, &group, &group_end);
    *first = 0;
    while (*first < micro->N && micro->row[*first] < group * b->k)
        ++*first;
    *end = *first;
    while (*end < micro->N && micro->row[*end] < group_end * b->k)
        ++*end;
}

static bool any_scale(const float *scale, int first, int end)
{
    for (int n = first; n < end; n++)
        if (scale[n] != 0)
            return true;
    return false;
}

/* ---- two_pass */

/* Gradient j (0: of the common groups, 1 + i: of objective i's own) of a part, leaf by leaf. */
static int push_leaves(struct learner *ln, const struct batch *b, int block, int part, int j)
{
    struct raco *r = ln->state;
    const float *scale = r->scale + (size_t)j * (size_t)ln->micro.N;
    int rc = RL_OK;

    for (int leaf = tree_first(r->block_tree); leaf < tree_end(r->block_tree); leaf++) {
        int first, end;

        leaf_rows(ln, b, leaf, &first, &end);
        if (any_scale(scale, first, end)) {
            float *slot = tree_slot(r->block_tree, leaf);

            if (!slot)
                return rl_error(RL_EBUG, "leaf %d of a part has no buffer", leaf);
            TRY(model_backward_part(ln->policy.trainer, block, part, first, end, scale, slot));
        }
        tree_push(r->block_tree, leaf);
    }
done:
    return rc;
}

static int sum_part(struct learner *ln, const struct batch *b, int block, int part, int j,
                    float *out)
{
    struct raco *r = ln->state;
    struct trace t = trace_begin("backward");
    int rc = RL_OK;

    tree_clear(r->block_tree);
    TRY(comm_agree(ln->team, push_leaves(ln, b, block, part, j)));
    ln->seconds[SECONDS_BACKWARD] += trace_end(t, TRACE_NOTHING, 0);
    t = trace_begin("reduce");
    TRY(comm_tree_sum(r->block_tree, out));
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

static int multiply_part(struct learner *ln, const struct batch *b, int block, int part)
{
    struct raco *r = ln->state;
    size_t from, count;
    int rc = RL_OK;

    model_part_range(&ln->shape, block, part, &from, &count);
    tree_narrow(r->block_tree, count);
    if (r->kinds & KIND_COMMON)
        TRY(sum_part(ln, b, block, part, 0, r->common));
    for (int i = 0; i < r->K; i++) {
        if (r->kinds & KIND_OWN)
            TRY(sum_part(ln, b, block, part, 1 + i, r->g[i]));
        else
            memset(r->g[i], 0, count * sizeof(float));
        if (r->kinds & KIND_COMMON)
            add_common(r, i, r->g[i], r->common, count);
    }
    gram_make(ln, (const float *const *)r->g, from, from + count);
done:
    return rc;
}

/* ---- sketch */

static double *leaf_sketch(const struct learner *ln, int leaf, int j)
{
    const struct raco *r = ln->state;
    size_t held = (size_t)(leaf - tree_first(r->block_tree));

    return r->sketch + (held * (size_t)(1 + r->K) + (size_t)j) * r->buckets;
}

/* Not collective. */
static int sketch_part(struct learner *ln, const struct batch *b, int block, int part)
{
    struct raco *r = ln->state;
    size_t from, count;
    int rc = RL_OK;

    model_part_range(&ln->shape, block, part, &from, &count);
    for (int leaf = tree_first(r->block_tree); leaf < tree_end(r->block_tree); leaf++) {
        int first, end;

        leaf_rows(ln, b, leaf, &first, &end);
        for (int j = 0; j <= r->K; j++) {
            const float *scale = r->scale + (size_t)j * (size_t)ln->micro.N;

            if (!any_scale(scale, first, end))
                continue;
            memset(r->common, 0, count * sizeof(float));
            TRY(model_backward_part(ln->policy.trainer, block, part, first, end, scale,
                                    r->common));
            sketch_add(leaf_sketch(ln, leaf, j), r->buckets, (uint64_t)ln->config->seed, from,
                       r->common, count);
        }
    }
done:
    return rc;
}

/* The leaves' sketches through the tree, then H of g_i = own_i + (B_0 / B_i) common. */
static int sum_sketches(struct learner *ln)
{
    struct raco *r = ln->state;
    size_t m = r->buckets, all = (size_t)(1 + r->K) * m;
    int rc = RL_OK;

    tree_clear(r->block_tree);
    for (int leaf = tree_first(r->block_tree); leaf < tree_end(r->block_tree); leaf++) {
        float *slot = tree_slot(r->block_tree, leaf);

        for (size_t x = 0; x < all; x++)
            slot[x] = (float)leaf_sketch(ln, leaf, 0)[x];
        tree_push(r->block_tree, leaf);
    }
    TRY(comm_tree_sum(r->block_tree, r->sketch_sum));
    for (int i = 0; i < r->K; i++)
        for (size_t x = 0; x < m; x++)
            r->sketch[(size_t)i * m + x] = (double)r->sketch_sum[(size_t)(1 + i) * m + x] +
                                           common_factor(r, i) * (double)r->sketch_sum[x];
    sketch_gram(r->sketch, r->K, m, r->H);
done:
    return rc;
}

/* ---- both */

/* two_pass agrees on every part, and sketch on nothing: it talks to no other rank. */
static int each_part(struct learner *ln, const struct batch *b, int block)
{
    const struct raco *r = ln->state;
    int rc = RL_OK;

    if (!gram_in_scope(ln, block))
        return RL_OK;
    for (int part = 0; part < model_parts(&ln->shape, block); part++) {
        if (r->mode == MODE_TWO_PASS)
            TRY(multiply_part(ln, b, block, part));
        else if (ln->micro.N > 0)
            TRY(sketch_part(ln, b, block, part));
    }
done:
    return rc;
}

static int each_block(struct learner *ln, const struct batch *b)
{
    int deepest = gram_deepest(ln), rc = RL_OK;

    for (int block = 0; block <= deepest; block++) {
        rc = each_part(ln, b, block);
        if (rc == RL_OK && ln->micro.N > 0 && block < deepest)
            rc = model_backward_next(ln->policy.trainer);
        TRY(comm_agree(ln->team, rc));
    }
done:
    return rc;
}

int blocks_gradients(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    struct trace t = trace_begin("forward");
    int rc = RL_OK;

    TRY(comm_agree(ln->team, begin(ln, b)));
    ln->seconds[SECONDS_FORWARD] += trace_end(t, TRACE_NOTHING, 0);
    if (r->mode == MODE_SKETCH)
        memset(r->sketch, 0, (size_t)leaves_held(ln) * (size_t)(1 + r->K) * r->buckets *
               sizeof *r->sketch);
    TRY(each_block(ln, b));
    rc = r->mode == MODE_SKETCH ? sum_sketches(ln) : gram_gather(ln);
done:
    return rc;
}
