/* MPI's own sum of floats, for `rankwise bench comm` to time beside comm_tree_sum.  Its order, and
 * so its bits, depend on ranks and library: nothing but that bench calls it. */
#ifndef COMM_BENCH_H
#define COMM_BENCH_H

#include "comm/comm.h"

/* x (n) becomes the sum over the ranks.  Collective; no deadline. */
int comm_bench_allreduce(struct comm *g, float *x, size_t n);

#endif
