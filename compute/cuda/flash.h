/* Flash attention by the tensor cores, in bf16: what its kernels share.  A block of threads has
 * some rows of its own, of which it keeps sums in registers, and meets the other side's rows a tile
 * at a time; both lie in shared memory as bf16, the other side's twice, one tile on its way (STAGES
 * is 2), or once (1), where a card has no room for that:
 *
 *                     own rows          the other side      products
 *   forward           queries           keys, values        s = q k, o += p v
 *   backward, dq      queries, do       keys, values        s, dp = do v, dq += ds k
 *   backward, dkey    keys, values      queries, do         s, dp, dvalue += p do, dkey += ds q
 *
 * Queries of a key/value head's group are rows of one list, token by token, the group's heads in
 * order: row f is head f mod group of token f / group.  So a key that is brought serves them all.
 *
 * A warp has 16 rows (M times) and all of a tile's columns, as mma (tensor.h) hands them out: lane
 * l has rows l / 4 and l / 4 + 8, columns 2 (l mod 4) and the next of every eight.  Where rows are
 * few or channels many, PARTS warps share the same rows: each makes the dots with its part of the
 * tile's columns, shows them to the others, and then sums its part of the channels.  An element
 * goes through the same steps in the same order in all of these shapes.
 */
#ifndef COMPUTE_CUDA_FLASH_H
#define COMPUTE_CUDA_FLASH_H

#include <vector>

#include "compute/cuda/tensor.h"

#define WARPS 4
#define FLASH_THREADS (32 * WARPS)
#define FLASH_KEYS (2 * KEY_BLOCK)   /* in a block of the softmax */
#define D_MOST 256
#ifdef __CUDACC__
#define UNROLL_TWO _Pragma("unroll 2")       /* more would take registers that sums need */
#else
#define UNROLL_TWO
#endif
#define LOG2E 0x1.715476p+0f

static __device__ __forceinline__ int lane(void)
{
    return (int)threadIdx.x % 32;
}

/* Itself, though the compiler cannot know: what follows from it is found again for each tile, and
 * takes no registers between. */
static __device__ __forceinline__ int fresh(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}

/* 2^x, x <= 0: 1 of 0, +0 of -inf, NaN of NaN; what is below 2^-126 is +0. */
static __device__ __forceinline__ float exp2_fast(float x)
{
    float y;

#ifdef __CUDACC__
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
#else
    y = (float)rw_exp((double)x * 0x1.62e42fefa39efp-1);
    y = y < 0x1p-126f ? 0.0f : y;
#endif
    return y;
}

/* ---- tiles: rows of D channels (with zeros up to there), eight of them, 16 bytes, a chunk */

template <int D> static constexpr size_t tile_bytes(int rows)
{
    return (size_t)rows * D * sizeof(uint16_t);
}

/* Where a row begins in its tile.  Its chunks are permuted, by eights or fours, so that one chunk
 * of eight neighbouring rows meets all banks. */
template <int D> static __device__ __forceinline__ int row_at(int row)
{
    return row * (D * 2) + (D % 64 == 0 ? row & 7 : row / 2 & 3) * 16;
}

/* `chunk` chunks after one of the row that is at `at`: the sum of both is their bits together. */
template <int D> static __device__ __forceinline__ int chunk_after(int at, int chunk)
{
    constexpr int most = D % 64 == 0 ? 7 : 3;

    return (at ^ (chunk & most) * 16) + (chunk & ~most) * 16;
}

template <int D> static __device__ __forceinline__ char *chunk_at(char *tile, int row, int chunk)
{
    return tile + chunk_after<D>(row_at<D>(row), chunk);
}

/* Rows in memory: `data` is row 0. */
struct strided {
    const uint16_t *data;
    size_t stride;

    __device__ __forceinline__ const uint16_t *at(int row) const
    {
        return data + (size_t)row * stride;
    }
};

/* to = ROWS rows from `first` on, zeros from row `end` and from `channels` on.  wide: every row is
 * at a multiple of 16 bytes and `channels` one of 8; then it is there after copy_wait. */
template <int D, int ROWS, typename SOURCE>
static __device__ __forceinline__ void bring(char *to, const SOURCE &from, int first, int end,
                                             int channels, bool wide)
{
    UNROLL_TWO for (int i = fresh((int)threadIdx.x); i < ROWS * (D / 8); i += FLASH_THREADS) {
        int row = i / (D / 8), chunk = i % (D / 8), real = first + row < end;
        const uint16_t *x = from.at(real ? first + row : first) + chunk * 8;
        char *place = chunk_at<D>(to, row, chunk);

        if (wide)
            copy_async(place, x, real && chunk * 8 < channels);
        else
            for (int e = 0; e < 8; e++)
                ((uint16_t *)place)[e] = real && chunk * 8 + e < channels ? x[e] : (uint16_t)0;
    }
}

static inline bool is_wide(const void *x, const void *y, int D)
{
    return D % 8 == 0 && ((uintptr_t)x | (uintptr_t)y) % 16 == 0;
}

/* ---- products */

/* s[m][j] = 16 rows of `own` from `row` + 16 m on, times 8 rows of `other` from `column` + 8 j on:
 * mma after mma over the channels. */
template <int D, int M, int J>
static __device__ __forceinline__ void dots(float (&s)[M][J][4], char *own, int row, char *other,
                                            int column)
{
    int l = fresh(lane()) & 31;
    int at = chunk_after<D>(row_at<D>(row + l % 16), l / 16);
    int with = chunk_after<D>(row_at<D>(column + l / 16 * 8 + l % 8), l / 8 % 2);

    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int j = 0; j < J; j++)
            UNROLL for (int i = 0; i < 4; i++)
                s[m][j][i] = 0.0f;
    UNROLL for (int d = 0; d < D / 16; d++) {
        uint32_t a[M][4], b[4];

        UNROLL for (int m = 0; m < M; m++)
            ldmatrix(a[m], own + 16 * m * 2 * D + chunk_after<D>(at, 2 * d));
        UNROLL for (int j = 0; j < J; j += 2) {
            ldmatrix(b, other + 8 * j * 2 * D + chunk_after<D>(with, 2 * d));
            UNROLL for (int m = 0; m < M; m++)
                mma(s[m][j], a[m], { b[0], b[1] });
            UNROLL for (int m = 0; m < M; m++)
                mma(s[m][j + 1], a[m], { b[2], b[3] });
        }
    }
}

/* PARTS warps that have the same rows show each other the columns that they have made; `board` is
 * one tile's of the block.  True to its place after __syncthreads. */
template <int J, int PARTS>
static __device__ __forceinline__ float4 *shown(char *board, int j)
{
    int rows = (int)threadIdx.x / 32 / PARTS;

    return (float4 *)board + (rows * J + j) * 32 + lane();
}

template <int J, int PARTS>
static __device__ __forceinline__ void show(char *board, const float (&mine)[1][J / PARTS][4],
                                            int part)
{
    UNROLL for (int j = 0; j < J / PARTS; j++)
        *shown<J, PARTS>(board, part * (J / PARTS) + j) =
            make_float4(mine[0][j][0], mine[0][j][1], mine[0][j][2], mine[0][j][3]);
}

template <int J, int PARTS>
static __device__ __forceinline__ void see(float (&s)[1][J][4], char *board)
{
    UNROLL for (int j = 0; j < J; j++) {
        float4 x = *shown<J, PARTS>(board, j);

        s[0][j][0] = x.x;
        s[0][j][1] = x.y;
        s[0][j][2] = x.z;
        s[0][j][3] = x.w;
    }
}

/* Sums as factors, rounded: 16 rows by 16 columns are an a of mma. */
template <int M, int J>
static __device__ __forceinline__ void factors(uint32_t (&a)[M][J / 2][4],
                                               const float (&s)[M][J][4])
{
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int j = 0; j < J; j++)
            UNROLL for (int i = 0; i < 2; i++)
                a[m][j / 2][j % 2 * 2 + i] = pack_bf16(s[m][j][2 * i], s[m][j][2 * i + 1]);
}

/* sums[m][c] += p[m] times the rows of `other`, 8 channels from 8 (first + c) on: mma after mma
 * over the rows. */
template <int D, int M, int J, int C>
static __device__ __forceinline__ void add_rows(float (&sums)[M][C][4],
                                                const uint32_t (&p)[M][J / 2][4], char *other,
                                                int first)
{
    int at = row_at<D>(fresh(lane()) & 31);

    UNROLL for (int j = 0; j < J / 4; j++)
        UNROLL for (int c = 0; c < C; c++) {
            uint32_t b[4];

            if (M == 1 && c % 4 == 0)
                __syncwarp();        /* loads far ahead take registers that there are not */
            ldmatrix_transposed(b, other + 32 * j * 2 * D + chunk_after<D>(at, first + c));
            UNROLL for (int m = 0; m < M; m++)
                mma(sums[m][c], p[m][2 * j], { b[0], b[1] });
            UNROLL for (int m = 0; m < M; m++)
                mma(sums[m][c], p[m][2 * j + 1], { b[2], b[3] });
        }
}

/* ---- tiles of a batch */

/* Own rows `first` .. first + count of row n, whose first token is `token`: rows of the list of its
 * queries, or keys.  `before` of its tokens are in the cache, `length` are there with the new. */
struct flash_tile { int n, token, before, length, first, count; };

/* Tiles of `size` of `count` rows: appended, the last one first, since it meets most keys. */
static inline void cut_tiles(std::vector<struct flash_tile> &tiles, struct flash_tile row,
                             int count, int size)
{
    for (int first = (count - 1) / size * size; first >= 0 && count > 0; first -= size) {
        row.first = first;
        row.count = count - first < size ? count - first : size;
        tiles.push_back(row);
    }
}

static inline const struct flash_tile *stage(struct compute *k,
                                             const std::vector<struct flash_tile> &tiles)
{
    return (const struct flash_tile *)cuda_stage(k, tiles.data(), tiles.size() * sizeof tiles[0]);
}

/* Has this card so much shared memory for a block? */
static inline bool has_room(struct compute *k, size_t bytes)
{
    return bytes <= (size_t)cuda_of(k)->shared;
}

/* Head sizes that the kernels have registers for. */
static inline bool head_fits(struct compute *k, int D)
{
    if (D > D_MOST)
        cuda_check(k, cudaErrorInvalidValue, "attention: heads of more than 256 channels");
    return D <= D_MOST;
}

#endif
