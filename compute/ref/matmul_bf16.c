/* Matrix products of bf16: matmul.c with a chain of pairs (compute/bf16.h).  A pair of dy and one
 * of w or x meet; where the chain ends or a token lacks its neighbour, a zero does. */
#include <string.h>

#include "compute/bf16.h"
#include "compute/ref/ref.h"

static void forward(struct compute *k, float *y, const void *x, const float *w,
                    const float *packed, int M, int N, int K)
{
    (void)k, (void)packed;
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            const uint16_t *a = (const uint16_t *)x + (size_t)m * K;
            const float *b = w + (size_t)n * K;
            float sum = 0.0f;

            for (int i = 0; i < K; i += 2)
                sum = bf16_dot2(a[i] | (i + 1 < K ? (uint32_t)a[i + 1] << 16 : 0),
                                bf16_pair(b[i], i + 1 < K ? b[i + 1] : 0.0f), sum);
            y[(size_t)m * N + n] = sum;
        }
    }
}

/* out(K) += the pair of factors times two rows of K; odd NULL: a row of zeros */
static void add_pair(float *out, uint32_t pair, const float *even, const float *odd, int K)
{
    for (int i = 0; i < K; i++)
        out[i] = bf16_dot2(pair, bf16_pair(even[i], odd ? odd[i] : 0.0f), out[i]);
}

static void backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                           const float *packed, int M, int N, int K)
{
    (void)k, (void)packed;
    for (int m = 0; m < M; m++) {
        const float *a = dy + (size_t)m * N;

        for (int n = 0; n < N; n += 2) {
            const float *b = w + (size_t)n * K;
            bool both = n + 1 < N;

            add_pair(dx + (size_t)m * K, bf16_pair(a[n], both ? a[n + 1] : 0.0f), b,
                     both ? b + K : NULL, K);
        }
    }
}

/* Tokens even and odd, one of which may be -1. */
static void add_tokens(float *dw, const float *dy, const uint16_t *x, int even, int odd, int N,
                       int K)
{
    for (int n = 0; n < N; n++) {
        float a = even < 0 ? 0.0f : dy[(size_t)even * N + n];
        float b = odd < 0 ? 0.0f : dy[(size_t)odd * N + n];

        for (int i = 0; i < K; i++) {
            uint32_t low = even < 0 ? 0 : x[(size_t)even * K + i];
            uint32_t high = odd < 0 ? 0 : x[(size_t)odd * K + i];

            dw[(size_t)n * K + i] = bf16_dot2(bf16_pair(a, b), low | high << 16,
                                              dw[(size_t)n * K + i]);
        }
    }
}

static void backward_weight(struct compute *k, float *dw, const float *dy, const void *x,
                            const int *slot, int M, int N, int K, bool add)
{
    (void)k;
    if (!add)
        memset(dw, 0, (size_t)N * K * sizeof *dw);
    for (int m = 0; m < M; m++) {
        int at = slot ? slot[m] : m, next = m + 1 < M ? slot ? slot[m + 1] : m + 1 : -1;

        if (at % 2 != 0)
            add_tokens(dw, dy, x, -1, m, N, K);
        else if (next == at + 1)
            add_tokens(dw, dy, x, m, m + 1, N, K), m++;
        else
            add_tokens(dw, dy, x, m, -1, N, K);
    }
}

void ref_fill_matmul_bf16(struct compute *k)
{
    k->matmul_forward = forward;
    k->matmul_backward_input = backward_input;
    k->matmul_backward_weight = backward_weight;
}
