/* Embedding, RMS norm and rotary positions.
 *
 *   rstd = 1 / sqrt(mean(x^2) + eps)      y = (x rstd) w
 *   with h = x rstd and g = dy w:         dx += rstd (g - h mean(g h))       dw += dy h
 */
#include <math.h>

#include "compute/math.h"
#include "compute/ref/ref.h"

static void embedding_backward(struct compute *k, float *dw, const float *dy, const int *tokens,
                               int T, int C)
{
    (void)k;
    for (int t = 0; t < T; t++)
        for (int c = 0; c < C; c++)
            dw[(size_t)tokens[t] * C + c] += dy[(size_t)t * C + c];
}

static void rmsnorm_forward(struct compute *k, void *y, float *rstd, const float *x,
                            const float *w, float eps, int T, int C)
{
    for (int t = 0; t < T; t++, x += C) {
        float lane[16] = {0};

        for (int c = 0; c < C; c++)
            lane[c % 16] = fmaf(x[c], x[c], lane[c % 16]);
        float r = 1.0f / sqrtf(fold16(lane) / (float)C + eps);

        for (int c = 0; c < C; c++)
            ref_store(y, k->dtype, (size_t)t * C + c, x[c] * r * w[c]);
        rstd[t] = r;
    }
}

static void rmsnorm_backward(struct compute *k, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int T, int C)
{
    (void)k;
    for (int t = 0; t < T; t++, x += C, dx += C, dy += C) {
        float lane[16] = {0}, r = rstd[t];

        for (int c = 0; c < C; c++)
            lane[c % 16] = fmaf(dy[c] * w[c], x[c] * r, lane[c % 16]);
        float mean = fold16(lane) / (float)C;

        for (int c = 0; c < C; c++) {
            float h = x[c] * r, g = dy[c] * w[c];

            dx[c] = fmaf(r, fmaf(-h, mean, g), dx[c]);
            dw[c] = fmaf(dy[c], h, dw[c]);
        }
    }
}

/* direction +1 turns forward, -1 back */
static void rotate(float *x, const float *table, const int *position, int T, int heads, int D,
                   float direction)
{
    int half = D / 2;

    for (int t = 0; t < T; t++) {
        const float *turn = table + (size_t)position[t] * D;

        for (int h = 0; h < heads; h++, x += D) {
            for (int i = 0; i < half; i++) {
                float cosine = turn[2 * i], sine = turn[2 * i + 1] * direction;
                float a = x[i], b = x[i + half];

                x[i] = fmaf(a, cosine, -(b * sine));
                x[i + half] = fmaf(b, cosine, a * sine);
            }
        }
    }
}

static void rotary_forward(struct compute *k, float *x, const float *table, const int *position,
                           int T, int heads, int D)
{
    (void)k;
    rotate(x, table, position, T, heads, D, 1.0f);
}

static void rotary_backward(struct compute *k, float *dx, const float *table,
                            const int *position, int T, int heads, int D)
{
    (void)k;
    rotate(dx, table, position, T, heads, D, -1.0f);
}

void ref_fill_norm(struct compute *k)
{
    k->embedding_backward = embedding_backward;
    k->rmsnorm_forward = rmsnorm_forward;
    k->rmsnorm_backward = rmsnorm_backward;
    k->rotary_forward = rotary_forward;
    k->rotary_backward = rotary_backward;
}
