/* RMS norm: compute/ref/norm.c has the formulas.
 *
 * A token's sums over channels are sixteen lanes'.  Of many tokens a block has sixteen threads for
 * each; of few (decoding) a block has one token, all of it at once in shared memory, since it waits
 * for memory and not for arithmetic.  The weight's sums over tokens are chains, one a channel: of
 * 16 channels a block brings tiles of tokens ahead of the threads that walk them.
 *
 *   tokens      |- being walked -|- come -|- come -|- come -|          STAGES tiles in all
 */
#include "compute/cuda/launch.h"
#include "compute/cuda/tensor.h"

#define LANES 16
#define TOKENS (BLOCK / LANES)       /* of a block, where sixteen threads have a token */
#define FEW 1024                     /* tokens, for which blocks of one token fill a GPU better */
#define TILE 64                      /* tokens */
#define STAGES 4
#define CHUNK 4                      /* floats of a copy */
#define ALIGNED 128                  /* bytes that SHARED_MEMORY may begin behind `known` */

static __device__ __forceinline__ float rstd_of(float sum, float eps, int C)
{
    return 1.0f / sqrtf(fold_lanes(sum) / (float)C + eps);
}

/* ---- forward */

template <bool bf16>
static __global__ void norm(void *y, float *rstd, const float *x, const float *w, float eps,
                            int T, int C)
{
    int lane = (int)threadIdx.x % LANES;
    size_t t = (size_t)blockIdx.x * TOKENS + threadIdx.x / LANES, first = t * (size_t)C;
    bool here = t < (size_t)T;
    float sum = 0.0f;

    for (int c = lane; here && c < C; c += LANES)
        sum = fmaf(x[first + c], x[first + c], sum);
    float r = rstd_of(sum, eps, C);

    for (int c = lane; here && c < C; c += LANES)
        put_stored<bf16>(y, first + c, x[first + c] * r * w[c]);
    if (here && lane == 0)
        rstd[t] = r;
}

/* Both halves of the first warp walk the same sixteen lanes. */
template <bool bf16>
static __global__ void __launch_bounds__(BLOCK)
norm_one(void *y, float *rstd, const float *x, const float *w, float eps, int C)
{
    SHARED_MEMORY(shared);
    __shared__ float known;
    float *row = (float *)shared;
    size_t first = (size_t)blockIdx.x * (size_t)C;

    for (int c = (int)threadIdx.x; c < C; c += BLOCK)
        row[c] = x[first + c];
    __syncthreads();
    if (threadIdx.x < 2 * LANES) {
        float sum = 0.0f;

        for (int c = (int)threadIdx.x % LANES; c < C; c += LANES)
            sum = fmaf(row[c], row[c], sum);
        float r = rstd_of(sum, eps, C);

        if (threadIdx.x == 0)
            known = rstd[blockIdx.x] = r;
    }
    __syncthreads();
    float r = known;

    for (int c = (int)threadIdx.x; c < C; c += BLOCK)
        put_stored<bf16>(y, first + c, row[c] * r * w[c]);
}

static void rmsnorm_forward(struct compute *k, void *y, float *rstd, const float *x,
                            const float *w, float eps, int T, int C)
{
    bool bf16 = k->dtype == COMPUTE_BF16;
    size_t row = (size_t)C * sizeof *x;

    if (T <= FEW && row <= SHARED_OF_ALL - ALIGNED)
        launch_shared(k, "rmsnorm_forward", bf16 ? norm_one<true> : norm_one<false>, (size_t)T,
                      BLOCK, row, y, rstd, x, w, eps, C);
    else
        launch(k, "rmsnorm_forward", bf16 ? norm<true> : norm<false>,
               ((size_t)T + TOKENS - 1) / TOKENS, BLOCK, y, rstd, x, w, eps, T, C);
}

/* ---- backward: the input */

static __global__ void norm_input(float *dx, const float *dy, const float *x, const float *w,
                                  const float *rstd, int T, int C)
{
    int lane = (int)threadIdx.x % LANES;
    size_t t = (size_t)blockIdx.x * TOKENS + threadIdx.x / LANES, first = t * (size_t)C;
    bool here = t < (size_t)T;
    float sum = 0.0f, r = here ? rstd[t] : 0.0f;

    for (int c = lane; here && c < C; c += LANES)
        sum = fmaf(dy[first + c] * w[c], x[first + c] * r, sum);
    float mean = fold_lanes(sum) / (float)C;

    for (int c = lane; here && c < C; c += LANES) {
        size_t i = first + (size_t)c;
        float h = x[i] * r, g = dy[i] * w[c];

        dx[i] = fmaf(r, fmaf(-h, mean, g), dx[i]);
    }
}

/* ---- backward: the weight */

static __global__ void norm_weight(float *dw, const float *dy, const float *x, const float *rstd,
                                   int T, int C)
{
    size_t c = element();

    if (c >= (size_t)C)
        return;
    float sum = dw[c];

    for (int t = 0; t < T; t++) {
        size_t i = (size_t)t * (size_t)C + c;

        sum = fmaf(dy[i], x[i] * rstd[t], sum);
    }
    dw[c] = sum;
}

struct tile { float dy[TILE][LANES], x[TILE][LANES], rstd[TILE]; };

/* Tile i of the block's channels, a copy a thread; what does not exist is zero. */
static __device__ __forceinline__ void bring(struct tile *tile, const float *dy, const float *x,
                                             const float *rstd, int i, int T, int C)
{
    int token = (int)threadIdx.x / (LANES / CHUNK), at = (int)threadIdx.x % (LANES / CHUNK) * CHUNK;
    int t = i * TILE + token, c = (int)blockIdx.x * LANES + at;
    bool real = t < T && c < C;
    size_t from = real ? (size_t)t * (size_t)C + (size_t)c : 0;

    copy_async(&tile->dy[token][at], dy + from, real);
    copy_async(&tile->x[token][at], x + from, real);
    if (at == 0)
        tile->rstd[token] = t < T ? rstd[t] : 0.0f;
}

/* C is a multiple of CHUNK, dy and x are aligned to a copy. */
static __global__ void __launch_bounds__(BLOCK)
norm_weight_tiles(float *dw, const float *dy, const float *x, const float *rstd, int T, int C)
{
    __shared__ __align__(16) struct tile tiles[STAGES];
    int c = (int)blockIdx.x * LANES + (int)threadIdx.x, all = (T + TILE - 1) / TILE;
    bool walks = threadIdx.x < LANES && c < C;
    float sum = walks ? dw[c] : 0.0f;

    for (int i = 0; i < STAGES - 1; i++) {
        bring(&tiles[i], dy, x, rstd, i, T, C);
        copy_commit();
    }
    for (int i = 0; i < all; i++) {
        const struct tile *now = &tiles[i % STAGES];
        int n = T - i * TILE < TILE ? T - i * TILE : TILE;

        copy_wait<STAGES - 2>();
        __syncthreads();             /* this tile is there, the one before has been walked */
        bring(&tiles[(i + STAGES - 1) % STAGES], dy, x, rstd, i + STAGES - 1, T, C);
        copy_commit();
        for (int t = 0; walks && t < n; t++)
            sum = fmaf(now->dy[t][threadIdx.x], now->x[t][threadIdx.x] * now->rstd[t], sum);
    }
    copy_wait<0>();
    if (walks)
        dw[c] = sum;
}

static bool can_be_copied(const float *x, int C)
{
    return C % CHUNK == 0 && (uintptr_t)x % (CHUNK * sizeof *x) == 0;
}

static void rmsnorm_backward(struct compute *k, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int T, int C)
{
    if (can_be_copied(dy, C) && can_be_copied(x, C))
        launch(k, "rmsnorm_backward", norm_weight_tiles, ((size_t)C + LANES - 1) / LANES, BLOCK,
               dw, dy, x, rstd, T, C);
    else
        launch(k, "rmsnorm_backward", norm_weight, ((size_t)C + 63) / 64, 64, dw, dy, x, rstd, T,
               C);
    launch(k, "rmsnorm_backward", norm_input, ((size_t)T + TOKENS - 1) / TOKENS, BLOCK, dx, dy, x,
           w, rstd, T, C);
}

extern "C" void cuda_fill_norm(struct compute *k)
{
    k->rmsnorm_forward = rmsnorm_forward;
    k->rmsnorm_backward = rmsnorm_backward;
}
