/* From a model's fp32 arrays to safetensors that every Hugging Face tool reads.
 *
 *   small    model.safetensors
 *   large    model-00001-of-0000N.safetensors ... and model.safetensors.index.json
 *
 * Tensors stand in the order given; the JSON is padded with spaces so that the data begins at a
 * multiple of 8 bytes.  A file is written beside its place and renamed when it is on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoints/safetensors_internal.h"

#define PATH_ROOM 4096
#define PIECE 8192                  /* elements converted at a time */
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

/* Tensors [first, end) go into one file. */
struct cut { int first, end; };

static int write_bytes(int fd, const char *path, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = write(fd, (const char *)data + done, bytes - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
        done += (size_t)put;
    }
    return RL_OK;
}

/* The length, then the JSON, as the first bytes of the file. */
static void add_header(struct text *out, const struct array *arrays, struct cut cut,
                       enum dtype dtype)
{
    uint64_t at = 0, length;

    text_add(out, "\0\0\0\0\0\0\0\0", 8);                    /* the length, known at the end */
    text_adds(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int i = cut.first; i < cut.end; i++) {
        uint64_t end = at + arrays[i].size * dtype_size(dtype);
        text_adds(out, ",");
        json_add_string(out, arrays[i].name, strlen(arrays[i].name));
        text_addf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(dtype));
        for (int d = 0; d < arrays[i].dims; d++)
            text_addf(out, d ? ",%zu" : "%zu", arrays[i].shape[d]);
        text_addf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, end);
        at = end;
    }
    text_adds(out, "}");
    while (out->size % 8 != 0)
        text_adds(out, " ");
    length = out->size - 8;
    memcpy(out->data, &length, sizeof length);
}

static int write_tensor(int fd, const char *path, const struct array *a, enum dtype dtype)
{
    const float *x = a->data;
    unsigned short piece[PIECE];
    int rc = RL_OK;

    if (dtype == DTYPE_F32)
        return write_bytes(fd, path, x, a->size * sizeof *x);
    for (size_t at = 0, n; at < a->size; at += n) {
        n = a->size - at < PIECE ? a->size - at : PIECE;
        for (size_t i = 0; i < n; i++)
            piece[i] = dtype == DTYPE_BF16 ? bf16_from_f32(x[at + i]) : f16_from_f32(x[at + i]);
        TRY(write_bytes(fd, path, piece, n * sizeof *piece));
    }
done:
    return rc;
}

static int write_file(const char *folder, const char *name, const struct array *arrays,
                      struct cut cut, enum dtype dtype)
{
    char path[PATH_ROOM], part[PATH_ROOM + 8];
    struct text header = { 0 };
    int fd = -1, rc = RL_OK;

    TRY(path_join(path, sizeof path, folder, name));
    snprintf(part, sizeof part, "%s.part", path);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
        goto done;
    }
    add_header(&header, arrays, cut, dtype);
    TRY(write_bytes(fd, path, header.data, header.size));
    for (int i = cut.first; i < cut.end; i++)
        TRY(write_tensor(fd, path, &arrays[i], dtype));
    if (fsync(fd) != 0)
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
done:
    text_free(&header);
    if (fd >= 0 && close(fd) != 0 && rc == RL_OK)
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0 && rc == RL_OK && rename(part, path) != 0)
        rc = rl_error(RL_EIO, "cannot rename %s: %s", part, strerror(errno));
    if (fd >= 0 && rc != RL_OK)
        unlink(part);
    return rc == RL_OK ? folder_sync(path) : rc;
}

/* Cut the list into files of at most `most` bytes; a larger tensor gets a file of its own. */
static int plan_cuts(const struct array *arrays, int n, enum dtype dtype, size_t most,
                     struct cut *cuts)
{
    int count = 0;
    size_t bytes = 0;

    cuts[count++] = (struct cut){ 0, n };
    for (int i = 0; i < n; i++) {
        size_t more = arrays[i].size * dtype_size(dtype);
        if (most > 0 && i > cuts[count - 1].first && bytes + more > most) {
            cuts[count - 1].end = i;
            cuts[count++] = (struct cut){ i, n };
            bytes = 0;
        }
        bytes += more;
    }
    return count;
}

static void shard_name(char *out, size_t room, int i, int count)
{
    snprintf(out, room, "model-%05d-of-%05d.safetensors", i + 1, count);
}

static int write_index(const char *folder, const struct array *arrays, const struct cut *cuts,
                       int count, enum dtype dtype)
{
    char path[PATH_ROOM], shard[64];
    struct text out = { 0 };
    size_t total = 0;
    int rc = RL_OK;

    for (int i = 0; i < cuts[count - 1].end; i++)
        total += arrays[i].size * dtype_size(dtype);
    text_addf(&out, "{\n  \"metadata\": {\"total_size\": %zu},\n  \"weight_map\": {", total);
    for (int c = 0; c < count; c++) {
        shard_name(shard, sizeof shard, c, count);
        for (int i = cuts[c].first; i < cuts[c].end; i++) {
            text_adds(&out, i ? ",\n    " : "\n    ");
            json_add_string(&out, arrays[i].name, strlen(arrays[i].name));
            text_addf(&out, ": \"%s\"", shard);
        }
    }
    text_adds(&out, "\n  }\n}\n");
    TRY(path_join(path, sizeof path, folder, INDEX));
    TRY(file_write(path, out.data, out.size));
done:
    text_free(&out);
    return rc;
}

/* The other layout, left by an earlier save, would hide or contradict this one. */
static int remove_other(const char *folder, const char *name)
{
    char path[PATH_ROOM];
    int rc = RL_OK;

    TRY(path_join(path, sizeof path, folder, name));
    if (unlink(path) != 0 && errno != ENOENT)
        rc = rl_error(RL_EIO, "cannot remove the outdated %s: %s", path, strerror(errno));
done:
    return rc;
}

static int check_arrays(const struct array *arrays, int n, enum dtype dtype)
{
    if (dtype != DTYPE_F32 && dtype != DTYPE_BF16 && dtype != DTYPE_F16)
        return rl_error(RL_EINVAL, "safetensors are written as F32, BF16 or F16, not as %s",
                        dtype_name(dtype));
    for (int i = 0; i < n; i++)
        if (arrays[i].dtype != DTYPE_F32 || (!arrays[i].data && arrays[i].size > 0))
            return rl_error(RL_EBUG, "array '%s' to be saved is not a view of floats",
                            arrays[i].name);
    return RL_OK;
}

int safetensors_save(const char *folder, const struct array *arrays, int n, enum dtype dtype,
                     size_t shard_bytes)
{
    struct cut *cuts = malloc(((size_t)n + 1) * sizeof *cuts);
    char name[64];
    int count, rc = RL_OK;

    if (!cuts)
        return rl_error(RL_ENOFIT, "no memory to save %d tensors", n);
    TRY(check_arrays(arrays, n, dtype));
    TRY(folder_make(folder));
    count = plan_cuts(arrays, n, dtype, shard_bytes, cuts);
    if (count == 1) {
        TRY(write_file(folder, SINGLE, arrays, cuts[0], dtype));
        TRY(remove_other(folder, INDEX));
        goto done;
    }
    for (int c = 0; c < count; c++) {
        shard_name(name, sizeof name, c, count);
        TRY(write_file(folder, name, arrays, cuts[c], dtype));
    }
    TRY(write_index(folder, arrays, cuts, count, dtype));
    TRY(remove_other(folder, SINGLE));
done:
    free(cuts);
    return rc;
}
