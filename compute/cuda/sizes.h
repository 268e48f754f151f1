/* Sizes that follow from shapes alone: `plan` asks for them without a GPU. */
#ifndef COMPUTE_CUDA_SIZES_H
#define COMPUTE_CUDA_SIZES_H

#include <string.h>

#include "compute/compute.h"

/* Floats of w(N,K) packed: none, w is read where it lies. */
static inline size_t cuda_packed_size(struct compute *k, int N, int K)
{
    (void)k, (void)N, (void)K;
    return 0;
}

static inline size_t cuda_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* bf16 by the tensor cores, with bits of their own. */
static inline bool cuda_by_tensors(struct compute *k)
{
    return k->dtype == COMPUTE_BF16 && strcmp(k->name, "cuda-chain") != 0;
}

/* Of attention_backward: delta; by the tensor cores a line, q and do of each query (flash.h). */
static inline size_t cuda_slope_bytes(struct compute *k, size_t queries, int D)
{
    return queries * (cuda_by_tensors(k) ? 16 + 4 * (((size_t)D + 7) / 8 * 8) : sizeof(float));
}

/* Bytes of cuda_scratch that the operations of a load take, one after the other. */
static inline size_t cuda_scratch_bytes(struct compute *k, const struct compute_load *load)
{
    size_t T = (size_t)load->tokens, heads = T * (size_t)load->heads;
    size_t slope = cuda_slope_bytes(k, heads, load->D);          /* attention_backward */
    size_t dz = T * 32;                                          /* lse_backward */
    size_t mass = (size_t)load->rows * (size_t)load->vocabulary * sizeof(float);     /* sample */

    return cuda_larger(cuda_larger(slope, dz), mass) + 256;
}

#endif
