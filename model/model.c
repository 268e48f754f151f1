/* The weights: one flat buffer, named views into it, and the packed copies the products read.
 *
 *   embed | layer 0: norm1 q k v o norm2 gate up down | layer 1 ... | norm | lm_head | score ...
 *
 * Behind score.weight lie the parameters of its verdict.  A tied model has no lm_head of its own; a
 * head that a model does not have takes no room.  Every array begins at a multiple of ALIGN floats;
 * the gaps stay zero, so the whole buffer can be hashed, summed and sharded as one vector.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "model/model_internal.h"

#define ALIGN 64

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- the list of arrays */

/* Walks the arrays in file order; with `array` NULL it only measures. */
struct walk {
    struct array *array;
    int count;
    size_t offset;
};

static size_t take(struct walk *w, const char *name, int out, int in)
{
    size_t at = w->offset, size = (size_t)out * (in ? in : 1);

    if (w->array) {
        struct array *a = &w->array[w->count];

        *a = (struct array){.dtype = DTYPE_F32, .dims = in ? 2 : 1, .shape = {out, in},
                            .offset = at, .size = size};
        snprintf(a->name, sizeof a->name, "%s", name);
    }
    w->count++;
    w->offset += aligned(size);
    return at;
}

static size_t take_layer(struct walk *w, int l, const char *name, int out, int in)
{
    char full[ARRAY_NAME];

    snprintf(full, sizeof full, "model.layers.%d.%s.weight", l, name);
    return take(w, full, out, in);
}

static struct matrix take_matrix(struct walk *w, int l, const char *name, int out, int in)
{
    return (struct matrix){.offset = take_layer(w, l, name, out, in), .out = out, .in = in};
}

static void take_verdict(struct walk *w, const struct verdict *v)
{
    if (v->kind == VERDICT_POINT && !v->of_prompt)
        take(w, PAL_PROTOTYPES, v->prototypes, v->dim);
    if (v->kind == VERDICT_POINT)
        take(w, PAL_USERS, v->users, v->prototypes);
    if (v->kind == VERDICT_GENERAL && v->scale == GPM_LEARNED)
        take(w, GPM_SCALE, v->planes, 0);
}

static struct layer walk_layer(struct walk *w, const struct model_shape *s, int l)
{
    struct layer y;

    y.norm1 = take_layer(w, l, "input_layernorm", s->C, 0);
    y.q = take_matrix(w, l, "self_attn.q_proj", s->H * s->D, s->C);
    y.k = take_matrix(w, l, "self_attn.k_proj", s->G * s->D, s->C);
    y.v = take_matrix(w, l, "self_attn.v_proj", s->G * s->D, s->C);
    y.o = take_matrix(w, l, "self_attn.o_proj", s->C, s->H * s->D);
    y.norm2 = take_layer(w, l, "post_attention_layernorm", s->C, 0);
    y.gate = take_matrix(w, l, "mlp.gate_proj", s->F, s->C);
    y.up = take_matrix(w, l, "mlp.up_proj", s->F, s->C);
    y.down = take_matrix(w, l, "mlp.down_proj", s->C, s->F);
    return y;
}

/* m is NULL when only the size is wanted. */
static struct walk walk(const struct model_shape *s, struct model *m, struct array *arrays)
{
    struct walk w = {.array = arrays};
    struct matrix embed = {.out = s->V, .in = s->C}, head = embed;
    struct matrix score = {.out = s->scores, .in = s->C};
    size_t norm;

    embed.offset = take(&w, "model.embed_tokens.weight", s->V, s->C);
    for (int l = 0; l < s->L; l++) {
        struct layer layer = walk_layer(&w, s, l);

        if (m)
            m->layers[l] = layer;
    }
    norm = take(&w, "model.norm.weight", s->C, 0);
    head.offset = s->tied || !s->lm ? embed.offset : take(&w, "lm_head.weight", s->V, s->C);
    if (s->scores > 0)
        score.offset = take(&w, SCORE_WEIGHT, s->scores, s->C);
    take_verdict(&w, &s->verdict);
    if (m) {
        m->embed = embed;
        m->head = head;
        m->score = score;
        m->norm = norm;
    }
    return w;
}

size_t model_size(const struct model_shape *shape)
{
    return walk(shape, NULL, NULL).offset;
}

int model_blocks(const struct model_shape *shape)
{
    return shape->L + 2;
}

/* The walk goes over the blocks from the last to the first: embedding, layers, heads. */
static void block_range(const struct model_shape *shape, int block, size_t *offset, size_t *count)
{
    struct walk first = {0}, layer = {0};
    int L = shape->L, l = L - block;

    take(&first, "", shape->V, shape->C);
    walk_layer(&layer, shape, 0);
    *offset = block == L + 1 ? 0 : first.offset + (size_t)l * layer.offset;
    *count = layer.offset;
    if (block == L + 1)
        *count = first.offset;
    if (block == 0)
        *count = model_size(shape) - *offset;
}

/* ---- parts: norm | ids of the head | what is behind it;  a layer;  ids of the embedding */

/* Ids in a part: about the floats of a layer. */
static int part_ids(const struct model_shape *s)
{
    struct walk layer = {0};
    size_t step = (size_t)VOCAB_BLOCK * s->C, ids;

    walk_layer(&layer, s, 0);
    ids = (layer.offset / step > 0 ? layer.offset / step : 1) * VOCAB_BLOCK;
    return ids < (size_t)s->V ? (int)ids : s->V;
}

static int id_parts(const struct model_shape *s)
{
    return (s->V + part_ids(s) - 1) / part_ids(s);
}

static bool head_is_cut(const struct model_shape *s, int block)
{
    return block == 0 && s->lm && !s->tied;
}

int model_parts(const struct model_shape *s, int block)
{
    bool behind = s->scores > 0;

    if (head_is_cut(s, block))
        return 1 + id_parts(s) + behind;
    return block == s->L + 1 ? id_parts(s) : 1;
}

bool model_part_ids(const struct model_shape *s, int block, int part, int *first, int *end)
{
    int at = head_is_cut(s, block) ? part - 1 : part;

    if ((block != s->L + 1 && !head_is_cut(s, block)) || at < 0 || at >= id_parts(s))
        return false;
    *first = at * part_ids(s);
    *end = s->V - *first < part_ids(s) ? s->V : *first + part_ids(s);
    return true;
}

/* Where the ids of a block begin and end, with what fills up to the next array. */
static void ids_range(const struct model_shape *s, int block, size_t *offset, size_t *end)
{
    struct walk w = {0};
    size_t count;

    block_range(s, block, &w.offset, &count);
    *offset = w.offset;
    *end = w.offset + count;
    if (block > 0)
        return;
    take(&w, "", s->C, 0);
    *offset = w.offset;
    take(&w, "", s->V, s->C);
    *end = w.offset;
}

void model_part_range(const struct model_shape *s, int block, int part, size_t *offset,
                      size_t *count)
{
    size_t begin, from, end;
    int first, last;

    block_range(s, block, &begin, count);
    *offset = begin;
    if (model_parts(s, block) == 1)
        return;
    ids_range(s, block, &from, &end);
    if (model_part_ids(s, block, part, &first, &last)) {
        *offset = from + (size_t)first * s->C;
        *count = (last < s->V ? from + (size_t)last * s->C : end) - *offset;
    } else if (part == 0) {
        *count = from - begin;
    } else {
        *offset = end;
        *count -= end - begin;
    }
}

/* ---- memory */

static void plan_packed(struct matrix *w, struct compute *k, struct memory *m)
{
    size_t floats = k->packed_size(k, w->out, w->in);

    w->packed = floats ? memory_take(m, floats * sizeof(float)) : NULL;
}

static void layout_layer(struct layer *y, struct compute *k, struct memory *m)
{
    struct matrix *all[] = {&y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        plan_packed(all[i], k, m);
}

static void layout(struct model *m, struct memory *memory)
{
    const struct model_shape *s = &m->shape;

    m->weights = memory_take(memory, model_size(s) * sizeof(float));
    m->rotary = memory_take(memory, (size_t)s->context * s->D * sizeof(float));
    for (int l = 0; l < s->L; l++)
        layout_layer(&m->layers[l], m->compute, memory);
    if (s->lm)
        plan_packed(&m->head, m->compute, memory);      /* the embedding itself is only looked up */
    if (s->scores > 0)
        plan_packed(&m->score, m->compute, memory);
}

size_t model_bytes(const struct model_shape *shape, struct compute *compute)
{
    struct model m = {.shape = *shape, .compute = compute};
    struct layer *layers = calloc((size_t)shape->L, sizeof *layers);
    size_t peak = 0;

    if (layers) {
        m.layers = layers;
        walk(shape, &m, NULL);
        memory_count(&m.memory);
        layout(&m, &m.memory);
        peak = m.memory.peak;
    }
    free(layers);
    return peak;
}

int model_create(struct model **out, const struct model_shape *shape, struct compute *compute)
{
    struct model *m = *out = calloc(1, sizeof *m);
    int rc = RL_OK;

    if (!m)
        return rl_error(RL_ENOFIT, "no memory for a model");
    m->shape = *shape;
    m->compute = compute;
    m->n_arrays = walk(shape, NULL, NULL).count;
    m->arrays = calloc((size_t)m->n_arrays, sizeof *m->arrays);
    m->layers = calloc((size_t)shape->L, sizeof *m->layers);
    if (!m->arrays || !m->layers) {
        rc = rl_error(RL_ENOFIT, "no memory for a model of %d layers", shape->L);
        goto done;
    }
    walk(shape, m, m->arrays);
    memory_count(&m->memory);
    layout(m, &m->memory);
    TRY(memory_open(&m->memory));
    layout(m, &m->memory);
    for (int i = 0; i < m->n_arrays; i++)
        m->arrays[i].data = m->weights + m->arrays[i].offset;
    rotary_table(m->rotary, shape->context, shape->D, shape->theta,
                 &shape->scaling);
done:
    if (rc != RL_OK) {
        model_destroy(m);
        *out = NULL;
    }
    return rc;
}

void model_destroy(struct model *m)
{
    if (!m)
        return;
    memory_close(&m->memory);
    free(m->layers);
    free(m->arrays);
    free(m);
}

/* ---- what others see */

const struct model_shape *model_shape(const struct model *m)
{
    return &m->shape;
}

float *model_weights(struct model *m)
{
    return m->weights;
}

struct compute *model_compute(const struct model *m)
{
    return m->compute;
}

const struct array *model_arrays(const struct model *m, int *count)
{
    *count = m->n_arrays;
    return m->arrays;
}

const struct array *model_array(const struct model *m, const char *name)
{
    for (int i = 0; i < m->n_arrays; i++)
        if (strcmp(m->arrays[i].name, name) == 0)
            return &m->arrays[i];
    return NULL;
}

bool model_is_score(const char *name)
{
    return strcmp(name, SCORE_WEIGHT) == 0 || strcmp(name, PAL_PROTOTYPES) == 0 ||
           strcmp(name, PAL_USERS) == 0 || strcmp(name, GPM_SCALE) == 0;
}

/* Elements e and e + 1 (e even) of array a are the normals of counter (seed, init, a, e / 2); those
 * from `first` (even) to `end`. */
static void randomize(float *w, size_t first, size_t end, uint64_t seed, int a, double std)
{
    const size_t most = (size_t)1 << 33;        /* of one `prompt`: positions end there */

    for (size_t e = first, n; e < end; e += n) {
        struct counter c = { .seed = seed, .purpose = PURPOSE_INIT, .step = (uint32_t)a,
                             .prompt = (uint32_t)(e >> 33), .position = (uint32_t)(e % most / 2) };
        n = most - e % most < end - e ? most - e % most : end - e;
        random_normals(&c, std, w + e, n);
    }
}

void model_randomize_part(struct model *m, uint64_t seed, double std, size_t begin, size_t end)
{
    for (int a = 0; a < m->n_arrays; a++) {
        const struct array *x = &m->arrays[a];
        size_t first = begin > x->offset ? begin - x->offset : 0;
        size_t last = end > x->offset ? end - x->offset : 0;
        float *w = x->data;

        last = last < x->size ? last : x->size;
        if (x->dims > 1 && first < last)
            randomize(w, first, last, seed, a, std);
        for (size_t e = first; x->dims == 1 && e < last; e++)
            w[e] = 1.0f;
    }
}

void model_randomize(struct model *m, uint64_t seed, double std)
{
    model_randomize_part(m, seed, std, 0, model_size(&m->shape));
    model_changed(m);
}

void model_randomize_scores(struct model *m, uint64_t seed, double std)
{
    for (int a = 0; a < m->n_arrays; a++) {
        const struct array *x = &m->arrays[a];
        float *w = x->data;

        if (strcmp(x->name, SCORE_WEIGHT) == 0)
            randomize(w, 0, x->size, seed, a, std);
        if (strcmp(x->name, PAL_PROTOTYPES) == 0)
            randomize(w, 0, x->size, seed, a, 1);
        if (strcmp(x->name, PAL_USERS) == 0)
            memset(w, 0, x->size * sizeof *w);
        for (size_t e = 0; strcmp(x->name, GPM_SCALE) == 0 && e < x->size; e++)
            w[e] = 1.0f;
    }
    model_changed(m);
}

static void repack(const struct model *m, struct matrix *w)
{
    if (w->packed)
        m->compute->pack(m->compute, w->packed, matrix_weights(m, w), w->out, w->in);
}

void model_changed(struct model *m)
{
    for (int l = 0; l < m->shape.L; l++) {
        struct layer *y = &m->layers[l];
        struct matrix *all[] = {&y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down};

        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            repack(m, all[i]);
    }
    repack(m, &m->head);
    repack(m, &m->score);
    m->version++;
}

struct model_why model_why(const struct model *m)
{
    struct model_why why = { "all weights are finite: an overflow" };
    int count;
    const struct array *arrays = model_arrays(m, &count);

    for (int a = 0; a < count; a++)
        for (size_t i = 0; i < arrays[a].size; i++) {
            double w = ((const float *)arrays[a].data)[i];
            if (isfinite(w))
                continue;
            snprintf(why.text, sizeof why.text, "%s, element %zu, is %g", arrays[a].name, i, w);
            return why;
        }
    return why;
}

/* ---- for the passes */

void matrix_forward(const struct model *m, const struct matrix *w, float *y, const void *x, int T)
{
    struct compute *k = m->compute;

    k->matmul_forward(k, y, x, matrix_weights(m, w), w->packed, T, w->out, w->in);
}
