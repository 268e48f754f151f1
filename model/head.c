/* The head: hidden states to the log-probability of the next token and the entropy, and back.
 *
 *           ids 0 .. HEAD_VOCAB      ...            V
 *         +-------------------+-------------------+----+
 *  rows   | logits -> lse     | -> lse            | -> | -> logp, entropy
 *         +-------------------+-------------------+----+
 *
 * One tile of logits exists at a time, so no (tokens x vocabulary) array does; the backward pass
 * makes the tiles again.  A row's last token has no target and never comes here.  The backward
 * pass also leaves out positions whose gradient is zero (prompts): a zero adds nothing.
 */
#include <string.h>

#include "model/model_internal.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

void head_layout(struct head *h, struct memory *memory, const struct model_shape *s, int T,
                 bool backward)
{
    size_t rows = (size_t)T * s->C * sizeof(float);

    h->from = memory_take(memory, (size_t)T * sizeof(int));
    h->targets = memory_take(memory, (size_t)T * sizeof(int));
    h->last = memory_take(memory, rows);
    h->hidden = memory_take(memory, rows);
    h->rstd = memory_take(memory, (size_t)T * sizeof(float));
    h->state = memory_take(memory, (size_t)T * sizeof *h->state);
    h->target_logit = memory_take(memory, (size_t)T * sizeof(float));
    if (backward && s->tied)
        h->grads = memory_take(memory, (size_t)s->V * s->C * sizeof(float));
}

void head_layout_scratch(struct head *h, struct memory *memory, const struct model_shape *s,
                         int T, bool backward)
{
    size_t R = least(T, HEAD_ROWS), rows = R * s->C * sizeof(float);

    h->logits = memory_take(memory, R * least(s->V, HEAD_VOCAB) * sizeof(float));
    h->logp = memory_take(memory, R * sizeof(float));
    h->entropy = memory_take(memory, R * sizeof(float));
    if (!backward)
        return;
    h->dlast = memory_take(memory, (size_t)T * s->C * sizeof(float));
    h->dhidden = memory_take(memory, (size_t)T * s->C * sizeof(float));
    h->rows = memory_take(memory, rows);
    h->drows = memory_take(memory, rows);
    h->pick = memory_take(memory, R * sizeof(int));
    h->pick_targets = memory_take(memory, R * sizeof(int));
    h->pick_state = memory_take(memory, R * sizeof *h->pick_state);
    h->no_state = memory_take(memory, R * sizeof *h->no_state);
    h->dlogp = memory_take(memory, R * sizeof(float));
    h->dentropy = memory_take(memory, R * sizeof(float));
}

/* Logits of ids v0 .. v0+n from rows of hidden states. */
static void tile(const struct model *m, float *logits, const float *rows, int v0, int n, int R)
{
    const struct matrix *w = &m->head;
    struct compute *k = m->compute;
    const float *packed = w->packed ? w->packed + k->packed_size(k, v0, w->in) : NULL;

    k->matmul_forward(k, logits, rows, matrix_weights(m, w) + (size_t)v0 * w->in, packed, R, n,
                      w->in);
}

/* Gather chosen positions of x and norm them.  A gather is an embedding of its own. */
static void last_norm(const struct model *m, const float *x, const int *chosen, int n, float *last,
                      float *hidden, float *rstd)
{
    const struct model_shape *s = &m->shape;
    struct compute *k = m->compute;

    k->embedding_forward(k, last, x, chosen, n, s->C);
    k->rmsnorm_forward(k, hidden, rstd, last, model_at(m, m->norm), s->eps, n, s->C);
}

void head_logits(const struct model *m, float *logits, const float *x, const int *chosen, int n,
                 float *last, float *hidden, float *rstd)
{
    last_norm(m, x, chosen, n, last, hidden, rstd);
    tile(m, logits, hidden, 0, m->shape.V, n);
}

static void list_targets(struct head *h, const struct pass *p)
{
    h->P = 0;
    for (int n = 0; n < p->N; n++)
        for (int t = p->start[n]; t + 1 < p->start[n + 1]; t++) {
            h->from[h->P] = t;
            h->targets[h->P++] = p->tokens[t + 1];
        }
}

void head_forward(struct head *h, const struct pass *p, const float *x, float temperature,
                  float *logp, float *entropy)
{
    struct model *m = p->model;
    struct compute *k = m->compute;
    int V = m->shape.V;

    memset(logp, 0, (size_t)p->T * sizeof *logp);
    if (entropy)
        memset(entropy, 0, (size_t)p->T * sizeof *entropy);
    list_targets(h, p);
    h->temperature = temperature;
    last_norm(m, x, h->from, h->P, h->last, h->hidden, h->rstd);
    for (int r = 0; r < h->P; r += HEAD_ROWS) {
        int R = least(HEAD_ROWS, h->P - r);

        for (int v = 0; v < V; v += HEAD_VOCAB) {
            int n = least(HEAD_VOCAB, V - v);

            tile(m, h->logits, h->hidden + (size_t)r * m->shape.C, v, n, R);
            k->lse_forward(k, h->state + r, h->target_logit + r, h->logits, h->targets + r,
                           temperature, v, n, R);
        }
        k->lse_finish(k, h->logp, entropy ? h->entropy : NULL, h->state + r, h->target_logit + r,
                      R);
        for (int i = 0; i < R; i++)
            logp[h->from[r + i] + 1] = h->logp[i];
        for (int i = 0; i < R && entropy; i++)
            entropy[h->from[r + i] + 1] = h->entropy[i];
    }
}

/* The next positions with a gradient, at most HEAD_ROWS, and what they need; *next moves on. */
static int pick(struct head *h, const float *dlogp, const float *dentropy, int *next)
{
    int R = 0;

    for (; *next < h->P && R < HEAD_ROWS; ++*next) {
        int i = *next, t = h->from[i] + 1;
        float of_entropy = dentropy ? dentropy[t] : 0.0f;

        if (dlogp[t] == 0.0f && of_entropy == 0.0f)
            continue;
        h->pick[R] = i;
        h->pick_targets[R] = h->targets[i];
        h->pick_state[R] = h->state[i];
        h->dlogp[R] = dlogp[t];
        h->dentropy[R++] = of_entropy;
    }
    return R;
}

/* The picked rows' tiles again, now as gradients: into drows and the head's weight. */
static void tiles_backward(struct head *h, const struct model *m, int R, bool with_entropy,
                           float *dw)
{
    struct compute *k = m->compute;
    int V = m->shape.V, C = m->shape.C;

    for (int v = 0; v < V; v += HEAD_VOCAB) {
        int n = least(HEAD_VOCAB, V - v);

        tile(m, h->logits, h->rows, v, n, R);
        /* lse_forward is also what divides by the temperature; its sums go nowhere here. */
        if (h->temperature != 1.0f)
            k->lse_forward(k, h->no_state, h->logp, h->logits, h->pick_targets,
                           h->temperature, v, n, R);
        k->lse_backward(k, h->logits, h->pick_state, h->pick_targets, h->dlogp,
                        with_entropy ? h->dentropy : NULL, h->temperature, v, n, R);
        k->matmul_backward_input(k, h->drows, h->logits,
                                 matrix_weights(m, &m->head) + (size_t)v * C, R, n, C);
        k->matmul_backward_weight(k, dw + (size_t)v * C, h->logits, h->rows, R, n, C);
    }
}

void head_backward(struct head *h, const struct pass *p, const float *dlogp,
                   const float *dentropy, float *dx, float *grads)
{
    const struct model *m = p->model;
    struct compute *k = m->compute;
    float *dw = m->shape.tied ? h->grads : grads + m->head.offset;
    int C = m->shape.C, next = 0, R;

    memset(h->dhidden, 0, (size_t)h->P * C * sizeof(float));
    while ((R = pick(h, dlogp, dentropy, &next)) > 0) {
        k->embedding_forward(k, h->rows, h->hidden, h->pick, R, C);
        memset(h->drows, 0, (size_t)R * C * sizeof(float));
        tiles_backward(h, m, R, dentropy != NULL, dw);
        k->embedding_backward(k, h->dhidden, h->drows, h->pick, R, C);
    }
    memset(h->dlast, 0, (size_t)h->P * C * sizeof(float));
    k->rmsnorm_backward(k, h->dlast, grads + m->norm, h->dhidden, h->last, model_at(m, m->norm),
                        h->rstd, h->P, C);
    k->embedding_backward(k, dx, h->dlast, h->from, h->P, C);
}
