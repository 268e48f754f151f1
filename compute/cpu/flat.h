/* SwiGLU and GeGLU, sums, AdamW and inner products in lanes; ref/flat.c is the definition.
 * Included by plain.c, avx2.c, avx512.c. */
#ifndef COMPUTE_CPU_FLAT_H
#define COMPUTE_CPU_FLAT_H

#include "base/hash.h"
#include "compute/cpu/part.h"

/* The operands of an elementwise operation; 16 elements at a time, the last ones in part. */
struct flat {
    void *stored;
    bool bf16;                       /* what is stored */
    float *out0, *out1, *out2;
    const float *in0, *in1, *in2;
    const struct adamw *adamw;
    enum activation act;
    size_t n;
};

#define FLAT_GRAIN 4096              /* elements of a piece of work */

static void flat_split(struct compute *k, struct flat *f, int cost,
                       void (*body)(void *job, int begin, int end, int thread))
{
    int pieces = (int)((f->n + FLAT_GRAIN - 1) / FLAT_GRAIN);

    cpu_split(k, (double)f->n * cost, pieces, 1, f, body);
}

static inline size_t flat_end(const struct flat *f, int piece)
{
    size_t end = (size_t)piece * FLAT_GRAIN;

    return end < f->n ? end : f->n;
}

/* at(f, i, n) for 16 elements at a time, then for the n that are left. */
INLINE void each16(const struct flat *f, int begin, int end,
                   void (*at)(const struct flat *f, size_t i, int n))
{
    size_t i = (size_t)begin * FLAT_GRAIN, last = flat_end(f, end);

    for (; i + 16 <= last; i += 16)
        at(f, i, 16);
    if (i < last)
        at(f, i, (int)(last - i));
}

/* x fma(x^2, c3, GELU_C1) */
INLINE struct lanes cubic(struct lanes x, float c3)
{
    return lanes_mul(x, lanes_fma(lanes_mul(x, x), lanes_set(c3), lanes_set(GELU_C1)));
}

/* y = gate sigmoid(u) up */
INLINE void glu_forward_at(const struct flat *f, size_t i, int n, const enum activation act)
{
    struct lanes gate = take(f->in0, i, n), up = take(f->in1, i, n);
    struct lanes u = act == ACT_SILU ? gate : cubic(gate, GELU_C3);
    struct lanes e = lanes_exp(lanes_sub(lanes_set(0.0f), u));

    put_stored(f->bf16, f->stored, i,
               lanes_mul(lanes_div(gate, lanes_add(lanes_set(1.0f), e)), up), n);
}

INLINE void swiglu_forward_at(const struct flat *f, size_t i, int n)
{
    glu_forward_at(f, i, n, ACT_SILU);
}

INLINE void geglu_forward_at(const struct flat *f, size_t i, int n)
{
    glu_forward_at(f, i, n, ACT_GELU_TANH);
}

static void glu_forward_part(void *job, int begin, int end, int thread)
{
    const struct flat *f = job;

    (void)thread;
    if (f->act == ACT_SILU)
        each16(f, begin, end, swiglu_forward_at);
    else
        each16(f, begin, end, geglu_forward_at);
}

static void glu_forward(struct compute *k, void *y, const float *gate, const float *up, size_t n,
                        enum activation act)
{
    struct flat f = { .stored = y, .in0 = gate, .in1 = up, .act = act, .n = n,
                      .bf16 = k->dtype == COMPUTE_BF16 };

    flat_split(k, &f, 16, glu_forward_part);
}

INLINE void glu_backward_at(const struct flat *f, size_t i, int n, const enum activation act)
{
    struct lanes dy = take(f->in0, i, n), gate = take(f->in1, i, n), up = take(f->in2, i, n);
    struct lanes u = act == ACT_SILU ? gate : cubic(gate, GELU_C3);
    struct lanes x_slope = act == ACT_SILU ? gate : cubic(gate, 3 * GELU_C3);
    struct lanes one = lanes_set(1.0f), e = lanes_exp(lanes_sub(lanes_set(0.0f), u));
    struct lanes s = lanes_div(one, lanes_add(one, e));
    struct lanes slope = lanes_mul(s, lanes_fma(x_slope, lanes_sub(one, s), one));

    put(f->out1, i, lanes_fma(dy, lanes_mul(gate, s), take(f->out1, i, n)), n);
    put(f->out0, i, lanes_fma(lanes_mul(dy, up), slope, take(f->out0, i, n)), n);
}

INLINE void swiglu_backward_at(const struct flat *f, size_t i, int n)
{
    glu_backward_at(f, i, n, ACT_SILU);
}

INLINE void geglu_backward_at(const struct flat *f, size_t i, int n)
{
    glu_backward_at(f, i, n, ACT_GELU_TANH);
}

static void glu_backward_part(void *job, int begin, int end, int thread)
{
    const struct flat *f = job;

    (void)thread;
    if (f->act == ACT_SILU)
        each16(f, begin, end, swiglu_backward_at);
    else
        each16(f, begin, end, geglu_backward_at);
}

static void glu_backward(struct compute *k, float *dgate, float *dup, const float *dy,
                         const float *gate, const float *up, size_t n, enum activation act)
{
    struct flat f = { .out0 = dgate, .out1 = dup, .in0 = dy, .in1 = gate, .in2 = up, .act = act,
                      .n = n };

    flat_split(k, &f, 16, glu_backward_part);
}

INLINE void add_at(const struct flat *f, size_t i, int n)
{
    put(f->out0, i, lanes_add(take(f->out0, i, n), take(f->in0, i, n)), n);
}

static void add_part(void *job, int begin, int end, int thread)
{
    (void)thread;
    each16(job, begin, end, add_at);
}

static void add(struct compute *k, float *y, const float *x, size_t n)
{
    struct flat f = { .out0 = y, .in0 = x, .n = n };

    flat_split(k, &f, 1, add_part);
}

INLINE void store_at(const struct flat *f, size_t i, int n)
{
    put_stored(f->bf16, f->stored, i, take(f->in0, i, n), n);
}

static void store_part(void *job, int begin, int end, int thread)
{
    (void)thread;
    each16(job, begin, end, store_at);
}

static void store(struct compute *k, void *y, const float *x, size_t n)
{
    struct flat f = { .stored = y, .in0 = x, .n = n, .bf16 = k->dtype == COMPUTE_BF16 };

    flat_split(k, &f, 1, store_part);
}

INLINE void adamw_at(const struct flat *f, size_t i, int n)
{
    const struct adamw *a = f->adamw;
    struct lanes rest1 = lanes_set(1.0f - a->beta1), rest2 = lanes_set(1.0f - a->beta2);
    struct lanes keep = lanes_set(1.0f - a->lr * a->weight_decay), eps = lanes_set(a->eps), step;
    struct lanes g = lanes_mul(take(f->in0, i, n), lanes_set(a->scale));
    struct lanes m = lanes_fma(lanes_set(a->beta1), take(f->out1, i, n), lanes_mul(rest1, g));
    struct lanes v = lanes_fma(lanes_set(a->beta2), take(f->out2, i, n),
                               lanes_mul(lanes_mul(rest2, g), g));

    if (a->eps_inside) {
        struct lanes root = lanes_sqrt(lanes_div(v, lanes_set(a->correction2)));

        step = lanes_mul(lanes_set(a->lr), lanes_div(m, lanes_set(a->correction1)));
        step = lanes_div(step, lanes_add(root, eps));
    } else {
        struct lanes rate = lanes_set(a->lr * sqrtf(a->correction2) / a->correction1);

        step = lanes_div(lanes_mul(rate, m), lanes_add(lanes_sqrt(v), eps));
    }
    put(f->out1, i, m, n);
    put(f->out2, i, v, n);
    put(f->out0, i, lanes_sub(lanes_mul(take(f->out0, i, n), keep), step), n);
}

static void adamw_part(void *job, int begin, int end, int thread)
{
    const struct flat *f = job;
    struct flat copy = *f;                   /* locals, so that nothing is read again per element */
    struct adamw settings = *f->adamw;

    (void)thread;
    copy.adamw = &settings;
    each16(&copy, begin, end, adamw_at);
}

static void adamw(struct compute *k, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a)
{
    struct flat f = { .out0 = w, .out1 = m, .out2 = v, .in0 = g, .adamw = a, .n = n };

    flat_split(k, &f, 8, adamw_part);
}

/* Double: products of floats are exact, so plain arrays give the compiler all it needs. */
static double dot(const float *a, const float *b, size_t n)
{
    double lane[16] = {0};
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lane[j] += (double)a[i + (size_t)j] * (double)b[i + (size_t)j];
    for (; i < n; i++)
        lane[i % 16] += (double)a[i] * (double)b[i];
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

static void each_exp(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        int part = n - i < 16 ? (int)(n - i) : 16;

        put(y, i, lanes_exp(take(x, i, part)), part);
    }
}

static void fill_flat(struct compute *k)
{
    k->glu_forward = glu_forward;
    k->glu_backward = glu_backward;
    k->add = add;
    k->store = store;
    k->adamw = adamw;
    k->gram = gram;
}

#endif
