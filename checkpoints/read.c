/* Reading a checkpoint's elements: nothing is handed out before its checksum holds.
 *
 *      begin                                 begin + count
 *   ---|--#####|###########|###########|####--|-----         | ends of chunks, # asked for
 *      |       '-- whole chunks: read into out, then hashed
 *      '-- part of a chunk: read whole into scratch, hashed, copied
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "checkpoints/reader.h"

/* The checksums of an entry, as many as it has chunks. */
static int load_sums(struct checkpoint *c, struct entry *e)
{
    size_t n = chunks_of(e->array.size);
    struct array stored = { .name = "checksums" };
    char name[STORED_NAME];
    hid_t data;
    int rc = RL_OK;

    if (e->sums)
        return RL_OK;
    snprintf(name, sizeof name, CHECKSUMS_FOLDER "%s", e->array.name);
    e->sums = malloc((n + 1) * sizeof *e->sums);
    if (!e->sums)
        return rl_error(RL_ENOFIT, "no memory for the checksums of %s", c->path);
    data = H5Dopen2(c->file, name, H5P_DEFAULT);
    if (data >= 0)
        rc = reader_describe(c, data, &stored);
    if (rc == RL_OK &&
        (data < 0 || stored.dtype != DTYPE_U64 || stored.size != n ||
         (n > 0 && H5Dread(data, H5T_STD_U64LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, e->sums) < 0)))
        rc = h5_error(RL_EINVAL, "%s: '%s' lacks its %zu checksums", c->path, e->array.name, n);
    if (rc != RL_OK) {
        free(e->sums);
        e->sums = NULL;
    }
    H5Dclose(data);
    return rc;
}

static int read_range(struct checkpoint *c, hid_t data, const struct array *a, size_t begin,
                      size_t count, void *out)
{
    hsize_t length = count;
    hid_t memory = H5Screate_simple(1, &length, NULL), space = H5Dget_space(data);
    int rc = RL_OK;

    if (memory < 0 || space < 0 || h5_select(space, a, begin, count) != 0 ||
        H5Dread(data, h5_type(a->dtype), memory, space, H5P_DEFAULT, out) < 0)
        rc = h5_error(RL_EIO, "%s: cannot read '%s'", c->path, a->name);
    H5Sclose(space);
    H5Sclose(memory);
    return rc;
}

/* Elements that begin with a chunk and end with one, or with the array. */
static int read_chunks(struct checkpoint *c, hid_t data, const struct entry *e, size_t begin,
                       size_t count, void *out)
{
    size_t each = dtype_size(e->array.dtype);
    int rc = RL_OK;

    TRY(read_range(c, data, &e->array, begin, count, out));
    for (size_t at = 0, n; at < count; at += n) {
        size_t chunk = (begin + at) / HASH_CHUNK;
        n = count - at < HASH_CHUNK ? count - at : HASH_CHUNK;
        if (hash64((char *)out + at * each, n * each) != e->sums[chunk])
            return rl_error(RL_EINVAL, "%s is damaged: '%s', chunk %zu (elements %zu to %zu) does "
                            "not match its checksum; use an earlier checkpoint", c->path,
                            e->array.name, chunk, begin + at, begin + at + n - 1);
    }
done:
    return rc;
}

/* Elements [begin, end) of one chunk. */
static int read_part(struct checkpoint *c, hid_t data, const struct entry *e, size_t begin,
                     size_t end, void *out)
{
    size_t each = dtype_size(e->array.dtype), first = begin / HASH_CHUNK * HASH_CHUNK;
    size_t left = e->array.size - first;
    int rc = RL_OK;

    TRY(read_chunks(c, data, e, first, left < HASH_CHUNK ? left : HASH_CHUNK, c->scratch));
    memcpy(out, (char *)c->scratch + (begin - first) * each, (end - begin) * each);
done:
    return rc;
}

static int read_entry(struct checkpoint *c, struct entry *e, size_t begin, size_t count, void *out)
{
    size_t each = dtype_size(e->array.dtype), end = begin + count, whole;
    hid_t data;
    int rc = RL_OK;

    if (begin > e->array.size || count > e->array.size - begin)
        return rl_error(RL_EBUG, "%s: '%s' has no elements %zu + %zu", c->path, e->array.name,
                        begin, count);
    data = H5Dopen2(c->file, e->array.name, H5P_DEFAULT);
    if (data < 0)
        return h5_error(RL_EIO, "%s: cannot open '%s'", c->path, e->array.name);
    TRY(load_sums(c, e));
    if (begin < end && begin % HASH_CHUNK != 0) {
        size_t next = (begin / HASH_CHUNK + 1) * HASH_CHUNK;
        next = next < end ? next : end;
        TRY(read_part(c, data, e, begin, next, out));
        out = (char *)out + (next - begin) * each;
        begin = next;
    }
    whole = end == e->array.size ? end - begin : (end - begin) / HASH_CHUNK * HASH_CHUNK;
    if (begin < end && whole > 0)
        TRY(read_chunks(c, data, e, begin, whole, out));
    if (begin + whole < end)
        TRY(read_part(c, data, e, begin + whole, end, (char *)out + whole * each));
done:
    H5Dclose(data);
    return rc;
}

int checkpoint_read(struct checkpoint *c, int i, size_t begin, size_t count, void *out)
{
    return read_entry(c, &c->arrays.entries[i], begin, count, out);
}

int checkpoint_text(struct checkpoint *c, const char *name, struct text *out)
{
    struct entry *e = NULL;
    char *bytes = NULL;
    int rc = RL_OK;

    for (int i = 0; i < c->texts.n; i++)
        if (strcmp(checkpoint_text_name(c, i), name) == 0)
            e = &c->texts.entries[i];
    if (!e)
        return rl_error(RL_EINVAL, "%s holds no text '%s'", c->path, name);
    bytes = malloc(e->array.size + 1);
    if (!bytes)
        return rl_error(RL_ENOFIT, "no memory for the text '%s' of %s", name, c->path);
    TRY(read_entry(c, e, 0, e->array.size, bytes));
    text_clear(out);
    text_add(out, bytes, e->array.size);
done:
    free(bytes);
    return rc;
}
