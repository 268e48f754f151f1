/* Sizes that follow from shapes alone: `plan` asks for them without a GPU. */
#ifndef COMPUTE_CUDA_SIZES_H
#define COMPUTE_CUDA_SIZES_H

#include <string.h>

#include "compute/compute.h"

#define CUDA_CHUNK 8                 /* lines of the tensor cores' factors are multiples of that */

/* Bits of the tensor cores (products.cu), not the processor's. */
static inline bool cuda_tensor(const struct compute *k)
{
    return k->dtype == COMPUTE_BF16 && strcmp(k->name, "cuda") == 0;
}

/* Elements of a line of bf16 that cp.async can bring. */
static inline size_t cuda_line(int width)
{
    return ((size_t)width + CUDA_CHUNK - 1) / CUDA_CHUNK * CUDA_CHUNK;
}

/* Floats of w(N,K) packed: none where w is read as it lies, else it is there in bf16. */
static inline size_t cuda_packed_size(struct compute *k, int N, int K)
{
    return cuda_tensor(k) ? (size_t)N * cuda_line(K) * sizeof(uint16_t) / sizeof(float) : 0;
}

/* Bytes of the device that what the host hands over takes: two rings (cuda.h) and the area of a
 * sequence, to begin with. */
#define CUDA_RING ((size_t)4 << 20)
#define CUDA_AREA ((size_t)1 << 20)
#define CUDA_SLACK ((size_t)512)     /* that operations add to what they count */
#define CUDA_STAGED (2 * CUDA_RING + CUDA_AREA)
#define CUDA_SUMS ((size_t)4096)     /* inner products that are waited for together */

static inline size_t cuda_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Both factors of a product in bf16: dw's of a pass, whose rows' last steps of tokens may be nearly
 * empty; or of the head's tiles, whose tokens are picked: each may have a step to itself. */
static inline size_t cuda_factor_bytes(const struct compute *k, const struct compute_load *load)
{
    size_t steps = (size_t)load->tokens + (SLOT_STEP - 1) * (size_t)load->pass_rows + SLOT_STEP;
    size_t sparse = SLOT_STEP * (size_t)load->tile_rows, ids = (size_t)load->tile_ids;
    size_t tile = (sparse < steps ? sparse : steps) + SLOT_STEP;
    size_t features = (size_t)load->features + CUDA_CHUNK;
    size_t most = cuda_larger(steps * 2 * features, tile * (ids + features));

    return cuda_tensor(k) && load->tokens > 0 ? sizeof(uint16_t) * most : 0;
}

/* Of attention_backward: delta; by the tensor cores a line, q and do of each query (flash.h). */
static inline size_t cuda_slope_bytes(struct compute *k, size_t queries, int D)
{
    return queries * (cuda_tensor(k) ? 16 + 4 * cuda_line(D) : sizeof(float));
}

/* x of no multiple of CUDA_CHUNK features, laid out. */
static inline size_t cuda_odd_bytes(const struct compute *k, const struct compute_load *load)
{
    size_t x = (size_t)load->forward * cuda_line(load->odd) + 128;

    return cuda_tensor(k) && load->odd > 0 ? sizeof(uint16_t) * x : 0;
}

/* cuda_scratch, of a load's operations one after the other. */
static inline size_t cuda_taken_bytes(struct compute *k, const struct compute_load *load)
{
    size_t T = (size_t)load->tokens, heads = T * (size_t)load->heads;
    size_t slope = cuda_slope_bytes(k, heads, load->D);          /* attention_backward */
    size_t dz = T * 32;                                          /* lse_backward */
    size_t mass = (size_t)load->rows * (size_t)load->vocabulary * sizeof(float);     /* sample */

    mass = cuda_larger(mass, CUDA_SUMS * sizeof(double));
    mass = cuda_larger(mass, cuda_odd_bytes(k, load));
    return cuda_larger(cuda_larger(slope, dz), cuda_larger(mass, cuda_factor_bytes(k, load))) +
           CUDA_SLACK;
}

/* ---- who multiplies is tried on made-up numbers (lt_choice.c) */

#define LT_ROWS ((size_t)4096)       /* of at most so many rows, */
#define LT_COLUMNS ((size_t)8192)    /* and columns, */
#define LT_ALONE ((size_t)1000)      /* and of so many rows by themselves */
#define LT_WORKSPACE ((size_t)32 << 20)          /* fast mode */

/* cuda_trial: the factors, c and what it begins with, some of its rows; fast: c. */
static inline size_t cuda_trial_bytes(const struct compute *k, const struct compute_load *load)
{
    size_t wide = cuda_larger((size_t)load->widest, (size_t)load->tile_ids);
    size_t ids = cuda_larger((size_t)load->vocabulary, (size_t)load->ids);
    size_t most = cuda_larger(wide, ids);
    size_t columns = most < LT_COLUMNS ? most : LT_COLUMNS;
    size_t a = LT_ROWS * cuda_line((int)wide) * sizeof(uint16_t);
    size_t b = (cuda_larger(wide, columns) + CUDA_CHUNK) *
               cuda_line(load->channels + CUDA_CHUNK) * sizeof(uint16_t);
    size_t c = LT_ROWS * columns * sizeof(float);

    if (!cuda_tensor(k) || load->forward == 0)
        return 0;
    return load->fast ? c : a + b + 2 * c + LT_ALONE * columns * sizeof(float) + 5 * CUDA_SLACK;
}

/* Bytes of the device beside what is planned elsewhere. */
static inline size_t cuda_scratch_bytes(struct compute *k, const struct compute_load *load)
{
    size_t workspace = cuda_tensor(k) && load->fast ? LT_WORKSPACE : 0;

    return cuda_taken_bytes(k, load) + cuda_trial_bytes(k, load) + workspace + CUDA_STAGED;
}

#endif
