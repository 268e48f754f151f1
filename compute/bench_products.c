/* Matrix products: of training, whose share is of the multiply-adds; of decoding a few rows, where
 * weights come from memory as in a model that is larger than the caches, and the share is of its
 * rate. */
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

/* Floats of a weight as it is read: packed, or as it is. */
static size_t weight_size(struct bench *b)
{
    size_t packed = b->k->packed_size(b->k, b->N, b->K);

    return packed ? packed : (size_t)b->N * (size_t)b->K;
}

/* Another weight of the shape each time: its turn comes again after 256 MB. */
static void decode(struct bench *b)
{
    bool packs = b->k->packed_size(b->k, b->N, b->K) > 0;
    size_t size = weight_size(b);
    const float *w;

    if (b->next + size > DECODED)
        b->next = 0;
    w = b->decoded + b->next;
    b->k->matmul_forward(b->k, b->y, b->stored, packs ? b->w : w, packs ? w : NULL, b->M, b->N,
                         b->K);
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
    size_t size = weight_size(b);

    b->M = M;
    b->next = 0;
    bench_share(b, decode, 1e-9 * (double)size * sizeof(float), ceiling_gbytes, &share);
    print_product(b, "decode", &share, "weight_gbytes", "read_fraction");
    add(summary, &share, "decode", b);
}

void bench_products(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;
    struct summary trained = { .worst = 0 }, decoded[BENCH_ROWS] = { { .worst = 0 } };
    char name[64];

    for (int p = 0; p < s->n_products; p++) {
        b->N = s->products[p].N;
        b->K = s->products[p].K;
        b->k->pack(b->k, b->packed, b->w, b->N, b->K);
        for (int i = 0; i < s->n_training; i++) {
            training_product(b, "matmul_forward", forward, s->training[i], &trained);
            training_product(b, "matmul_backward_input", backward_input, s->training[i], &trained);
            training_product(b, "matmul_backward_weight", backward_weight, s->training[i],
                             &trained);
        }
        for (int i = 0; i < s->n_decoding; i++)
            decoding_product(b, s->decoding[i], &decoded[i]);
    }
    print_summary(b, &trained, "training products", "peak_fraction");
    for (int i = 0; i < s->n_decoding; i++) {
        snprintf(name, sizeof name, "decoding products, M %d", s->decoding[i]);
        print_summary(b, &decoded[i], name, "read_fraction");
    }
}
