/* forward.c read from the end: dx is the gradient of a layer's output, and becomes that of its
 * input.  The residual paths need no line of their own, because every gradient is added to dx.
 * Sums over tokens (weights, norms, embedding) continue the chains that are in grads.
 */
#include <string.h>

#include "model/model_internal.h"

void gradients_layout(struct gradients *d, struct memory *memory, const struct model_shape *s,
                      int T)
{
    size_t one = (size_t)T * sizeof(float), mark;

    d->norm = memory_take(memory, one * s->C);
    mark = memory_mark(memory);
    d->act = memory_take(memory, one * s->F);
    d->gate = memory_take(memory, one * s->F);
    d->up = memory_take(memory, one * s->F);
    memory_rewind(memory, mark);                /* the two halves never live together */
    d->att = memory_take(memory, one * s->H * s->D);
    d->q = memory_take(memory, one * s->H * s->D);
    d->key = memory_take(memory, one * s->G * s->D);
    d->value = memory_take(memory, one * s->G * s->D);
    memory_rewind(memory, mark);
}

static float *zeroed(float *x, size_t n)
{
    return memset(x, 0, n * sizeof *x);
}

/* y = mid + down(silu(gate) * up), gate and up of norm2(mid) */
static void mlp_backward(const struct pass *p, int l, const struct activations *a,
                         struct gradients *d, float *dx, float *grads)
{
    const struct model *m = p->model;
    const struct layer *w = &m->layers[l];
    struct compute *k = m->compute;
    size_t channels = (size_t)p->T * m->shape.C, inner = (size_t)p->T * m->shape.F;
    int T = p->T;

    matrix_backward(m, &w->down, zeroed(d->act, inner), grads, dx, a->act, T);
    k->swiglu_backward(k, zeroed(d->gate, inner), zeroed(d->up, inner), d->act, a->gate, a->up,
                       inner);
    matrix_backward(m, &w->up, zeroed(d->norm, channels), grads, d->up, a->norm2, T);
    matrix_backward(m, &w->gate, d->norm, grads, d->gate, a->norm2, T);
    k->rmsnorm_backward(k, dx, grads + w->norm2, d->norm, a->mid, model_at(m, w->norm2), a->rstd2,
                        T, m->shape.C);
}

/* mid = x + o(attention(rotary(q, k), v)), q, k and v of norm1(x) */
static void attention_backward(const struct pass *p, int l, const struct activations *a,
                               struct gradients *d, const float *x, float *dx, float *grads)
{
    const struct model *m = p->model;
    const struct model_shape *s = &m->shape;
    const struct layer *w = &m->layers[l];
    struct compute *k = m->compute;
    size_t queries = (size_t)p->T * s->H * s->D, keys = (size_t)p->T * s->G * s->D;
    int T = p->T;

    matrix_backward(m, &w->o, zeroed(d->att, queries), grads, dx, a->att, T);
    k->attention_backward(k, zeroed(d->q, queries), zeroed(d->key, keys), zeroed(d->value, keys),
                          d->att, a->q, a->key, a->value, a->att, a->stats, p->start, p->N, s->H,
                          s->G, s->D);
    k->rotary_backward(k, d->key, m->rotary, p->position, T, s->G, s->D);
    k->rotary_backward(k, d->q, m->rotary, p->position, T, s->H, s->D);
    matrix_backward(m, &w->v, zeroed(d->norm, (size_t)T * s->C), grads, d->value, a->norm1, T);
    matrix_backward(m, &w->k, d->norm, grads, d->key, a->norm1, T);
    matrix_backward(m, &w->q, d->norm, grads, d->q, a->norm1, T);
    k->rmsnorm_backward(k, dx, grads + w->norm1, d->norm, x, model_at(m, w->norm1), a->rstd1, T,
                        s->C);
}

void layer_backward(const struct pass *p, int l, const struct activations *a, struct gradients *d,
                    const float *x, float *dx, float *grads)
{
    mlp_backward(p, l, a, d, dx, grads);
    attention_backward(p, l, a, d, x, dx, grads);
}

void embed_backward(const struct pass *p, const float *dx, float *grads)
{
    struct compute *k = p->model->compute;

    k->embedding_backward(k, grads + p->model->embed.offset, dx, p->tokens, p->T,
                          p->model->shape.C);
}
