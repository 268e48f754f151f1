/* Memory of a template and of a render. */
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"

#define BLOCK 65536

struct arena_block { struct arena_block *next; size_t size, used; max_align_t data[]; };

static struct arena_block *block_add(struct arena *a, size_t bytes)
{
    size_t size = bytes > BLOCK / 4 ? bytes : BLOCK;
    struct arena_block *b = malloc(sizeof *b + size);

    if (!b) {                  /* as base/text.h has it */
        int rc = rl_error(RL_ENOFIT, "cannot allocate %zu bytes for a chat template", size);
        status_print();
        exit(status_exit_code(rc));
    }
    b->size = size;
    b->used = 0;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *arena_take(struct arena *a, size_t bytes)
{
    size_t size = (bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->blocks;
    char *p;

    if (!b || b->size - b->used < size)
        b = block_add(a, size);
    p = (char *)b->data + b->used;
    b->used += size;
    a->total += size;
    return memset(p, 0, bytes);
}

const char *arena_copy(struct arena *a, const char *s, size_t n)
{
    char *copy = arena_take(a, n + 1);

    if (n)
        memcpy(copy, s, n);
    return copy;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->blocks = NULL;
}
