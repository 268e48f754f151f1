/* An opened checkpoint, for the two pages that read it. */
#ifndef CHECKPOINTS_READER_H
#define CHECKPOINTS_READER_H

#include "checkpoints/internal.h"

struct entry {
    struct array array;             /* its path in the file, texts with their folder */
    int64_t index;                  /* place in the order of writing */
    uint64_t *sums;                 /* read with the first elements */
};

struct list { struct entry *entries; int n, room; };

struct checkpoint {
    char *path;
    hid_t file;
    struct list arrays;             /* by index */
    struct list texts;              /* by name */
    uint64_t scratch[HASH_CHUNK];   /* one chunk of the widest type */
};

/* Type and shape of an open dataset into a (whose name is set), checked.  U16 becomes BF16. */
int reader_describe(struct checkpoint *c, hid_t data, struct array *a);

#endif
