/* Log-probabilities of tokens and their gradients, the head's product and log-sum-exp in tiles of
 * the size that model/head.c has.  Backward from kept logits: dz, then dx and dw. */
#include "compute/bench_internal.h"

#define TILE_ROWS 256
#define TILE_VOCAB (4 * VOCAB_BLOCK)

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* What a tile covers, and where its logits lie: tiles come one behind the other in y. */
struct tile { int row, R, v0, n; float *z; };

static void each_tile(struct bench *b, void (*work)(struct bench *b, const struct tile *t))
{
    const struct bench_shapes *s = b->shapes;
    struct tile t = { .z = b->y };

    for (t.row = 0; t.row < s->head_rows; t.row += TILE_ROWS) {
        t.R = least(TILE_ROWS, s->head_rows - t.row);
        for (t.v0 = 0; t.v0 < s->V; t.v0 += TILE_VOCAB) {
            t.n = least(TILE_VOCAB, s->V - t.v0);
            work(b, &t);
            t.z += (size_t)t.R * (size_t)t.n;
        }
    }
}

static const void *rows_of(const struct bench *b, const struct tile *t)
{
    return stored_at(b->k->dtype, b->stored, (size_t)t->row * (size_t)b->shapes->C);
}

static float *weights_of(const struct bench *b, const struct tile *t)
{
    return b->w + (size_t)t->v0 * (size_t)b->shapes->C;
}

static const float *packed_of(const struct bench *b, const struct tile *t)
{
    struct compute *k = b->k;
    int C = b->shapes->C;

    return k->packed_size(k, b->shapes->V, C) > 0 ? b->packed + k->packed_size(k, t->v0, C) : NULL;
}

static const int targets[TILE_ROWS];                /* all are id 0 */

static void forward_tile(struct bench *b, const struct tile *t)
{
    struct compute *k = b->k;
    int C = b->shapes->C;

    k->matmul_forward(k, t->z, rows_of(b, t), weights_of(b, t), packed_of(b, t), t->R, t->n, C);
    k->lse_forward(k, b->state + t->row, b->stats + t->row, t->z, targets, 1.0f, t->v0, t->n, t->R);
}

static void backward_tile(struct bench *b, const struct tile *t)
{
    static float dlogp[TILE_ROWS];
    struct compute *k = b->k;
    int C = b->shapes->C;

    for (int i = 0; i < TILE_ROWS; i++)
        dlogp[i] = 1e-6f;
    k->lse_backward(k, t->z, b->state + t->row, targets, dlogp, NULL, 1.0f, t->v0, t->n, t->R);
    k->matmul_backward_input(k, b->x + (size_t)t->row * (size_t)C, t->z, weights_of(b, t),
                             packed_of(b, t), t->R, t->n, C);
    k->matmul_backward_weight(k, weights_of(b, t), t->z, rows_of(b, t), NULL, t->R, t->n, C, true);
}

static void logprobs(struct bench *b)
{
    each_tile(b, forward_tile);
    b->k->lse_finish(b->k, b->logp, NULL, b->state, b->stats, b->shapes->head_rows);
}

/* Of logits that are there: the forward pass is not timed, but what it made is used up. */
static void logprobs_backward(struct bench *b)
{
    each_tile(b, backward_tile);
}

static void one(struct bench *b, const char *name, void (*run)(struct bench *b), double products)
{
    const struct bench_shapes *s = b->shapes;
    double operations = 2 * products * s->head_rows * s->V * s->C;
    struct share share = { .rate.n = 0 };
    struct text line = { 0 };

    bench_share(b, run, operations * 1e-9, ceiling_gflops, &share);
    text_addf(&line, "{\"bench\":\"%s\",\"T\":%d,\"V\":%d,\"C\":%d", name, s->head_rows, s->V,
              s->C);
    figures_line(&line, "gflops", &share.rate);
    figures_line(&line, "peak_fraction", &share.fraction);
    print_line(&line);
}

void bench_head(struct bench *b)
{
    const struct bench_shapes *s = b->shapes;

    if (s->V == 0)
        return;
    if (b->packed && b->k->packed_size(b->k, s->V, s->C) > 0)
        b->k->pack(b->k, b->packed, b->w, s->V, s->C);
    one(b, "logprob_forward", logprobs, 1);
    one(b, "logprob_backward", logprobs_backward, 2);
}
