/* Sizes that follow from shapes alone: `plan` asks for them without a GPU. */
#ifndef COMPUTE_CUDA_SIZES_H
#define COMPUTE_CUDA_SIZES_H

#include "compute/compute.h"

/* Floats of w(N,K) packed: none, w is read where it lies. */
static inline size_t cuda_packed_size(struct compute *k, int N, int K)
{
    (void)k, (void)N, (void)K;
    return 0;
}

#define CUDA_SUMS ((size_t)4096)     /* inner products that are waited for together */

static inline size_t cuda_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Bytes of cuda_scratch that the operations of a load take, one after the other. */
static inline size_t cuda_scratch_bytes(struct compute *k, const struct compute_load *load)
{
    size_t T = (size_t)load->tokens, heads = T * (size_t)load->heads;
    size_t delta = heads * sizeof(float);                        /* attention_backward */
    size_t slopes = T * 32;                                      /* lse_backward */
    size_t mass = (size_t)load->rows * (size_t)load->vocabulary * sizeof(float);     /* sample */

    (void)k;
    return cuda_larger(cuda_larger(delta, slopes), cuda_larger(mass, CUDA_SUMS * sizeof(double))) +
           256;
}

#endif
