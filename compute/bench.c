/* See bench.h. */
#include "compute/bench.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/status.h"
#include "compute/bench_internal.h"
#include "compute/peak_internal.h"

#define ROUNDS 7               /* of a figure */
#define TURN 10e-3             /* seconds of a round, */
#define BATCH 1e-3             /* and of what is timed at once in it */
#define AT_ONCE 64             /* calls that a GPU is given before they are waited for, at most */

const struct bench_shapes bench_small = {
    .products = { { 768, 768 }, { 2048, 768 }, { 768, 2048 } }, .n_products = 3,
    .training = { 64, 256, 1024 }, .n_training = 3, .decoding = { 1, 8 }, .n_decoding = 2,
    .attention = { 128, 512 }, .n_attention = 2, .H = 12, .G = 12, .D = 64,
};

/* Calls a second over one millisecond, or over one call that is longer. */
static double batch_rate(struct bench *b, void (*run)(struct bench *b))
{
    double begin = clock_now(), now;
    int calls = 0;

    do {
        for (int i = 0; i < b->at_once; i++)
            run(b);
        compute_wait(b->k);
        calls += b->at_once;
        now = clock_now();
    } while (now - begin < BATCH);
    return calls / (now - begin);
}

/* Calls in a millisecond of a GPU, which takes the next while it does the one before. */
static void warm_up(struct bench *b, void (*run)(struct bench *b))
{
    double calls;

    run(b);
    compute_wait(b->k);
    b->at_once = 1;
    if (!b->k->device)
        return;
    calls = BATCH * batch_rate(b, run);
    b->at_once = calls > AT_ONCE ? AT_ONCE : calls > 1 ? (int)calls : 1;
}

/* The best of a round, as the ceiling is: others use the machine. */
void bench_share(struct bench *b, void (*run)(struct bench *b), double units,
                 double (*ceiling)(struct ceiling *c), struct share *share)
{
    warm_up(b, run);
    for (int i = 0; i < ROUNDS; i++) {
        double most = ceiling ? ceiling(b->ceiling) : 0, begin = clock_now(), best = 0;

        do {
            double rate = batch_rate(b, run);
            best = rate > best ? rate : best;
        } while (clock_now() - begin < TURN);
        figures_add(&share->rate, units * best);
        if (ceiling)
            figures_add(&share->fraction, units * best / most);
    }
}

/* ---- attention: M tokens of one row; queries, keys and values at thirds of x */

static const void *third(const struct bench *b, int i)
{
    return stored_at(b->k->dtype, b->stored, (size_t)i * (size_t)b->M * (size_t)b->K);
}

static void attend(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;
    const int start[2] = { 0, b->M };
    const float *q = b->x;

    b->k->attention_forward(b->k, b->y, b->stats, q, third(b, 1), third(b, 2), start, 1,
                            (struct attention_shape){ s->H, s->G, s->D, 0 });
}

static void attend_backward(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;
    const int start[2] = { 0, b->M };
    const float *q = b->x;
    float *dq = b->w, *dkey = dq + (size_t)b->M * (size_t)b->K, *dvalue = b->packed;

    b->k->attention_backward(b->k, dq, dkey, dvalue, q, q, third(b, 1), third(b, 2), b->y, b->stats,
                             start, 1, (struct attention_shape){ s->H, s->G, s->D, 0 });
}

static void one_attention(struct bench *b, const char *name, void (*run)(struct bench *b),
                          double operations)
{
    struct share share = { .rate.n = 0 };
    struct text line = { 0 };

    bench_share(b, run, operations * 1e-9, ceiling_gflops, &share);
    text_addf(&line, "{\"bench\":\"%s\",\"T\":%d,\"H\":%d,\"G\":%d,\"D\":%d", name, b->M,
              b->shapes->H, b->shapes->G, b->shapes->D);
    figures_line(&line, "gflops", &share.rate);
    figures_line(&line, "peak_fraction", &share.fraction);
    print_line(&line);
}

/* Operations of the pairs of a query and a key that it sees. */
static void bench_attention(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;

    for (int i = 0; i < s->n_attention; i++) {
        int M = s->attention[i];
        double pairs = 0.5 * M * (M + 1.0) * s->H * s->D;

        b->M = M;
        b->K = s->H * s->D;
        one_attention(b, "attention_forward", attend, 4 * pairs);
        one_attention(b, "attention_backward", attend_backward, 10 * pairs);
    }
}

/* ---- what is bound by exp, in elements: a share of the multiply-adds would say little */

static const int targets[ELEMENT_ROWS];

static void lse(struct bench *b)
{
    b->k->lse_forward(b->k, b->state, b->stats, b->y, targets, 1.0f, 0, ELEMENT_VOCAB,
                      ELEMENT_ROWS);
}

static void lse_backward(struct bench *b)
{
    static float dlogp[ELEMENT_ROWS];

    for (int i = 0; i < ELEMENT_ROWS; i++)
        dlogp[i] = 0.01f;
    b->k->lse_backward(b->k, b->y, b->state, targets, dlogp, NULL, 1.0f, 0, ELEMENT_VOCAB,
                       ELEMENT_ROWS);
}

static void swiglu(struct bench *b)
{
    b->k->glu_forward(b->k, b->w, b->x, b->y, (size_t)ELEMENT_ROWS * ELEMENT_VOCAB, ACT_SILU);
}

static void bench_exp(struct bench *b)
{
    static const struct { const char *name; void (*run)(struct bench *b); } rows[] = {
        { "lse_forward", lse }, { "lse_backward", lse_backward }, { "swiglu_forward", swiglu },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct share share = { .rate.n = 0 };
        struct text line = { 0 };

        bench_share(b, rows[i].run, 1e-9 * ELEMENT_ROWS * ELEMENT_VOCAB, NULL, &share);
        text_addf(&line, "{\"bench\":\"%s\",\"elements\":%d", rows[i].name,
                  ELEMENT_ROWS * ELEMENT_VOCAB);
        figures_line(&line, "gelements", &share.rate);
        print_line(&line);
    }
}

/* ---- memory */

static void widen(size_t *size, size_t floats)
{
    *size = floats > *size ? floats : *size;
}

static void widen_for_products(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;
    int rows = 1;

    for (int i = 0; i < s->n_training; i++)
        rows = s->training[i] > rows ? s->training[i] : rows;
    for (int i = 0; i < s->n_decoding; i++)
        rows = s->decoding[i] > rows ? s->decoding[i] : rows;
    for (int i = 0; i < s->n_products; i++) {
        size_t N = (size_t)s->products[i].N, K = (size_t)s->products[i].K;

        widen(&b->activations, (size_t)rows * (N > K ? N : K));
        widen(&b->weights, N * K);
        widen(&b->packed_floats, b->k->packed_size(b->k, (int)N, (int)K));
    }
}

static void count_floats(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;
    size_t elements = (size_t)ELEMENT_ROWS * ELEMENT_VOCAB, head = (size_t)s->V * (size_t)s->C;

    b->activations = b->weights = elements;
    b->packed_floats = 0;
    widen_for_products(b);
    for (int i = 0; i < s->n_attention; i++) {
        size_t one = (size_t)s->attention[i] * (size_t)s->H * (size_t)s->D;

        widen(&b->activations, 3 * one);
        widen(&b->weights, 2 * one);
        widen(&b->packed_floats, one);
    }
    widen(&b->weights, head);
    widen(&b->activations, (size_t)s->head_rows * (size_t)(s->V > s->C ? s->V : s->C));
    widen(&b->packed_floats, s->V > 0 ? b->k->packed_size(b->k, s->V, s->C) : 0);
}

static void layout(struct bench *b, struct memory *m)
{
    const struct bench_shapes *s = b->shapes;
    size_t rows = (size_t)(s->head_rows > ELEMENT_ROWS ? s->head_rows : ELEMENT_ROWS);
    size_t stats = rows;

    for (int i = 0; i < s->n_attention; i++)
        widen(&stats, (size_t)s->attention[i] * (size_t)s->H * 2);
    b->x = memory_take(m, b->activations * sizeof(float));
    b->stored = memory_take(m, b->activations * sizeof(float));
    b->y = memory_take(m, b->activations * sizeof(float));
    b->w = memory_take(m, b->weights * sizeof(float));
    b->packed = memory_take(m, b->packed_floats * sizeof(float));
    b->stats = memory_take(m, stats * sizeof(float));
    b->state = memory_take(m, rows * sizeof *b->state);
    b->logp = memory_take(m, rows * sizeof *b->logp);
    b->decoded = memory_take(m, DECODED * sizeof(float));
}

static int open_bench(struct bench *b)
{
    int rc = RL_OK;

    count_floats(b);
    memory_count(&b->memory);
    layout(b, &b->memory);
    TRY(memory_open(&b->memory));
    layout(b, &b->memory);
    fill_pattern(b->k, b->x, b->activations);
    fill_pattern(b->k, b->w, b->weights);
    fill_pattern(b->k, b->decoded, DECODED);
    b->k->store(b->k, b->stored, b->x, b->activations);
    rc = ceiling_open(&b->ceiling, b->k);
done:
    return rc;
}

static void print_peak(const struct bench *b, const struct peak *peak)
{
    struct text line = { 0 };

    text_adds(&line, "{\"bench\":\"peak\"");
    word_line(&line, "backend", b->k->name);
    word_line(&line, "dtype", b->k->dtype == COMPUTE_BF16 ? "bf16" : "fp32");
    number_line(&line, "threads", b->k->threads);
    number_line(&line, "gflops", peak->gflops);
    number_line(&line, b->k->device ? "copy_gbytes" : "read_gbytes", peak->gbytes);
    print_line(&line);
}

int compute_bench(struct compute *k, const struct bench_shapes *shapes)
{
    struct bench b = { .k = k, .shapes = shapes, .at_once = 1 };
    struct peak peak;
    int rc = RL_OK;

    TRY(peak_measure(&peak, k));
    TRY(open_bench(&b));
    print_peak(&b, &peak);
    bench_attention(&b);
    bench_exp(&b);
    bench_products(&b);
    bench_head(&b);
    rc = compute_sync(k);
done:
    ceiling_close(b.ceiling);
    memory_close(&b.memory);
    return rc;
}
