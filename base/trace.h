/* What this process did when: spans for a timeline, on the clock that the metrics' seconds have.
 *
 *   struct trace t = trace_begin("decode");
 *   ...
 *   seconds += trace_end(t, TRACE_ROWS, rows);       one call site, both uses
 *
 * Spans of a thread nest: ending one ends those that a way out of a function left open inside.
 * They go to a ring of fixed size, where the newest push out the oldest.  The ring is a file that
 * is mapped: what a killed process did last can be read, and what it was in the middle of.  One
 * recorder a process, like the log; without trace_open a span is two looks at the clock.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_NAME 24
#define TRACE_TEXT 64
#define TRACE_THREADS 4
#define TRACE_DEPTH 16                  /* spans in each other; deeper ones are not kept */
#define TRACE_LONGEST 1e9               /* seconds, some 30 years: no clock shows more */
#define TRACE_EVENTS ((size_t)1 << 16)  /* of a ring: 6 MiB, some hundred steps */

enum trace_unit { TRACE_NOTHING, TRACE_ROWS, TRACE_TOKENS, TRACE_BYTES, TRACE_UNITS };

enum trace_kind {
    TRACE_NONE,                         /* a place in the ring that nobody has written to */
    TRACE_WORK,
    TRACE_SEND,                         /* the `number`-th of `of` leaves here */
    TRACE_WAIT,                         /* for somebody's part of it */
    TRACE_MEET,                         /* until all have come to it */
};

struct trace_event {
    double begin, end;                  /* clock_now(); end 0: it was not over */
    int64_t step, amount;               /* amount: of the unit */
    int64_t number;                     /* of the operation in `of` */
    int32_t peer;                       /* a wait's: rank in the world, -1: several */
    int16_t thread;
    uint8_t kind, unit;
    char name[TRACE_NAME];
    char of[TRACE_NAME];                /* group, link or feed */
};

struct trace { double begin; int depth; };          /* depth below 0: not kept */

/* Begin recording to `path`, which is made anew with room for so many events; the calling thread
 * is "main".  RL_EIO: the file system cannot.  At most once at a time. */
int trace_open(const char *path, size_t events);
/* Only when all threads that record have come to their end.  Fine when it is not open. */
void trace_close(void);

/* Who records, and what to add to clock_now() for the clock that all ranks have in common, give or
 * take `error`, in seconds. */
void trace_tell(int rank, const char *host, const char *roles, double offset, double error);
/* The step of spans that begin from here on; keep: are they recorded? */
void trace_step(int64_t step, bool keep);
/* From any thread, now and then: the process is there.  Spans that a killed one was in the middle
 * of end at its last. */
void trace_seen(void);
/* The calling thread records under this name; it need not be undone. */
void trace_thread(const char *name);

struct trace trace_begin(const char *name);
/* A send or a wait: of the `number`-th operation of a group, link or feed. */
struct trace trace_begin_at(enum trace_kind kind, const char *name, const char *of, int64_t number,
                            int peer);
/* Returns seconds since the begin, recorded or not. */
double trace_end(struct trace t, enum trace_unit unit, int64_t amount);

/* ---- reading what a process left */

struct trace_log {
    int rank;
    char host[TRACE_TEXT], roles[TRACE_TEXT];
    double offset, error, day, seen;    /* day: clock_of_day() - clock_now() at the start */
    char thread[TRACE_THREADS][TRACE_NAME];
    struct trace_event *events;         /* (n) whole ones by begin, outer before inner, then those
                                         * that were not over; those of a thread nest */
    size_t n;
    int64_t dropped;                    /* that the ring had no room for */
    int64_t damaged;                    /* that no recorder wrote so, and are not among them */
};

/* Times are finite and within TRACE_LONGEST.  RL_EINVAL: it is no such file, of another version, or
 * its head is damaged. */
int trace_read(const char *path, struct trace_log *log);
void trace_log_free(struct trace_log *log);         /* fine on a zeroed struct */

#endif
