/* The header of a safetensors file: JSON that says where each tensor lies.  Nothing in it is
 * believed: every number is checked against the file before anybody uses it, and the tensors must
 * tile the data part exactly, without overlap and without holes, as the format demands. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/status.h"
#include "checkpoints/safetensors_internal.h"

struct plain plain_name(const char *s)
{
    struct plain out = { "" };
    size_t n = 0;

    for (; s && s[n] && n < sizeof out.text - 1; n++)
        out.text[n] = (unsigned char)s[n] < 32 || s[n] == 127 ? '?' : s[n];
    return out;
}

bool name_good(const char *name, size_t room)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 32 || name[i] == 127)
            return false;
    return n > 0 && n < room;
}

/* Make room for one more item of `each` bytes. */
static int items_grow(void *items, int *room, int n, size_t each)
{
    void **list = items, *bigger;
    size_t more = *room ? 2 * (size_t)*room : 16;

    if (n < *room)
        return RL_OK;
    if (more > INT_MAX / 2)
        return rl_error(RL_EINVAL, "more than %d tensors: not a model", n);
    bigger = realloc(*list, more * each);
    if (!bigger)
        return rl_error(RL_ENOFIT, "no memory for a list of %zu tensors", more);
    *list = bigger;
    *room = (int)more;
    return RL_OK;
}

int shard_read(const struct shard *shard, uint64_t offset, void *out, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(shard->fd, (char *)out + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rl_error(RL_EIO, "cannot read %s: %s", shard->path, strerror(errno));
        if (got == 0)
            return rl_error(RL_EIO, "%s ends too early: it was cut while being read", shard->path);
        done += (size_t)got;
    }
    return RL_OK;
}

/* A whole number that is not negative; -1 for anything else. */
static int64_t whole(const struct json *v)
{
    int64_t n = json_int(v, -1);

    return json_is_number(v) && n >= 0 && (double)n == json_number(v, -1) ? n : -1;
}

static int read_dtype(const struct json *v, enum dtype *out)
{
    static const enum dtype known[] = { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_F64,
                                        DTYPE_I32, DTYPE_I64, DTYPE_U64, DTYPE_U8 };
    const char *name = json_string(v, "");

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, dtype_name(known[i])) == 0) {
            *out = known[i];
            return RL_OK;
        }
    }
    return RL_EINVAL;
}

static int read_shape(const char *path, const struct json *v, struct array *a)
{
    if (!json_is_array(v))
        return rl_error(RL_EINVAL, "%s: tensor '%s' has no shape", path, a->name);
    if (json_size(v) > ARRAY_DIMS)
        return rl_error(RL_EINVAL, "%s: tensor '%s' has %zu dimensions; at most %d are supported",
                        path, a->name, json_size(v), ARRAY_DIMS);
    a->dims = (int)json_size(v);
    a->size = 1;
    for (int d = 0; d < a->dims; d++) {
        int64_t n = whole(json_at(v, (size_t)d));
        if (n < 0)
            return rl_error(RL_EINVAL, "%s: tensor '%s': dimension %d of its shape is not a size",
                            path, a->name, d);
        a->shape[d] = (size_t)n;
        if (__builtin_mul_overflow(a->size, (size_t)n, &a->size))
            return rl_error(RL_EINVAL, "%s: tensor '%s': its shape is larger than any memory",
                            path, a->name);
    }
    return RL_OK;
}

static int read_offsets(const struct shard *shard, const struct json *v, struct tensor *t)
{
    int64_t begin = whole(json_at(v, 0)), end = whole(json_at(v, 1));
    const char *name = t->array.name;
    size_t bytes;

    if (json_size(v) != 2 || begin < 0 || end < begin)
        return rl_error(RL_EINVAL, "%s: tensor '%s': data_offsets are not a begin and an end",
                        shard->path, name);
    if ((uint64_t)end > shard->bytes)
        return rl_error(RL_EINVAL, "%s: tensor '%s' ends at byte %lld of the data, which has %llu; "
                        "the file may be cut short", shard->path, name, (long long)end,
                        (unsigned long long)shard->bytes);
    if (__builtin_mul_overflow(t->array.size, dtype_size(t->array.dtype), &bytes) ||
        bytes != (size_t)(end - begin))
        return rl_error(RL_EINVAL, "%s: tensor '%s': shape and dtype do not fill its %lld bytes",
                        shard->path, name, (long long)(end - begin));
    t->begin = (uint64_t)begin;
    t->end = (uint64_t)end;
    return RL_OK;
}

static int read_tensor(struct safetensors *s, const char *name, const struct json *v)
{
    const struct shard *shard = &s->shards[s->n_shards - 1];
    struct tensor t = { .shard = s->n_shards - 1 };
    int rc = RL_OK;

    if (!name_good(name, ARRAY_NAME))
        return rl_error(RL_EINVAL, "%s: tensor name '%s' is empty, longer than %d bytes or not "
                        "printable", shard->path, plain_name(name).text, ARRAY_NAME - 1);
    memcpy(t.array.name, name, strlen(name) + 1);
    if (!json_is_object(v))
        return rl_error(RL_EINVAL, "%s: tensor '%s' is not described by an object", shard->path,
                        name);
    if (read_dtype(json_get(v, "dtype"), &t.array.dtype) != RL_OK)
        return rl_error(RL_EINVAL, "%s: tensor '%s': dtype '%s' is not supported "
                        "(F32, BF16, F16, F64, I32, I64, U64, U8 are)", shard->path, name,
                        plain_name(json_string(json_get(v, "dtype"), "")).text);
    TRY(read_shape(shard->path, json_get(v, "shape"), &t.array));
    TRY(read_offsets(shard, json_get(v, "data_offsets"), &t));
    TRY(items_grow(&s->tensors, &s->room, s->n, sizeof t));
    s->tensors[s->n++] = t;
done:
    return rc;
}

/* {"model.embed_tokens.weight": "lm_head.weight"}: the first is not stored, the second is. */
static int read_metadata(struct safetensors *s, const struct json *header, const struct json *v)
{
    const char *path = s->shards[s->n_shards - 1].path, *key;
    const struct json *value;
    void *it = NULL;

    if (!json_is_object(v))
        return rl_error(RL_EINVAL, "%s: __metadata__ is not an object", path);
    while (json_next(v, &it, &key, &value)) {
        const char *target = json_string(value, NULL);
        struct alias alias;
        if (!target)
            return rl_error(RL_EINVAL, "%s: __metadata__ '%s' is not a string", path,
                            plain_name(key).text);
        if (!json_is_object(json_get(header, target)) || strcmp(target, "__metadata__") == 0 ||
            json_get(header, key))
            continue;                               /* a remark, not an alias */
        if (items_grow(&s->aliases, &s->aliases_room, s->n_aliases, sizeof alias) != RL_OK)
            return RL_ENOFIT;
        alias = (struct alias){ strdup(key), strdup(target) };
        s->aliases[s->n_aliases++] = alias;
        if (!alias.name || !alias.target)
            return rl_error(RL_ENOFIT, "no memory for the names in %s", path);
    }
    return RL_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The shard's tensors, in order of offset, must tile its data part. */
static int check_tiling(const struct shard *shard, struct tensor *tensors, int n)
{
    uint64_t at = 0;

    if (n > 0)
        qsort(tensors, (size_t)n, sizeof *tensors, by_offset);
    for (int i = 0; i < n; i++) {
        if (tensors[i].begin < at)
            return rl_error(RL_EINVAL, "%s: tensors '%s' and '%s' overlap", shard->path,
                            tensors[i - 1].array.name, tensors[i].array.name);
        if (tensors[i].begin > at)
            return rl_error(RL_EINVAL, "%s: %llu bytes before tensor '%s' belong to no tensor",
                            shard->path, (unsigned long long)(tensors[i].begin - at),
                            tensors[i].array.name);
        at = tensors[i].end;
    }
    if (at != shard->bytes)
        return rl_error(RL_EINVAL, "%s: %llu bytes at its end belong to no tensor", shard->path,
                        (unsigned long long)(shard->bytes - at));
    return RL_OK;
}

/* The JSON as text; sets where the data begins.  On entry shard->bytes is the size of the file. */
static int read_text(struct shard *shard, char **out, size_t *size)
{
    unsigned char raw[8];
    uint64_t length = 0;
    int rc = RL_OK;

    if (shard->bytes < 8)
        return rl_error(RL_EINVAL, "%s has %llu bytes: not a safetensors file", shard->path,
                        (unsigned long long)shard->bytes);
    TRY(shard_read(shard, 0, raw, sizeof raw));
    for (int i = 7; i >= 0; i--)
        length = length << 8 | raw[i];
    if (length > SAFETENSORS_HEADER_MAX || length > shard->bytes - 8)
        return rl_error(RL_EINVAL, "%s: a header of %llu bytes does not fit the file (%llu bytes, "
                        "limit %u); it is cut short or not a safetensors file", shard->path,
                        (unsigned long long)length, (unsigned long long)shard->bytes,
                        SAFETENSORS_HEADER_MAX);
    *out = malloc((size_t)length + 1);
    if (!*out)
        return rl_error(RL_ENOFIT, "no memory for the header of %s", shard->path);
    TRY(shard_read(shard, 8, *out, (size_t)length));
    (*out)[length] = '\0';
    *size = (size_t)length;
    shard->start = 8 + length;
    shard->bytes -= shard->start;
done:
    return rc;
}

int safetensors_header(struct safetensors *s)
{
    struct shard *shard = &s->shards[s->n_shards - 1];
    int first = s->n, rc = RL_OK;
    struct json *header = NULL;
    const struct json *value;
    const char *name;
    char *text = NULL;
    size_t size = 0;
    void *it = NULL;

    TRY(read_text(shard, &text, &size));
    if (text[0] != '{') {
        rc = rl_error(RL_EINVAL, "%s: its header does not begin with '{'", shard->path);
        goto done;
    }
    header = json_parse(text, size, shard->path);
    if (!header) {
        rc = RL_EINVAL;
        goto done;
    }
    while (json_next(header, &it, &name, &value)) {
        if (strcmp(name, "__metadata__") == 0)
            TRY(read_metadata(s, header, value));
        else
            TRY(read_tensor(s, name, value));
    }
    TRY(check_tiling(shard, s->tensors ? s->tensors + first : NULL, s->n - first));
done:
    json_free(header);
    free(text);
    return rc;
}
