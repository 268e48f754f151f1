/* The reduction tree: leaves of gradients summed in one fixed binary tree, the same bits for any
 * number of ranks up to the leaves (docs/numerics.md).
 *
 *   node (level, i) = node (level-1, 2i) + node (level-1, 2i+1), node (0, i) = leaf i
 *
 *   TRY(tree_create(&tree, team, n, leaves));
 *   for (int leaf = tree_first(tree); leaf < tree_end(tree); leaf++) {
 *       float *slot = tree_slot(tree, leaf);      zeroed: gradients of the leaf are added here
 *       ...
 *       tree_push(tree, leaf);                    a binary counter folds finished nodes
 *   }
 *   TRY(comm_tree_sum(tree, grads));              Collective: the whole sum, on every rank
 *
 * The buffers are memory_open's, since operations add to slots; they lie on a GPU while a leaf
 * is made, and come to the processor, which sums and sends them, page by page as it reads.  Room to
 * receive into is of the same block: its pages go nowhere, as no operation is given them.
 *
 * A leaf without rows is pushed all the same, as zeros, and is added like any other: x + 0 has not
 * always the bits of x (x = -0), so leaving it out on some ranks only would show.
 */
#ifndef COMM_TREE_H
#define COMM_TREE_H

#include "base/memory.h"
#include "comm/comm.h"

struct tree;

/* n floats, leaves a power of two; team size <= leaves.  At most 1 + log2(leaves) buffers of n
 * floats up to 64 leaves (2 log2(leaves) beyond, when the ranks are no power of two), and 32 MiB to
 * receive into.  Nothing is allocated later.  Not collective; the caller keeps the team. */
int tree_create(struct tree **tree, struct comm *team, size_t n, int leaves);
void tree_destroy(struct tree *tree);
/* From here on n floats, at most as many as it was made for; the same on every rank, between sums.
 * One tree then serves the parts of a buffer, of any sizes, one after another. */
void tree_narrow(struct tree *tree, size_t n);
size_t tree_bytes(size_t n, int leaves, int ranks, int rank);       /* for plan */
int tree_first(const struct tree *tree);
int tree_end(const struct tree *tree);
/* The buffer (n) of the leaf: zeros at the first call, the same buffer until it is pushed.  Leaves
 * come in ascending order; NULL and an error in comm_tree_sum otherwise. */
float *tree_slot(struct tree *tree, int leaf);
/* The same, but its first call leaves anything in it: all of it is to be written.  Leaves ahead of
 * the one that is pushed next may have their slots already, as many in all as tree_ahead says. */
float *tree_slot_raw(struct tree *tree, int leaf);
int tree_ahead(const struct tree *tree);
void tree_push(struct tree *tree, int leaf);      /* a leaf without a slot counts as zeros */
/* Sums may take any order from here on: those of a GPU, and NCCL's, leave out what is zero. */
void tree_any_order(struct tree *tree);
void tree_clear(struct tree *tree);               /* forget what was pushed, after a failed step */
/* Collective.  grads (n) gets the sum; the tree is empty again.  RL_EBUG: leaves are missing. */
int comm_tree_sum(struct tree *tree, float *grads);

/* The leaves [first, end) of rank r of n ranks: r * leaves / n. */
void leaf_share(int leaves, int ranks, int rank, int *first, int *end);

#endif
