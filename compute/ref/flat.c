/* What goes element by element over flat buffers: SwiGLU, GeGLU, sums, AdamW, inner products.
 *
 *   AdamW (Loshchilov and Hutter 2019), g scaled by the clipping factor first:
 *   m = b1 m + (1 - b1) g     v = b2 v + (1 - b2) g^2     w -= lr decay w, then
 *   torch: w -= lr (m / c1) / (sqrt(v / c2) + eps)
 *   tf:    w -= lr sqrt(c2) / c1 * m / (sqrt(v) + eps)
 */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "compute/math.h"
#include "compute/ref/ref.h"

/* act(x) = x sigmoid(u(x)) */
static float inside(float x, enum activation act)
{
    return act == ACT_SILU ? x : x * fmaf(x * x, GELU_C3, GELU_C1);
}

/* x u'(x) */
static float inside_slope(float x, enum activation act)
{
    return act == ACT_SILU ? x : x * fmaf(x * x, 3 * GELU_C3, GELU_C1);
}

static void glu_forward(struct compute *k, void *y, const float *gate, const float *up, size_t n,
                        enum activation act)
{
    for (size_t i = 0; i < n; i++)
        ref_store(y, k->dtype, i, gate[i] / (1.0f + rw_expf(-inside(gate[i], act))) * up[i]);
}

/* act'(x) = s (1 + x u' (1 - s)) with s = sigmoid(u) */
static void glu_backward(struct compute *k, float *dgate, float *dup, const float *dy,
                         const float *gate, const float *up, size_t n, enum activation act)
{
    (void)k;
    for (size_t i = 0; i < n; i++) {
        float s = 1.0f / (1.0f + rw_expf(-inside(gate[i], act)));
        float slope = s * fmaf(inside_slope(gate[i], act), 1.0f - s, 1.0f);

        dup[i] = fmaf(dy[i], gate[i] * s, dup[i]);
        dgate[i] = fmaf(dy[i] * up[i], slope, dgate[i]);
    }
}

static void add(struct compute *k, float *y, const float *x, size_t n)
{
    (void)k;
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void zero(struct compute *k, void *y, size_t bytes)
{
    (void)k;
    memset(y, 0, bytes);
}

static void copy(struct compute *k, void *y, const void *x, size_t bytes)
{
    (void)k;
    memcpy(y, x, bytes);
}

static void gather(struct compute *k, void *y, const void *x, const int *from, int n,
                   size_t bytes)
{
    (void)k;
    for (int i = 0; i < n; i++)
        memcpy((char *)y + (size_t)i * bytes, (const char *)x + (size_t)from[i] * bytes, bytes);
}

static void fold_rows(struct compute *k, float *y, float *x, const int *row, int n, int C)
{
    (void)k;
    for (int i = 0; i < n; i++) {
        float *to = y + (size_t)row[i] * (size_t)C, *from = x + (size_t)row[i] * (size_t)C;

        for (int c = 0; c < C; c++)
            to[c] += from[c];
        memset(from, 0, (size_t)C * sizeof *from);
    }
}

static void store(struct compute *k, void *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ref_store(y, k->dtype, i, x[i]);
}

static void adamw(struct compute *k, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a)
{
    float rest1 = 1.0f - a->beta1, rest2 = 1.0f - a->beta2, keep = 1.0f - a->lr * a->weight_decay;
    float tf_rate = a->lr * sqrtf(a->correction2) / a->correction1;

    (void)k;
    for (size_t i = 0; i < n; i++) {
        float gi = g[i] * a->scale;
        float mi = fmaf(a->beta1, m[i], rest1 * gi), vi = fmaf(a->beta2, v[i], rest2 * gi * gi);
        float step;

        if (a->eps_inside)
            step = a->lr * (mi / a->correction1) / (sqrtf(vi / a->correction2) + a->eps);
        else
            step = tf_rate * mi / (sqrtf(vi) + a->eps);
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * keep - step;
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    double lane[16] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 16] += (double)a[i] * (double)b[i];         /* the product is exact */
    return fold16_f64(lane);
}

static void gram(struct compute *k, double *sum, const float *const *g, int K, size_t n)
{
    (void)k;
    for (size_t at = 0; at < n; at += HASH_CHUNK)
        for (int i = 0; i < K; i++)
            for (int j = i; j < K; j++)
                *sum++ = dot(g[i] + at, g[j] + at, n - at < HASH_CHUNK ? n - at : HASH_CHUNK);
}

void ref_fill_flat(struct compute *k)
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
