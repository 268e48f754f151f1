/* Planned memory: one block, cut by a bump pointer that can be wound back.
 *
 *   |-- a --|-- b --|-- first life --|          |
 *   |-- a --|-- b --|-- second, longer life ----|   <- peak
 *           mark ---^
 */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/status.h"

#define ALIGN 64
#define HUGE_PAGE ((size_t)2 << 20)

void memory_count(struct memory *m)
{
    memset(m, 0, sizeof *m);
}

/* Huge pages for what of the block can lie on them: touched sooner, and found sooner by the
 * processor.  Touched now: short memory shows at start, not half-way. */
static int allocate_huge(void **out, size_t bytes)
{
    char *block = bytes <= SIZE_MAX - ALIGN ? aligned_alloc(ALIGN, bytes) : NULL;
    size_t before = (size_t)(-(uintptr_t)block % HUGE_PAGE);

    if (block && bytes >= before + HUGE_PAGE)
        madvise(block + before, (bytes - before) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    *out = block ? memset(block, 0, bytes) : NULL;
    return block ? RL_OK : RL_ENOFIT;
}

struct source { int (*allocate)(void **block, size_t bytes); void (*release)(void *block); };
static const struct source ordinary = { allocate_huge, free };
static struct source reached = { allocate_huge, free };      /* by whatever computes */

void memory_use(int (*allocate)(void **block, size_t bytes), void (*release)(void *block))
{
    reached = (struct source){ allocate, release };
}

static int open_from(struct memory *m, const struct source *from)
{
    size_t bytes = m->peak ? m->peak : ALIGN;     /* base tells the passes apart: never NULL */
    void *base = NULL;
    int rc = from->allocate(&base, bytes);

    if (rc == RL_ENOFIT)
        return rl_error(RL_ENOFIT, "cannot allocate %zu bytes (%.1f GiB)%s%s", bytes,
                        (double)bytes / (1 << 30), m->lower ? "; lower " : "",
                        m->lower ? m->lower : "");
    if (rc != RL_OK)
        return rc;
    m->base = base;
    m->release = from->release;
    m->size = bytes;
    m->used = 0;
    return RL_OK;
}

int memory_open(struct memory *m)
{
    return open_from(m, &reached);
}

int memory_open_host(struct memory *m)
{
    return open_from(m, &ordinary);
}

void memory_close(struct memory *m)
{
    if (m->release)                     /* else another's bytes: base/workspace.h */
        m->release(m->base);
    memset(m, 0, sizeof *m);
}

/* Sums that overflow stay at the largest multiple of ALIGN, which no machine can allocate. */
static size_t add_aligned(size_t used, size_t bytes)
{
    size_t most = SIZE_MAX - (ALIGN - 1);

    if (bytes > most - used)
        return most;
    return used + (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void *memory_take(struct memory *m, size_t bytes)
{
    size_t begin = m->used, end = add_aligned(begin, bytes);

    if (m->base && end > m->size) {
        rl_error(RL_EBUG, "planned memory: the layout takes %zu bytes, but counted %zu", end,
                 m->size);
        return NULL;
    }
    m->used = end;
    if (end > m->peak)
        m->peak = end;
    return m->base ? m->base + begin : NULL;
}

size_t memory_mark(const struct memory *m)
{
    return m->used;
}

void memory_rewind(struct memory *m, size_t mark)
{
    m->used = mark;
}

void memory_skip(struct memory *m, size_t mark)
{
    if (m->used < mark)
        m->used = mark;
}

void memory_copy_past(void *to, const void *from, size_t bytes)
{
    size_t at = 0;

#ifdef __SSE2__
    for (; at + ALIGN <= bytes; at += ALIGN) {
        const __m128i *x = (const void *)((const char *)from + at);
        __m128i *y = (void *)((char *)to + at);

        for (size_t i = 0; i < ALIGN / sizeof *x; i++)
            _mm_stream_si128(y + i, _mm_loadu_si128(x + i));
    }
    _mm_sfence();
#endif
    if (at < bytes)
        memcpy((char *)to + at, (const char *)from + at, bytes - at);
}
