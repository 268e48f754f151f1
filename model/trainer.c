/* A trainer: the planned memory of one model's forward and backward passes, and the passes.
 *
 *   mode            layer inputs   what happens inside layers
 *   KEEP_ALL        kept           kept
 *   KEEP_INPUTS     kept           run again in the backward pass (activation checkpointing)
 *   KEEP_NOTHING    two            never needed again: scoring only
 */
#include <stdlib.h>
#include <string.h>

#include "compute/bf16.h"
#include "model/model_internal.h"

#define FOLDED 1024                  /* ids of an operation */

static size_t inside_count(const struct trainer *t)
{
    return t->mode == KEEP_ALL ? (size_t)t->shape.L : 1;
}

float *x_at(const struct trainer *t, int l)
{
    size_t slot = t->mode == KEEP_NOTHING ? l % 2 : l;

    return t->x + slot * t->max_tokens * t->shape.C;
}

struct activations *inside_at(const struct trainer *t, int l)
{
    struct activations *a = &t->inside[t->mode == KEEP_ALL ? l : 0];

    if (t->mode == KEEP_INPUTS)
        layer_inside(&t->pass, l, a, x_at(t, l));
    return a;
}

static bool gathers_embedding(const struct trainer *t)
{
    return t->mode != KEEP_NOTHING && t->shape.lm && t->shape.tied;
}

static void lists_layout(struct trainer *t, struct memory *m)
{
    size_t T = (size_t)t->max_tokens;

    t->tokens = memory_take(m, T * sizeof(int));
    t->start = memory_take(m, ((size_t)t->max_rows + 1) * sizeof(int));
    t->position = memory_take(m, T * sizeof(int));
    t->slot = memory_take(m, T * sizeof(int));
    head_layout_lists(&t->head, m, &t->shape, t->max_tokens, t->mode != KEEP_NOTHING);
    if (gathers_embedding(t))
        t->touched = memory_take(m, (size_t)t->shape.V * sizeof *t->touched);
}

static void zeros_layout(struct trainer *t, struct memory *m)
{
    if (gathers_embedding(t))
        t->embedded = memory_take(m, (size_t)t->shape.V * t->shape.C * sizeof(float));
}

static void layout(struct trainer *t, struct memory *m)
{
    const struct model_shape *s = &t->shape;
    size_t T = (size_t)t->max_tokens, slots = t->mode == KEEP_NOTHING ? 2 : (size_t)s->L + 1, mark;
    bool backward = t->mode != KEEP_NOTHING;
    float *room;

    t->x = memory_take(m, slots * T * s->C * sizeof(float));
    head_layout(&t->head, m, s, t->dtype, t->max_tokens, t->logits);
    if (backward)
        t->dx = memory_take(m, T * s->C * sizeof(float));
    for (size_t l = 0; t->mode == KEEP_ALL && l < inside_count(t); l++)
        activations_layout(&t->inside[l], m, s, t->dtype, t->max_tokens, true);
    if (t->apart)
        blocks_layout(t, m);

    mark = memory_mark(m);              /* the head's scratch, then that of the layers */
    head_layout_scratch(&t->head, m, s, t->dtype, t->max_tokens, backward);
    memory_rewind(m, mark);
    if (t->mode != KEEP_ALL)
        activations_layout(&t->inside[0], m, s, t->dtype, t->max_tokens, backward);
    mark = memory_mark(m);
    room = room_layout(m, s, t->dtype, t->max_tokens);
    for (size_t l = 0; l < inside_count(t); l++)
        t->inside[l].room = room;
    memory_rewind(m, mark);             /* nobody keeps gradients while a layer is run */
    if (backward)
        gradients_layout(&t->d, m, s, t->max_tokens, t->apart);
}

static int plan(struct trainer **out, const struct model_shape *s, struct model *m,
                const struct compute *k, enum keep mode, bool apart, int max_rows, int max_tokens)
{
    struct trainer *t;

    *out = NULL;
    if (max_rows < 1 || max_tokens < 1)
        return rl_error(RL_EBUG, "a trainer needs room for at least one row and one token");
    t = calloc(1, sizeof *t);
    if (!t)
        return rl_error(RL_ENOFIT, "no memory for a trainer");
    t->model = m;
    t->shape = *s;
    t->dtype = k->dtype;
    t->logits = mode == KEEP_ALL && !apart && !compute_is_gpu(k);
    head_cut(&t->head, k);
    t->mode = mode;
    t->apart = apart;
    t->block = -1;
    t->max_rows = max_rows;
    t->max_tokens = max_tokens;
    t->inside = calloc(inside_count(t), sizeof *t->inside);
    if (!t->inside) {
        free(t);
        return rl_error(RL_ENOFIT, "no memory for a trainer");
    }
    *out = t;
    return RL_OK;
}

static int open_memory(struct trainer *t, struct workspace *w)
{
    int rc = RL_OK;

    memory_count(&t->lists);
    lists_layout(t, &t->lists);
    TRY(memory_open_host(&t->lists));
    lists_layout(t, &t->lists);
    memory_count(&t->zeros);
    zeros_layout(t, &t->zeros);
    if (gathers_embedding(t))
        TRY(memory_open(&t->zeros));
    zeros_layout(t, &t->zeros);
    memory_count(&t->room.memory);
    layout(t, &t->room.memory);
    t->room.memory.lower = "micro_rows";
    TRY(workspace_part_open(&t->room, w));
    layout(t, &t->room.memory);
done:
    return rc;
}

static int create(struct trainer **out, struct model *m, enum keep mode, bool apart, int max_rows,
                  int max_tokens)
{
    int rc = RL_OK;

    TRY(plan(out, &m->shape, m, m->compute, mode, apart, max_rows, max_tokens));
    TRY(open_memory(*out, m->compute->workspace));
done:
    if (rc != RL_OK) {
        trainer_destroy(*out);
        *out = NULL;
    }
    return rc;
}

int trainer_create(struct trainer **t, struct model *m, int max_rows, int max_tokens,
                   bool recompute)
{
    return create(t, m, recompute ? KEEP_INPUTS : KEEP_ALL, false, max_rows, max_tokens);
}

int trainer_create_blocks(struct trainer **t, struct model *m, int max_rows, int max_tokens,
                          bool recompute)
{
    return create(t, m, recompute ? KEEP_INPUTS : KEEP_ALL, true, max_rows, max_tokens);
}

int trainer_create_scoring(struct trainer **t, struct model *m, int max_rows, int max_tokens)
{
    return create(t, m, KEEP_NOTHING, false, max_rows, max_tokens);
}

static size_t bytes(const struct model_shape *s, struct compute *k, enum keep mode, bool apart,
                    int max_rows, int max_tokens)
{
    struct memory own, room;
    struct trainer *t;

    if (plan(&t, s, NULL, k, mode, apart, max_rows, max_tokens) != RL_OK)
        return 0;
    memory_count(&own);
    lists_layout(t, &own);
    zeros_layout(t, &own);
    memory_count(&room);
    layout(t, &room);
    trainer_destroy(t);
    head_count(k, s, max_tokens, mode != KEEP_NOTHING);
    return own.peak + workspace_count(k->workspace, room.peak);
}

size_t trainer_bytes(const struct model_shape *shape, struct compute *k, int max_rows,
                     int max_tokens, bool recompute)
{
    return bytes(shape, k, recompute ? KEEP_INPUTS : KEEP_ALL, false, max_rows, max_tokens);
}

size_t trainer_bytes_blocks(const struct model_shape *shape, struct compute *k, int max_rows,
                            int max_tokens, bool recompute)
{
    return bytes(shape, k, recompute ? KEEP_INPUTS : KEEP_ALL, true, max_rows, max_tokens);
}

size_t trainer_bytes_scoring(const struct model_shape *shape, struct compute *k, int max_rows,
                             int max_tokens)
{
    return bytes(shape, k, KEEP_NOTHING, false, max_rows, max_tokens);
}

void trainer_destroy(struct trainer *t)
{
    if (!t)
        return;
    workspace_part_close(&t->room);
    memory_close(&t->zeros);
    memory_close(&t->lists);
    free(t->inside);
    free(t);
}

/* Copy the rows, so that the caller's arrays may move before the backward pass. */
static void begin(struct trainer *t, const int *tokens, const int *start, int N)
{
    int first = start[0], T = start[N] - first, begin = 0;

    memcpy(t->tokens, tokens + first, (size_t)T * sizeof *tokens);
    t->start[0] = 0;
    for (int n = 0; n < N; n++) {
        t->start[n + 1] = start[n + 1] - first;
        for (int i = t->start[n]; i < t->start[n + 1]; i++) {
            t->position[i] = i - t->start[n];
            t->slot[i] = begin + t->position[i];
        }
        begin += (t->start[n + 1] - t->start[n] + SLOT_STEP - 1) / SLOT_STEP * SLOT_STEP;
    }
    t->first = first;
    t->version = t->model->version;
    t->pass = (struct pass){.model = t->model, .N = N, .T = T, .tokens = t->tokens,
                            .start = t->start, .position = t->position, .slot = t->slot};
}

static int outputs_check(const struct trainer *t, const struct model_outputs *out)
{
    if ((out->logp || out->entropy) && !t->shape.lm)
        return rl_error(RL_EBUG, "log-probabilities of a model without a vocabulary head");
    if (out->score && t->shape.scores == 0)
        return rl_error(RL_EBUG, "scores of a model without a score head");
    return RL_OK;
}

static int run_check(const struct trainer *t, float temperature, bool keep,
                     const struct model_outputs *out)
{
    if (keep && t->mode == KEEP_NOTHING)
        return rl_error(RL_EBUG, "a trainer for scoring keeps nothing for a backward pass");
    if (out->entropy && !out->logp)
        return rl_error(RL_EBUG, "an entropy comes with log-probabilities");
    if (out->logp && !(temperature > 0.0f))
        return rl_error(RL_EINVAL, "log-probabilities need a temperature above 0, not %g",
                        (double)temperature);
    return outputs_check(t, out);
}

static size_t first_score(const struct trainer *t)
{
    return (size_t)t->first * t->shape.scores;
}

int model_run(struct trainer *t, const int *tokens, const int *start, int N, float temperature,
              bool keep, const struct model_outputs *out)
{
    const struct pass *p = &t->pass;
    int rc = RL_OK, L = t->shape.L;

    t->kept = false;
    t->block = -1;
    workspace_part_begin(&t->room);
    TRY(run_check(t, temperature, keep, out));
    TRY(rows_check(t->model, tokens, start, NULL, N, t->max_rows, t->max_tokens));
    begin(t, tokens, start, N);

    embed_forward(p, x_at(t, 0));
    for (int l = 0; l < L; l++) {
        struct activations *a = &t->inside[keep && t->mode == KEEP_ALL ? l : 0];

        layer_inside(p, l, a, x_at(t, l));
        layer_close(p, l, a, x_at(t, l + 1));
    }
    head_norm_forward(&t->head, p, x_at(t, L));
    if (out->logp)
        head_forward(&t->head, p, temperature, keep, out->logp + t->first,
                     out->entropy ? out->entropy + t->first : NULL);
    if (out->score)
        score_forward(&t->head, p, out->score + first_score(t));
    TRY(compute_sync(t->model->compute));
    t->kept = keep;
    t->kept_logp = out->logp != NULL;
done:
    return rc;
}

int model_logprobs(struct trainer *t, const int *tokens, const int *start, int N,
                   float temperature, bool keep, float *logp, float *entropy)
{
    struct model_outputs out = {.logp = logp, .entropy = entropy};

    return model_run(t, tokens, start, N, temperature, keep, &out);
}

int backward_check(const struct trainer *t, const struct model_outputs *d)
{
    if (!t->kept)
        return rl_error(RL_EBUG, "a backward pass without a forward pass that was kept");
    if (!workspace_part_holds(&t->room))
        return rl_error(RL_EBUG, "what the forward pass kept went to others");
    if (t->version != t->model->version)
        return rl_error(RL_EBUG, "the weights changed between forward and backward pass");
    if ((d->logp || d->entropy) && !t->kept_logp)
        return rl_error(RL_EBUG, "gradients of log-probabilities that the forward pass left out");
    return outputs_check(t, d);
}

/* ---- gradients, leaf by leaf */

/* grads from `from` up to the matrix = 0; returns where the matrix ends. */
static size_t clear_before(struct compute *k, float *grads, size_t from, const struct matrix *w)
{
    k->zero(k, grads + from, (w->offset - from) * sizeof *grads);
    return w->offset + (size_t)w->out * w->in;
}

/* All but the matrices, whose gradients will be written. */
static void clear_rest(const struct trainer *t, float *grads)
{
    const struct model *m = t->model;
    struct compute *k = m->compute;
    size_t at = t->embedded ? clear_before(k, grads, 0, &m->head) : 0;

    for (int l = 0; l < t->shape.L; l++) {
        const struct layer *y = &m->layers[l];
        const struct matrix *all[] = {&y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down};

        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            at = clear_before(k, grads, at, all[i]);
    }
    if (t->shape.lm && !t->embedded)
        at = clear_before(k, grads, at, &m->head);
    k->zero(k, grads + at, (model_size(&t->shape) - at) * sizeof *grads);
}

void embedded_touch(struct trainer *t, int first_row, int end_row)
{
    const struct pass *p = &t->pass;

    for (int i = p->start[first_row]; i < p->start[end_row]; i++)
        t->touched[p->tokens[i]] = true;
}

void embedded_fold(struct trainer *t, struct ids_part ids, float *grads)
{
    struct compute *k = t->model->compute;
    float *from = t->embedded + (size_t)ids.first * (size_t)t->shape.C;
    int row[FOLDED], n = 0;

    for (int id = ids.first; id < ids.end; id++) {
        if (t->touched[id])
            row[n++] = id - ids.first;
        if (n == FOLDED || (n > 0 && id + 1 == ids.end)) {
            k->fold_rows(k, grads, from, row, n, t->shape.C);
            n = 0;
        }
        t->touched[id] = false;
    }
}

void model_backward_forget(struct trainer *t)
{
    struct compute *k = t->model->compute;

    if (t->gathers) {
        k->zero(k, t->embedded, (size_t)t->shape.V * t->shape.C * sizeof *t->embedded);
        memset(t->touched, 0, (size_t)t->shape.V * sizeof *t->touched);
    }
    t->gathers = NULL;
}

static void head_down(struct trainer *t, const struct model_outputs *d)
{
    const struct pass *p = &t->pass;
    const struct model *m = t->model;

    m->compute->zero(m->compute, t->dx, (size_t)p->T * t->shape.C * sizeof *t->dx);
    head_clear(&t->head, p);
    if (t->shape.lm)
        head_backward(&t->head, p, (struct ids_part){0, m->shape.V},
                      d->logp ? d->logp + t->first : NULL,
                      d->entropy ? d->entropy + t->first : NULL, true, m->head.offset);
    if (d->score)
        score_backward(&t->head, p, d->score + first_score(t), true, m->score.offset);
    norm_backward(p, m->norm, t->dx, t->head.dhidden, x_at(t, t->shape.L), t->head.rstd);
}

/* What gathers for grads goes there. */
static void fold_gathered(struct trainer *t, float *grads)
{
    embedded_fold(t, (struct ids_part){0, t->shape.V}, grads + t->model->embed.offset);
    t->gathers = NULL;
}

/* The embedding's gradient goes to the leaf, or gathers for it. */
static void embed_down(struct trainer *t)
{
    const struct pass *p = &t->pass;
    struct compute *k = t->model->compute;
    size_t embed = t->model->embed.offset;

    t->gathers = NULL;
    for (int i = 0, a, b; i < p->n_leaves; i++) {
        float *grads = p->leaves[i].grads;

        if (!leaf_tokens(p, i, &a, &b))
            continue;
        k->embedding_backward(k, t->embedded ? t->embedded : grads + embed,
                              t->dx + (size_t)a * t->shape.C, p->tokens + a, b - a, t->shape.C);
        if (!t->embedded)
            continue;
        embedded_touch(t, i > 0 ? p->leaves[i - 1].end : 0, p->leaves[i].end);
        t->gathers = grads;
        if (i + 1 < p->n_leaves)
            fold_gathered(t, grads);
    }
}

static int leaves_check(const struct trainer *t, const struct leaf_rows *leaves, int n)
{
    for (int i = 0; i < n && n <= LEAF_ROWS_MOST; i++)
        if (leaves[i].end < (i > 0 ? leaves[i - 1].end : 0))
            n = 0;
    if (n < 1 || n > LEAF_ROWS_MOST || leaves[n - 1].end != t->pass.N)
        return rl_error(RL_EBUG, "the leaves of a backward pass are not a cut of its %d rows",
                        t->pass.N);
    return RL_OK;
}

int model_backward_leaves(struct trainer *t, const struct model_outputs *d,
                          const struct leaf_rows *leaves, int n)
{
    int rc = RL_OK;

    TRY(backward_check(t, d));
    TRY(leaves_check(t, leaves, n));
    t->block = -1;
    for (int i = 0; i < n; i++)
        if (leaves[i].fresh && leaves[i].grads)
            clear_rest(t, leaves[i].grads);
    t->pass.leaves = leaves;
    t->pass.n_leaves = n;
    head_down(t, d);
    for (int l = t->shape.L - 1; l >= 0; l--)
        layer_backward(&t->pass, l, inside_at(t, l), &t->d, x_at(t, l), t->dx);
    embed_down(t);
    t->pass.leaves = NULL;
    t->pass.n_leaves = 0;
    rc = compute_sync(t->model->compute);
done:
    return rc;
}

int model_run_backward(struct trainer *t, const struct model_outputs *d, float *grads)
{
    struct leaf_rows all = {.end = t->pass.N, .grads = grads};

    return model_backward_leaves(t, d, &all, 1);
}

int model_backward(struct trainer *t, const float *dlogp, const float *dentropy, float *grads)
{
    struct model_outputs d = {.logp = (float *)dlogp, .entropy = (float *)dentropy};

    return model_run_backward(t, &d, grads);
}

float model_hidden(const struct trainer *t, size_t i)
{
    const void *x = stored_at(t->dtype, t->head.hidden, i);

    return t->dtype == COMPUTE_BF16 ? f32_of_bf16(*(const uint16_t *)x) : *(const float *)x;
}

int model_backward_finish(struct trainer *t, float *grads)
{
    if (!t->embedded || t->gathers != grads)
        return RL_OK;
    fold_gathered(t, grads);
    return compute_sync(t->model->compute);
}
