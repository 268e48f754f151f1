/* Embedding, RMS norm and rotary positions: compute/ref/norm.c has the formulas.
 *
 * A token's sums over channels are sixteen neighbouring threads', lane by lane; sums over tokens
 * are chains, each walked by the thread of its channel. */
#include <algorithm>
#include <vector>

#include "compute/cuda/launch.h"

#define LANES 16
#define TOKENS (BLOCK / LANES)       /* of a block, where sixteen threads have a token */

/* ---- embedding */

/* Places of equal tokens, in order, stand together in `place`; the d-th distinct one's are
 * first[d] .. first[d + 1]. */
static __global__ void scatter(float *dw, const float *dy, const int *tokens, const int *place,
                               const int *first, size_t n, int C)
{
    size_t i = element(), d = i / (size_t)C, c = i % (size_t)C;

    if (i >= n)
        return;
    size_t at = (size_t)tokens[place[first[d]]] * (size_t)C + c;
    float sum = dw[at];

    for (int j = first[d]; j < first[d + 1]; j++)
        sum += dy[(size_t)place[j] * (size_t)C + c];
    dw[at] = sum;
}

static void embedding_backward(struct compute *k, float *dw, const float *dy, const int *tokens,
                               int T, int C)
{
    std::vector<int> place((size_t)T), first;

    for (int t = 0; t < T; t++)
        place[(size_t)t] = t;
    std::stable_sort(place.begin(), place.end(),
                     [=](int a, int b) { return tokens[a] < tokens[b]; });
    for (int t = 0; t < T; t++)
        if (t == 0 || tokens[place[(size_t)t]] != tokens[place[(size_t)t - 1]])
            first.push_back(t);
    size_t n = first.size() * (size_t)C;

    first.push_back(T);
    launch(k, "embedding_backward", scatter, blocks_of(n), BLOCK, dw, dy,
           (const int *)cuda_stage(k, tokens, (size_t)T * sizeof(int)),
           (const int *)cuda_stage(k, place.data(), (size_t)T * sizeof(int)),
           (const int *)cuda_stage(k, first.data(), first.size() * sizeof(int)), n, C);
}

/* ---- RMS norm */

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
    float r = 1.0f / sqrtf(fold_lanes(sum) / (float)C + eps);

    for (int c = lane; here && c < C; c += LANES)
        put_stored<bf16>(y, first + c, x[first + c] * r * w[c]);
    if (here && lane == 0)
        rstd[t] = r;
}

static void rmsnorm_forward(struct compute *k, void *y, float *rstd, const float *x,
                            const float *w, float eps, int T, int C)
{
    launch(k, "rmsnorm_forward", k->dtype == COMPUTE_BF16 ? norm<true> : norm<false>,
           ((size_t)T + TOKENS - 1) / TOKENS, BLOCK, y, rstd, x, w, eps, T, C);
}

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

static void rmsnorm_backward(struct compute *k, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int T, int C)
{
    launch(k, "rmsnorm_backward", norm_weight, ((size_t)C + 63) / 64, 64, dw, dy, x, rstd, T, C);
    launch(k, "rmsnorm_backward", norm_input, ((size_t)T + TOKENS - 1) / TOKENS, BLOCK, dx, dy, x,
           w, rstd, T, C);
}

/* ---- rotary positions: a thread a pair */

static __global__ void rotate(float *x, const float *table, const int *position, size_t n,
                              int heads, int D, float direction)
{
    size_t i = element(), half = (size_t)D / 2, head = i / half, pair = i % half;

    if (i >= n)
        return;
    const float *turn = table + (size_t)position[head / (size_t)heads] * (size_t)D + 2 * pair;
    float *at = x + head * (size_t)D + pair;
    float cosine = turn[0], sine = turn[1] * direction, a = at[0], b = at[half];

    at[0] = fmaf(a, cosine, -(b * sine));
    at[half] = fmaf(b, cosine, a * sine);
}

static void turn_all(struct compute *k, float *x, const float *table, const int *position, int T,
                     int heads, int D, float direction)
{
    size_t n = (size_t)T * (size_t)heads * (size_t)(D / 2);
    const int *at = (const int *)cuda_stage(k, position, (size_t)T * sizeof *position);

    launch(k, "rotary", rotate, blocks_of(n), BLOCK, x, table, at, n, heads, D, direction);
}

static void rotary_forward(struct compute *k, float *x, const float *table, const int *position,
                           int T, int heads, int D)
{
    turn_all(k, x, table, position, T, heads, D, 1.0f);
}

static void rotary_backward(struct compute *k, float *dx, const float *table,
                            const int *position, int T, int heads, int D)
{
    turn_all(k, dx, table, position, T, heads, D, -1.0f);
}

extern "C" void cuda_fill_rows(struct compute *k)
{
    k->embedding_backward = embedding_backward;
    k->rmsnorm_forward = rmsnorm_forward;
    k->rmsnorm_backward = rmsnorm_backward;
    k->rotary_forward = rotary_forward;
    k->rotary_backward = rotary_backward;
}
