/* forward.c read from the end: dx is the gradient of a layer's output, and becomes that of its
 * input.  The residual paths need no line of their own, because every gradient is added to dx.
 * Sums over tokens (weights, norms, embedding) continue the chains that are in grads.
 */
#include <string.h>

#include "model/model_internal.h"

void gradients_layout(struct gradients *d, struct memory *memory, const struct model_shape *s,
                      int T, bool apart)
{
    size_t one = (size_t)T * sizeof(float), mark;

    d->norm2 = memory_take(memory, one * s->C);
    d->norm1 = apart ? memory_take(memory, one * s->C) : d->norm2;
    d->out = apart ? memory_take(memory, one * s->C) : NULL;
    d->mid = apart ? memory_take(memory, one * s->C) : NULL;
    mark = memory_mark(memory);
    d->act = memory_take(memory, one * s->F);
    d->gate = memory_take(memory, one * s->F);
    d->up = memory_take(memory, one * s->F);
    if (!apart)
        memory_rewind(memory, mark);            /* the two halves never live together */
    d->att = memory_take(memory, one * s->H * s->D);
    d->q = memory_take(memory, one * s->H * s->D);
    d->key = memory_take(memory, one * s->G * s->D);
    d->value = memory_take(memory, one * s->G * s->D);
    if (!apart)
        memory_rewind(memory, mark);
}

static float *zeroed(float *x, size_t n)
{
    return memset(x, 0, n * sizeof *x);
}

static void input(const struct pass *p, const struct matrix *w, float *dx, const float *dy)
{
    struct compute *k = p->model->compute;

    k->matmul_backward_input(k, dx, dy, matrix_weights(p->model, w), p->T, w->out, w->in);
}

void mlp_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                  const float *dx)
{
    const struct layer *w = &p->model->layers[l];
    struct compute *k = p->model->compute;
    size_t channels = (size_t)p->T * p->model->shape.C, inner = (size_t)p->T * p->model->shape.F;

    input(p, &w->down, zeroed(d->act, inner), dx);
    k->swiglu_backward(k, zeroed(d->gate, inner), zeroed(d->up, inner), d->act, a->gate, a->up,
                       inner);
    input(p, &w->up, zeroed(d->norm2, channels), d->up);
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

    input(p, &w->o, zeroed(d->att, queries), dx);
    k->attention_backward(k, zeroed(d->q, queries), zeroed(d->key, keys), zeroed(d->value, keys),
                          d->att, a->q, a->key, a->value, a->att, a->stats, p->start, p->N, s->H,
                          s->G, s->D);
    k->rotary_backward(k, d->key, m->rotary, p->position, p->T, s->G, s->D);
    k->rotary_backward(k, d->q, m->rotary, p->position, p->T, s->H, s->D);
    input(p, &w->v, zeroed(d->norm1, (size_t)p->T * s->C), d->value);
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

/* The weights' share, whole tokens: w += dy^T x. */
static void add_products(const struct pass *p, const struct product *all, int n, float *grads)
{
    struct compute *k = p->model->compute;

    for (int i = 0; i < n; i++) {
        const struct matrix *w = all[i].w;
        k->matmul_backward_weight(k, grads + w->offset, all[i].dy, all[i].x, p->T, w->out, w->in);
    }
}

void layer_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                    const float *x, float *dx, float *grads)
{
    const struct model *m = p->model;
    const struct layer *w = &m->layers[l];
    struct compute *k = m->compute;
    struct product mlp[MLP_PRODUCTS], attention[ATTENTION_PRODUCTS];
    int T = p->T, C = m->shape.C;

    mlp_backward(p, l, a, d, dx);
    mlp_products(p, l, a, d, dx, mlp);
    add_products(p, mlp, MLP_PRODUCTS, grads);
    k->rmsnorm_backward(k, dx, grads + w->norm2, d->norm2, a->mid, model_at(m, w->norm2), a->rstd2,
                        T, C);
    attention_backward(p, l, a, d, dx);
    attention_products(p, l, a, d, dx, attention);
    add_products(p, attention, ATTENTION_PRODUCTS, grads);
    k->rmsnorm_backward(k, dx, grads + w->norm1, d->norm1, x, model_at(m, w->norm1), a->rstd1, T,
                        C);
}

void embed_backward(const struct pass *p, const float *dx, float *grads)
{
    struct compute *k = p->model->compute;

    k->embedding_backward(k, grads + p->model->embed.offset, dx, p->tokens, p->T,
                          p->model->shape.C);
}
