/* What is to be written, before anything is: each rank checks what it brings, then all check that
 * they bring the same. */
#include <string.h>

#include "base/status.h"
#include "checkpoints/internal.h"

/* A path of the file: parts that are not empty, "." or "..". */
static bool good_path(const char *name)
{
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))))
            return false;
    }
    return strlen(name) < ARRAY_NAME;
}

static bool starts_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

static int check_array(const struct array *a)
{
    size_t size = 1;

    if (!good_path(a->name) || starts_with(a->name, TEXTS_FOLDER) ||
        starts_with(a->name, CHECKSUMS_FOLDER))
        return rl_error(RL_EBUG, "checkpoint: '%s' cannot be the name of an array", a->name);
    for (int d = 0; d < a->dims && d < ARRAY_DIMS; d++)
        size *= a->shape[d];
    if (a->dims < 0 || a->dims > ARRAY_DIMS || size != a->size)
        return rl_error(RL_EBUG, "checkpoint: array '%s': shape and size differ", a->name);
    return RL_OK;
}

static int check_piece(const struct checkpoint_content *c, const struct checkpoint_piece *p)
{
    size_t end = p->begin + p->count;
    const struct array *a;

    if (p->array < 0 || p->array >= c->n_arrays)
        return rl_error(RL_EBUG, "checkpoint: a piece of array %d of %d", p->array, c->n_arrays);
    a = &c->arrays[p->array];
    if (p->begin > a->size || p->count > a->size - p->begin || (p->count > 0 && !p->data) ||
        (p->count > 0 && (p->begin % HASH_CHUNK != 0 || (end % HASH_CHUNK && end != a->size))))
        return rl_error(RL_EBUG, "checkpoint: array '%s': piece %zu + %zu does not fit it", a->name,
                        p->begin, p->count);
    return RL_OK;
}

int content_check(const struct checkpoint_content *c)
{
    int rc = RL_OK;

    for (int i = 0; i < c->n_arrays; i++)
        TRY(check_array(&c->arrays[i]));
    for (int i = 0; i < c->n_pieces; i++)
        TRY(check_piece(c, &c->pieces[i]));
    for (int i = 0; i < c->n_texts; i++)
        if (!good_path(c->texts[i].name) ||
            strlen(TEXTS_FOLDER) + strlen(c->texts[i].name) >= ARRAY_NAME)
            return rl_error(RL_EBUG, "checkpoint: '%s' cannot be the name of a text",
                            c->texts[i].name);
    for (int i = 0; i < c->n_values; i++)
        if (!*c->values[i].name || strcmp(c->values[i].name, CHECKPOINT_MARK) == 0)
            return rl_error(RL_EBUG, "checkpoint: '%s' cannot be the name of a value",
                            c->values[i].name);
done:
    return rc;
}

static uint64_t add_hash(uint64_t hash, const void *data, size_t bytes)
{
    uint64_t pair[2] = { hash, hash64(data, bytes) };

    return hash64(pair, sizeof pair);
}

static uint64_t hash_content(const struct checkpoint_content *c)
{
    int counts[3] = { c->n_arrays, c->n_texts, c->n_values };
    uint64_t hash = add_hash(0, counts, sizeof counts);

    for (int i = 0; i < c->n_arrays; i++) {
        const struct array *a = &c->arrays[i];
        hash = add_hash(hash, a->name, strlen(a->name));
        hash = add_hash(hash, a->shape, (size_t)a->dims * sizeof *a->shape);
        hash = add_hash(hash, &a->dtype, sizeof a->dtype);
    }
    for (int i = 0; i < c->n_texts; i++) {
        hash = add_hash(hash, c->texts[i].name, strlen(c->texts[i].name));
        hash = add_hash(hash, c->texts[i].data, c->texts[i].bytes);
    }
    for (int i = 0; i < c->n_values; i++) {
        const struct checkpoint_value *v = &c->values[i];
        hash = add_hash(hash, v->name, strlen(v->name));
        hash = add_hash(hash, &v->x, sizeof v->x);
    }
    return hash;
}

int content_same(struct comm *team, const struct checkpoint_content *c)
{
    int64_t range[2] = { (int64_t)(hash_content(c) >> 1), 0 };
    int rc = RL_OK;

    range[1] = -range[0];
    TRY(comm_max_int64(team, range, 2, PHASE_CHECKPOINT));
    if (range[0] != -range[1])
        rc = rl_error(RL_EBUG, "checkpoint: the ranks do not agree on what it holds");
done:
    return rc;
}
