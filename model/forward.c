/* The network in order, for packed ragged rows.
 *
 *   x = embedding[tokens]
 *   each layer:   x += o(attention(rotary(q, k), v))      q, k, v of norm(x)
 *                 x += down(silu(gate) * up)              gate, up of norm(x)
 *   then the last norm and the head (head.c)
 *
 * Training and generation run the same lines; only where the keys lie differs.
 */
#include "model/model_internal.h"

void activations_layout(struct activations *a, struct memory *memory, const struct model_shape *s,
                        enum compute_dtype dtype, int T, bool keep)
{
    size_t one = (size_t)T * sizeof(float), stored = (size_t)T * stored_bytes(dtype);
    size_t mark, end;

    a->mid = memory_take(memory, one * s->C);
    mark = memory_mark(memory);
    a->norm1 = memory_take(memory, stored * s->C);
    a->rstd1 = memory_take(memory, one);
    a->q = memory_take(memory, one * s->H * s->D);
    a->key = memory_take(memory, stored * s->G * s->D);
    a->value = memory_take(memory, stored * s->G * s->D);
    a->att = memory_take(memory, stored * s->H * s->D);
    a->stats = memory_take(memory, one * s->H * 2);
    end = memory_mark(memory);
    if (!keep)
        memory_rewind(memory, mark);
    a->norm2 = memory_take(memory, stored * s->C);
    a->rstd2 = memory_take(memory, one);
    a->gate = memory_take(memory, one * s->F);
    a->up = memory_take(memory, one * s->F);
    a->act = memory_take(memory, stored * s->F);
    memory_skip(memory, end);        /* where the MLP is narrow, its life ends before attention's */
}

float *room_layout(struct memory *memory, const struct model_shape *s, enum compute_dtype dtype,
                   int T)
{
    if (dtype == COMPUTE_FP32)
        return NULL;
    return memory_take(memory, (size_t)T * s->G * s->D * sizeof(float));
}

static int row_check(const struct model *m, const int *tokens, const int *start, int position,
                     int n)
{
    const struct model_shape *s = &m->shape;
    long length = (long)position + start[n + 1] - start[n];

    if (start[n + 1] < start[n] || position < 0)
        return rl_error(RL_EBUG, "row %d begins at token %d, ends at %d, continues position %d", n,
                        start[n], start[n + 1], position);
    if (length > s->context)
        return rl_error(RL_EINVAL, "row %d has %ld tokens; the model's context is %d", n, length,
                        s->context);
    for (int t = start[n]; t < start[n + 1]; t++)
        if (tokens[t] < 0 || tokens[t] >= s->V)
            return rl_error(RL_EINVAL, "row %d: token id %d at position %d is not in the model's "
                            "vocabulary of %d", n, tokens[t], position + t - start[n], s->V);
    return RL_OK;
}

int rows_check(const struct model *m, const int *tokens, const int *start, const int *position,
               int N, int max_rows, int max_tokens)
{
    int rc = RL_OK;

    if (N < 0 || N > max_rows)
        return rl_error(RL_EBUG, "%d rows in a pass planned for %d", N, max_rows);
    if (start[0] < 0)
        return rl_error(RL_EBUG, "rows begin at token %d", start[0]);
    for (int n = 0; n < N; n++)
        TRY(row_check(m, tokens, start, position ? position[n] : 0, n));
    if (start[N] - start[0] > max_tokens)
        return rl_error(RL_EBUG, "%d tokens in a pass planned for %d", start[N] - start[0],
                        max_tokens);
done:
    return rc;
}

void embed_forward(const struct pass *p, float *x)
{
    struct compute *k = p->model->compute;

    k->gather(k, x, matrix_weights(p->model, &p->model->embed), p->tokens, p->T,
              (size_t)p->model->shape.C * sizeof *x);
}

/* Every query sees the keys of its row up to itself: the row's own in this pass, or the pages. */
static void attend(const struct pass *p, int l, struct activations *a)
{
    const struct model_shape *s = &p->model->shape;
    struct compute *k = p->model->compute;

    if (!p->rows) {
        k->attention_forward(k, a->att, a->stats, a->q, a->key, a->value, p->start, p->N,
                             attention_of(s));
        return;
    }
    k->pages_store(k, p->pages[l], a->key, a->value, p->rows, s->G, s->D);
    k->pages_attend(k, a->att, a->q, p->pages[l], p->rows, attention_of(s));
}

/* Keys (turned) or values of norm1, rounded once, where the dtype has them so: what the cache
 * holds and what training attends to are the same numbers. */
static void keys_forward(const struct pass *p, const struct matrix *w, struct activations *a,
                         void *y, bool turned)
{
    const struct model_shape *s = &p->model->shape;
    struct compute *k = p->model->compute;
    float *x = a->room ? a->room : y;

    matrix_forward(p->model, w, x, a->norm1, p->T);
    if (turned)
        k->rotary_forward(k, x, p->model->rotary, p->position, p->T, s->G, s->D);
    if (a->room)
        k->store(k, y, x, (size_t)p->T * s->G * s->D);
}

/* A layer up to its last product: all that its backward pass needs. */
void layer_inside(const struct pass *p, int l, struct activations *a, const float *x)
{
    const struct model *m = p->model;
    const struct model_shape *s = &m->shape;
    const struct layer *w = &m->layers[l];
    struct compute *k = m->compute;
    int T = p->T;

    k->rmsnorm_forward(k, a->norm1, a->rstd1, x, model_at(m, w->norm1), s->eps, T, s->C);
    matrix_forward(m, &w->q, a->q, a->norm1, T);
    k->rotary_forward(k, a->q, m->rotary, p->position, T, s->H, s->D);
    keys_forward(p, &w->k, a, a->key, true);
    keys_forward(p, &w->v, a, a->value, false);
    attend(p, l, a);
    matrix_forward(m, &w->o, a->mid, a->att, T);
    k->add(k, a->mid, x, (size_t)T * s->C);

    k->rmsnorm_forward(k, a->norm2, a->rstd2, a->mid, model_at(m, w->norm2), s->eps, T, s->C);
    matrix_forward(m, &w->gate, a->gate, a->norm2, T);
    matrix_forward(m, &w->up, a->up, a->norm2, T);
    k->glu_forward(k, a->act, a->gate, a->up, (size_t)T * s->F, ACT_SILU);
}

void layer_close(const struct pass *p, int l, const struct activations *a, float *y)
{
    const struct model *m = p->model;
    struct compute *k = m->compute;

    matrix_forward(m, &m->layers[l].down, y, a->act, p->T);
    k->add(k, y, a->mid, (size_t)p->T * m->shape.C);
}
