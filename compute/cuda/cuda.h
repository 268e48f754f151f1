/* The operations of compute.h on an NVIDIA GPU: what the chapters of librankwise_cuda.so share.
 *
 *   k->op(...)  -> stage what the host hands over -> kernel on the stream      (returns at once)
 *   compute_sync(k)  -> the stream is empty; the first failure
 *
 * Memory: float arrays and stored activations lie where the device reads them (base/memory.h hands
 * out managed memory while a GPU is open).  Arrays of int, words for random draws, dlogp and
 * dentropy are the host's: cuda_stage copies them when the operation is called.
 *
 * Every kernel but those of the tensor cores follows the definition in compute.h term by term, so
 * that its bits are the processor's: a thread owns an output and walks its chain, a sum over
 * channels has sixteen lanes.
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

/* What the host hands over: written to pinned memory, copied to the same place of the device's. */
struct cuda_area { char *at, *there; size_t size, used; };
struct cuda_sequence;                /* sequence.cu */

/* What k->device points to. */
struct cuda {
    const struct device_host *host;
    cudaStream_t stream;
    struct cuda_area ring[2];        /* what is staged lies in one until the stream has read it */
    int turn;                        /* whose turn it is */
    struct cuda_sequence *sequence;
    void *scratch;                   /* managed; kernels on the stream take turns */
    size_t scratch_size;
    void *trial;                     /* managed; of lt_choice.c */
    size_t trial_size;
    int processors;                  /* multiprocessors of the GPU */
    int shared;                      /* bytes of shared memory that a block may ask for */
    struct lt *lt;                   /* lt.c's; NULL before the first product that asks */
};

static inline struct cuda *cuda_of(struct compute *k)
{
    return (struct cuda *)k->device;
}

/* The first failure sticks in k->error; `what` was being done. */
void cuda_check(struct compute *k, cudaError_t error, const char *what);
/* Room for bytes, staged so far given up; false (and k->error) without memory. */
bool cuda_area_grow(struct compute *k, struct cuda_area *area, size_t bytes);
void cuda_area_free(struct cuda_area *area);
#define CUDA_ALIGN 256               /* of what is staged */
/* Until the stream is empty; what was put off is begun first. */
void cuda_drain(struct compute *k);

/* ---- sequences of operations, which may be put off (compute_begin, compute_end) */
void cuda_sequence_open(struct compute *k);      /* once */
void cuda_sequence_close(struct compute *k);
/* Launch what was put off, one by one; the sequence is over. */
void cuda_sequence_flush(struct compute *k);
/* cuda_stage in a sequence; NULL outside of one, or (the sequence is over) without room. */
const void *cuda_sequence_stage(struct compute *k, const void *from, size_t bytes);

/* call(stream, with), which puts something on the stream, now or when the sequence is launched, so
 * that `with` is copied: `bytes`, equal for calls that do the same.  (launch.h is for kernels.) */
void cuda_enqueue(struct compute *k, const char *what,
                  cudaError_t (*call)(cudaStream_t stream, const void *with), const void *with,
                  size_t bytes);

/* A copy of the host's bytes that kernels can read; NULL (and k->error) without memory. */
const void *cuda_stage(struct compute *k, const void *from, size_t bytes);
/* Bytes for the kernels of one operation; NULL (and k->error) without memory. */
void *cuda_scratch(struct compute *k, size_t bytes);
void *cuda_trial(struct compute *k, size_t bytes);      /* of products that are only tried */

void cuda_fill_flat(struct compute *k);          /* a chapter each */
void cuda_fill_rows(struct compute *k);
void cuda_fill_norm(struct compute *k);
void cuda_fill_matmul(struct compute *k);
void cuda_fill_products(struct compute *k);      /* after matmul: where cuda_tensor(k) */
void cuda_fill_attention(struct compute *k);
void cuda_fill_attention_backward(struct compute *k);
void cuda_fill_flash(struct compute *k);         /* bf16, by the tensor cores */
void cuda_fill_flash_backward(struct compute *k);
void cuda_fill_lse(struct compute *k);
void cuda_fill_sample(struct compute *k);

#ifdef __cplusplus
}
#endif

#endif
