/* Matrix products.  Shapes are those of a Llama of 124 million parameters (C = 768, F = 2048) in
 * training, whose share is of the multiply-adds; in decoding, of one and of eight rows, weights
 * come from memory as in a model that is larger than the caches, and the share is of its rate. */
#include <stdio.h>

#include "compute/bench_internal.h"

static void forward(struct bench *b)
{
    b->k->matmul_forward(b->k, b->y, b->stored, b->w, b->packed, b->M, b->N, b->K);
}

static void backward_input(struct bench *b)
{
    b->k->matmul_backward_input(b->k, b->x, b->y, b->w, b->packed, b->M, b->N, b->K);
}

static void backward_weight(struct bench *b)
{
    b->k->matmul_backward_weight(b->k, b->w, b->y, b->stored, NULL, b->M, b->N, b->K, true);
}

/* Another weight of the shape each time: its turn comes again after 256 MB. */
static void decode(struct bench *b)
{
    size_t size = b->k->packed_size(b->k, b->N, b->K);

    if (b->next + size > DECODED)
        b->next = 0;
    b->k->matmul_forward(b->k, b->y, b->stored, b->w, b->decoded + b->next, b->M, b->N, b->K);
    b->next += size;
}

/* The middle and the worst of all shapes so far. */
struct summary { struct figures medians; double worst; char where[80]; };

static void add(struct summary *s, const struct share *share, const char *name,
                const struct bench *b)
{
    double median = figures_median(&share->fraction);

    figures_add(&s->medians, median);
    if (s->medians.n > 1 && median >= s->worst)
        return;
    s->worst = median;
    snprintf(s->where, sizeof s->where, "%s M %d N %d K %d", name, b->M, b->N, b->K);
}

static void print_product(const struct bench *b, const char *name, const struct share *share,
                          const char *rate, const char *fraction)
{
    struct text line = { 0 };

    text_addf(&line, "{\"bench\":\"%s\",\"M\":%d,\"N\":%d,\"K\":%d", name, b->M, b->N, b->K);
    figures_line(&line, rate, &share->rate);
    figures_line(&line, fraction, &share->fraction);
    print_line(&line);
}

static void print_summary(const struct bench *b, const struct summary *s, const char *name,
                          const char *fraction)
{
    struct text line = { 0 };

    text_addf(&line, "{\"bench\":\"%s\"", name);
    word_line(&line, "backend", b->k->name);
    word_line(&line, "dtype", b->k->dtype == COMPUTE_BF16 ? "bf16" : "fp32");
    number_line(&line, "threads", b->k->threads);
    number_line(&line, "shapes", s->medians.n);
    figures_line(&line, fraction, &s->medians);
    word_line(&line, "worst", s->where);
    print_line(&line);
}

static void training_product(struct bench *b, const char *name, void (*run)(struct bench *b),
                             int M, struct summary *summary)
{
    struct share share = { .rate.n = 0 };

    b->M = M;
    bench_share(b, run, 2e-9 * M * b->N * b->K, ceiling_gflops, &share);
    print_product(b, name, &share, "gflops", "peak_fraction");
    add(summary, &share, name, b);
}

static void decoding_product(struct bench *b, int M, struct summary *summary)
{
    struct share share = { .rate.n = 0 };
    size_t size = b->k->packed_size(b->k, b->N, b->K);

    if (size == 0)                          /* ref takes weights as they are */
        return;
    b->M = M;
    b->next = 0;
    bench_share(b, decode, 1e-9 * (double)size * sizeof(float), ceiling_gbytes, &share);
    print_product(b, "decode", &share, "weight_gbytes", "read_fraction");
    add(summary, &share, "decode", b);
}

void bench_products(struct bench *b)
{
    static const int sizes[][2] = { { 768, 768 }, { 2048, 768 }, { 768, 2048 } };
    static const int training[] = { 64, 256, 1024 }, decoding[] = { 1, 8 };
    struct summary trained = { .worst = 0 }, decoded[2] = { { .worst = 0 }, { .worst = 0 } };

    for (int s = 0; s < 3; s++) {
        b->N = sizes[s][0];
        b->K = sizes[s][1];
        b->k->pack(b->k, b->packed, b->w, b->N, b->K);
        for (int i = 0; i < 3; i++) {
            training_product(b, "matmul_forward", forward, training[i], &trained);
            training_product(b, "matmul_backward_input", backward_input, training[i], &trained);
            training_product(b, "matmul_backward_weight", backward_weight, training[i], &trained);
        }
        for (int i = 0; i < 2; i++)
            decoding_product(b, decoding[i], &decoded[i]);
    }
    print_summary(b, &trained, "training products", "peak_fraction");
    for (int i = 0; i < 2 && decoded[i].medians.n > 0; i++)
        print_summary(b, &decoded[i], i == 0 ? "decoding products, M 1" : "decoding products, M 8",
                      "read_fraction");
}
