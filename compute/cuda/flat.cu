/* What goes element by element over flat buffers: a thread an element.  compute/ref/flat.c has the
 * formulas. */
#include <vector>

#include "base/hash.h"
#include "compute/cuda/launch.h"
#include "compute/cuda/sizes.h"

#define LANES 16

/* x, or of GELU x fma(x^2, c3, GELU_C1) */
static __device__ __forceinline__ float inside(float x, enum activation act, float c3)
{
    return act == ACT_SILU ? x : x * fmaf(x * x, c3, GELU_C1);
}

template <bool bf16>
static __global__ void glu(void *y, const float *gate, const float *up, size_t n,
                           enum activation act)
{
    size_t i = element();

    if (i >= n)
        return;
    float u = inside(gate[i], act, GELU_C3);

    put_stored<bf16>(y, i, gate[i] / (1.0f + rw_expf(-u)) * up[i]);
}

static void glu_forward(struct compute *k, void *y, const float *gate, const float *up, size_t n,
                        enum activation act)
{
    launch(k, "glu_forward", k->dtype == COMPUTE_BF16 ? glu<true> : glu<false>, blocks_of(n),
           BLOCK, y, gate, up, n, act);
}

static __global__ void glu_slope(float *dgate, float *dup, const float *dy, const float *gate,
                                 const float *up, size_t n, enum activation act)
{
    size_t i = element();

    if (i >= n)
        return;
    float s = 1.0f / (1.0f + rw_expf(-inside(gate[i], act, GELU_C3)));
    float slope = s * fmaf(inside(gate[i], act, 3 * GELU_C3), 1.0f - s, 1.0f);

    dup[i] = fmaf(dy[i], gate[i] * s, dup[i]);
    dgate[i] = fmaf(dy[i] * up[i], slope, dgate[i]);
}

static void glu_backward(struct compute *k, float *dgate, float *dup, const float *dy,
                         const float *gate, const float *up, size_t n, enum activation act)
{
    launch(k, "glu_backward", glu_slope, blocks_of(n), BLOCK, dgate, dup, dy, gate, up, n, act);
}

static __global__ void add_all(float *y, const float *x, size_t n)
{
    size_t i = element();

    if (i < n)
        y[i] += x[i];
}

static void add(struct compute *k, float *y, const float *x, size_t n)
{
    launch(k, "add", add_all, blocks_of(n), BLOCK, y, x, n);
}

static __global__ void fold_all(float *y, float *x, const int *row, size_t n, size_t C)
{
    size_t i = element();

    if (i >= n)
        return;
    size_t at = (size_t)row[i / C] * C + i % C;

    y[at] += x[at];
    x[at] = 0.0f;
}

static void fold_rows(struct compute *k, float *y, float *x, const int *row, int n, int C)
{
    size_t all = (size_t)n * (size_t)C;

    launch(k, "fold_rows", fold_all, blocks_of(all), BLOCK, y, x,
           (const int *)cuda_stage(k, row, (size_t)n * sizeof *row), all, (size_t)C);
}

template <bool bf16> static __global__ void store_all(void *y, const float *x, size_t n)
{
    size_t i = element();

    if (i < n)
        put_stored<bf16>(y, i, x[i]);
}

static void store(struct compute *k, void *y, const float *x, size_t n)
{
    launch(k, "store", k->dtype == COMPUTE_BF16 ? store_all<true> : store_all<false>,
           blocks_of(n), BLOCK, y, x, n);
}

static void zero(struct compute *k, void *y, size_t bytes)
{
    enqueue(k, "zero", [=](cudaStream_t stream) { return cudaMemsetAsync(y, 0, bytes, stream); },
            zero, y, bytes);
}

static void copy(struct compute *k, void *y, const void *x, size_t bytes)
{
    enqueue(k, "copy", [=](cudaStream_t stream) {
        return cudaMemcpyAsync(y, x, bytes, cudaMemcpyDefault, stream);
    }, copy, y, x, bytes);
}

/* In words of W. */
template <typename W>
static __global__ void gather_all(W *y, const W *x, const int *from, size_t n, size_t words)
{
    size_t i = element();

    if (i < n)
        y[i] = x[(size_t)from[i / words] * words + i % words];
}

template <typename W>
static void gather_words(struct compute *k, void *y, const void *x, const int *from, size_t n,
                         size_t bytes)
{
    size_t words = bytes / sizeof(W);

    launch(k, "gather", gather_all<W>, blocks_of(n * words), BLOCK, (W *)y, (const W *)x, from,
           n * words, words);
}

static void gather(struct compute *k, void *y, const void *x, const int *from, int n,
                   size_t bytes)
{
    const int *staged = (const int *)cuda_stage(k, from, (size_t)n * sizeof *from);

    if (bytes % sizeof(float) == 0)
        gather_words<float>(k, y, x, staged, (size_t)n, bytes);
    else
        gather_words<uint16_t>(k, y, x, staged, (size_t)n, bytes);
}

static __global__ void adamw_all(float *w, float *m, float *v, const float *g, size_t n,
                                 struct adamw a)
{
    float rest1 = 1.0f - a.beta1, rest2 = 1.0f - a.beta2, keep = 1.0f - a.lr * a.weight_decay;
    float tf_rate = a.lr * sqrtf(a.correction2) / a.correction1;
    size_t i = element();

    if (i >= n)
        return;
    float gi = g[i] * a.scale;
    float mi = fmaf(a.beta1, m[i], rest1 * gi), vi = fmaf(a.beta2, v[i], rest2 * gi * gi);
    float step = a.eps_inside
                 ? a.lr * (mi / a.correction1) / (sqrtf(vi / a.correction2) + a.eps)
                 : tf_rate * mi / (sqrtf(vi) + a.eps);

    m[i] = mi;
    v[i] = vi;
    w[i] = w[i] * keep - step;
}

static void adamw(struct compute *k, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a)
{
    launch(k, "adamw", adamw_all, blocks_of(n), BLOCK, w, m, v, g, n, *a);
}

/* A half-warp has a pair's sum over a chunk; its lane i has elements i, i + 16, ...  Sum number s
 * of all, counted from `at`, is pair s % pairs of chunk s / pairs. */
static __global__ void __launch_bounds__(BLOCK)
gram_chunks(double *sum, const float *const *first, const float *const *second, size_t pairs,
            size_t at, size_t sums, size_t n)
{
    size_t i = element() / LANES, pair = (at + i) % pairs;
    size_t begin = (at + i) / pairs * HASH_CHUNK;
    size_t end = n - begin < HASH_CHUNK ? n : begin + HASH_CHUNK;
    double lane = 0.0;

    for (size_t e = begin + threadIdx.x % LANES; i < sums && e < end; e += LANES)
        lane += (double)first[pair][e] * (double)second[pair][e];
    for (int width = LANES / 2; width; width /= 2)
        lane += __shfl_xor_sync(ALL_LANES, lane, width);
    if (i < sums && threadIdx.x % LANES == 0)
        sum[i] = lane;
}

/* CUDA_SUMS of them at a time. */
static void gram(struct compute *k, double *sum, const float *const *g, int K, size_t n)
{
    std::vector<const float *> first, second;
    size_t chunks = (n + HASH_CHUNK - 1) / HASH_CHUNK;
    double *made = (double *)cuda_scratch(k, CUDA_SUMS * sizeof *made);

    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++) {
            first.push_back(g[i]);
            second.push_back(g[j]);
        }
    size_t pairs = first.size(), bytes = pairs * sizeof(float *);

    for (size_t at = 0, part; at < chunks * pairs; at += part) {
        part = chunks * pairs - at < CUDA_SUMS ? chunks * pairs - at : CUDA_SUMS;
        launch(k, "gram", gram_chunks, blocks_of(part * LANES), BLOCK, made,
               (const float *const *)cuda_stage(k, first.data(), bytes),
               (const float *const *)cuda_stage(k, second.data(), bytes), pairs, at, part, n);
        k->wait(k);
        if (k->error)
            memset(sum + at, 0, part * sizeof *sum);
        else
            memcpy(sum + at, made, part * sizeof *sum);
    }
}

extern "C" void cuda_fill_flat(struct compute *k)
{
    k->glu_forward = glu_forward;
    k->glu_backward = glu_backward;
    k->add = add;
    k->fold_rows = fold_rows;
    k->store = store;
    k->zero = zero;
    k->copy = copy;
    k->gather = gather;
    k->adamw = adamw;
    k->gram = gram;
}
