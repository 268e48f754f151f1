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
hid_t h5_access(int *error);
/* Close the file; rc, or RL_EIO if closing or an earlier write failed. */
int h5_close(hid_t file, const char *path, const int *error, int rc);
/* Select elements [begin, begin + count), counted row by row, of a space of that shape. */
int h5_select(hid_t space, const struct array *shape, size_t begin, size_t count);

/* ---- disk.c: writing so that a full disk is no crash */

int disk_use(hid_t access, int *error);

/* ---- content.c: what is to be written, checked */

/* By each rank for itself: RL_EBUG names what breaks a promise. */
int content_check(const struct checkpoint_content *c);
/* Collective: all ranks must bring the same names, shapes, texts and values. */
int content_same(struct comm *team, const struct checkpoint_content *c);

/* ---- layout.c: everything but the arrays' elements and their checksums, by one rank */

struct place { uint64_t elements, sums; };          /* of an array: bytes from the file's start */

/* Create the file at path with values, texts and reserved room for arrays and their checksums;
 * places (n_arrays). */
int layout_create(const char *path, const struct checkpoint_content *content,
                  struct place *places);

/* ---- outlet.c: the bytes of arrays to their places; all return an errno, 0 for none */

struct outlet {
    int fd, past;                   /* through the page cache; past it, -1: it cannot */
    char *block;                    /* a page-aligned piece of what goes past */
    uint64_t begun, end;            /* what the disk may still be busy with, through the cache */
};

int outlet_open(struct outlet *o, const char *path, bool past);     /* past: if it can */
int outlet_write(struct outlet *o, const char *data, size_t n, uint64_t at);
int outlet_sync(const struct outlet *o);
int outlet_close(struct outlet *o);                 /* also after a failed open, and again */
int pwrite_all(int fd, const char *data, size_t n, uint64_t at);

/* ---- sums.c: checksums, each rank those of its pieces, all of them on rank 0 */

/* How many chunks the pieces have. */
size_t sums_count(const struct checkpoint_content *c);
/* Collective.  mine: as the pieces come, chunk by chunk; all: array by array, on rank 0 (malloc,
 * the caller frees it), NULL elsewhere.  RL_EBUG if the ranks' pieces do not cover each array once.
 */
int sums_gather(struct comm *team, const struct checkpoint_content *c, const uint64_t *mine,
                uint64_t **all);

/* ---- seal.c: a hash over all bytes that are not an array's elements */

struct extent { uint64_t begin, bytes; };           /* bytes of the file that hold an array */

int seal_write(const char *path, const struct extent *extents, int n, size_t *file_bytes);
int seal_check(const char *path);

#endif
