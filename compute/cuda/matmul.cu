/* Matrix products with the processor's bits: all three are C(M,N) = A(M,K) B(K,N), a chain over K
 * for each output (compute.h), with other strides.  A block of threads has a tile of C, and goes
 * along the chain in steps of DEEP that it brings to shared memory:
 *
 *        DEEP                    TN columns of TM rows are a thread's, in registers
 *   BM  [ a ]  x  [ b ] DEEP     -> sums[TM][TN]
 *                  BN
 *
 * In bf16 operands are rounded where they are brought, and the chain goes by pairs, the odd step
 * first (compute/bf16.h); a step that a pair lacks is +0. */
#include <stdlib.h>

#include "compute/cuda/launch.h"
#include "compute/cuda/sizes.h"

#define DEEP 16                      /* even: pairs stay together */

/* Rows and steps of a factor; stored as bf16 where STORED says so. */
struct factor {
    const void *data;
    size_t row_stride, step_stride;  /* elements; one of them is 1 */
    const int *places;               /* of the steps, -1: a zero; NULL: step i is at i */
    int rows;
};

struct product {
    struct factor a, b;
    float *c;
    int steps;
    bool add;                        /* the chain goes on from what C holds */
};

template <bool pairs, bool bf16>
static __device__ __forceinline__ float bring(const struct factor &f, int row, int step, int steps)
{
    int at = step < steps && f.places ? f.places[step] : step;

    if (row >= f.rows || step >= steps || at < 0)
        return 0.0f;
    float x = stored<bf16>(f.data, (size_t)row * f.row_stride + (size_t)at * f.step_stride);

    return pairs && !bf16 ? bf16_round(x) : x;
}

/* tile[step][row]: neighbouring threads read neighbouring numbers. */
template <bool pairs, bool bf16, int ROWS, int WIDE>
static __device__ __forceinline__ void bring_tile(float (*tile)[WIDE], const struct factor &f,
                                                  int row, int step, int steps)
{
    for (int i = (int)threadIdx.x; i < ROWS * DEEP; i += BLOCK) {
        int r = f.step_stride == 1 ? i / DEEP : i % ROWS;
        int s = f.step_stride == 1 ? i % DEEP : i / ROWS;

        tile[s][r] = bring<pairs, bf16>(f, row + r, step + s, steps);
    }
}

static __device__ __noinline__ float fma_beside(float a, float b, float c)
{
    return bf16_fma(a, b, c);
}

/* a b + c under flush to zero: next to 2^-126 as compute/bf16.h has it. */
static __device__ __forceinline__ float fma_flushed(float a, float b, float c)
{
    float r = fmaf(a, b, fabsf(c) < 0x1p-126f ? copysignf(0.0f, c) : c);

    return fabsf(r) <= 0x1p-126f ? fma_beside(a, b, c) : r;
}

template <bool pairs, int TM, int TN>
static __device__ __forceinline__ void step(float (&sum)[TM][TN], const float *a, const float *b)
{
    UNROLL for (int m = 0; m < TM; m++)
        UNROLL for (int n = 0; n < TN; n++)
            sum[m][n] = pairs ? fma_flushed(a[m], b[n], sum[m][n]) : fmaf(a[m], b[n], sum[m][n]);
}

template <int n> static __device__ __forceinline__ void copy_floats(float *to, const float *from)
{
    UNROLL for (int i = 0; i + 4 <= n; i += 4)
        *(float4 *)(to + i) = *(const float4 *)(from + i);
    UNROLL for (int i = n / 4 * 4; i < n; i++)
        to[i] = from[i];
}

template <bool pairs, bool a16, bool b16, int BM, int BN, int TM, int TN>
static __global__ void __launch_bounds__(BLOCK) multiply(struct product p)
{
    __shared__ __align__(16) float a[DEEP][BM + 4], b[DEEP][BN + 4];
    unsigned wide = (unsigned)((p.b.rows + BN - 1) / BN);
    int row = (int)(blockIdx.x / wide) * BM, column = (int)(blockIdx.x % wide) * BN;
    int m0 = (int)threadIdx.x / (BN / TN) * TM, n0 = (int)threadIdx.x % (BN / TN) * TN;
    __align__(16) float x[TM], y[TN];
    float sum[TM][TN];

    UNROLL for (int m = 0; m < TM; m++)
        UNROLL for (int n = 0; n < TN; n++) {
            bool in = row + m0 + m < p.a.rows && column + n0 + n < p.b.rows;
            size_t at = (size_t)(row + m0 + m) * (size_t)p.b.rows + (size_t)(column + n0 + n);

            sum[m][n] = in && p.add ? p.c[at] : 0.0f;
        }
    for (int first = 0; first < p.steps; first += DEEP) {
        int deep = p.steps - first < DEEP ? p.steps - first : DEEP;

        bring_tile<pairs, a16, BM>(a, p.a, row, first, p.steps);
        bring_tile<pairs, b16, BN>(b, p.b, column, first, p.steps);
        __syncthreads();
        for (int i = 0; i < deep; i++) {
            int s = pairs ? i ^ 1 : i;           /* the odd one of a pair first */

            copy_floats<TM>(x, &a[s][m0]);
            copy_floats<TN>(y, &b[s][n0]);
            step<pairs>(sum, x, y);
            if (pairs && i == deep - 1 && deep % 2) {
                copy_floats<TM>(x, &a[i][m0]);   /* its pair's odd one was a zero */
                copy_floats<TN>(y, &b[i][n0]);
                step<pairs>(sum, x, y);
            }
        }
        __syncthreads();
    }
    UNROLL for (int m = 0; m < TM; m++)
        UNROLL for (int n = 0; n < TN; n++)
            if (row + m0 + m < p.a.rows && column + n0 + n < p.b.rows)
                p.c[(size_t)(row + m0 + m) * (size_t)p.b.rows + (size_t)(column + n0 + n)] =
                    sum[m][n];
}

template <bool pairs, bool a16, bool b16, int BM, int BN, int TM, int TN>
static void run_tiles(struct compute *k, const char *what, const struct product &p)
{
    size_t tiles = (size_t)((p.a.rows + BM - 1) / BM) * (size_t)((p.b.rows + BN - 1) / BN);

    launch(k, what, multiply<pairs, a16, b16, BM, BN, TM, TN>, tiles, BLOCK, p);
}

/* Low tiles where there are few rows, large ones where they fill the device. */
template <bool pairs, bool a16, bool b16>
static void run_product(struct compute *k, const char *what, const struct product &p)
{
    size_t size = (size_t)p.a.rows * (size_t)p.b.rows;

    if (p.a.rows <= 0 || p.b.rows <= 0)
        return;
    if (p.a.rows <= 8)
        run_tiles<pairs, a16, b16, 8, 64, 1, 2>(k, what, p);
    else if (size < (size_t)1 << 20)
        run_tiles<pairs, a16, b16, 64, 64, 4, 4>(k, what, p);
    else
        run_tiles<pairs, a16, b16, 128, 128, 8, 8>(k, what, p);
}

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    (void)k, (void)packed, (void)w, (void)N, (void)K;
}

static void matmul_forward(struct compute *k, float *y, const void *x, const float *w,
                           const float *packed, int M, int N, int K)
{
    size_t wide = (size_t)K;
    struct product p = { { x, wide, 1, NULL, M }, { w, wide, 1, NULL, N }, y, K, false };

    (void)packed;
    if (k->dtype == COMPUTE_BF16)
        run_product<true, true, false>(k, "matmul_forward", p);
    else
        run_product<false, false, false>(k, "matmul_forward", p);
}

static void matmul_backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                                  const float *packed, int M, int N, int K)
{
    struct product p = { { dy, (size_t)N, 1, NULL, M }, { w, 1, (size_t)K, NULL, K }, dx, N, true };

    (void)packed;
    if (k->dtype == COMPUTE_BF16)
        run_product<true, false, false>(k, "matmul_backward_input", p);
    else
        run_product<false, false, false>(k, "matmul_backward_input", p);
}

/* Places of the steps, pairs by slot: room for two a token; returns how many. */
static int places_of(int *places, const int *slot, int M)
{
    int n = 0;

    for (int m = 0; m < M; n += 2) {
        bool odd = slot[m] % 2 != 0;

        places[n] = odd ? -1 : m++;
        places[n + 1] = odd || (m < M && slot[m] == slot[m - 1] + 1) ? m++ : -1;
    }
    return n;
}

static void matmul_backward_weight(struct compute *k, float *dw, const float *dy, const void *x,
                                   const int *slot, int M, int N, int K, bool add)
{
    struct product p = { { dy, 1, (size_t)N, NULL, N }, { x, 1, (size_t)K, NULL, K }, dw, M, add };

    if (k->dtype == COMPUTE_BF16 && slot && M > 0) {
        int *places = (int *)malloc(2 * (size_t)M * sizeof *places);

        if (!places) {
            cuda_check(k, cudaErrorMemoryAllocation, "places of the tokens");
            return;
        }
        p.steps = places_of(places, slot, M);
        p.a.places = p.b.places =
            (const int *)cuda_stage(k, places, (size_t)p.steps * sizeof *places);
        free(places);
    }
    if (k->dtype == COMPUTE_BF16)
        run_product<true, false, true>(k, "matmul_backward_weight", p);
    else
        run_product<false, false, false>(k, "matmul_backward_weight", p);
}

extern "C" void cuda_fill_matmul(struct compute *k)
{
    k->packed_size = cuda_packed_size;
    k->pack = pack;
    k->matmul_forward = matmul_forward;
    k->matmul_backward_input = matmul_backward_input;
    k->matmul_backward_weight = matmul_backward_weight;
}
