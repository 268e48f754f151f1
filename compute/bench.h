/* The kernels timed in turns with the machine's own ceilings, for `rankwise bench kernels`. */
#ifndef COMPUTE_BENCH_H
#define COMPUTE_BENCH_H

#include "compute/compute.h"

#define BENCH_PRODUCTS 5
#define BENCH_ROWS 4

/* What is timed. */
struct bench_shapes {
    struct { int N, K; } products[BENCH_PRODUCTS];
    int n_products;
    int training[BENCH_ROWS], n_training;       /* M of products of a training pass */
    int decoding[BENCH_ROWS], n_decoding;       /* and of weights that come from memory */
    int attention[BENCH_ROWS], n_attention;     /* tokens of one row */
    int H, G, D;
    int head_rows, V, C;                        /* log-probabilities of so many tokens; V 0: none */
};

/* A Llama of 124 million parameters, in numbers that suit a processor. */
extern const struct bench_shapes bench_small;

/* Print one JSON object a line to stdout: {"bench":"peak",...}, every kernel with its rate and its
 * share of the ceiling measured beside it, medians with their spread, and last what products have
 * in the middle and at worst.  bench_small takes some ten seconds and 400 MB.  RL_ENOFIT. */
int compute_bench(struct compute *k, const struct bench_shapes *shapes);

#endif
