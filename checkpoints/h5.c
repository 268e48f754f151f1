/* HDF5 in our terms: quiet, one-line errors, types, and ranges of elements as selections. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "checkpoints/internal.h"

#define ALIGNMENT 4096          /* arrays of a page or more begin at a page of the disk */

void h5_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* The innermost entry of the error stack is the reason; the others say how it travelled. */
static herr_t keep_first(unsigned n, const H5E_error2_t *entry, void *out)
{
    if (n == 0)
        snprintf(out, 256, "%s", entry->desc ? entry->desc : "");
    return 0;
}

int h5_error(int code, const char *format, ...)
{
    char line[PATH_ROOM + 512], reason[256] = "";
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    H5Eclear2(H5E_DEFAULT);
    for (char *c = reason; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return rl_error(code, *reason ? "%s (%s)" : "%s", line, reason);
}

hid_t h5_type(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F32: return H5T_IEEE_F32LE;
    case DTYPE_F64: return H5T_IEEE_F64LE;
    case DTYPE_I32: return H5T_STD_I32LE;
    case DTYPE_I64: return H5T_STD_I64LE;
    case DTYPE_U64: return H5T_STD_U64LE;
    case DTYPE_U8: return H5T_STD_U8LE;
    case DTYPE_BF16:
    case DTYPE_F16: return H5T_STD_U16LE;
    }
    return H5I_INVALID_HID;
}

int h5_dtype(hid_t type)
{
    static const enum dtype ours[] = { DTYPE_F32, DTYPE_F64, DTYPE_I32, DTYPE_I64,
                                       DTYPE_U64, DTYPE_U8,  DTYPE_BF16 };

    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (H5Tequal(type, h5_type(ours[i])) > 0)
            return (int)ours[i];
    return -1;
}

/* No file locks: checkpoints appear by rename and never change, and parallel file systems often
 * cannot lock.  Closing a file closes what is open in it, so that no error leaves it half open. */
hid_t h5_access(int *error)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    herr_t bad = 0;

    bad |= H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    bad |= H5Pset_alignment(access, ALIGNMENT, ALIGNMENT);
    bad |= H5Pset_file_locking(access, false, true);
    bad |= error ? disk_use(access, error) : H5Pset_fapl_sec2(access);
    if (bad < 0) {
        H5Pclose(access);
        return H5I_INVALID_HID;
    }
    return access;
}

int h5_close(hid_t file, const char *path, const int *error, int rc)
{
    if (file >= 0 && H5Fclose(file) < 0 && rc == RL_OK)
        rc = h5_error(RL_EIO, "cannot write %s", path);
    if (*error != 0 && rc == RL_OK)                 /* only now is all of it written */
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(*error));
    return rc;
}

/* Add one block to the selection: `at` fixes the axes before `axis`, [first, end) is taken along
 * it, and everything along those behind it. */
static int add_block(hid_t space, const struct array *shape, int axis, const hsize_t *at,
                     hsize_t first, hsize_t end)
{
    hsize_t start[ARRAY_DIMS] = { 0 }, block[ARRAY_DIMS], one[ARRAY_DIMS];

    for (int d = 0; d < shape->dims; d++) {
        start[d] = d < axis ? at[d] : d == axis ? first : 0;
        block[d] = d < axis ? 1 : d == axis ? end - first : shape->shape[d];
        one[d] = 1;
    }
    return H5Sselect_hyperslab(space, H5S_SELECT_OR, start, NULL, one, block) < 0 ? -1 : 0;
}

/* Elements [begin, end) of the part that `at` fixes: a piece of a first row, whole rows, a piece of
 * a last row.
 *
 *      . . . . # # #      <- piece, one axis deeper
 *      # # # # # # #
 *      # # # # # # #      <- one block
 *      # # # . . . .      <- piece, one axis deeper
 */
static int add_range(hid_t space, const struct array *shape, int axis, hsize_t *at, hsize_t begin,
                     hsize_t end)
{
    hsize_t row = 1, first, last;
    int bad = 0;

    for (int d = axis + 1; d < shape->dims; d++)
        row *= shape->shape[d];
    first = begin / row + (begin % row != 0);
    last = end / row;
    if (first > last) {                                     /* within one row */
        at[axis] = last;
        return add_range(space, shape, axis + 1, at, begin - last * row, end - last * row);
    }
    if (first * row > begin) {
        at[axis] = first - 1;
        bad |= add_range(space, shape, axis + 1, at, begin - at[axis] * row, row);
    }
    if (last > first)
        bad |= add_block(space, shape, axis, at, first, last);
    if (end > last * row) {
        at[axis] = last;
        bad |= add_range(space, shape, axis + 1, at, 0, end - last * row);
    }
    return bad;
}

int h5_select(hid_t space, const struct array *shape, size_t begin, size_t count)
{
    hsize_t at[ARRAY_DIMS] = { 0 };

    if (count == 0)
        return H5Sselect_none(space) < 0 ? -1 : 0;
    if (shape->dims == 0)
        return H5Sselect_all(space) < 0 ? -1 : 0;
    if (H5Sselect_none(space) < 0)
        return -1;
    return add_range(space, shape, 0, at, begin, begin + count);
}
