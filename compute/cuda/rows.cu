/* Embedding and rotary positions: compute/ref/norm.c has the formulas.  Sums over tokens are
 * chains, each walked by the thread of its channel. */
#include <algorithm>
#include <vector>

#include "compute/cuda/launch.h"

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
    k->rotary_forward = rotary_forward;
    k->rotary_backward = rotary_backward;
}
