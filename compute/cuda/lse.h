/* Log-sum-exp of one row of logits by one block of threads: compute/ref/lse.c has the rule.
 *
 *   ids     | VOCAB_BLOCK | VOCAB_BLOCK | ...      each is sixteen threads', `at_once` at a time:
 *   1.      largest of each                        their maxima, then the running ones
 *   2.      sums of p and p (z - max)              lane by lane, folded
 *   3.      state = state * exp(...) + sums        in order, by one thread; the exp before, by all
 */
#ifndef COMPUTE_CUDA_LSE_H
#define COMPUTE_CUDA_LSE_H

#include "compute/cuda/launch.h"

#define ROW_BLOCK 1024               /* threads at most */
#define AT_ONCE (ROW_BLOCK / 16)     /* blocks of the vocabulary at most */

struct lse_room {
    float max[AT_ONCE + 1], sum[AT_ONCE], weighted[AT_ONCE];
    float gone[AT_ONCE], a[AT_ONCE];         /* the maximum before - the one after, its exp */
};

/* Threads for a row of n. */
static inline unsigned row_threads(int n)
{
    unsigned threads = BLOCK;

    while (threads < ROW_BLOCK && (unsigned)n > threads / 16 * VOCAB_BLOCK)
        threads *= 2;
    return threads;
}

static __device__ __forceinline__ float largest_of(const float *z, int n)
{
    float max = -INFINITY;

    UNROLL_8 for (int i = (int)threadIdx.x % 16; i < n; i += 16)
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

    UNROLL_8 for (int i = (int)threadIdx.x % 16; i < n; i += 16) {
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
    int mine = (int)threadIdx.x / 16, at_once = (int)blockDim.x / 16, b = (int)threadIdx.x;

    for (int first = 0; first < n; first += at_once * VOCAB_BLOCK) {
        int at = first + mine * VOCAB_BLOCK, left = n - at;
        int size = left < 0 ? 0 : left < VOCAB_BLOCK ? left : VOCAB_BLOCK;
        int blocks = (n - first + VOCAB_BLOCK - 1) / VOCAB_BLOCK;
        float max = largest_of(z + at, size), sum, weighted;

        if (threadIdx.x % 16 == 0)
            room.max[mine + 1] = max;
        __syncthreads();
        if (threadIdx.x == 0) {
            room.max[0] = state->max;
            for (int i = 0; i < at_once; i++)
                room.max[i + 1] = (room.max[i + 1] > room.max[i] ? room.max[i + 1]
                                                                 : room.max[i]) + 0.0f;
        }
        __syncthreads();
        if (b < at_once) {
            room.gone[b] = room.max[b] - room.max[b + 1];
            room.a[b] = rw_expf(room.gone[b]);
        }
        sums_of(&sum, &weighted, z + at, size, room.max[mine + 1]);
        if (threadIdx.x % 16 == 0) {
            room.sum[mine] = sum;
            room.weighted[mine] = weighted;
        }
        __syncthreads();
        for (int i = 0; threadIdx.x == 0 && i < blocks && i < at_once; i++) {
            float before =
                state->sum > 0 ? fmaf(room.gone[i], state->sum, state->weighted) : 0.0f;

            state->max = room.max[i + 1];
            state->sum = fmaf(state->sum, room.a[i], room.sum[i]);
            state->weighted = fmaf(before, room.a[i], room.weighted[i]);
        }
        __syncthreads();
    }
}

/* p(V) of one row of logits, by all threads of the block. */
static __device__ void softmax_of(float *p, const float *z, float temperature, int V)
{
    __shared__ struct lse all;
    struct lse s = { -INFINITY, 0.0f, 0.0f };

    UNROLL_8 for (int i = (int)threadIdx.x; i < V; i += (int)blockDim.x)
        p[i] = temperature != 1.0f ? z[i] / temperature : z[i];
    __syncthreads();
    row_add(&s, p, V);
    if (threadIdx.x == 0)
        all = s;
    __syncthreads();
    UNROLL_8 for (int i = (int)threadIdx.x; i < V; i += (int)blockDim.x)
        p[i] = rw_expf(p[i] - all.max) / all.sum;
    __syncthreads();
}

#endif
