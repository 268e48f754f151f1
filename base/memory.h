/* Planned memory: sizes first, one allocation, views after.
 *
 * A module describes its buffers once, in a function that takes a struct memory:
 *
 *   static void layout(struct actor *a, struct memory *m)
 *   {
 *       a->logits = memory_take(m, rows * V * sizeof(float));
 *       size_t mark = memory_mark(m);          -- two lives that never meet
 *       a->first = memory_take(m, n1);
 *       size_t end = memory_mark(m);
 *       memory_rewind(m, mark);                -- share bytes
 *       a->second = memory_take(m, n2);
 *       memory_skip(m, end);                   -- what comes next lies behind both
 *   }
 *
 * The function runs twice: counting (memory_count: take returns NULL) and, after memory_open, for
 * real.  `rankwise plan` runs only the counting pass.
 *
 * While a GPU is open there are two kinds of memory, which only the last step tells apart:
 *
 *   memory_open        what operations are given: lies on the GPU; the processor may touch it when
 *                      nothing runs there, which moves pages to and fro
 *   memory_open_host   what only the processor and MPI touch: batches, texts, tables
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

struct memory {
    char *base;      /* NULL while counting */
    size_t used;     /* bytes taken so far, after rewinds */
    size_t peak;     /* largest `used`: the size to allocate */
    size_t size;     /* bytes allocated, 0 while counting */
    void (*release)(void *block);
    const char *lower;      /* what to lower when memory is short, for the line; NULL: unknown */
};

void memory_count(struct memory *m);                 /* start a counting pass */
/* Allocate `peak` zeroed bytes, 64-byte aligned, and start over.  RL_ENOFIT if memory is short;
 * the line names `lower`, which is set after memory_count. */
int memory_open(struct memory *m);
/* The same, of ordinary memory always: no operation of compute.h is given it, but for what the
 * processor reads when one is called (arrays of int and the like). */
int memory_open_host(struct memory *m);
/* From now on the blocks of memory_open come zeroed from `allocate` and go to `release`: a GPU's
 * memory, which its kernels reach too.  allocate: RL_ENOFIT when memory is short, which memory_open
 * puts into words; anything else has its line by then. */
void memory_use(int (*allocate)(void **block, size_t bytes), void (*release)(void *block));
void memory_close(struct memory *m);                 /* frees; fine on a zeroed struct */
void *memory_take(struct memory *m, size_t bytes);   /* 64-byte aligned; NULL while counting,
                                                      * or (RL_EBUG) more than was counted */
/* Copy into memory that is not read soon: past the caches, where the machine can.  `to` is 64-byte
 * aligned. */
void memory_copy_past(void *to, const void *from, size_t bytes);
size_t memory_mark(const struct memory *m);
void memory_rewind(struct memory *m, size_t mark);
void memory_skip(struct memory *m, size_t mark);     /* forward, if `mark` is ahead */

#endif
