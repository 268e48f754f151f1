/* Matrix products: every output is one chain of fused multiply-adds, ascending,
 *
 *   y[m][n]  =       sum over k of x[m][k] * w[n][k]        forward
 *   dx[m][k] +=      sum over n of dy[m][n] * w[n][k]       backward, input
 *   dw[n][k] +=      sum over m of dy[m][n] * x[m][k]       backward, weight
 */
#include <math.h>
#include <string.h>

#include "compute/ref/ref.h"

static size_t packed_size(struct compute *k, int N, int K)
{
    (void)k, (void)N, (void)K;
    return 0;                        /* w is read where it lies */
}

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    (void)k, (void)packed, (void)w, (void)N, (void)K;
}

static void forward(struct compute *k, float *y, const void *x, const float *w,
                    const float *packed, int M, int N, int K)
{
    (void)k, (void)packed;
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            const float *a = (const float *)x + (size_t)m * K, *b = w + (size_t)n * K;
            float sum = 0.0f;

            for (int i = 0; i < K; i++)
                sum = fmaf(a[i], b[i], sum);
            y[(size_t)m * N + n] = sum;
        }
    }
}

static void backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                           const float *packed, int M, int N, int K)
{
    (void)k, (void)packed;
    for (int m = 0; m < M; m++) {
        float *out = dx + (size_t)m * K;

        for (int n = 0; n < N; n++) {
            const float *b = w + (size_t)n * K;
            float a = dy[(size_t)m * N + n];

            for (int i = 0; i < K; i++)
                out[i] = fmaf(a, b[i], out[i]);
        }
    }
}

static void backward_weight(struct compute *k, float *dw, const float *dy, const void *x,
                            const int *slot, int M, int N, int K, bool add)
{
    (void)k, (void)slot;
    if (!add)
        memset(dw, 0, (size_t)N * K * sizeof *dw);
    for (int m = 0; m < M; m++) {
        const float *b = (const float *)x + (size_t)m * K;

        for (int n = 0; n < N; n++) {
            float *out = dw + (size_t)n * K, a = dy[(size_t)m * N + n];

            for (int i = 0; i < K; i++)
                out[i] = fmaf(a, b[i], out[i]);
        }
    }
}

void ref_fill_matmul(struct compute *k)
{
    k->packed_size = packed_size;
    k->pack = pack;
    k->matmul_forward = forward;
    k->matmul_backward_input = backward_input;
    k->matmul_backward_weight = backward_weight;
}
