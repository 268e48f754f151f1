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
#define PIECE_MOST ((size_t)1 << 18)      /* floats: 1 MiB a message is long enough */
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

static void add(float *restrict x, const float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static bool are_pair(const struct tree_node *left, const struct tree_node *right)
{
    return left->level == right->level && left->index % 2 == 0 && right->index == left->index + 1;
}

/* node[at - 1] += node[at], for at = last, last - 1, ... first; a block of all of them at once, so
 * that each sum is in the cache when it is added to the next. */
static void add_up(const struct tree_node *node, int first, int last, size_t m, bool clear)
{
    for (size_t i = 0; i < m; i += FOLD_BLOCK) {
        size_t n = m - i < FOLD_BLOCK ? m - i : FOLD_BLOCK;
        for (int at = last; at >= first; at--) {
            add(node[at - 1].data + i, node[at].data + i, n);
            if (clear)
                memset(node[at].data + i, 0, n * sizeof(float));
        }
    }
}

void tree_fold(struct tree_run *run, struct tree_node node, size_t m, float **gone, int *n_gone)
{
    int last = run->n;

    run->node[run->n++] = node;
    while (run->n > 1 && are_pair(&run->node[run->n - 2], &run->node[run->n - 1])) {
        struct tree_node *left = &run->node[--run->n - 1];
        if (gone)
            gone[(*n_gone)++] = run->node[run->n].data;
        left->level++;
        left->index /= 2;
    }
    if (m > 0)
        add_up(run->node, run->n, last, m, gone != NULL);
}

/* The nodes a run of leaves leaves behind; returns how many were alive at once on the way. */
static int run_nodes(int first, int end, struct tree_run *run)
{
    int most = 0;

    run->n = 0;
    for (int leaf = first; leaf < end; leaf++) {
        if (run->n + 1 > most)
            most = run->n + 1;
        tree_fold(run, (struct tree_node){ 0, leaf, NULL }, 0, NULL, NULL);
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

    tree_slice(t->n, t->ranks, 0, &begin, &end);        /* the first is the longest */
    if (piece > PIECE_MOST)
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
    memset(t->zero, 0, sizeof t->zero);
    t->piece = find_piece(t);           /* no longer than before: no slice is */
}

int tree_first(const struct tree *t)
{
    return t->first;
}

int tree_end(const struct tree *t)
{
    return t->end;
}

static int buffer_of(const struct tree *t, const float *data)
{
    int i = 0;

    while (t->buffers[i] != data)
        i++;
    return i;
}

void tree_clear(struct tree *t)
{
    for (int i = 0; i < t->run.n; i++)
        t->zero[buffer_of(t, t->run.node[i].data)] = false;
    if (t->slot)
        t->zero[buffer_of(t, t->slot)] = false;
    memcpy(t->spare, t->buffers, sizeof t->spare);
    t->n_spare = t->n_buffers;
    t->run.n = 0;
    t->slot = NULL;
    t->next = t->first;
    t->broken = false;
}

float *tree_slot(struct tree *t, int leaf)
{
    int i;

    if (leaf != t->next || leaf >= t->end) {
        t->broken = true;
        return NULL;
    }
    if (!t->slot) {
        t->slot = t->spare[--t->n_spare];
        i = buffer_of(t, t->slot);
        if (!t->zero[i])
            memset(t->slot, 0, t->n * sizeof(float));
        t->zero[i] = true;              /* when it is spare again: tree_fold clears it */
    }
    return t->slot;
}

void tree_push(struct tree *t, int leaf)
{
    float *slot = tree_slot(t, leaf);

    if (!slot)
        return;
    tree_fold(&t->run, (struct tree_node){ 0, leaf, slot }, t->n, t->spare, &t->n_spare);
    t->slot = NULL;
    t->next++;
}
