/* From safetensors to a model's fp32 arrays, matched exactly by name and shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "checkpoints/safetensors_internal.h"

#define EMBEDDING "model.embed_tokens.weight"
#define HEAD "lm_head.weight"
#define PIECE 4096                  /* elements converted at a time */

static void to_f32(float *out, const void *in, enum dtype dtype, size_t n)
{
    const unsigned short *half = in;
    const double *wide = in;

    for (size_t i = 0; i < n; i++)
        out[i] = dtype == DTYPE_BF16  ? f32_from_bf16(half[i])
                 : dtype == DTYPE_F16 ? f32_from_f16(half[i])
                                      : (float)wide[i];
}

/* Elements [begin, begin + count) of tensor i as fp32. */
static int read_part(const struct safetensors *s, int i, size_t begin, size_t count, float *out)
{
    const struct tensor *t = &s->tensors[i];
    const struct shard *shard = &s->shards[t->shard];
    enum dtype dtype = t->array.dtype;
    size_t each = dtype_size(dtype);
    uint64_t at = shard->start + t->begin + begin * each;
    double piece[PIECE];            /* the widest type, aligned for all */
    int rc = RL_OK;

    if (dtype == DTYPE_F32)
        return shard_read(shard, at, out, count * each);
    if (dtype != DTYPE_BF16 && dtype != DTYPE_F16 && dtype != DTYPE_F64)
        return rl_error(RL_EINVAL, "%s: tensor '%s' is %s, not floating-point numbers",
                        shard->path, t->array.name, dtype_name(dtype));
    for (size_t n; count > 0; count -= n, out += n, at += n * each) {
        n = count < PIECE ? count : PIECE;
        TRY(shard_read(shard, at, piece, n * each));
        to_f32(out, piece, dtype, n);
    }
done:
    return rc;
}

int safetensors_read(struct safetensors *s, int i, float *out)
{
    return read_part(s, i, 0, s->tensors[i].array.size, out);
}

/* "(2048, 128)" */
struct shape_text { char text[96]; };
static struct shape_text shape_text(const struct array *a)
{
    struct shape_text out;
    int n = snprintf(out.text, sizeof out.text, "(");

    for (int d = 0; d < a->dims; d++)
        n += snprintf(out.text + n, sizeof out.text - (size_t)n, d ? ", %zu" : "%zu", a->shape[d]);
    snprintf(out.text + n, sizeof out.text - (size_t)n, ")");
    return out;
}

static bool same_shape(const struct array *a, const struct array *b)
{
    return a->dims == b->dims &&
           (a->dims == 0 || memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) == 0);
}

/* One array of the model from the file; the tensors that were used are marked. */
static int load_array(struct safetensors *s, const char *path, const struct array *a, bool tied,
                      bool *used)
{
    int i = safetensors_find(s, a->name), rc = RL_OK;

    if (i < 0 && tied && strcmp(a->name, EMBEDDING) == 0)
        i = safetensors_find(s, HEAD);
    if (i < 0)
        return rl_error(RL_EINVAL, "%s: tensor '%s' is missing; is config.json of another model?",
                        path, a->name);
    if (a->dtype != DTYPE_F32 || !a->data)
        return rl_error(RL_EBUG, "array '%s' to be loaded is not a view of floats", a->name);
    if (!same_shape(a, &s->tensors[i].array))
        return rl_error(RL_EINVAL, "%s: tensor '%s' has shape %s; config.json says %s", path,
                        a->name, shape_text(&s->tensors[i].array).text, shape_text(a).text);
    TRY(safetensors_read(s, i, a->data));
    used[i] = true;
done:
    return rc;
}

/* A tied model may store its head too, but then it must be the embedding. */
static int check_tied(const struct safetensors *s, const char *path, int head,
                      const struct array *embedding)
{
    const struct array *stored = &s->tensors[head].array;
    const float *want = embedding->data;
    float piece[PIECE];
    int rc = RL_OK;

    if (!same_shape(stored, embedding))
        return rl_error(RL_EINVAL, "%s: the model is tied, but '%s' has shape %s and '%s' %s", path,
                        HEAD, shape_text(stored).text, EMBEDDING, shape_text(embedding).text);
    for (size_t at = 0, n; at < stored->size; at += n) {
        n = stored->size - at < PIECE ? stored->size - at : PIECE;
        TRY(read_part(s, head, at, n, piece));
        if (memcmp(piece, want + at, n * sizeof *piece) != 0)
            return rl_error(RL_EINVAL, "%s: the model is tied, but '%s' and '%s' differ; set "
                            "tie_word_embeddings to false in config.json", path, HEAD, EMBEDDING);
    }
done:
    return rc;
}

/* Tables of rotary frequencies, which older libraries stored: we make our own. */
static bool is_rotary(const char *name)
{
    const char *end = "rotary_emb.inv_freq";
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

static bool listed(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static const struct array *find_embedding(const struct array *arrays, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(arrays[i].name, EMBEDDING) == 0)
            return &arrays[i];
    return NULL;
}

/* Whatever the model did not ask for must be known to be harmless: none of it is marked as used. */
static int check_rest(const struct safetensors *s, const char *path,
                      const struct array *embedding, bool tied, const bool *used,
                      const char *const *skip)
{
    int rc = RL_OK;

    for (int i = 0; i < s->n; i++) {
        const char *name = s->tensors[i].array.name;
        if (used[i] || is_rotary(name) || listed(name, skip))
            continue;
        if (!tied || !embedding || strcmp(name, HEAD) != 0)
            return rl_error(RL_EINVAL, "%s: tensor '%s' is not part of this model", path, name);
        TRY(check_tied(s, path, i, embedding));
    }
done:
    return rc;
}

int safetensors_load(const char *path, const struct array *arrays, int n, bool tied,
                     const char *const *skip)
{
    struct safetensors *s = NULL;
    bool *used = NULL;
    int rc = RL_OK;

    TRY(safetensors_open(&s, path));
    used = calloc((size_t)s->n + 1, sizeof *used);
    if (!used) {
        rc = rl_error(RL_ENOFIT, "no memory to load %s", path);
        goto done;
    }
    for (int i = 0; i < n; i++)
        TRY(load_array(s, path, &arrays[i], tied, used));
    TRY(check_rest(s, path, find_embedding(arrays, n), tied, used, skip));
done:
    free(used);
    safetensors_close(s);
    return rc;
}
