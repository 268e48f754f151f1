/* Writing a checkpoint, all ranks together.
 *
 *   each rank    hashes the chunks of its slices; rank 0 gathers the hashes
 *   rank 0       makes path.part: structure, texts, checksums, room for the arrays (layout.c)
 *   all ranks    open it and write their slices side by side (disk.c), fsync
 *   rank 0       seals it (seal.c), renames it to path, fsyncs the folder
 *
 * After every step that may fail on one rank the team agrees, so that all stop together.  Why the
 * slices do not go through MPI-IO: docs/formats.md.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "checkpoints/internal.h"

struct range { uint64_t begin, count; };        /* a rank's slice of an array */

struct writer {
    struct comm *team;
    const struct checkpoint_content *content;
    const char *path;
    char part[PATH_ROOM];
    bool root, made;                    /* made: path.part is ours to remove */
    size_t *counts, *bytes_of;          /* per rank: for gathering; bytes of its checksums */
    struct range *slices;               /* mine, one per array */
    uint64_t *sums;                     /* of my chunks, array by array */
    size_t n_sums, all_sums;            /* of mine; of all arrays */
    struct range *slices_of;            /* root: of every rank */
    uint64_t *sums_of;                  /* root: as gathered, rank by rank */
    uint64_t *sums_in_order;            /* root: array by array */
    struct extent *extents;
    int n_extents;
    size_t bytes;
};

/* ---- what is to be written, checked by each rank for itself */

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

static int check_array(const struct stored *s)
{
    const struct array *a = &s->array;
    size_t size = 1, end = s->begin + s->count;

    for (int d = 0; d < a->dims; d++)
        size *= a->shape[d];
    if (!good_path(a->name) || starts_with(a->name, TEXTS_FOLDER) ||
        starts_with(a->name, CHECKSUMS_FOLDER))
        return rl_error(RL_EBUG, "checkpoint: '%s' cannot be the name of an array", a->name);
    if (a->dims < 0 || a->dims > ARRAY_DIMS || size != a->size)
        return rl_error(RL_EBUG, "checkpoint: array '%s': shape and size differ", a->name);
    if (s->begin > a->size || s->count > a->size - s->begin || (s->count > 0 && !s->data) ||
        (s->count > 0 && (s->begin % HASH_CHUNK != 0 || (end % HASH_CHUNK && end != a->size))))
        return rl_error(RL_EBUG, "checkpoint: array '%s': slice %zu + %zu does not fit it", a->name,
                        s->begin, s->count);
    return RL_OK;
}

static int check_content(const struct checkpoint_content *c)
{
    int rc = RL_OK;

    for (int i = 0; i < c->n_arrays; i++)
        TRY(check_array(&c->arrays[i]));
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

/* Collective.  All ranks must bring the same names, shapes, texts and values. */
static int check_same(struct comm *team, const struct checkpoint_content *c)
{
    int counts[3] = { c->n_arrays, c->n_texts, c->n_values }, rc = RL_OK;
    uint64_t hash = add_hash(0, counts, sizeof counts);
    int64_t range[2];

    for (int i = 0; i < c->n_arrays; i++) {
        const struct array *a = &c->arrays[i].array;
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
    range[0] = (int64_t)(hash >> 1);
    range[1] = -range[0];
    TRY(comm_max_int64(team, range, 2, PHASE_CHECKPOINT));
    if (range[0] != -range[1])
        rc = rl_error(RL_EBUG, "checkpoint: the ranks do not agree on what it holds");
done:
    return rc;
}

/* Allocate what the size of the team and the content tell. */
static int prepare(struct writer *w)
{
    const struct checkpoint_content *c = w->content;
    size_t n = (size_t)c->n_arrays, ranks = (size_t)comm_size(w->team);
    int rc = RL_OK;

    if (snprintf(w->part, sizeof w->part, "%s.part", w->path) >= (int)sizeof w->part)
        return rl_error(RL_EINVAL, "path too long: %s", w->path);
    TRY(check_content(c));
    for (size_t i = 0; i < n; i++) {
        w->n_sums += chunks_of(c->arrays[i].count);
        w->all_sums += chunks_of(c->arrays[i].array.size);
    }
    w->counts = calloc(ranks, sizeof *w->counts);
    w->bytes_of = calloc(ranks, sizeof *w->bytes_of);
    w->slices = calloc(n + 1, sizeof *w->slices);
    w->sums = calloc(w->n_sums + 1, sizeof *w->sums);
    w->extents = calloc(n + 1, sizeof *w->extents);
    if (w->root) {
        w->slices_of = calloc(ranks * n + 1, sizeof *w->slices_of);
        w->sums_of = calloc(w->all_sums + 1, sizeof *w->sums_of);
        w->sums_in_order = calloc(w->all_sums + 1, sizeof *w->sums_in_order);
    }
    if (!w->counts || !w->bytes_of || !w->slices || !w->sums || !w->extents ||
        (w->root && (!w->slices_of || !w->sums_of || !w->sums_in_order)))
        rc = rl_error(RL_ENOFIT, "no memory for the checksums of %s", w->path);
done:
    return rc;
}

/* ---- checksums: each rank its chunks, then all of them on rank 0 */

static void hash_slices(struct writer *w)
{
    uint64_t *out = w->sums;

    for (int i = 0; i < w->content->n_arrays; i++) {
        const struct stored *s = &w->content->arrays[i];
        size_t each = dtype_size(s->array.dtype);
        w->slices[i] = (struct range){ s->begin, s->count };
        for (size_t at = 0, n; at < s->count; at += n) {
            n = s->count - at < HASH_CHUNK ? s->count - at : HASH_CHUNK;
            *out++ = hash64((const char *)s->data + at * each, n * each);
        }
    }
}

/* Root: from rank by rank to array by array.  Every chunk must have come once. */
static int order_sums(struct writer *w)
{
    const struct checkpoint_content *c = w->content;
    uint64_t *from = w->sums_of, *base;
    char *seen = calloc(w->all_sums + 1, 1);
    int rc = RL_OK;

    if (!seen)
        return rl_error(RL_ENOFIT, "no memory for the checksums of %s", w->path);
    for (int r = 0; r < comm_size(w->team); r++) {
        base = w->sums_in_order;
        for (int i = 0; i < c->n_arrays; i++) {
            const struct range *s = &w->slices_of[(size_t)r * (size_t)c->n_arrays + (size_t)i];
            size_t first = s->begin / HASH_CHUNK, n = chunks_of(s->count);
            for (size_t k = first; k < first + n; k++) {
                if (seen[(size_t)(base - w->sums_in_order) + k]++) {
                    rc = rl_error(RL_EBUG, "checkpoint: array '%s': two ranks hold chunk %zu",
                                  c->arrays[i].array.name, k);
                    goto done;
                }
                base[k] = *from++;
            }
            base += chunks_of(c->arrays[i].array.size);
        }
    }
done:
    free(seen);
    return rc;
}

/* Collective. */
static int gather_sums(struct writer *w)
{
    size_t n = (size_t)w->content->n_arrays, total = 0;
    size_t mine = w->n_sums * sizeof *w->sums;
    int ranks = comm_size(w->team), rc = RL_OK;

    for (int r = 0; r < ranks; r++)
        w->counts[r] = n * sizeof *w->slices;
    TRY(comm_gather(w->team, w->slices, w->slices_of, w->counts, 0, PHASE_CHECKPOINT));
    for (int r = 0; r < ranks; r++)
        w->counts[r] = sizeof mine;
    TRY(comm_allgather(w->team, &mine, w->bytes_of, w->counts, PHASE_CHECKPOINT));
    for (int r = 0; r < ranks; r++) {
        w->counts[r] = w->bytes_of[r];
        total += w->bytes_of[r] / sizeof *w->sums;
    }
    if (total != w->all_sums) {         /* seen by every rank alike */
        rc = rl_error(RL_EBUG, "checkpoint: the ranks hold %zu chunks of %zu", total, w->all_sums);
        goto done;
    }
    TRY(comm_gather(w->team, w->sums, w->sums_of, w->counts, 0, PHASE_CHECKPOINT));
    rc = w->root ? order_sums(w) : RL_OK;
done:
    return rc;
}

/* ---- elements */

static int write_slice(struct writer *w, hid_t file, const struct stored *s)
{
    const struct array *a = &s->array;
    hsize_t count = s->count;
    hid_t data, space, memory;
    int rc = RL_OK;

    if (count == 0)
        return RL_OK;
    data = H5Dopen2(file, a->name, H5P_DEFAULT);
    space = H5Dget_space(data);
    memory = H5Screate_simple(1, &count, NULL);
    if (data < 0 || memory < 0 || h5_select(space, a, s->begin, s->count) != 0 ||
        H5Dwrite(data, h5_type(a->dtype), memory, space, H5P_DEFAULT, s->data) < 0)
        rc = h5_error(RL_EIO, "cannot write array '%s' of %s", a->name, w->part);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(data);
    return rc;
}

/* Each rank by itself: the room for its elements is there, nobody else writes those bytes. */
static int write_slices(struct writer *w)
{
    hid_t access = H5I_INVALID_HID, file = H5I_INVALID_HID;
    int rc = RL_OK, error = 0;

    if (!file_exists(w->part))
        return rl_error(RL_EIO, "%s does not see %s: the run folder must be on a file system that "
                        "all hosts share", comm_host(w->team, comm_rank(w->team)), w->part);
    access = h5_access(&error, true);
    file = H5Fopen(w->part, H5F_ACC_RDWR, access);
    if (file < 0)
        rc = h5_error(RL_EIO, "cannot open %s for writing", w->part);
    for (int i = 0; i < w->content->n_arrays && rc == RL_OK; i++)
        rc = write_slice(w, file, &w->content->arrays[i]);
    rc = h5_close(file, w->part, &error, rc);
    H5Pclose(access);
    return rc == RL_OK ? file_sync(w->part) : rc;
}

/* ---- the story */

/* Root: make the file visible under its name. */
static int finish(struct writer *w)
{
    int rc = RL_OK;

    TRY(seal_write(w->part, w->extents, w->n_extents, &w->bytes));
    if (rename(w->part, w->path) != 0)
        return rl_error(RL_EIO, "cannot rename %s: %s", w->part, strerror(errno));
    w->made = false;
    TRY(folder_sync(w->path));
done:
    return rc;
}

static int write_all(struct writer *w)
{
    int64_t bytes = 0;
    int rc;

    rc = prepare(w);
    TRY(comm_agree(w->team, rc));
    rc = check_same(w->team, w->content);
    TRY(comm_agree(w->team, rc));
    hash_slices(w);
    rc = gather_sums(w);
    TRY(comm_agree(w->team, rc));
    if (w->root) {
        w->made = true;
        rc = layout_create(w->part, w->content, w->sums_in_order, w->extents, &w->n_extents);
    }
    TRY(comm_agree(w->team, rc));
    rc = write_slices(w);
    TRY(comm_agree(w->team, rc));
    rc = w->root ? finish(w) : RL_OK;
    TRY(comm_agree(w->team, rc));
    bytes = (int64_t)w->bytes;
    TRY(comm_broadcast(w->team, &bytes, sizeof bytes, 0, PHASE_CHECKPOINT));
    w->bytes = (size_t)bytes;
done:
    return rc;
}

int checkpoint_write(struct comm *team, const char *path, const struct checkpoint_content *content,
                     size_t *bytes)
{
    struct writer w = { .team = team, .path = path, .content = content };
    int rc;

    h5_quiet();
    w.root = comm_rank(team) == 0;
    rc = write_all(&w);
    if (rc == RL_OK)
        *bytes = w.bytes;
    if (w.made)
        unlink(w.part);                 /* a reader never meets half a checkpoint */
    free(w.counts);
    free(w.bytes_of);
    free(w.slices);
    free(w.sums);
    free(w.slices_of);
    free(w.sums_of);
    free(w.sums_in_order);
    free(w.extents);
    return rc;
}
