/* Leaves inside a rank: a binary counter of partial sums.
 *
 *   pushed   0    1         2         3            4 ...
 *   alive    0    01        01 2      01 23 = 0123 0123 4        (01: the sum of leaves 0 and 1)
 *
 * A rank owns a run of leaves.  What cannot be added inside the run (its maximal aligned nodes) is
 * left for comm/tree_sum.c.
 */
#include "comm/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "comm/tree_plan.h"

#define STAGING ((size_t)4 << 20)         /* floats to receive into, times two */
#define PIECE_MOST ((size_t)1 << 18)      /* floats: 1 MiB a message is long enough for MPI */
#define FOLD_BLOCK ((size_t)1 << 12)      /* floats; those of some levels fit into the L2 */
#define PIECE_LEAST ((size_t)1 << 12)

void leaf_share(int leaves, int ranks, int rank, int *first, int *end)
{
    *first = (int)((int64_t)rank * leaves / ranks);
    *end = (int)(((int64_t)rank + 1) * leaves / ranks);
}

void tree_slice(size_t n, int ranks, int rank, size_t *begin, size_t *end)
{
    size_t chunks = n / HASH_CHUNK + (n % HASH_CHUNK != 0);
    size_t each = chunks / (size_t)ranks, rest = chunks % (size_t)ranks, r = (size_t)rank;
    size_t first = r * each + (r < rest ? r : rest);
    size_t last = first + each + (r < rest);

    *begin = first * HASH_CHUNK < n ? first * HASH_CHUNK : n;
    *end = last * HASH_CHUNK < n ? last * HASH_CHUNK : n;
}

static void add(struct compute *gpu, float *restrict x, const float *restrict y, size_t n)
{
    if (gpu) {
        gpu->add(gpu, x, y, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static bool are_pair(const struct tree_node *left, const struct tree_node *right)
{
    return left->level == right->level && left->index % 2 == 0 && right->index == left->index + 1;
}

/* x + 0, which is x, unless it is -0: as if the zeros were there.  A GPU's are, see tree_push. */
static void add_zeros(struct compute *gpu, float *x, size_t n)
{
    for (size_t i = 0; !gpu && i < n; i++)
        x[i] += 0.0f;
}

/* Floats [i, i + n) of left + right; where the sum is: in left, or in right if left is zeros. */
static float *join(struct compute *gpu, float *left, float *right, size_t i, size_t n)
{
    if (left && right)
        add(gpu, left + i, right + i, n);
    else if (left || right)
        add_zeros(gpu, (left ? left : right) + i, n);
    return left ? left : right;
}

/* node[at - 1] + node[at], for at = last, last - 1, ... first + 1; a block of all of them at once,
 * so that each sum is in the cache when it is added to the next; a GPU has room for all of it.
 * Returns where the sum is. */
static float *join_all(struct compute *gpu, const struct tree_node *node, int first, int last,
                       size_t m)
{
    size_t block = gpu ? m : FOLD_BLOCK;
    float *sum = NULL;

    for (size_t i = 0; i < m; i += block) {
        sum = node[last].data;
        for (int at = last; at > first; at--)
            sum = join(gpu, node[at - 1].data, sum, i, m - i < block ? m - i : block);
    }
    return sum;
}

void tree_fold(struct compute *gpu, struct tree_run *run, struct tree_node node, size_t m,
               float **gone, int *n_gone)
{
    struct tree_node *all = run->node;
    int first, last = run->n;
    float *sum;

    all[run->n++] = node;
    while (run->n > 1 && are_pair(&all[run->n - 2], &all[run->n - 1])) {
        all[--run->n - 1].level++;
        all[run->n - 1].index /= 2;
    }
    first = run->n - 1;
    sum = join_all(gpu, all, first, last, m);
    for (int at = first; at <= last && gone; at++)
        if (all[at].data && all[at].data != sum)
            gone[(*n_gone)++] = all[at].data;
    all[first].data = sum;
}

/* The nodes a run of leaves leaves behind; returns how many were alive at once on the way. */
static int run_nodes(int first, int end, struct tree_run *run)
{
    int most = 0;

    run->n = 0;
    for (int leaf = first; leaf < end; leaf++) {
        if (run->n + 1 > most)
            most = run->n + 1;
        tree_fold(NULL, run, (struct tree_node){ 0, leaf, NULL }, 0, NULL, NULL);
    }
    return most;
}

/* List the nodes of all ranks; sources may be NULL to count. */
static int list_sources(const struct tree *t, struct tree_source *sources)
{
    struct tree_run run;
    int n = 0, first, end;

    for (int r = 0; r < t->ranks; r++) {
        leaf_share(t->leaves, t->ranks, r, &first, &end);
        run_nodes(first, end, &run);
        for (int i = 0; i < run.n; i++, n++)
            if (sources)
                sources[n] = (struct tree_source){ r, run.node[i].level, run.node[i].index, i };
    }
    return n;
}

/* Floats of one message: what the room to receive allows, and no more than a slice has. */
static size_t find_piece(const struct tree *t)
{
    size_t begin, end, piece = STAGING / (size_t)(t->n_sources > 0 ? t->n_sources : 1);
    bool gpus = t->team && t->team->gpus;

    tree_slice(t->n, t->ranks, 0, &begin, &end);        /* the first is the longest */
    if (piece > PIECE_MOST && !gpus)
        piece = PIECE_MOST;
    if (piece < PIECE_LEAST)
        piece = PIECE_LEAST;
    return piece < end - begin ? piece : end - begin;
}

static void shape(struct tree *t, size_t n, int leaves, int ranks, int rank)
{
    struct tree_run run;

    t->n = n;
    t->leaves = leaves;
    t->ranks = ranks;
    t->rank = rank;
    leaf_share(leaves, ranks, rank, &t->first, &t->end);
    t->n_buffers = run_nodes(t->first, t->end, &run);
    t->n_sources = list_sources(t, NULL);
    t->piece = find_piece(t);
}

static void layout(struct tree *t, struct memory *m)
{
    size_t staging = t->ranks > 1 ? (size_t)t->n_sources * t->piece * sizeof(float) : 0;

    for (int i = 0; i < t->n_buffers; i++)
        t->buffers[i] = memory_take(m, t->n * sizeof(float));
    t->staging[0] = memory_take(m, staging);
    t->staging[1] = memory_take(m, staging);
    t->sources = memory_take(m, (size_t)t->n_sources * sizeof *t->sources);
}

size_t tree_bytes(size_t n, int leaves, int ranks, int rank)
{
    struct tree t = { 0 };

    shape(&t, n, leaves, ranks, rank);
    memory_count(&t.memory);
    layout(&t, &t.memory);
    return t.memory.peak;
}

static int check(size_t n, int leaves, int ranks)
{
    if (leaves < 1 || (leaves & (leaves - 1)) != 0)
        return rl_error(RL_EINVAL, "reduction_leaves is %d: it must be a power of two", leaves);
    if (ranks > leaves)
        return rl_error(RL_EINVAL, "%d learner ranks, but reduction_leaves is %d: use %d learner "
                        "ranks at most or raise reduction_leaves", ranks, leaves, leaves);
    if (n > SIZE_MAX / sizeof(float) - HASH_CHUNK)
        return rl_error(RL_ENOFIT, "a gradient of %zu floats does not fit into memory", n);
    return RL_OK;
}

int tree_create(struct tree **tree, struct comm *team, size_t n, int leaves)
{
    struct tree *t = NULL;
    int rc = RL_OK;

    *tree = NULL;
    TRY(check(n, leaves, comm_size(team)));
    t = calloc(1, sizeof *t);
    if (!t)
        return rl_error(RL_ENOFIT, "cannot allocate a reduction tree");
    t->team = team;
    shape(t, n, leaves, comm_size(team), comm_rank(team));
    memory_count(&t->memory);
    layout(t, &t->memory);
    TRY(memory_open(&t->memory));
    layout(t, &t->memory);
    list_sources(t, t->sources);
    for (int i = 0; i < 2; i++)
        TRY(requests_init(&t->requests[i], team->name, t->n_sources + t->n_buffers * t->ranks));
    tree_clear(t);
    *tree = t;
done:
    if (rc != RL_OK)
        tree_destroy(t);
    return rc;
}

void tree_destroy(struct tree *t)
{
    if (!t)
        return;
    requests_free(&t->requests[0]);
    requests_free(&t->requests[1]);
    memory_close(&t->memory);
    free(t);
}

void tree_narrow(struct tree *t, size_t n)
{
    t->n = n;
    t->piece = find_piece(t);           /* no longer than before: no slice is */
}

void tree_any_order(struct tree *t)
{
    t->any_order = true;
}

int tree_first(const struct tree *t)
{
    return t->first;
}

int tree_end(const struct tree *t)
{
    return t->end;
}

void tree_clear(struct tree *t)
{
    memcpy(t->spare, t->buffers, sizeof t->spare);
    memset(t->slot, 0, sizeof t->slot);
    t->n_spare = t->n_buffers;
    t->run.n = 0;
    t->next = t->first;
    t->broken = false;
}

int tree_ahead(const struct tree *t)
{
    int n = t->n_spare;

    for (int i = 0; i < TREE_DEPTH; i++)
        n += t->slot[i] != NULL;
    return n < t->end - t->next ? n : t->end - t->next;
}

float *tree_slot_raw(struct tree *t, int leaf)
{
    int i = leaf - t->next;

    if (i < 0 || i >= TREE_DEPTH || leaf >= t->end || (!t->slot[i] && t->n_spare == 0)) {
        t->broken = true;
        return NULL;
    }
    if (!t->slot[i])
        t->slot[i] = t->spare[--t->n_spare];
    return t->slot[i];
}

void tree_zero(struct compute *gpu, float *x, size_t n)
{
    if (gpu) {
        gpu->zero(gpu, x, n * sizeof *x);
        compute_wait(gpu);                /* the processor may write there */
    } else {
        memset(x, 0, n * sizeof *x);
    }
}

float *tree_slot(struct tree *t, int leaf)
{
    int spare = t->n_spare;
    float *slot = tree_slot_raw(t, leaf);

    if (t->n_spare < spare)
        tree_zero(t->team->gpu, slot, t->n);
    return slot;
}

void tree_push(struct tree *t, int leaf)
{
    struct compute *gpu = t->team->gpu;

    if (leaf != t->next || leaf >= t->end) {
        t->broken = true;
        return;
    }
    if (gpu && !t->any_order)
        tree_slot(t, leaf);
    tree_fold(gpu, &t->run, (struct tree_node){ 0, leaf, t->slot[0] }, t->n, t->spare,
              &t->n_spare);
    if (gpu)
        compute_wait(gpu);                /* buffers are handed out again */
    memmove(t->slot, t->slot + 1, sizeof t->slot - sizeof *t->slot);
    t->slot[TREE_DEPTH - 1] = NULL;
    t->next++;
}
