/* See bench.h. */
#include "compute/bench.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/status.h"
#include "compute/bench_internal.h"

#define ROUNDS 7               /* of a figure */
#define TURN 10e-3             /* seconds of a round, */
#define BATCH 1e-3             /* and of what is timed at once in it */

/* Calls a second over one millisecond, or over one call that is longer. */
static double batch_rate(struct bench *b, void (*run)(struct bench *b))
{
    double begin = clock_now(), now;
    int calls = 0;

    do {
        run(b);
        compute_wait(b->k);
        calls++;
        now = clock_now();
    } while (now - begin < BATCH);
    return calls / (now - begin);
}

/* The best of a round, as the ceiling is: others use the machine. */
void bench_share(struct bench *b, void (*run)(struct bench *b), double units,
                 double (*ceiling)(struct ceiling *c), struct share *share)
{
    run(b);
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

static const void *third(const struct bench *b, int i)
{
    return stored_at(b->k->dtype, b->stored, (size_t)(i * b->M * b->K));
}

/* M tokens of one row, HEADS heads of HEAD_SIZE: queries, keys and values at thirds of x */
static void attend(struct bench *b)
{
    const int start[2] = { 0, b->M };
    const float *q = b->x;
    const void *key = third(b, 1), *value = third(b, 2);

    b->k->attention_forward(b->k, b->y, b->stats, q, key, value, start, 1, HEADS, HEADS, HEAD_SIZE);
}

static void attend_backward(struct bench *b)
{
    const int start[2] = { 0, b->M };
    const float *q = b->x;
    const void *key = third(b, 1), *value = third(b, 2);
    float *dq = b->w, *dkey = dq + b->M * b->K, *dvalue = b->packed;

    b->k->attention_backward(b->k, dq, dkey, dvalue, q, q, key, value, b->y, b->stats, start, 1,
                             HEADS, HEADS, HEAD_SIZE);
}

static void one_attention(struct bench *b, const char *name, void (*run)(struct bench *b),
                          double operations)
{
    struct share share = { .rate.n = 0 };
    struct text line = { 0 };

    bench_share(b, run, operations * 1e-9, ceiling_gflops, &share);
    text_addf(&line, "{\"bench\":\"%s\",\"T\":%d,\"H\":%d,\"D\":%d", name, b->M, HEADS, HEAD_SIZE);
    figures_line(&line, "gflops", &share.rate);
    figures_line(&line, "peak_fraction", &share.fraction);
    print_line(&line);
}

static void bench_attention(struct bench *b)
{
    for (int M = 128; M <= 512; M *= 4) {
        double pairs = 0.5 * M * (M + 1.0) * HEADS * HEAD_SIZE;

        b->M = M;
        b->K = HEADS * HEAD_SIZE;
        one_attention(b, "attention_forward", attend, 4 * pairs);
        one_attention(b, "attention_backward", attend_backward, 10 * pairs);
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

/* What is bound by exp, in elements: a share of the multiply-adds would say little. */
static void bench_exp(struct bench *b)
{
    static const struct { const char *name; void (*run)(struct bench *b); } rows[] = {
        { "lse_forward", lse }, { "lse_backward", lse_backward }, { "swiglu_forward", swiglu },
    };

    b->M = LONGEST / 8;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct share share = { .rate.n = 0 };
        struct text line = { 0 };

        bench_share(b, rows[i].run, 1e-9 * b->M * VOCAB, NULL, &share);
        text_addf(&line, "{\"bench\":\"%s\",\"elements\":%d", rows[i].name, b->M * VOCAB);
        figures_line(&line, "gelements", &share.rate);
        print_line(&line);
    }
}

static void layout(struct bench *b, struct memory *m)
{
    size_t activations = (size_t)LONGEST * WIDEST * sizeof(float);

    b->x = memory_take(m, activations);
    b->stored = memory_take(m, activations);
    b->y = memory_take(m, activations);
    b->w = memory_take(m, activations);
    b->packed = memory_take(m, activations);
    b->stats = memory_take(m, (size_t)LONGEST * HEADS * 2 * sizeof(float));
    b->state = memory_take(m, LONGEST * sizeof *b->state);
    b->decoded = memory_take(m, DECODED * sizeof(float));
}

static int open_bench(struct bench *b)
{
    int rc = RL_OK;

    memory_count(&b->memory);
    layout(b, &b->memory);
    TRY(memory_open(&b->memory));
    layout(b, &b->memory);
    for (size_t i = 0; i < (size_t)LONGEST * WIDEST; i++) {
        b->x[i] = 0.01f * (float)(i % 13) - 0.06f;
        b->w[i] = 0.01f * (float)(i % 11) - 0.05f;
    }
    b->k->store(b->k, b->stored, b->x, (size_t)LONGEST * WIDEST);
    for (size_t i = 0; i < DECODED; i++)
        b->decoded[i] = 0.01f * (float)(i % 11) - 0.05f;
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
    number_line(&line, "read_gbytes", peak->gbytes);
    print_line(&line);
}

int compute_bench(struct compute *k)
{
    struct bench b = { .k = k };
    struct peak peak;
    int rc = RL_OK;

    TRY(peak_measure(&peak, k));
    TRY(open_bench(&b));
    print_peak(&b, &peak);
    bench_attention(&b);
    bench_exp(&b);
    bench_products(&b);
    rc = compute_sync(k);
done:
    ceiling_close(b.ceiling);
    memory_close(&b.memory);
    return rc;
}
