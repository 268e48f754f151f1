/* The file before its arrays' elements: groups, attributes, texts and reserved room.  One rank
 * makes it serially, so that the bytes are the same for any number of ranks; then all ranks write
 * their pieces side by side (write.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "checkpoints/internal.h"

struct layout {
    const char *path;
    hid_t file;
    int error;              /* errno of the first write that failed */
    hid_t folders;          /* link properties: make the folders of a name */
    hid_t plain;            /* dataset properties: contiguous, allocated at once, no time stamp */
};

/* ---- pieces of the file */

static int add_attribute(struct layout *l, hid_t object, const char *name, hid_t type,
                         const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int rc = RL_OK;

    if (attribute < 0 || H5Awrite(attribute, type, value) < 0)
        rc = h5_error(RL_EIO, "%s: cannot write attribute '%s'", l->path, name);
    H5Aclose(attribute);
    H5Sclose(space);
    return rc;
}

static int add_values(struct layout *l, const struct checkpoint_content *c)
{
    int64_t version = CHECKPOINT_FORMAT;
    int rc = RL_OK;

    TRY(add_attribute(l, l->file, CHECKPOINT_MARK, H5T_STD_I64LE, &version));
    for (int i = 0; i < c->n_values; i++)
        TRY(add_attribute(l, l->file, c->values[i].name, H5T_STD_I64LE, &c->values[i].x));
done:
    return rc;
}

/* A dataset with its room; data may be NULL: written later.  The caller closes *out. */
static int add_dataset(struct layout *l, const char *name, hid_t type, int dims,
                       const hsize_t *shape, const void *data, hid_t *out)
{
    hid_t space = dims ? H5Screate_simple(dims, shape, NULL) : H5Screate(H5S_SCALAR);
    bool empty = H5Sget_simple_extent_npoints(space) == 0;
    int rc = RL_OK;

    *out = H5Dcreate2(l->file, name, type, space, l->folders, l->plain, H5P_DEFAULT);
    if (*out < 0)
        rc = h5_error(RL_EIO, "%s: cannot create '%s'", l->path, name);
    else if (data && !empty && H5Dwrite(*out, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        rc = h5_error(RL_EIO, "%s: cannot write '%s'", l->path, name);
    H5Sclose(space);
    return rc;
}

/* n checksums and where they lie; sums may be NULL: written later. */
static int add_sums(struct layout *l, const char *name, const uint64_t *sums, size_t n,
                    uint64_t *at)
{
    char path[STORED_NAME + 16];
    hsize_t shape = n;
    hid_t data;
    int rc;

    snprintf(path, sizeof path, CHECKSUMS_FOLDER "%s", name);
    rc = add_dataset(l, path, H5T_STD_U64LE, 1, &shape, sums, &data);
    *at = rc == RL_OK && n > 0 ? H5Dget_offset(data) : 0;
    if (*at == HADDR_UNDEF)
        rc = h5_error(RL_EIO, "%s: no room for '%s'", l->path, path);
    H5Dclose(data);
    return rc;
}

static int add_text(struct layout *l, const struct checkpoint_text *t)
{
    uint64_t *sums = malloc((chunks_of(t->bytes) + 1) * sizeof *sums);
    char path[STORED_NAME];
    hsize_t shape = t->bytes;
    hid_t data = H5I_INVALID_HID;
    uint64_t at;
    int rc = RL_OK;

    if (!sums)
        return rl_error(RL_ENOFIT, "no memory for the checksums of '%s'", t->name);
    for (size_t i = 0, n; i < chunks_of(t->bytes); i++) {
        n = t->bytes - i * HASH_CHUNK < HASH_CHUNK ? t->bytes - i * HASH_CHUNK : HASH_CHUNK;
        sums[i] = hash64(t->data + i * HASH_CHUNK, n);
    }
    snprintf(path, sizeof path, TEXTS_FOLDER "%s", t->name);
    TRY(add_dataset(l, path, H5T_STD_U8LE, 1, &shape, t->data, &data));
    TRY(add_sums(l, path, sums, chunks_of(t->bytes), &at));
done:
    H5Dclose(data);
    free(sums);
    return rc;
}

/* An array without its elements, and where they will lie. */
static int add_array(struct layout *l, const struct array *a, int index, uint64_t *elements)
{
    hsize_t shape[ARRAY_DIMS];
    int64_t place = index;
    hid_t data = H5I_INVALID_HID, name = H5I_INVALID_HID;
    haddr_t at;
    int rc = RL_OK;

    for (int d = 0; d < a->dims; d++)
        shape[d] = a->shape[d];
    TRY(add_dataset(l, a->name, h5_type(a->dtype), a->dims, shape, NULL, &data));
    TRY(add_attribute(l, data, CHECKPOINT_INDEX, H5T_STD_I64LE, &place));
    if (a->dtype == DTYPE_BF16 || a->dtype == DTYPE_F16) {
        char text[8] = { 0 };
        memcpy(text, dtype_name(a->dtype), strlen(dtype_name(a->dtype)));
        name = H5Tcopy(H5T_C_S1);
        H5Tset_size(name, sizeof text);
        TRY(add_attribute(l, data, CHECKPOINT_DTYPE, name, text));
    }
    at = H5Dget_offset(data);
    *elements = a->size > 0 ? at : 0;
    if (a->size > 0 && at == HADDR_UNDEF)
        rc = h5_error(RL_EIO, "%s: no room for '%s'", l->path, a->name);
done:
    H5Tclose(name);
    H5Dclose(data);
    return rc;
}

/* ---- the whole */

static int open_layout(struct layout *l, const char *path)
{
    hid_t access, create = H5Pcreate(H5P_FILE_CREATE);
    herr_t bad;

    *l = (struct layout){ .path = path };
    access = h5_access(&l->error);
    bad = access < 0 ? -1 : 0;
    l->folders = H5Pcreate(H5P_LINK_CREATE);
    l->plain = H5Pcreate(H5P_DATASET_CREATE);
    bad |= H5Pset_obj_track_times(create, false);       /* equal content, equal bytes */
    bad |= H5Pset_create_intermediate_group(l->folders, 1);
    bad |= H5Pset_obj_track_times(l->plain, false);
    bad |= H5Pset_layout(l->plain, H5D_CONTIGUOUS);
    bad |= H5Pset_alloc_time(l->plain, H5D_ALLOC_TIME_EARLY);
    bad |= H5Pset_fill_time(l->plain, H5D_FILL_TIME_NEVER);
    l->file = bad < 0 ? -1 : H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    H5Pclose(access);
    H5Pclose(create);
    if (l->file < 0 && l->error != 0)
        return rl_error(RL_EIO, "cannot create %s: %s", path, strerror(l->error));
    return l->file < 0 ? h5_error(RL_EIO, "cannot create %s", path) : RL_OK;
}

/* Reserve the whole file, so that a full disk is found now and by one rank. */
static int reserve(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), rc = RL_OK;
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0) {
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
        goto done;
    }
    while (fallocate(fd, 0, 0, info.st_size) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EOPNOTSUPP && errno != ENOSYS)     /* those cannot say; writing will */
            rc = rl_error(RL_EIO, "cannot write the %lld bytes of %s: %s",
                          (long long)info.st_size, path, strerror(errno));
        break;
    }
done:
    if (fd >= 0)
        close(fd);
    return rc;
}

int layout_create(const char *path, const struct checkpoint_content *c, struct place *places)
{
    struct layout l;
    int rc = RL_OK;

    TRY(open_layout(&l, path));
    TRY(add_values(&l, c));
    for (int i = 0; i < c->n_arrays; i++) {
        const struct array *a = &c->arrays[i];
        TRY(add_array(&l, a, i, &places[i].elements));
        TRY(add_sums(&l, a->name, NULL, chunks_of(a->size), &places[i].sums));
    }
    for (int i = 0; i < c->n_texts; i++)
        TRY(add_text(&l, &c->texts[i]));
done:
    rc = h5_close(l.file, path, &l.error, rc);
    H5Pclose(l.folders);
    H5Pclose(l.plain);
    return rc == RL_OK ? reserve(path) : rc;
}
