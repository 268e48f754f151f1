/* Matrix products of bf16 by the tensor cores: factors are laid out as the kernels want them, then
 * cuBLASLt (lt.c) or our own kernel (products_own.cu) multiplies.
 *
 * Weights are packed as they are, in bf16, in lines of a multiple of 8.  What is fp32 (dy), or has
 * lines that cp.async cannot bring (odd widths), goes through scratch memory.  Tokens of dw keep
 * their places in steps of 16 that begin with their row (compute.h, slot), so that neither packing
 * nor the cut into micro-batches changes a bit: holes between them become zeros on the way.
 */
#include <stdlib.h>

#include "compute/cuda/launch.h"
#include "compute/cuda/products.h"
#include "compute/cuda/sizes.h"

#define CHUNK CUDA_CHUNK             /* elements in the 16 bytes that are copied at one time */

/* ---- factors as the kernels want them */

struct __align__(16) chunk { uint32_t pair[CHUNK / 2]; };

/* Line i of to(lines, stride) is line places[i] (-1: zeros; NULL: i) of from(.., width), rounded
 * to bf16, then zeros. */
template <bool bf16>
static __global__ void lay_out(uint16_t *to, const void *from, const int *places, int lines,
                               int width, size_t stride)
{
    size_t i = element(), line = i / (stride / CHUNK), c = i % (stride / CHUNK) * CHUNK;

    if (line >= (size_t)lines)
        return;
    int place = places ? places[line] : (int)line;
    size_t at = (size_t)place * (size_t)width + c;
    bool quick = !bf16 && c + CHUNK <= (size_t)width && (uintptr_t)from % 16 == 0 && at % 4 == 0;
    float x[CHUNK] = {};

    if (place >= 0 && quick) {
        *(float4 *)x = *(const float4 *)((const float *)from + at);
        *(float4 *)(x + 4) = *(const float4 *)((const float *)from + at + 4);
    } else if (place >= 0) {
        UNROLL for (int e = 0; e < CHUNK; e++)
            x[e] = c + (size_t)e < (size_t)width ? stored<bf16>(from, at + (size_t)e) : 0.0f;
    }
    struct chunk y;

    UNROLL for (int e = 0; e < CHUNK / 2; e++)
        y.pair[e] = bf16_pair(x[2 * e], x[2 * e + 1]);
    *(struct chunk *)(to + line * stride + c) = y;
}

template <bool bf16>
static void start_lay_out(struct compute *k, uint16_t *to, const void *from, const int *places,
                          int lines, int width)
{
    size_t stride = cuda_line(width);

    if (lines > 0 && width > 0)
        launch(k, "factors in bf16", lay_out<bf16>, blocks_of((size_t)lines * stride / CHUNK),
               BLOCK, to, from, places, lines, width, stride);
}

/* An array of activations that the kernels can read where it is. */
static bool is_laid_out(const void *x, int width)
{
    return (uintptr_t)x % 16 == 0 && width % CHUNK == 0;
}

/* Elements of scratch memory for that many lines; what follows is aligned, too. */
static size_t room(int lines, int width)
{
    return ((size_t)lines * cuda_line(width) + 127) / 128 * 128;
}

/* Taken from scratch memory, one behind the other. */
static struct product_factor rounded(struct compute *k, uint16_t **scratch, const float *from,
                                     const int *places, int lines, int width)
{
    uint16_t *to = *scratch;

    *scratch += room(lines, width);
    start_lay_out<false>(k, to, from, places, lines, width);
    return { to, cuda_line(width) };
}

static struct product_factor stored_lines(struct compute *k, uint16_t **scratch, const void *from,
                                          const int *places, int lines, int width)
{
    uint16_t *to = *scratch;

    if (!places && is_laid_out(from, width))
        return { (const uint16_t *)from, (size_t)width };
    *scratch += room(lines, width);
    start_lay_out<true>(k, to, from, places, lines, width);
    return { to, cuda_line(width) };
}

/* ---- the operations */

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    start_lay_out<false>(k, (uint16_t *)packed, w, NULL, N, K);
}

/* w as it was packed, or rounded now. */
static struct product_factor weights(struct compute *k, uint16_t **scratch, const float *w,
                                     const float *packed, int N, int K)
{
    if (packed)
        return { (const uint16_t *)packed, cuda_line(K) };
    return rounded(k, scratch, w, NULL, N, K);
}

static uint16_t *scratch_of(struct compute *k, size_t elements)
{
    return (uint16_t *)cuda_scratch(k, (elements + 128) * sizeof(uint16_t));
}

/* All bytes 0, padding too: sequences compare them. */
static struct product no_product(void)
{
    struct product p;

    memset(&p, 0, sizeof p);
    return p;
}

static void multiply_product(struct compute *k, const struct product *p)
{
    if (k->error == 0 && p->rows > 0 && p->columns > 0 && !lt_multiply(k, p))
        products_own(k, p);
}

static void matmul_forward(struct compute *k, float *y, const void *x, const float *w,
                           const float *packed, int M, int N, int K)
{
    bool direct = packed && is_laid_out(x, K);
    uint16_t *scratch = direct ? NULL : scratch_of(k, room(M, K) + (packed ? 0 : room(N, K)));
    struct product p = no_product();

    if (!direct && !scratch)
        return;
    p.kind = PRODUCT_FORWARD;
    p.a = stored_lines(k, &scratch, x, NULL, M, K);
    p.b = weights(k, &scratch, w, packed, N, K);
    p.c = y;
    p.rows = M;
    p.columns = N;
    p.steps = K;
    multiply_product(k, &p);
}

static void matmul_backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                                  const float *packed, int M, int N, int K)
{
    uint16_t *scratch = scratch_of(k, room(M, N) + (packed ? 0 : room(N, K)));
    struct product p = no_product();

    if (!scratch)
        return;
    p.kind = PRODUCT_INPUT;
    p.a = rounded(k, &scratch, dy, NULL, M, N);
    p.b = weights(k, &scratch, w, packed, N, K);
    p.c = dx;
    p.rows = M;
    p.columns = K;
    p.steps = N;
    p.add = true;
    multiply_product(k, &p);
}

/* Where tokens are in steps of 16 by their slots; -1: none is.  Returns how many places there are,
 * M: token i is at i. */
static int places_of(int *places, const int *slot, int M)
{
    bool moved = false;
    int n = 0;

    for (int m = 0; m < M; m++) {
        if (m == 0 || slot[m] / SLOT_STEP != slot[m - 1] / SLOT_STEP)
            for (int end = n + SLOT_STEP; n < end; n++)
                places[n] = -1;
        places[n - SLOT_STEP + slot[m] % SLOT_STEP] = m;
        moved |= n - SLOT_STEP + slot[m] % SLOT_STEP != m;
    }
    return moved ? n : M;
}

static const int *stage_places(struct compute *k, const int *slot, int M, int *steps)
{
    int *places = (int *)malloc(SLOT_STEP * (size_t)M * sizeof *places);
    const int *staged = NULL;

    if (!places) {
        cuda_check(k, cudaErrorMemoryAllocation, "places of the tokens");
        return NULL;
    }
    *steps = places_of(places, slot, M);
    if (*steps != M)
        staged = (const int *)cuda_stage(k, places, (size_t)*steps * sizeof *places);
    free(places);
    return staged;
}

static void matmul_backward_weight(struct compute *k, float *dw, const float *dy, const void *x,
                                   const int *slot, int M, int N, int K, bool add)
{
    int steps = M;
    const int *places = slot && M > 0 && !k->fast ? stage_places(k, slot, M, &steps) : NULL;
    uint16_t *scratch = scratch_of(k, room(steps, N) + room(steps, K));
    struct product p = no_product();

    if (!scratch || k->error != 0)
        return;
    p.kind = PRODUCT_WEIGHT;
    p.a = rounded(k, &scratch, dy, places, steps, N);
    p.b = stored_lines(k, &scratch, x, places, steps, K);
    p.c = dw;
    p.rows = N;
    p.columns = K;
    p.steps = steps;
    p.add = add;
    multiply_product(k, &p);
}

extern "C" void cuda_fill_products(struct compute *k)
{
    k->packed_size = cuda_packed_size;
    k->pack = pack;
    k->matmul_forward = matmul_forward;
    k->matmul_backward_input = matmul_backward_input;
    k->matmul_backward_weight = matmul_backward_weight;
    k->about = lt_about;
}
