/* The recorder; see trace.h.
 *
 *   file:   | head: who, clock, threads with their open spans | event | event | ... (room)
 *
 * An event's place is taken by counting up, so threads need no lock; its kind is written last, so a
 * reader of what a killed process left meets whole events only.
 */
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"

#define MARK "RWTRACE1"

struct thread {
    char name[TRACE_NAME];              /* "": nobody */
    int32_t depth;
    struct trace_event open[TRACE_DEPTH];
};

struct head {
    char mark[8];
    uint64_t event_bytes, room;
    _Atomic uint64_t count;             /* events ever */
    int32_t rank;
    char host[TRACE_TEXT], roles[TRACE_TEXT];
    double offset, error, day, seen;    /* seen: when the process last said that it is there */
    struct thread thread[TRACE_THREADS];
};

/* One recorder a process. */
static struct head *head;
static struct trace_event *ring;
static atomic_int_fast64_t step_now;      /* read by other threads */
static atomic_bool keeps;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;     /* of other threads that come */
static _Thread_local int mine = -1;     /* index of the calling thread */

static void copy(char *to, const char *from, size_t room)
{
    size_t n = strnlen(from, room - 1);

    memcpy(to, from, n);
    to[n] = 0;
}

/* ---- opening */

static size_t bytes_of(size_t events)
{
    return sizeof *head + events * sizeof *ring;
}

/* Pages that are there: a mapped file without them would end the program when the disk is full. */
static int map(const char *path, size_t bytes, void **at)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), error;

    if (fd < 0)
        return errno;
    error = posix_fallocate(fd, 0, (off_t)bytes);
    if (error == 0) {
        *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        error = *at == MAP_FAILED ? errno : 0;
    }
    close(fd);
    if (error != 0)
        unlink(path);
    return error;
}

int trace_open(const char *path, size_t events)
{
    void *at = NULL;
    int error;

    if (head)
        return rl_error(RL_EBUG, "the trace is open already");
    error = map(path, bytes_of(events), &at);
    if (error != 0)
        return rl_error(RL_EIO, "trace: cannot make %s: %s", path, strerror(error));
    head = at;
    ring = (struct trace_event *)(head + 1);
    memset(head, 0, bytes_of(events));              /* no page comes in later */
    head->event_bytes = sizeof *ring;
    head->room = events;
    head->day = clock_of_day() - clock_now();
    memcpy(head->mark, MARK, sizeof head->mark);
    trace_thread("main");
    atomic_store(&keeps, true);
    return RL_OK;
}

void trace_close(void)
{
    if (!head)
        return;
    atomic_store(&keeps, false);
    msync(head, bytes_of(head->room), MS_SYNC);     /* for a reader on another host */
    pthread_mutex_lock(&lock);
    munmap(head, bytes_of(head->room));
    head = NULL;
    pthread_mutex_unlock(&lock);
    mine = -1;
}

void trace_seen(void)
{
    pthread_mutex_lock(&lock);
    if (head)
        head->seen = clock_now();
    pthread_mutex_unlock(&lock);
}

void trace_tell(int rank, const char *host, const char *roles, double offset, double error)
{
    if (!head)
        return;
    head->rank = rank;
    copy(head->host, host, sizeof head->host);
    copy(head->roles, roles, sizeof head->roles);
    head->offset = offset;
    head->error = error;
}

void trace_step(int64_t step, bool keep)
{
    step_now = step;
    atomic_store(&keeps, head && keep);
}

/* A thread that comes again, as that of every checkpoint, has its old place. */
void trace_thread(const char *name)
{
    if (!head)
        return;
    pthread_mutex_lock(&lock);
    for (mine = 0; mine < TRACE_THREADS; mine++)
        if (!head->thread[mine].name[0] || strcmp(head->thread[mine].name, name) == 0)
            break;
    if (mine < TRACE_THREADS) {
        copy(head->thread[mine].name, name, TRACE_NAME);
        head->thread[mine].depth = 0;
    } else {
        mine = -1;
    }
    pthread_mutex_unlock(&lock);
}

/* ---- spans */

struct trace trace_begin_at(enum trace_kind kind, const char *name, const char *of, int64_t number,
                            int peer)
{
    struct trace t = { clock_now(), -1 };
    struct thread *thread;
    struct trace_event *e;

    if (!atomic_load_explicit(&keeps, memory_order_relaxed) || mine < 0)
        return t;
    thread = &head->thread[mine];
    if (thread->depth == TRACE_DEPTH)
        return t;
    e = &thread->open[thread->depth];
    *e = (struct trace_event){ .begin = t.begin, .step = step_now, .number = number, .peer = peer,
                               .thread = (int16_t)mine, .kind = (uint8_t)kind };
    copy(e->name, name, sizeof e->name);
    copy(e->of, of, sizeof e->of);
    atomic_signal_fence(memory_order_release);
    t.depth = thread->depth++;
    return t;
}

struct trace trace_begin(const char *name)
{
    return trace_begin_at(TRACE_WORK, name, "", 0, -1);
}

static void keep(const struct trace_event *e)
{
    struct trace_event *place = &ring[atomic_fetch_add(&head->count, 1) % head->room], event = *e;

    event.kind = TRACE_NONE;
    place->kind = TRACE_NONE;
    atomic_signal_fence(memory_order_acq_rel);
    *place = event;
    atomic_signal_fence(memory_order_acq_rel);
    place->kind = e->kind;
}

double trace_end(struct trace t, enum trace_unit unit, int64_t amount)
{
    double now = clock_now();
    struct thread *thread;
    struct trace_event *e;

    if (t.depth < 0 || !head || mine < 0)
        return now - t.begin;
    thread = &head->thread[mine];
    e = &thread->open[t.depth];
    if (thread->depth > t.depth && e->begin == t.begin) {
        thread->depth = t.depth;
        e->end = now;
        e->unit = (uint8_t)unit;
        e->amount = amount;
        keep(e);
    }
    return now - t.begin;
}

/* ---- reading */

/* Outer before inner when they begin together. */
static int by_begin(const void *a, const void *b)
{
    const struct trace_event *x = a, *y = b;

    if ((x->end == 0) != (y->end == 0))
        return (x->end == 0) - (y->end == 0);
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end < y->end) - (x->end > y->end);
}

/* False for NaN as well. */
static bool is_time(double seconds)
{
    return seconds >= 0 && seconds <= TRACE_LONGEST;
}

static bool is_whole(const struct text *file)
{
    const struct head *h = (const struct head *)file->data;

    return file->size >= sizeof *h && memcmp(h->mark, MARK, sizeof h->mark) == 0 &&
           h->event_bytes == sizeof(struct trace_event) && h->room > 0 &&
           h->room <= (file->size - sizeof *h) / sizeof(struct trace_event) && h->rank >= 0 &&
           is_time(fabs(h->offset)) && is_time(fabs(h->error)) && is_time(h->seen) &&
           fabs(h->day) <= 1e3 * TRACE_LONGEST;     /* since 1970 */
}

static bool is_event(const struct trace_event *e)
{
    return e->kind <= TRACE_MEET && e->thread >= 0 && e->thread < TRACE_THREADS &&
           e->unit < TRACE_UNITS && is_time(e->begin) &&
           (e->end == 0 || (is_time(e->end) && e->end >= e->begin));
}

static void add(struct trace_log *log, const struct trace_event *e)
{
    struct trace_event *to = &log->events[log->n];

    if (e->kind == TRACE_NONE)
        return;
    if (!is_event(e)) {
        log->damaged++;
        return;
    }
    *to = *e;
    to->name[TRACE_NAME - 1] = to->of[TRACE_NAME - 1] = 0;
    log->n++;
}

/* Does one that was not over begin in the middle of a whole one? */
static bool begins_inside(const struct trace_log *log, size_t n, const struct trace_event *e)
{
    for (size_t i = 0; i < n && log->events[i].end > 0; i++)
        if (log->events[i].thread == e->thread && log->events[i].begin < e->begin &&
            e->begin < log->events[i].end)
            return true;
    return false;
}

/* Takes out what crosses another span of its thread. */
static void nest(struct trace_log *log)
{
    double ends[TRACE_THREADS][TRACE_DEPTH];
    int depth[TRACE_THREADS] = { 0 };
    size_t kept = 0;

    for (size_t i = 0; i < log->n; i++) {
        const struct trace_event e = log->events[i];
        double *end = ends[e.thread];
        int *d = &depth[e.thread];
        bool nests = e.end > 0 || !begins_inside(log, kept, &e);

        while (e.end > 0 && *d > 0 && end[*d - 1] <= e.begin)
            (*d)--;
        if (e.end > 0 && (nests = *d < TRACE_DEPTH && (*d == 0 || e.end <= end[*d - 1])))
            end[(*d)++] = e.end;
        if (nests)
            log->events[kept++] = e;
    }
    log->damaged += (int64_t)(log->n - kept);
    log->n = kept;
}

static void take_events(struct trace_log *log, struct head *h)
{
    const struct trace_event *at = (const struct trace_event *)(h + 1);
    uint64_t count = atomic_load(&h->count);

    log->dropped = count > h->room ? (int64_t)(count - h->room) : 0;
    for (size_t i = 0; i < h->room; i++)
        add(log, &at[i]);
    for (int t = 0; t < TRACE_THREADS; t++) {
        struct thread *thread = &h->thread[t];
        copy(log->thread[t], thread->name, strnlen(thread->name, TRACE_NAME - 1) + 1);
        for (int i = 0; i < thread->depth && i < TRACE_DEPTH; i++) {
            thread->open[i].end = 0;
            add(log, &thread->open[i]);
        }
    }
    qsort(log->events, log->n, sizeof *log->events, by_begin);
    nest(log);
}

int trace_read(const char *path, struct trace_log *log)
{
    struct text file = { 0 };
    struct head *h;
    int rc = RL_OK;

    memset(log, 0, sizeof *log);
    if (file_exists(path) && !file_is_plain(path))
        TRY(rl_error(RL_EINVAL, "%s is no plain file", path));
    TRY(file_read(path, &file));
    if (!is_whole(&file))
        TRY(rl_error(RL_EINVAL, "%s is no trace that this version wrote, or its head is "
                     "damaged", path));
    h = (struct head *)file.data;
    log->events = calloc(h->room + TRACE_THREADS * TRACE_DEPTH, sizeof *log->events);
    if (!log->events)
        TRY(rl_error(RL_ENOFIT, "no memory for the events of %s", path));
    log->rank = h->rank;
    log->offset = h->offset;
    log->error = h->error;
    log->day = h->day;
    log->seen = h->seen;
    copy(log->host, h->host, sizeof log->host);
    copy(log->roles, h->roles, sizeof log->roles);
    take_events(log, h);
done:
    text_free(&file);
    if (rc != RL_OK)
        trace_log_free(log);
    return rc;
}

void trace_log_free(struct trace_log *log)
{
    free(log->events);
    memset(log, 0, sizeof *log);
}
