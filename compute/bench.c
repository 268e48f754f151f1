/* See bench.h.  Shapes are those of a Llama of 124 million parameters (C = 768, F = 2048) in
 * training, and of one to eight rows in decoding; a figure is the best of a few rounds, because
 * others use the machine too. */
#include "compute/bench.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "compute/peak.h"

#define SECONDS 0.1            /* a figure */
#define LONGEST 1024           /* tokens */
#define WIDEST 2048            /* channels */
#define HEADS 12
#define HEAD_SIZE 64
#define VOCAB 8192             /* logits of LONGEST / 8 tokens fit where y fits */

struct bench {
    struct compute *k;
    FILE *out;
    struct peak peak;
    struct memory memory;
    float *x, *y, *w, *packed, *stats;
    struct lse *state;
    int M, N, K;
};

static void forward(struct bench *b)
{
    b->k->matmul_forward(b->k, b->y, b->x, b->w, b->packed, b->M, b->N, b->K);
}

static void backward_input(struct bench *b)
{
    b->k->matmul_backward_input(b->k, b->x, b->y, b->w, b->M, b->N, b->K);
}

static void backward_weight(struct bench *b)
{
    b->k->matmul_backward_weight(b->k, b->w, b->y, b->x, NULL, b->M, b->N, b->K, true);
}

/* Seconds of one call: the best of several. */
static double best_time(struct bench *b, void (*run)(struct bench *b))
{
    double begin = clock_now(), before, now, best = 1e9;

    run(b);
    do {
        before = clock_now();
        run(b);
        now = clock_now();
        best = now - before < best ? now - before : best;
    } while (now - begin < SECONDS);
    return best;
}

static void bench_product(struct bench *b, const char *name, void (*run)(struct bench *b), int M,
                          int N, int K)
{
    b->M = M;
    b->N = N;
    b->K = K;
    double seconds = best_time(b, run), gflops = 2e-9 * M * N * K / seconds;

    fprintf(b->out, "{\"bench\":\"%s\",\"M\":%d,\"N\":%d,\"K\":%d,\"gflops\":%.2f,"
            "\"peak_fraction\":%.3f,\"weight_gbytes\":%.2f,\"read_fraction\":%.3f}\n", name, M, N,
            K, gflops, gflops / b->peak.gflops, 4e-9 * N * K / seconds,
            4e-9 * N * K / seconds / b->peak.gbytes);
}

static void bench_products(struct bench *b)
{
    static const int sizes[][2] = { { 768, 768 }, { 2048, 768 }, { 768, 2048 } };
    static const int training[] = { 64, 256, 1024 }, decoding[] = { 1, 8 };

    for (int s = 0; s < 3; s++) {
        int N = sizes[s][0], K = sizes[s][1];

        b->k->pack(b->k, b->packed, b->w, N, K);
        for (int i = 0; i < 2; i++)
            bench_product(b, "matmul_forward", forward, decoding[i], N, K);
        for (int i = 0; i < 3; i++) {
            bench_product(b, "matmul_forward", forward, training[i], N, K);
            bench_product(b, "matmul_backward_input", backward_input, training[i], N, K);
            bench_product(b, "matmul_backward_weight", backward_weight, training[i], N, K);
        }
    }
}

/* M tokens of one row, HEADS heads of HEAD_SIZE: queries, keys and values at thirds of x */
static void attend(struct bench *b)
{
    const int start[2] = { 0, b->M };
    const float *q = b->x, *key = q + b->M * b->K, *value = key + b->M * b->K;

    b->k->attention_forward(b->k, b->y, b->stats, q, key, value, start, 1, HEADS, HEADS, HEAD_SIZE);
}

static void attend_backward(struct bench *b)
{
    const int start[2] = { 0, b->M };
    const float *q = b->x, *key = q + b->M * b->K, *value = key + b->M * b->K;
    float *dq = b->w, *dkey = dq + b->M * b->K, *dvalue = b->packed, *o = b->y;

    b->k->attention_backward(b->k, dq, dkey, dvalue, q, q, key, value, o, b->stats, start, 1,
                             HEADS, HEADS, HEAD_SIZE);
}

static void bench_attention(struct bench *b)
{
    for (int M = 128; M <= 512; M *= 4) {
        double pairs = 0.5 * M * (M + 1.0) * HEADS * HEAD_SIZE * 1e-9;

        b->M = M;
        b->K = HEADS * HEAD_SIZE;
        double forward = 4 * pairs / best_time(b, attend);
        double backward = 10 * pairs / best_time(b, attend_backward);

        fprintf(b->out, "{\"bench\":\"attention_forward\",\"T\":%d,\"H\":%d,\"D\":%d,"
                "\"gflops\":%.2f,\"peak_fraction\":%.3f}\n", M, HEADS, HEAD_SIZE, forward,
                forward / b->peak.gflops);
        fprintf(b->out, "{\"bench\":\"attention_backward\",\"T\":%d,\"H\":%d,\"D\":%d,"
                "\"gflops\":%.2f,\"peak_fraction\":%.3f}\n", M, HEADS, HEAD_SIZE, backward,
                backward / b->peak.gflops);
    }
}

static void lse(struct bench *b)
{
    static const int targets[LONGEST / 8];

    b->k->lse_forward(b->k, b->state, b->stats, b->y, targets, 1.0f, 0, VOCAB, b->M);
}

static void lse_backward(struct bench *b)
{
    static const int targets[LONGEST / 8];

    b->k->lse_backward(b->k, b->y, b->state, targets, b->x, NULL, 1.0f, 0, VOCAB, b->M);
}

static void swiglu(struct bench *b)
{
    b->k->swiglu_forward(b->k, b->w, b->x, b->y, (size_t)b->M * VOCAB);
}

/* What is bound by exp, in elements: a fraction of peak would say little. */
static void bench_exp(struct bench *b)
{
    static const struct { const char *name; void (*run)(struct bench *b); } rows[] = {
        { "lse_forward", lse }, { "lse_backward", lse_backward }, { "swiglu_forward", swiglu },
    };

    b->M = LONGEST / 8;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fprintf(b->out, "{\"bench\":\"%s\",\"elements\":%d,\"gelements\":%.3f}\n", rows[i].name,
                b->M * VOCAB, 1e-9 * b->M * VOCAB / best_time(b, rows[i].run));
}

static void layout(struct bench *b, struct memory *m)
{
    size_t activations = (size_t)LONGEST * WIDEST * sizeof(float);

    b->x = memory_take(m, activations);
    b->y = memory_take(m, activations);
    b->w = memory_take(m, activations);
    b->packed = memory_take(m, activations);
    b->stats = memory_take(m, (size_t)LONGEST * HEADS * 2 * sizeof(float));
    b->state = memory_take(m, LONGEST * sizeof *b->state);
}

int compute_bench(struct compute *k, FILE *out)
{
    struct bench b = { .k = k, .out = out };
    int rc = RL_OK;

    memory_count(&b.memory);
    layout(&b, &b.memory);
    TRY(memory_open(&b.memory));
    layout(&b, &b.memory);
    for (size_t i = 0; i < (size_t)LONGEST * WIDEST; i++) {
        b.x[i] = 0.01f * (float)(i % 13) - 0.06f;
        b.w[i] = 0.01f * (float)(i % 11) - 0.05f;
    }
    TRY(peak_measure(&b.peak, k));
    fprintf(out, "{\"bench\":\"peak\",\"backend\":\"%s\",\"threads\":%d,\"gflops\":%.2f,"
            "\"read_gbytes\":%.2f}\n", k->name, k->threads, b.peak.gflops, b.peak.gbytes);
    bench_attention(&b);
    bench_exp(&b);
    bench_products(&b);
    TRY(compute_sync(k));
done:
    memory_close(&b.memory);
    return rc;
}
