/* What comm/tree.c (leaves inside a rank) and comm/tree_sum.c (nodes between ranks) share. */
#ifndef COMM_TREE_PLAN_H
#define COMM_TREE_PLAN_H

#include "comm/group.h"
#include "comm/tree.h"
#include "compute/compute.h"

#define TREE_DEPTH 64        /* live nodes on a rank: 2 log2(leaves) at most; leaves is an int */

/* A finished node: the sum of leaves [index << level, (index + 1) << level). */
struct tree_node {
    int level, index;
    float *data;             /* (n), or part of it while ranks exchange; NULL: zeros */
};

/* A run of nodes in leaf order in which no two can be added yet. */
struct tree_run {
    struct tree_node node[TREE_DEPTH];
    int n;
};

/* A node of some rank, as every rank lists them, in leaf order. */
struct tree_source {
    int rank, level, index;
    int at_rank;             /* which of its rank's nodes */
};

struct tree {
    struct comm *team;
    int ranks, rank;
    size_t n;
    int leaves, first, end;
    struct memory memory;

    int n_buffers;           /* most nodes alive at once */
    float *buffers[TREE_DEPTH];
    float *spare[TREE_DEPTH];
    int n_spare;
    struct tree_run run;     /* finished nodes */
    int next;                /* leaf to be pushed */
    float *slot[TREE_DEPTH]; /* of leaves next, next + 1, ..., NULL before tree_slot */
    bool broken;             /* leaves did not come in order */
    bool any_order;

    struct tree_source *sources;      /* (n_sources) of all ranks */
    int n_sources;
    size_t piece;            /* floats of a node in one message */
    float *staging[2];       /* (n_sources, piece) pieces of other ranks' nodes; one is summed while
                              * the other fills */
    struct requests requests[2];
};

/* The elements [begin, end) of the flat buffer that a rank adds up, whole chunks of HASH_CHUNK. */
void tree_slice(size_t n, int ranks, int rank, size_t *begin, size_t *end);

/* x(n) = 0, done when it returns. */
void tree_zero(struct compute *gpu, float *x, size_t n);

/* Append a node and add up what can be: m floats of each.  Sums land in the left one's data, or in
 * the right one's if the left has none; `gone` (may be NULL) collects the data of the other.  gpu
 * (NULL: the processor) adds them, and has not done so yet when this returns. */
void tree_fold(struct compute *gpu, struct tree_run *run, struct tree_node node, size_t m,
               float **gone, int *n_gone);

#endif
