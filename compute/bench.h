/* The kernels timed beside the machine's own ceilings, for `rankwise bench kernels`. */
#ifndef COMPUTE_BENCH_H
#define COMPUTE_BENCH_H

#include <stdio.h>

#include "compute/compute.h"

/* Print one JSON object a line to `out`: first {"bench":"peak",...}, then every kernel with its
 * rate and its fraction of that peak.  Takes some ten seconds. */
int compute_bench(struct compute *k, FILE *out);

#endif
