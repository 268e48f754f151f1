/* What attention's kernels share.  A block of threads has TILE queries of one head of one row, and
 * meets the row's keys TILE at a time; along the head's channels it goes in pieces of PIECE, which
 * it brings to shared memory:
 *
 *   scores    [TILE queries][TILE keys]    a warp has OWN queries, a lane a key
 *   sums      [TILE queries][D]            a warp has OWN queries, a lane some channels
 *
 * Equal to compute/ref/attention.c term by term. */
#ifndef COMPUTE_CUDA_ATTENTION_H
#define COMPUTE_CUDA_ATTENTION_H

#include <limits.h>

#include <vector>

#include "compute/cuda/launch.h"

#define TILE KEY_BLOCK               /* queries, and keys, of a tile */
#define PIECE 64                     /* channels */
#define OWN (TILE * TILE / BLOCK)    /* rows of a tile that are a warp's */
#define WIDE (PIECE / TILE)          /* channels of a piece that are a lane's: lane + TILE e */
#define D_MOST 256

/* Rows of a tile by channels; one column more, so that threads reading down meet all banks. */
using piece_t = float[TILE][PIECE + 1];

/* (T, heads, D), of which one head is read: stored fp32 or bf16. */
struct heads {
    const void *data;
    int heads, D;
};

/* A window that kernels subtract and compare: without one, more than any row has. */
static inline int window_of(struct attention_shape s)
{
    return s.window > 0 && s.window < INT_MAX / 2 ? s.window : INT_MAX / 2;
}

/* to = channels d0 .. of `count` tokens from `token` on, of head `head`; else 0. */
template <bool bf16>
static __device__ __forceinline__ void bring_rows(piece_t to, const struct heads &x, int token,
                                                  int count, int head, int d0)
{
    for (int i = (int)threadIdx.x; i < TILE * PIECE; i += BLOCK) {
        int t = i / PIECE, d = d0 + i % PIECE;
        size_t at = ((size_t)(token + t) * (size_t)x.heads + (size_t)head) * (size_t)x.D;

        to[t][i % PIECE] = t < count && d < x.D ? stored<bf16>(x.data, at + (size_t)d) : 0.0f;
    }
}

/* A warp's own rows of a tile are OWN from first_own() on; the other rows are its lanes'. */
static __device__ __forceinline__ int first_own(void)
{
    return (int)threadIdx.x / TILE * OWN;
}

static __device__ __forceinline__ int lane(void)
{
    return (int)threadIdx.x % TILE;
}

/* dots[i] goes on over channels d0 .. of own row i and the lane's other row. */
static __device__ __forceinline__ void add_dots(float (&dots)[OWN], piece_t own, piece_t other,
                                                int d0, int D)
{
    for (int d = 0; d < PIECE && d0 + d < D; d++)
        UNROLL for (int i = 0; i < OWN; i++)
            dots[i] = fmaf(own[first_own() + i][d], other[lane()][d], dots[i]);
}

/* A tile of a row: `count` tokens from `first` on; row n is tokens row .. end. */
struct tile_at { int n, row, end, first, count; };

/* All tiles of rows start[0 .. N], staged; *count of them. */
static inline const struct tile_at *stage_tiles(struct compute *k, const int *start, int N,
                                                size_t *count)
{
    std::vector<struct tile_at> tiles;

    for (int n = 0; n < N; n++)
        for (int t = start[n]; t < start[n + 1]; t += TILE) {
            int left = start[n + 1] - t;

            tiles.push_back({ n, start[n], start[n + 1], t, left < TILE ? left : TILE });
        }
    *count = tiles.size();
    return (const struct tile_at *)cuda_stage(k, tiles.data(), tiles.size() * sizeof tiles[0]);
}

/* head sizes that the kernels have registers for */
static inline bool head_fits(struct compute *k, int D)
{
    if (D > D_MOST)
        cuda_check(k, cudaErrorInvalidValue, "attention: heads of more than 256 channels");
    return D <= D_MOST;
}

#endif
