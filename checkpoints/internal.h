/* What the pages of checkpoints share: where things lie in the file, HDF5 helpers, the seal. */
#ifndef CHECKPOINTS_INTERNAL_H
#define CHECKPOINTS_INTERNAL_H

#include <hdf5.h>

#include "base/hash.h"
#include "checkpoints/checkpoint.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checksums are of little-endian bytes");

#define CHECKPOINT_FORMAT 1
#define CHECKPOINT_MARK "rankwise_checkpoint"   /* attribute of the root: the format's version */
#define CHECKPOINT_INDEX "index"                /* attribute of an array: its place in the order */
#define CHECKPOINT_DTYPE "dtype"                /* attribute of BF16 and F16 stored as U16 */
#define TEXTS_FOLDER "texts/"
#define CHECKSUMS_FOLDER "checksums/"
#define STORED_NAME (ARRAY_NAME + 16)               /* room for a name with its folder */
#define PATH_ROOM 4096

/* Chunks that carry a checksum: HASH_CHUNK elements, the last one shorter. */
static inline size_t chunks_of(size_t elements)
{
    return elements / HASH_CHUNK + (elements % HASH_CHUNK != 0);
}

/* ---- h5.c: HDF5 in our terms */

/* HDF5 prints nothing by itself from here on. */
void h5_quiet(void);
/* rl_error with HDF5's innermost reason behind the message. */
int h5_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The type in file and memory; BF16 and F16 are U16. */
hid_t h5_type(enum dtype dtype);
/* Which dtype an HDF5 type is, -1 if none of ours; U16 is DTYPE_BF16. */
int h5_dtype(hid_t type);
/* How a file is opened: through disk.c for writing, with *error the errno of the first failure, or
 * by HDF5's serial driver for reading, when error is NULL. */
hid_t h5_access(int *error, bool elements_only);
/* Close the file; rc, or RL_EIO if closing or an earlier write failed. */
int h5_close(hid_t file, const char *path, const int *error, int rc);
/* Select elements [begin, begin + count), counted row by row, of a space of that shape. */
int h5_select(hid_t space, const struct array *shape, size_t begin, size_t count);

/* ---- disk.c: writing so that a full disk is no crash and many ranks write one file */

int disk_use(hid_t access, int *error, bool elements_only);

/* ---- layout.c: everything but the arrays' elements, by one rank */

struct extent { uint64_t begin, bytes; };           /* bytes of the file that hold an array */

/* Create the file at path with values, texts, checksums (of all arrays, one after the other) and
 * room for the arrays, reserved on the disk.  extents has room for n_arrays, in order of offset. */
int layout_create(const char *path, const struct checkpoint_content *content, const uint64_t *sums,
                  struct extent *extents, int *n_extents);

/* ---- seal.c: a hash over all bytes that are not an array's elements */

int seal_write(const char *path, const struct extent *extents, int n, size_t *file_bytes);
int seal_check(const char *path);

#endif
