/* The heads: the last norm, then hidden states to the log-probability of the next token and its
 * entropy, or to scores; and back.
 *
 *           ids 0 .. tile_ids        ...            V
 *         +-------------------+-------------------+----+
 *  rows   | logits -> lse     | -> lse            | -> | -> logp, entropy
 *         +-------------------+-------------------+----+
 *
 * One tile of logits is worked on at a time.  Where memory counts (`recompute`, a GPU) no other
 * exists, and the backward pass makes the tiles again; else they are kept for it.  A row's last
 * token has no target and no logits.  The backward pass also leaves out positions whose gradient is
 * zero (prompts): a zero adds nothing.
 */
#include <string.h>

#include "model/model_internal.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Tiles that stay in a processor's caches, or that fill a GPU.  They change no bit: every chain
 * goes on where it was. */
void head_cut(struct head *h, const struct compute *k)
{
    bool gpu = compute_is_gpu(k);

    h->tile_rows = gpu ? 2048 : 256;
    h->tile_ids = (gpu ? 16 : 4) * VOCAB_BLOCK;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int odd(int width)
{
    return width % 8 ? width : 0;
}

void head_count(const struct compute *k, const struct model_shape *s, int tokens, bool backward)
{
    struct compute_load *load = k->load;
    struct head h = {0};

    if (!load)
        return;
    head_cut(&h, k);
    load->ids = larger(load->ids, s->lm ? least(s->V, h.tile_ids) : 0);
    load->forward = larger(load->forward, tokens);
    load->channels = larger(load->channels, s->C);
    load->widest = larger(load->widest, larger(larger(s->F, s->C), s->H * s->D));
    load->odd = larger(load->odd, larger(larger(odd(s->F), odd(s->C)), odd(s->H * s->D)));
    if (!backward)
        return;
    load->tokens = larger(load->tokens, tokens);
    load->heads = larger(load->heads, s->H);
    load->D = larger(load->D, s->D);
    load->features = larger(load->features, larger(larger(s->F, s->C), s->H * s->D));
    if (s->lm) {
        load->tile_rows = larger(load->tile_rows, least(tokens, h.tile_rows));
        load->tile_ids = larger(load->tile_ids, least(s->V, h.tile_ids));
    }
}

void head_layout(struct head *h, struct memory *memory, const struct model_shape *s,
                 enum compute_dtype dtype, int T, bool logits)
{
    h->hidden = memory_take(memory, (size_t)T * s->C * stored_bytes(dtype));
    h->rstd = memory_take(memory, (size_t)T * sizeof(float));
    if (!s->lm)
        return;
    h->state = memory_take(memory, (size_t)T * sizeof *h->state);
    h->target_logit = memory_take(memory, (size_t)T * sizeof(float));
    if (logits)
        h->kept = memory_take(memory, (size_t)T * s->V * sizeof(float));
}

void head_layout_scratch(struct head *h, struct memory *memory, const struct model_shape *s,
                         enum compute_dtype dtype, int T, bool backward)
{
    size_t R = least(T, h->tile_rows), rows = R * s->C * sizeof(float);

    h->rows = memory_take(memory, R * s->C * stored_bytes(dtype));
    if (s->lm) {
        h->logits = memory_take(memory, R * least(s->V, h->tile_ids) * sizeof(float));
        h->logp = memory_take(memory, R * sizeof(float));
        h->entropy = memory_take(memory, R * sizeof(float));
    }
    if (!backward)
        return;
    h->dhidden = memory_take(memory, (size_t)T * s->C * sizeof(float));
    h->drows = memory_take(memory, rows);
    h->dscore = memory_take(memory, R * s->scores * sizeof(float));
    if (!s->lm)
        return;
    h->pick_state = memory_take(memory, R * sizeof *h->pick_state);
    h->no_state = memory_take(memory, R * sizeof *h->no_state);
}

void head_layout_lists(struct head *h, struct memory *memory, const struct model_shape *s, int T,
                       bool backward)
{
    size_t R = least(T, h->tile_rows);

    if (s->lm) {
        h->from = memory_take(memory, (size_t)T * sizeof(int));
        h->targets = memory_take(memory, (size_t)T * sizeof(int));
    }
    if (!backward)
        return;
    h->pick = memory_take(memory, R * sizeof(int));
    h->pick_at = memory_take(memory, R * sizeof(int));
    h->pick_slot = memory_take(memory, R * sizeof(int));
    if (!s->lm)
        return;
    h->pick_targets = memory_take(memory, R * sizeof(int));
    h->dlogp = memory_take(memory, R * sizeof(float));
    h->dentropy = memory_take(memory, R * sizeof(float));
}

/* The packed form of ids v0 onwards, a multiple of PACK_ROWS; NULL if there is none. */
static const float *packed_ids(const struct model *m, int v0)
{
    const struct matrix *w = &m->head;

    return w->packed ? w->packed + m->compute->packed_size(m->compute, v0, w->in) : NULL;
}

/* Logits of ids v0 .. v0+n from rows of hidden states. */
static void tile(const struct model *m, float *logits, const void *rows, int v0, int n, int R)
{
    const struct matrix *w = &m->head;
    struct compute *k = m->compute;

    k->matmul_forward(k, logits, rows, matrix_weights(m, w) + (size_t)v0 * w->in, packed_ids(m, v0),
                      R, n, w->in);
}

void head_logits(const struct model *m, float *logits, const float *x, const int *chosen, int n,
                 float *last, void *hidden, float *rstd)
{
    const struct model_shape *s = &m->shape;
    struct compute *k = m->compute;

    k->gather(k, last, x, chosen, n, (size_t)s->C * sizeof *x);
    k->rmsnorm_forward(k, hidden, rstd, last, model_at(m, m->norm), s->eps, n, s->C);
    tile(m, logits, hidden, 0, s->V, n);
}

/* ---- the last norm */

void head_norm_forward(struct head *h, const struct pass *p, const float *x)
{
    const struct model *m = p->model;
    struct compute *k = m->compute;

    k->rmsnorm_forward(k, h->hidden, h->rstd, x, model_at(m, m->norm), m->shape.eps, p->T,
                       m->shape.C);
    h->P = 0;
}

void head_clear(struct head *h, const struct pass *p)
{
    struct compute *k = p->model->compute;

    k->zero(k, h->dhidden, (size_t)p->T * p->model->shape.C * sizeof(float));
}

/* rows(R,C) = the hidden states of positions from(R) */
static void gather(struct head *h, const struct pass *p, const int *from, int R)
{
    struct compute *k = p->model->compute;

    k->gather(k, h->rows, h->hidden, from, R, (size_t)p->model->shape.C * stored_bytes(k->dtype));
}

/* ---- log-probabilities */

static void list_targets(struct head *h, const struct pass *p)
{
    h->P = 0;
    for (int n = 0; n < p->N; n++)
        for (int t = p->start[n]; t + 1 < p->start[n + 1]; t++) {
            h->from[h->P] = t;
            h->targets[h->P++] = p->tokens[t + 1];
        }
}

/* Ids v .. v + n of the i-th position, when its tile is kept: rows of n, tile_rows of them or, in
 * the last tiles, fewer. */
static float *kept_logits(const struct head *h, int i, int V, int v, int n)
{
    int r = i / h->tile_rows * h->tile_rows, R = least(h->tile_rows, h->P - r);

    return h->kept + (size_t)r * V + (size_t)R * v + (size_t)(i - r) * n;
}

/* How many picked rows from the i-th on lie one behind the other there. */
static int kept_run(const struct head *h, int i, int R)
{
    int n = 1, at = h->pick_at[i];

    while (i + n < R && h->pick_at[i + n] == at + n && (at + n) % h->tile_rows != 0)
        n++;
    return n;
}

void head_forward(struct head *h, const struct pass *p, float temperature, bool keep, float *logp,
                  float *entropy)
{
    struct model *m = p->model;
    struct compute *k = m->compute;
    int V = m->shape.V;

    memset(logp, 0, (size_t)p->T * sizeof *logp);
    if (entropy)
        memset(entropy, 0, (size_t)p->T * sizeof *entropy);
    list_targets(h, p);
    h->temperature = temperature;
    h->keeps = keep && h->kept;
    for (int r = 0; r < h->P; r += h->tile_rows) {
        int R = least(h->tile_rows, h->P - r);

        gather(h, p, h->from + r, R);
        for (int v = 0; v < V; v += h->tile_ids) {
            int n = least(h->tile_ids, V - v);
            float *logits = h->keeps ? kept_logits(h, r, V, v, n) : h->logits;

            tile(m, logits, h->rows, v, n, R);
            k->lse_forward(k, h->state + r, h->target_logit + r, logits, h->targets + r,
                           temperature, v, n, R);
        }
        k->lse_finish(k, h->logp, entropy ? h->entropy : NULL, h->state + r, h->target_logit + r,
                      R);
        compute_wait(k);
        for (int i = 0; i < R; i++)
            logp[h->from[r + i] + 1] = h->logp[i];
        for (int i = 0; i < R && entropy; i++)
            entropy[h->from[r + i] + 1] = h->entropy[i];
    }
}

/* Does token t begin a step of slots for which there may be no room behind R tokens? */
static bool cuts_step(const struct head *h, const struct pass *p, int R, int t)
{
    return R + SLOT_STEP > h->tile_rows &&
           p->slot[t] / SLOT_STEP != p->slot[h->pick[R - 1]] / SLOT_STEP;
}

/* The next positions with a gradient, at most tile_rows, and what they need; *next moves on. */
static int pick(struct head *h, const struct pass *p, const float *dlogp, const float *dentropy,
                int *next)
{
    int R = 0;

    for (; *next < h->P && R < h->tile_rows; ++*next) {
        int i = *next, t = h->from[i] + 1;
        float of_logp = dlogp ? dlogp[t] : 0.0f, of_entropy = dentropy ? dentropy[t] : 0.0f;

        if (of_logp == 0.0f && of_entropy == 0.0f)
            continue;
        if (cuts_step(h, p, R, h->from[i]))
            break;
        h->pick[R] = h->from[i];
        h->pick_at[R] = i;
        h->pick_targets[R] = h->targets[i];
        h->dlogp[R] = of_logp;
        h->dentropy[R++] = of_entropy;
    }
    return R;
}

/* The picked rows [*a, *b) are of leaf i. */
static bool leaf_picks(const struct head *h, const struct pass *p, int i, int R, int *a, int *b)
{
    int first, end;
    bool wanted = leaf_tokens(p, i, &first, &end);

    for (*a = 0; *a < R && h->pick[*a] < first;)
        ++*a;
    for (*b = *a; *b < R && h->pick[*b] < end;)
        ++*b;
    return wanted && *b > *a;
}

/* The slots of the picked rows [a, b). */
static const int *slots(struct head *h, const struct pass *p, int a, int b)
{
    for (int i = a; i < b; i++)
        h->pick_slot[i] = p->slot[h->pick[i]];
    return h->pick_slot + a;
}

/* dlogits(R, n) of ids v .. v + n into the head's weight. */
static void tile_weight(struct head *h, const struct pass *p, int R, size_t at, int n,
                        const bool *begun)
{
    struct compute *k = p->model->compute;
    int C = p->model->shape.C;

    for (int i = 0, a, b; i < p->n_leaves; i++)
        if (leaf_picks(h, p, i, R, &a, &b))
            k->matmul_backward_weight(k, p->leaves[i].grads + at, h->logits + (size_t)a * n,
                                      stored_at(k->dtype, h->rows, (size_t)a * C),
                                      slots(h, p, a, b), b - a, n, C,
                                      begun[i] || !p->leaves[i].fresh);
}

/* The picked rows' logits over the temperature. */
static void tile_again(struct head *h, const struct pass *p, int v, int n, int R)
{
    struct compute *k = p->model->compute;

    for (int i = 0, run; h->keeps && i < R; i += run) {
        run = kept_run(h, i, R);
        k->copy(k, h->logits + (size_t)i * n,
                kept_logits(h, h->pick_at[i], p->model->shape.V, v, n),
                (size_t)run * n * sizeof(float));
    }
    if (h->keeps)
        return;
    tile(p->model, h->logits, h->rows, v, n, R);
    /* lse_forward is also what divides by the temperature; its sums go nowhere here. */
    if (h->temperature != 1.0f)
        k->lse_forward(k, h->no_state, h->logp, h->logits, h->pick_targets, h->temperature, v, n,
                       R);
}

/* The picked rows' tiles again, now as gradients: into drows and the head's weight. */
static void tiles_backward(struct head *h, const struct pass *p, struct ids_part ids, int R,
                           bool with_entropy, bool drows, size_t offset, const bool *begun)
{
    const struct model *m = p->model;
    struct compute *k = m->compute;
    int C = m->shape.C;

    for (int v = ids.first; v < ids.end; v += h->tile_ids) {
        int n = least(h->tile_ids, ids.end - v);

        tile_again(h, p, v, n, R);
        k->lse_backward(k, h->logits, h->pick_state, h->pick_targets, h->dlogp,
                        with_entropy ? h->dentropy : NULL, h->temperature, v, n, R);
        if (drows)
            k->matmul_backward_input(k, h->drows, h->logits,
                                     matrix_weights(m, &m->head) + (size_t)v * C,
                                     packed_ids(m, v), R, n, C);
        tile_weight(h, p, R, offset + (size_t)(v - ids.first) * C, n, begun);
    }
}

void head_backward(struct head *h, const struct pass *p, struct ids_part ids, const float *dlogp,
                   const float *dentropy, bool dhidden, size_t offset)
{
    struct compute *k = p->model->compute;
    int C = p->model->shape.C, next = 0, R, a, b;
    bool begun[LEAF_ROWS_MOST] = {false};

    while ((R = pick(h, p, dlogp, dentropy, &next)) > 0) {
        gather(h, p, h->pick, R);
        k->gather(k, h->pick_state, h->state, h->pick_at, R, sizeof *h->state);
        k->zero(k, h->drows, (size_t)R * C * sizeof(float));
        tiles_backward(h, p, ids, R, dentropy != NULL, dhidden, offset, begun);
        for (int i = 0; i < p->n_leaves; i++)
            begun[i] |= leaf_picks(h, p, i, R, &a, &b);
        if (dhidden)
            k->embedding_backward(k, h->dhidden, h->drows, h->pick, R, C);
    }
    for (int i = 0; i < p->n_leaves; i++)
        if (p->leaves[i].grads && p->leaves[i].fresh && !begun[i])
            k->zero(k, p->leaves[i].grads + offset,
                    (size_t)(ids.end - ids.first) * C * sizeof(float));
}

/* ---- scores: one linear product, no bias */

void score_forward(const struct head *h, const struct pass *p, float *score)
{
    matrix_forward(p->model, &p->model->score, score, h->hidden, p->T);
}

/* The next tokens with a gradient, as above. */
static int pick_scored(struct head *h, const struct pass *p, const float *dscore, int *next)
{
    int S = p->model->shape.scores, R = 0;

    compute_wait(p->model->compute);     /* dscore of the tokens before is still read */
    for (; *next < p->T && R < h->tile_rows; ++*next) {
        const float *d = dscore + (size_t)*next * S;
        bool any = false;

        for (int i = 0; i < S; i++)
            any |= d[i] != 0.0f;
        if (!any)
            continue;
        if (cuts_step(h, p, R, *next))
            break;
        memcpy(h->dscore + (size_t)R * S, d, (size_t)S * sizeof *d);
        h->pick[R++] = *next;
    }
    return R;
}

void score_backward(struct head *h, const struct pass *p, const float *dscore, bool dhidden,
                    size_t offset)
{
    const struct model *m = p->model;
    struct compute *k = m->compute;
    int C = m->shape.C, S = m->shape.scores, next = 0, R;

    while ((R = pick_scored(h, p, dscore, &next)) > 0) {
        gather(h, p, h->pick, R);
        for (int i = 0, a, b; i < p->n_leaves; i++)
            if (leaf_picks(h, p, i, R, &a, &b))
                k->matmul_backward_weight(k, p->leaves[i].grads + offset,
                                          h->dscore + (size_t)a * S,
                                          stored_at(k->dtype, h->rows, (size_t)a * C),
                                          slots(h, p, a, b), b - a, S, C, true);
        if (!dhidden)
            continue;
        k->zero(k, h->drows, (size_t)R * C * sizeof(float));
        k->matmul_backward_input(k, h->drows, h->dscore, matrix_weights(m, &m->score),
                                 m->score.packed, R, S, C);
        k->embedding_backward(k, h->dhidden, h->drows, h->pick, R, C);
    }
}
