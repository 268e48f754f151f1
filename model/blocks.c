/* The backward pass cut open.  model_backward_next moves dx down by one block and leaves that
 * block's gradients of activations (dy of each product) in t->d; model_backward_part makes weight
 * gradients of them, for some rows times a factor each:
 *
 *   dW += sum over rows n of scale[n] * dy(n)^T x(n)        one chain over tokens, in order
 *
 * A run of rows whose factors are not 0 is one product; the rows between add nothing.
 */
#include <string.h>

#include "model/model_internal.h"

#define TOKENS_AT_ONCE 64        /* of which the embedding takes those of its ids */

/* What a call of model_backward_part is about. */
struct part {
    struct trainer *t;
    int first_row, end_row;
    const float *scale;          /* NULL: 1 */
    float *grads;
    size_t offset;               /* of the part in the flat buffer */
    struct ids_part ids;         /* of the vocabulary; none: first = end */
};

static int widest(const struct model_shape *s)
{
    int w = s->C > s->F ? s->C : s->F;

    return w > s->H * s->D ? w : s->H * s->D;
}

static void outputs_layout(struct model_outputs *o, struct memory *memory,
                           const struct model_shape *s, int T)
{
    o->logp = memory_take(memory, s->lm ? (size_t)T * sizeof(float) : 0);
    o->entropy = memory_take(memory, s->lm ? (size_t)T * sizeof(float) : 0);
    o->score = memory_take(memory, (size_t)T * s->scores * sizeof(float));
}

void blocks_layout(struct trainer *t, struct memory *memory)
{
    const struct model_shape *s = &t->shape;
    size_t T = (size_t)t->max_tokens;

    outputs_layout(&t->copies, memory, s, t->max_tokens);
    outputs_layout(&t->scaled, memory, s, t->max_tokens);
    t->times = memory_take(memory, T * widest(s) * sizeof(float));
    t->nowhere = memory_take(memory, (T + 1) * s->C * sizeof(float));
}

/* ---- rows times their factors */

struct run { int first, end, a, b; };    /* rows, and their tokens */

/* The next run of rows with a factor from row r->end on; false: there is none. */
static bool next_run(const struct part *w, struct run *r)
{
    const int *start = w->t->pass.start;
    const float *scale = w->scale;

    r->first = r->end;
    while (r->first < w->end_row && scale && scale[r->first] == 0.0f)
        r->first++;
    r->end = r->first;
    while (r->end < w->end_row && (!scale || scale[r->end] != 0.0f))
        r->end++;
    r->a = start[r->first];
    r->b = start[r->end];
    return r->end > r->first;
}

static void multiply(const struct part *w, int n, float *out, const float *d, int width)
{
    size_t count = (size_t)(w->t->pass.start[n + 1] - w->t->pass.start[n]) * width;

    for (size_t i = 0; i < count; i++)
        out[i] = w->scale ? d[i] * w->scale[n] : d[i];
}

/* dy(T, width) of the run's tokens times their rows' factors. */
static const float *times(const struct part *w, const struct run *r, const float *dy, int width)
{
    const int *start = w->t->pass.start;

    if (w->scale)
        compute_wait(w->t->model->compute);      /* the products before still read t->times */
    for (int n = r->first; n < r->end && w->scale; n++)
        multiply(w, n, w->t->times + (size_t)(start[n] - r->a) * width,
                 dy + (size_t)start[n] * width, width);
    return w->scale ? w->t->times : dy + (size_t)r->a * width;
}

static float *grads_at(const struct part *w, size_t offset)
{
    return w->grads + (offset - w->offset);
}

static void add_products(const struct part *w, const struct product *all, int n)
{
    struct compute *k = w->t->model->compute;

    for (int i = 0; i < n; i++) {
        const struct matrix *m = all[i].w;
        for (struct run r = {.end = w->first_row}; next_run(w, &r);)
            k->matmul_backward_weight(k, grads_at(w, m->offset), times(w, &r, all[i].dy, m->out),
                                      stored_at(k->dtype, all[i].x, (size_t)r.a * m->in),
                                      w->t->pass.slot + r.a, r.b - r.a, m->out, m->in, true);
    }
}

/* A norm's weight, from dy of its output and its input x. */
static void add_norm(const struct part *w, size_t norm, const float *dy, const float *x,
                     const float *rstd)
{
    struct trainer *t = w->t;
    struct compute *k = t->model->compute;
    int C = t->shape.C;

    for (struct run r = {.end = w->first_row}; next_run(w, &r);)
        k->rmsnorm_backward(k, t->nowhere, grads_at(w, norm), times(w, &r, dy, C),
                            x + (size_t)r.a * C, model_at(t->model, norm), rstd + r.a, r.b - r.a,
                            C);
}

/* One output's gradient times the rows' factors, zero on all other rows. */
static float *scale_output(const struct part *w, float *out, const float *d, int width)
{
    const int *start = w->t->pass.start;

    if (!d)
        return NULL;
    memset(out, 0, (size_t)w->t->pass.T * width * sizeof *out);
    for (int n = w->first_row; n < w->end_row; n++)
        multiply(w, n, out + (size_t)start[n] * width, d + (size_t)start[n] * width, width);
    return out;
}

/* ---- blocks */

/* The pass, with all its rows' sums over tokens to grads. */
static struct pass pass_to(const struct trainer *t, struct leaf_rows *all, float *grads)
{
    struct pass p = t->pass;

    *all = (struct leaf_rows){ .end = p.N, .grads = grads };
    p.leaves = all;
    p.n_leaves = 1;
    return p;
}

static void vocabulary_part(const struct part *w)
{
    struct trainer *t = w->t;
    struct leaf_rows all;
    struct pass p = pass_to(t, &all, w->grads);
    const float *logp = scale_output(w, t->scaled.logp, t->given.logp, 1);
    const float *entropy = scale_output(w, t->scaled.entropy, t->given.entropy, 1);

    if (logp || entropy)
        head_backward(&t->head, &p, w->ids, logp, entropy, false, 0);
}

static void scores_part(const struct part *w)
{
    struct trainer *t = w->t;
    const float *score = scale_output(w, t->scaled.score, t->given.score, t->shape.scores);
    struct leaf_rows all;
    struct pass p = pass_to(t, &all, grads_at(w, t->model->score.offset));

    if (score)
        score_backward(&t->head, &p, score, false, 0);
}

/* The norm, a run of the head's ids, or the scores; all in one where no vocabulary head is here. */
static void head_part(const struct part *w)
{
    struct trainer *t = w->t;
    const struct model *m = t->model;

    if (w->ids.end > w->ids.first) {
        vocabulary_part(w);
        return;
    }
    if (w->offset == m->norm)
        add_norm(w, m->norm, t->head.dhidden, x_at(t, t->shape.L), t->head.rstd);
    if (w->offset != m->norm || !t->shape.lm || t->shape.tied)
        scores_part(w);
}

static void layer_part(const struct part *w, int l)
{
    struct trainer *t = w->t;
    struct product mlp[MLP_PRODUCTS], attention[ATTENTION_PRODUCTS];
    const struct activations *a = &t->inside[t->mode == KEEP_ALL ? l : 0];
    const struct layer *layer = &t->model->layers[l];

    mlp_products(&t->pass, l, a, &t->d, t->d.out, mlp);
    attention_products(&t->pass, l, a, &t->d, t->d.mid, attention);
    add_products(w, mlp, MLP_PRODUCTS);
    add_norm(w, layer->norm2, t->d.norm2, a->mid, a->rstd2);
    add_products(w, attention, ATTENTION_PRODUCTS);
    add_norm(w, layer->norm1, t->d.norm1, x_at(t, l), a->rstd1);
}

/* Tokens [a, b) of the part's ids, those that are next to each other at once; dy (b - a, C). */
static void add_tokens(const struct part *w, float *grads, const float *dy, int a, int b)
{
    struct compute *k = w->t->model->compute;
    int C = w->t->shape.C, from = a, n = 0, ids[TOKENS_AT_ONCE];

    for (int i = a; i <= b; i++) {
        int id = i < b ? w->t->pass.tokens[i] : -1;
        bool here = id >= w->ids.first && id < w->ids.end;

        if (n > 0 && (!here || n == TOKENS_AT_ONCE)) {
            k->embedding_backward(k, grads, dy + (size_t)(from - a) * C, ids, n, C);
            n = 0;
        }
        if (here && n == 0)
            from = i;
        if (here)
            ids[n++] = id - w->ids.first;
    }
}

static void embed_part(const struct part *w)
{
    struct trainer *t = w->t;
    int C = t->shape.C;
    float *grads = t->embedded ? t->embedded + (size_t)w->ids.first * C : w->grads;

    for (struct run r = {.end = w->first_row}; next_run(w, &r);)
        add_tokens(w, grads, times(w, &r, t->dx, C), r.a, r.b);
    if (!t->embedded)
        return;
    vocabulary_part(w);
    embedded_touch(t, w->first_row, w->end_row);
    embedded_fold(t, w->ids, w->grads);
}

static int part_check(const struct trainer *t, int block, int part, int first_row, int end_row)
{
    if (t->block < 0 || t->version != t->model->version)
        return rl_error(RL_EBUG, "a block of a backward pass that is not under way");
    if (block != t->block)
        return rl_error(RL_EBUG, "block %d of the backward pass where %d is at hand", block,
                        t->block);
    if (part < 0 || part >= model_parts(&t->shape, block))
        return rl_error(RL_EBUG, "part %d of a block of %d", part, model_parts(&t->shape, block));
    if (first_row < 0 || first_row > end_row || end_row > t->pass.N)
        return rl_error(RL_EBUG, "rows %d to %d of a pass of %d", first_row, end_row, t->pass.N);
    return RL_OK;
}

int model_backward_part(struct trainer *t, int block, int part, int first_row, int end_row,
                        const float *scale, float *grads)
{
    struct part w = {.t = t, .first_row = first_row, .end_row = end_row, .scale = scale,
                     .grads = grads};
    int rc = RL_OK, L = t->shape.L;
    size_t count;

    TRY(part_check(t, block, part, first_row, end_row));
    model_part_range(&t->shape, block, part, &w.offset, &count);
    model_part_ids(&t->shape, block, part, &w.ids.first, &w.ids.end);
    if (block == 0)
        head_part(&w);
    else if (block <= L)
        layer_part(&w, L - block);
    else
        embed_part(&w);
    rc = compute_sync(t->model->compute);
done:
    return rc;
}

/* ---- down through the blocks */

static float *copied(const struct trainer *t, float *out, const float *d, int width)
{
    size_t first = (size_t)t->first * width, n = (size_t)t->pass.T * width;

    return d ? memcpy(out, d + first, n * sizeof *out) : NULL;
}

int model_backward_begin(struct trainer *t, const struct model_outputs *d)
{
    const struct pass *p = &t->pass;
    struct model_outputs *g = &t->given;
    int rc = RL_OK;

    t->block = -1;
    if (!t->apart)
        return rl_error(RL_EBUG, "a backward pass by blocks needs trainer_create_blocks");
    TRY(backward_check(t, d));
    g->logp = copied(t, t->copies.logp, d->logp, 1);
    g->entropy = copied(t, t->copies.entropy, d->entropy, 1);
    g->score = copied(t, t->copies.score, d->score, t->shape.scores);
    head_clear(&t->head, p);
    if (g->logp || g->entropy)
        head_backward(&t->head, p, (struct ids_part){0, t->shape.V}, g->logp, g->entropy, true, 0);
    if (g->score)
        score_backward(&t->head, p, g->score, true, 0);
    TRY(compute_sync(t->model->compute));
    t->block = 0;
done:
    return rc;
}

/* dx of layer l's output becomes that of its input; what its weights need stays in t->d. */
static void layer_down(struct trainer *t, int l)
{
    const struct pass *p = &t->pass;
    const struct model *m = t->model;
    const struct layer *w = &m->layers[l];
    struct activations *a = inside_at(t, l);
    struct compute *k = m->compute;
    int T = p->T, C = t->shape.C;
    size_t bytes = (size_t)T * C * sizeof(float);

    k->copy(k, t->d.out, t->dx, bytes);
    mlp_backward(p, l, a, &t->d, t->dx);
    k->rmsnorm_backward(k, t->dx, t->nowhere, t->d.norm2, a->mid, model_at(m, w->norm2), a->rstd2,
                        T, C);
    k->copy(k, t->d.mid, t->dx, bytes);
    attention_backward(p, l, a, &t->d, t->dx);
    k->rmsnorm_backward(k, t->dx, t->nowhere, t->d.norm1, x_at(t, l), model_at(m, w->norm1),
                        a->rstd1, T, C);
}

int model_backward_next(struct trainer *t)
{
    int rc = RL_OK, L = t->shape.L;

    TRY(part_check(t, t->block, 0, 0, 0));
    if (t->block == 0) {
        const struct model *m = t->model;

        m->compute->zero(m->compute, t->dx, (size_t)t->pass.T * t->shape.C * sizeof *t->dx);
        m->compute->rmsnorm_backward(m->compute, t->dx, t->nowhere, t->head.dhidden, x_at(t, L),
                                     model_at(m, m->norm), t->head.rstd, t->pass.T, t->shape.C);
    }
    if (t->block < L)
        layer_down(t, L - 1 - t->block);
    t->block = t->block <= L ? t->block + 1 : -1;
    rc = compute_sync(t->model->compute);
done:
    return rc;
}
