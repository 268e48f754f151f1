/* The kernels timed in turns with the machine's own ceilings, for `rankwise bench kernels`. */
#ifndef COMPUTE_BENCH_H
#define COMPUTE_BENCH_H

#include "compute/compute.h"

/* Print one JSON object a line to stdout: {"bench":"peak",...}, every kernel with its rate and its
 * share of the ceiling measured beside it, medians with their spread, and last what products have
 * in the middle and at worst.  Takes some ten seconds and 400 MB. */
int compute_bench(struct compute *k);

#endif
