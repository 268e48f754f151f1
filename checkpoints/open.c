/* Opening a checkpoint, by any rank for itself.  The seal is checked before HDF5 sees the file;
 * then every array and text is known by name, type and shape. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "checkpoints/reader.h"

int reader_describe(struct checkpoint *c, hid_t data, struct array *a)
{
    hid_t type = H5Dget_type(data), space = H5Dget_space(data);
    hsize_t shape[ARRAY_DIMS] = { 0 }, bytes = H5Dget_storage_size(data), file = 0;
    haddr_t at = H5Dget_offset(data);
    int dtype = h5_dtype(type), dims = H5Sget_simple_extent_ndims(space), rc = RL_OK;

    if (dtype < 0 || dims < 0 || dims > ARRAY_DIMS) {
        rc = rl_error(RL_EINVAL, "%s: '%s' is of a type or shape that checkpoints do not have",
                      c->path, a->name);
        goto done;
    }
    H5Sget_simple_extent_dims(space, shape, NULL);
    a->dtype = (enum dtype)dtype;
    a->dims = dims;
    a->size = 1;
    for (int d = 0; d < dims; d++) {
        a->shape[d] = (size_t)shape[d];
        if (__builtin_mul_overflow(a->size, a->shape[d], &a->size))
            a->size = SIZE_MAX / 8;
    }
    /* in one piece, in this file, and within it: memory for an array is what the file has */
    if (a->size > 0 && (bytes / dtype_size(a->dtype) != a->size || at == HADDR_UNDEF ||
                        H5Fget_filesize(c->file, &file) < 0 || at > file || bytes > file - at))
        rc = rl_error(RL_EINVAL, "%s: '%s' is not stored whole", c->path, a->name);
done:
    H5Sclose(space);
    H5Tclose(type);
    return rc;
}

/* An attribute of exactly that kind; false if absent or of another. */
static bool read_attribute(hid_t object, const char *name, H5T_class_t kind, hid_t type, void *out)
{
    hid_t attribute = H5I_INVALID_HID, stored = H5I_INVALID_HID, space = H5I_INVALID_HID;
    bool good = false;

    if (H5Aexists(object, name) > 0)
        attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute >= 0) {
        stored = H5Aget_type(attribute);
        space = H5Aget_space(attribute);
        good = H5Tget_class(stored) == kind && H5Tget_size(stored) == 8 &&
               H5Sget_simple_extent_npoints(space) == 1 &&
               H5Aread(attribute, type < 0 ? stored : type, out) >= 0;
    }
    H5Sclose(space);
    H5Tclose(stored);
    H5Aclose(attribute);
    return good;
}

/* U16 on the disk stands for two types; an attribute says which. */
static int settle_half(struct checkpoint *c, hid_t data, struct array *a)
{
    char name[9] = "";

    if (a->dtype != DTYPE_BF16)
        return RL_OK;
    if (!read_attribute(data, CHECKPOINT_DTYPE, H5T_STRING, H5I_INVALID_HID, name) ||
        (strcmp(name, "BF16") != 0 && strcmp(name, "F16") != 0))
        return rl_error(RL_EINVAL, "%s: '%s' does not say whether it is BF16 or F16", c->path,
                        a->name);
    if (strcmp(name, "F16") == 0)
        a->dtype = DTYPE_F16;
    return RL_OK;
}

static int add_entry(struct checkpoint *c, const char *name)
{
    struct list *list = strncmp(name, TEXTS_FOLDER, strlen(TEXTS_FOLDER)) == 0 ? &c->texts
                                                                              : &c->arrays;
    hid_t data = H5I_INVALID_HID;
    struct entry e = { .index = 0 };
    int rc = RL_OK;

    if (strlen(name) >= ARRAY_NAME)
        return rl_error(RL_EINVAL, "%s: the name '%.60s...' is too long", c->path, name);
    memcpy(e.array.name, name, strlen(name) + 1);
    data = H5Dopen2(c->file, name, H5P_DEFAULT);
    if (data < 0)
        return h5_error(RL_EINVAL, "%s: cannot open '%s'", c->path, name);
    TRY(reader_describe(c, data, &e.array));
    TRY(settle_half(c, data, &e.array));
    if (list == &c->texts && (e.array.dims != 1 || e.array.dtype != DTYPE_U8)) {
        rc = rl_error(RL_EINVAL, "%s: '%s' is not a text", c->path, name);
        goto done;
    }
    if (list == &c->arrays &&
        !read_attribute(data, CHECKPOINT_INDEX, H5T_INTEGER, H5T_NATIVE_INT64, &e.index)) {
        rc = rl_error(RL_EINVAL, "%s: array '%s' has no index", c->path, name);
        goto done;
    }
    if (list->n == list->room) {
        int room = list->room ? 2 * list->room : 64;
        struct entry *bigger = realloc(list->entries, (size_t)room * sizeof *bigger);
        if (!bigger) {
            rc = rl_error(RL_ENOFIT, "no memory for the names in %s", c->path);
            goto done;
        }
        list->entries = bigger;
        list->room = room;
    }
    list->entries[list->n++] = e;
done:
    H5Dclose(data);
    return rc;
}

struct visit { struct checkpoint *checkpoint; int rc; };

static herr_t visit_link(hid_t root, const char *name, const H5L_info_t *link, void *data)
{
    struct visit *visit = data;
    H5O_info_t object;

    if (link->type != H5L_TYPE_HARD ||
        H5Oget_info_by_name2(root, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        visit->rc = h5_error(RL_EINVAL, "%s: '%.120s' is not stored in it",
                             visit->checkpoint->path, name);
    else if (object.type == H5O_TYPE_DATASET &&
             strncmp(name, CHECKSUMS_FOLDER, strlen(CHECKSUMS_FOLDER)) != 0)
        visit->rc = add_entry(visit->checkpoint, name);
    return visit->rc == RL_OK ? 0 : -1;
}

static int by_index(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return (x->index > y->index) - (x->index < y->index);
}

static int list_entries(struct checkpoint *c)
{
    struct visit visit = { .checkpoint = c };

    if (H5Lvisit(c->file, H5_INDEX_NAME, H5_ITER_INC, visit_link, &visit) < 0)
        return visit.rc != RL_OK ? visit.rc
                                 : h5_error(RL_EINVAL, "%s: cannot list its arrays", c->path);
    if (c->arrays.n > 0)
        qsort(c->arrays.entries, (size_t)c->arrays.n, sizeof *c->arrays.entries, by_index);
    return RL_OK;
}

static int open_file(struct checkpoint *c)
{
    hid_t access = h5_access(NULL);
    int64_t version = 0;

    c->file = H5Fopen(c->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (c->file < 0)
        return h5_error(RL_EINVAL, "%s is not a checkpoint", c->path);
    if (!checkpoint_int(c, CHECKPOINT_MARK, &version))
        return rl_error(RL_EINVAL, "%s has no attribute '%s': not a checkpoint", c->path,
                        CHECKPOINT_MARK);
    if (version != CHECKPOINT_FORMAT)
        return rl_error(RL_EINVAL, "%s is of format %lld; this program reads format %d", c->path,
                        (long long)version, CHECKPOINT_FORMAT);
    return RL_OK;
}

int checkpoint_open(struct checkpoint **out, const char *path)
{
    struct checkpoint *c = calloc(1, sizeof *c);
    int rc = RL_OK;

    *out = NULL;
    if (!c || !(c->path = strdup(path))) {
        free(c);
        return rl_error(RL_ENOFIT, "no memory to open %s", path);
    }
    c->file = H5I_INVALID_HID;
    h5_quiet();
    TRY(seal_check(path));
    TRY(open_file(c));
    TRY(list_entries(c));
    *out = c;
done:
    if (rc != RL_OK)
        checkpoint_close(c);
    return rc;
}

static void free_list(struct list *list)
{
    for (int i = 0; i < list->n; i++)
        free(list->entries[i].sums);
    free(list->entries);
}

void checkpoint_close(struct checkpoint *c)
{
    if (!c)
        return;
    if (c->file >= 0)
        H5Fclose(c->file);
    free_list(&c->arrays);
    free_list(&c->texts);
    free(c->path);
    free(c);
}

/* ---- what is in it */

int checkpoint_count(const struct checkpoint *c)
{
    return c->arrays.n;
}

const struct array *checkpoint_array(const struct checkpoint *c, int i)
{
    return &c->arrays.entries[i].array;
}

int checkpoint_find(const struct checkpoint *c, const char *name)
{
    for (int i = 0; i < c->arrays.n; i++)
        if (strcmp(c->arrays.entries[i].array.name, name) == 0)
            return i;
    return -1;
}

bool checkpoint_int(const struct checkpoint *c, const char *name, int64_t *value)
{
    return read_attribute(c->file, name, H5T_INTEGER, H5T_NATIVE_INT64, value);
}

int checkpoint_texts(const struct checkpoint *c)
{
    return c->texts.n;
}

const char *checkpoint_text_name(const struct checkpoint *c, int i)
{
    return c->texts.entries[i].array.name + strlen(TEXTS_FOLDER);
}
