/* What the pages of safetensors share: an opened set of files.
 *
 *   one file:  | 8 bytes: H | H bytes of JSON | data ....................... |
 *                                             ^ start                ^ start + bytes
 * The JSON maps names to {"dtype", "shape", "data_offsets": [begin, end]}, offsets from start.
 */
#ifndef CHECKPOINTS_SAFETENSORS_INTERNAL_H
#define CHECKPOINTS_SAFETENSORS_INTERNAL_H

#include <stdint.h>

#include "checkpoints/safetensors.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files hold little-endian numbers");

#define SAFETENSORS_HEADER_MAX 100000000u       /* bytes of JSON; the format's own limit */

struct shard {
    char *path;
    int fd;
    uint64_t start, bytes;          /* the data part */
};

struct tensor {
    struct array array;
    int shard;
    uint64_t begin, end;            /* bytes from the shard's start */
};

struct alias { char *name, *target; };          /* tied weights stored once */

struct safetensors {
    struct shard *shards;
    int n_shards;
    struct tensor *tensors;         /* by shard, then by offset */
    int n, room;
    int *by_name;                   /* indices of tensors, sorted by name */
    struct alias *aliases;
    int n_aliases, aliases_room;
};

/* Parse the header of the newest shard and append its tensors and aliases, all bounds checked. */
int safetensors_header(struct safetensors *s);

/* A name out of a file as it may stand in a message: short, no control characters. */
struct plain { char text[64]; };
struct plain plain_name(const char *s);
/* Not empty, fits into room bytes, no control characters. */
bool name_good(const char *name, size_t room);

/* Read exactly n bytes at offset of the shard's file. */
int shard_read(const struct shard *shard, uint64_t offset, void *out, size_t n);

#endif
