/* forward.c read from the end: dx is the gradient of a layer's output, and becomes that of its
 * input.  The residual paths need no line of their own, because every gradient is added to dx.
 * Sums over tokens (weights, norms, embedding) continue the chains that are in grads.
 */
#include "model/model_internal.h"

void gradients_layout(struct gradients *d, struct memory *memory, const struct model_shape *s,
                      int T, bool apart)
{
    size_t one = (size_t)T * sizeof(float), mark, end;

    d->norm2 = memory_take(memory, one * s->C);
    d->norm1 = apart ? memory_take(memory, one * s->C) : d->norm2;
    d->out = apart ? memory_take(memory, one * s->C) : NULL;
    d->mid = apart ? memory_take(memory, one * s->C) : NULL;
    mark = memory_mark(memory);
    d->act = memory_take(memory, one * s->F);
    d->gate = memory_take(memory, one * s->F);
    d->up = memory_take(memory, one * s->F);
    end = memory_mark(memory);
    if (!apart)
        memory_rewind(memory, mark);            /* the two halves never live together */
    d->att = memory_take(memory, one * s->H * s->D);
    d->q = memory_take(memory, one * s->H * s->D);
    d->key = memory_take(memory, one * s->G * s->D);
    d->value = memory_take(memory, one * s->G * s->D);
    memory_skip(memory, end);
}

static float *zeroed(struct compute *k, float *x, size_t n)
{
    k->zero(k, x, n * sizeof *x);
    return x;
}

static void input(const struct pass *p, const struct matrix *w, float *dx, const float *dy)
{
    struct compute *k = p->model->compute;

    k->matmul_backward_input(k, dx, dy, matrix_weights(p->model, w), w->packed,
                             p->T, w->out, w->in);
}

void mlp_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                  const float *dx)
{
    const struct layer *w = &p->model->layers[l];
    struct compute *k = p->model->compute;
    size_t channels = (size_t)p->T * p->model->shape.C, inner = (size_t)p->T * p->model->shape.F;

    input(p, &w->down, zeroed(k, d->act, inner), dx);
    k->glu_backward(k, zeroed(k, d->gate, inner), zeroed(k, d->up, inner), d->act, a->gate, a->up,
                    inner, ACT_SILU);
    input(p, &w->up, zeroed(k, d->norm2, channels), d->up);
    input(p, &w->gate, d->norm2, d->gate);
}

void mlp_products(const struct pass *p, int l, const struct activations *a,
                  const struct gradients *d, const float *dx, struct product out[MLP_PRODUCTS])
{
    const struct layer *w = &p->model->layers[l];

    out[0] = (struct product){ &w->down, dx, a->act };
    out[1] = (struct product){ &w->up, d->up, a->norm2 };
    out[2] = (struct product){ &w->gate, d->gate, a->norm2 };
}

void attention_backward(const struct pass *p, int l, const struct activations *a,
                        struct gradients *d, const float *dx)
{
    const struct model *m = p->model;
    const struct model_shape *s = &m->shape;
    const struct layer *w = &m->layers[l];
    struct compute *k = m->compute;
    size_t queries = (size_t)p->T * s->H * s->D, keys = (size_t)p->T * s->G * s->D;

    input(p, &w->o, zeroed(k, d->att, queries), dx);
    k->attention_backward(k, zeroed(k, d->q, queries), zeroed(k, d->key, keys),
                          zeroed(k, d->value, keys), d->att, a->q, a->key, a->value, a->att,
                          a->stats, p->start, p->N, attention_of(s));
    k->rotary_backward(k, d->key, m->rotary, p->position, p->T, s->G, s->D);
    k->rotary_backward(k, d->q, m->rotary, p->position, p->T, s->H, s->D);
    input(p, &w->v, zeroed(k, d->norm1, (size_t)p->T * s->C), d->value);
    input(p, &w->k, d->norm1, d->key);
    input(p, &w->q, d->norm1, d->q);
}

void attention_products(const struct pass *p, int l, const struct activations *a,
                        const struct gradients *d, const float *dx,
                        struct product out[ATTENTION_PRODUCTS])
{
    const struct layer *w = &p->model->layers[l];

    out[0] = (struct product){ &w->o, dx, a->att };
    out[1] = (struct product){ &w->v, d->value, a->norm1 };
    out[2] = (struct product){ &w->k, d->key, a->norm1 };
    out[3] = (struct product){ &w->q, d->q, a->norm1 };
}

/* ---- sums over tokens, leaf by leaf */

bool leaf_tokens(const struct pass *p, int i, int *a, int *b)
{
    *a = p->start[i > 0 ? p->leaves[i - 1].end : 0];
    *b = p->start[p->leaves[i].end];
    return p->leaves[i].grads != NULL;
}

/* w = or += dy^T x */
static void add_product(const struct pass *p, const struct product *y)
{
    struct compute *k = p->model->compute;
    const struct matrix *w = y->w;

    for (int i = 0, a, b; i < p->n_leaves; i++)
        if (leaf_tokens(p, i, &a, &b))
            k->matmul_backward_weight(k, p->leaves[i].grads + w->offset,
                                      y->dy + (size_t)a * w->out,
                                      stored_at(k->dtype, y->x, (size_t)a * w->in), p->slot + a,
                                      b - a, w->out, w->in, !p->leaves[i].fresh);
}

static void add_products(const struct pass *p, const struct product *all, int n)
{
    for (int i = 0; i < n; i++)
        add_product(p, &all[i]);
}

/* A leaf that wants no gradients has none: dx of its tokens stays as it is. */
void norm_backward(const struct pass *p, size_t norm, float *dx, const float *dy, const float *x,
                   const float *rstd)
{
    struct compute *k = p->model->compute;
    int C = p->model->shape.C;

    for (int i = 0, a, b; i < p->n_leaves; i++)
        if (leaf_tokens(p, i, &a, &b))
            k->rmsnorm_backward(k, dx + (size_t)a * C, p->leaves[i].grads + norm,
                                dy + (size_t)a * C, x + (size_t)a * C, model_at(p->model, norm),
                                rstd + a, b - a, C);
}

void layer_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                    const float *x, float *dx)
{
    const struct layer *w = &p->model->layers[l];
    struct product mlp[MLP_PRODUCTS], attention[ATTENTION_PRODUCTS];

    mlp_backward(p, l, a, d, dx);
    mlp_products(p, l, a, d, dx, mlp);
    add_products(p, mlp, MLP_PRODUCTS);
    norm_backward(p, w->norm2, dx, d->norm2, a->mid, a->rstd2);
    attention_backward(p, l, a, d, dx);
    attention_products(p, l, a, d, dx, attention);
    add_products(p, attention, ATTENTION_PRODUCTS);
    norm_backward(p, w->norm1, dx, d->norm1, x, a->rstd1);
}
