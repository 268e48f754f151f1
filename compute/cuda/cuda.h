/* The operations of compute.h on an NVIDIA GPU: what the chapters of librankwise_cuda.so share.
 *
 *   k->op(...)  -> stage what the host hands over -> kernel on the stream      (returns at once)
 *   compute_sync(k)  -> the stream is empty; the first failure
 *
 * Memory: float arrays and stored activations lie where the device reads them (base/memory.h hands
 * out managed memory while a GPU is open).  Arrays of int, words for random draws, dlogp and
 * dentropy are the host's: cuda_stage copies them when the operation is called.
 *
 * Every kernel follows the definition in compute.h term by term, so that its bits are the
 * processor's: a thread owns an output and walks its chain, a sum over channels has sixteen lanes.
 * Compiled without contraction (-fmad=false), with denormals and exact division.
 */
#ifndef COMPUTE_CUDA_CUDA_H
#define COMPUTE_CUDA_CUDA_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#include "compute/compute.h"
#include "compute/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pinned memory. */
struct cuda_ring { char *at; size_t size, used; };

/* What k->device points to. */
struct cuda {
    const struct device_host *host;
    cudaStream_t stream;
    struct cuda_ring ring[2];        /* what is staged lies in one until the stream has read it */
    int turn;                        /* whose turn it is */
    void *scratch;                   /* managed; kernels on the stream take turns */
    size_t scratch_size;
};

static inline struct cuda *cuda_of(struct compute *k)
{
    return (struct cuda *)k->device;
}

/* The first failure sticks in k->error; `what` was being done. */
void cuda_check(struct compute *k, cudaError_t error, const char *what);
/* A copy of the host's bytes that kernels can read; NULL (and k->error) without memory. */
const void *cuda_stage(struct compute *k, const void *from, size_t bytes);
/* Bytes for the kernels of one operation; NULL (and k->error) without memory. */
void *cuda_scratch(struct compute *k, size_t bytes);

void cuda_fill_flat(struct compute *k);          /* a chapter each */
void cuda_fill_rows(struct compute *k);
void cuda_fill_matmul(struct compute *k);
void cuda_fill_attention(struct compute *k);
void cuda_fill_attention_backward(struct compute *k);
void cuda_fill_lse(struct compute *k);
void cuda_fill_sample(struct compute *k);

#ifdef __cplusplus
}
#endif

#endif
