/* Log-sum-exp of one row of logits by one block of threads: compute/ref/lse.c has the rule.
 *
 *   ids     | VOCAB_BLOCK | VOCAB_BLOCK | ...      each is sixteen threads', AT_ONCE at a time:
 *   1.      largest of each                        their maxima, then the running ones
 *   2.      sums of p and p (z - max)              lane by lane, folded
 *   3.      state = state * exp(...) + sums        in order, by one thread
 */
#ifndef COMPUTE_CUDA_LSE_H
#define COMPUTE_CUDA_LSE_H

#include "compute/cuda/launch.h"

#define AT_ONCE (BLOCK / 16)         /* blocks of the vocabulary */

struct lse_room { float max[AT_ONCE + 1], sum[AT_ONCE], weighted[AT_ONCE]; };

static __device__ __forceinline__ float largest_of(const float *z, int n)
{
    float max = -INFINITY;

    for (int i = (int)threadIdx.x % 16; i < n; i += 16)
        max = z[i] > max ? z[i] : max;
    for (int width = 8; width; width /= 2) {
        float other = __shfl_xor_sync(ALL_LANES, max, width);

        max = other > max ? other : max;
    }
    return max;
}

/* This sixteen's sums over z(n), of which there may be none. */
static __device__ __forceinline__ void sums_of(float *sum, float *weighted, const float *z, int n,
                                               float max)
{
    float p_sum = 0.0f, y_sum = 0.0f;

    for (int i = (int)threadIdx.x % 16; i < n; i += 16) {
        float y = z[i] - max, p = rw_expf(y);

        p_sum += p;
        y_sum = fmaf(p, y, y_sum);
    }
    *sum = fold_lanes(p_sum);
    *weighted = fold_lanes(y_sum);
}

/* state goes on over z(n), which begins at an edge of blocks; all threads of the block call it.
 * Only the first thread's state is used. */
static __device__ void row_add(struct lse *state, const float *z, int n)
{
    __shared__ struct lse_room room;
    int mine = (int)threadIdx.x / 16;

    for (int first = 0; first < n; first += AT_ONCE * VOCAB_BLOCK) {
        int at = first + mine * VOCAB_BLOCK, left = n - at;
        int size = left < 0 ? 0 : left < VOCAB_BLOCK ? left : VOCAB_BLOCK;
        int blocks = (n - first + VOCAB_BLOCK - 1) / VOCAB_BLOCK;
        float max = largest_of(z + at, size), sum, weighted;

        if (threadIdx.x % 16 == 0)
            room.max[mine + 1] = max;
        __syncthreads();
        if (threadIdx.x == 0) {
            room.max[0] = state->max;
            for (int b = 0; b < AT_ONCE; b++)
                room.max[b + 1] = (room.max[b + 1] > room.max[b] ? room.max[b + 1]
                                                                 : room.max[b]) + 0.0f;
        }
        __syncthreads();
        sums_of(&sum, &weighted, z + at, size, room.max[mine + 1]);
        if (threadIdx.x % 16 == 0) {
            room.sum[mine] = sum;
            room.weighted[mine] = weighted;
        }
        __syncthreads();
        for (int b = 0; threadIdx.x == 0 && b < blocks && b < AT_ONCE; b++) {
            float gone = state->max - room.max[b + 1], a = rw_expf(gone);
            float before = state->sum > 0 ? fmaf(gone, state->sum, state->weighted) : 0.0f;

            state->max = room.max[b + 1];
            state->sum = fmaf(state->sum, a, room.sum[b]);
            state->weighted = fmaf(before, a, room.weighted[b]);
        }
        __syncthreads();
    }
}

/* p(V) of one row of logits, by all threads of the block. */
static __device__ void softmax_of(float *p, const float *z, float temperature, int V)
{
    __shared__ struct lse all;
    struct lse s = { -INFINITY, 0.0f, 0.0f };

    for (int i = (int)threadIdx.x; i < V; i += BLOCK)
        p[i] = temperature != 1.0f ? z[i] / temperature : z[i];
    __syncthreads();
    row_add(&s, p, V);
    if (threadIdx.x == 0)
        all = s;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < V; i += BLOCK)
        p[i] = rw_expf(p[i] - all.max) / all.sum;
    __syncthreads();
}

#endif
