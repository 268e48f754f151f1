/* The ring of a timeline (base/trace.h) of a process that was killed: damaged in memory that was
 * shared, or on its disk. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/trace.h"
#include "tests/fuzz/fuzz.h"

/* A whole one, with spans in each other and some that were not over; made once. */
static const struct text *whole_ring(void)
{
    static struct text ring;
    char path[64];

    if (ring.size > 0)
        return &ring;
    snprintf(path, sizeof path, "/tmp/rankwise-fuzz-%d.ring", (int)getpid());
    fuzz_holds(trace_open(path, 16) == RL_OK, "no ring");
    trace_tell(1, "host", "actor", 0.25, 1e-6);
    trace_step(1, true);
    for (int i = 0; i < 4; i++) {
        struct trace outer = trace_begin("outer");
        trace_end(trace_begin_at(TRACE_SEND, "send", "link", i, -1), TRACE_BYTES, 8);
        trace_end(outer, TRACE_ROWS, 4);
    }
    trace_begin("update");
    trace_begin_at(TRACE_MEET, "agreement", "world", 4, -1);
    trace_close();
    fuzz_holds(file_read(path, &ring) == RL_OK, "the ring cannot be read");
    unlink(path);
    return &ring;
}

/* What the joining of rings relies on. */
static void hold_true(const struct trace_log *log)
{
    for (size_t i = 0; i < log->n; i++) {
        const struct trace_event *a = &log->events[i];
        fuzz_holds(a->kind > TRACE_NONE && a->kind <= TRACE_MEET && a->unit < TRACE_UNITS &&
                   a->thread >= 0 && a->thread < TRACE_THREADS, "a span of no kind");
        fuzz_holds(a->begin >= 0 && a->begin <= TRACE_LONGEST && a->end <= TRACE_LONGEST &&
                   (a->end == 0 || a->end >= a->begin), "a time that no clock shows");
        fuzz_holds(strnlen(a->name, TRACE_NAME) < TRACE_NAME && strnlen(a->of, TRACE_NAME) <
                   TRACE_NAME, "a name without end");
        for (size_t k = 0; k < log->n && a->end > 0; k++) {
            const struct trace_event *b = &log->events[k];
            fuzz_holds(a->thread != b->thread || a->begin >= b->begin || a->end <= b->begin ||
                       (b->end > 0 && a->end >= b->end), "spans that cross");
        }
    }
    fuzz_holds(log->rank >= 0 && log->offset >= -TRACE_LONGEST && log->offset <= TRACE_LONGEST &&
               log->seen >= 0 && log->seen <= TRACE_LONGEST, "a head that is damaged");
}

/* Ten bytes each: a place, counted in fours, and what it has instead; what is left over cuts the
 * end off. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct text *whole = whole_ring();
    size_t bytes = whole->size;
    struct trace_log log;
    struct text copy = { 0 };
    int rc;

    text_add(&copy, whole->data, bytes);
    for (size_t i = 0; i + 10 <= size; i += 10)
        memcpy(copy.data + (data[i] | data[i + 1] << 8) * 4u % (bytes - 8), data + i + 2, 8);
    if (size % 10 > 0)
        bytes -= data[size - 1] * 32u % bytes;
    rc = trace_read(fuzz_file(copy.data, bytes), &log);
    fuzz_said(rc);
    if (rc == RL_OK)
        hold_true(&log);
    trace_log_free(&log);
    text_free(&copy);
    return 0;
}
