/* Rings -> trace.json.  Twice over the rings, one in memory at a time:
 *
 *   1.  who came last to each operation of a group, and sent last over each link
 *   2.  the events, on rank 0's clock, waits with the name of that rank
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "launch/timeline.h"

#define DAMAGED ".damaged"              /* behind the name of a ring */

/* A rank comes to the `number`-th operation of the group, link or feed of this hash. */
struct arrival {
    uint64_t of;
    int64_t number;
    double at;
    int rank;
};

struct ring { char *path; bool read, damaged; };

struct join {
    struct ring *rings;                 /* (n), by path */
    size_t n;
    int aside;                          /* damaged ones of earlier joins */
    struct arrival *arrivals;           /* (n_arrivals): first all, then the last of each */
    size_t n_arrivals, room;
    double origin, day;                 /* rank 0's clock at the first event; + day: since 1970 */
    size_t events;
    int ranks;
};

/* ---- who came last */

static int add_arrival(struct join *j, const struct trace_log *log, const struct trace_event *e)
{
    struct arrival *more;

    if (e->kind != TRACE_SEND && e->kind != TRACE_MEET)
        return RL_OK;
    if (j->n_arrivals == j->room) {
        j->room = 2 * j->room + 1024;
        more = realloc(j->arrivals, j->room * sizeof *more);
        if (!more)
            return rl_error(RL_ENOFIT, "no memory for the waits of %zu ranks", j->n);
        j->arrivals = more;
    }
    j->arrivals[j->n_arrivals++] = (struct arrival){ hash64(e->of, strlen(e->of)), e->number,
                                                     e->begin + log->offset, log->rank };
    return RL_OK;
}

static int survey(struct join *j)
{
    struct trace_log log;
    int rc = RL_OK;

    for (size_t i = 0; i < j->n; i++) {
        if (trace_read(j->rings[i].path, &log) != RL_OK) {
            status_print();             /* said; the others are worth having */
            continue;
        }
        j->rings[i].read = true;
        j->rings[i].damaged = log.damaged > 0;
        if (log.damaged > 0)
            log_info("%s: %lld damaged spans are left out; it is kept as .damaged",
                     j->rings[i].path, (long long)log.damaged);
        j->ranks++;
        for (size_t e = 0; e < log.n && rc == RL_OK; e++)
            rc = add_arrival(j, &log, &log.events[e]);
        for (size_t e = 0; e < log.n; e++)
            if (j->events++ == 0 || log.events[e].begin + log.offset < j->origin)
                j->origin = log.events[e].begin + log.offset;
        if (j->ranks == 1)
            j->day = log.day - log.offset;
        trace_log_free(&log);
        TRY(rc);
    }
done:
    return rc;
}

static int by_operation(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;

    if (x->of != y->of)
        return x->of < y->of ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static bool same_operation(const struct arrival *a, const struct arrival *b)
{
    return a->of == b->of && a->number == b->number;
}

/* Of each operation the rank whose first arrival is the last of all. */
static void keep_last(struct join *j)
{
    struct arrival *a = j->arrivals;
    size_t kept = 0;

    if (j->n_arrivals == 0)
        return;
    qsort(a, j->n_arrivals, sizeof *a, by_operation);
    for (size_t i = 0, first; i < j->n_arrivals; i++) {
        first = i;
        while (i + 1 < j->n_arrivals && same_operation(&a[i + 1], &a[i]) &&
               a[i + 1].rank == a[i].rank)
            i++;
        if (kept > 0 && same_operation(&a[kept - 1], &a[first])) {
            if (a[first].at > a[kept - 1].at)
                a[kept - 1] = a[first];
        } else {
            a[kept++] = a[first];
        }
    }
    j->n_arrivals = kept;
}

static int by_key(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;

    if (x->of != y->of)
        return x->of < y->of ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Whom this wait is for, -1: nobody, I came last, or it is not known. */
static int waits_for(const struct join *j, const struct trace_log *log,
                     const struct trace_event *e)
{
    struct arrival key = { .of = hash64(e->of, strlen(e->of)), .number = e->number };
    const struct arrival *found;

    if (e->kind == TRACE_WAIT && e->peer >= 0)
        return e->peer;
    found = j->n_arrivals > 0 ? bsearch(&key, j->arrivals, j->n_arrivals, sizeof key, by_key)
                              : NULL;
    return found && found->rank != log->rank ? found->rank : -1;
}

/* ---- events as text */

static void add_name(struct text *out, const struct trace_event *e, int peer)
{
    char name[3 * TRACE_NAME];

    if (e->kind != TRACE_WAIT && e->kind != TRACE_MEET)
        snprintf(name, sizeof name, "%s", e->name);
    else if (peer >= 0)
        snprintf(name, sizeof name, "wait for rank %d (%s)", peer, e->name);
    else
        snprintf(name, sizeof name, "wait (%s)", e->name);
    json_add_string(out, name, strlen(name));
}

static void add_args(struct text *out, const struct trace_event *e, int peer)
{
    static const char *const units[TRACE_UNITS] = { "", "rows", "tokens", "bytes" };

    text_addf(out, "\"args\":{\"step\":%lld", (long long)e->step);
    if (e->unit != TRACE_NOTHING && e->amount > 0)
        text_addf(out, ",\"%s\":%lld", units[e->unit], (long long)e->amount);
    if (peer >= 0)
        text_addf(out, ",\"for\":%d", peer);
    if (e->of[0]) {
        text_adds(out, ",\"of\":");
        json_add_string(out, e->of, strlen(e->of));
        text_addf(out, ",\"number\":%lld", (long long)e->number);
    }
    text_adds(out, e->end == 0 ? ",\"unfinished\":true}" : "}");
}

/* Whole nanoseconds since the first event: what nests still does when it is rounded. */
static int64_t since_origin(const struct join *j, const struct trace_log *log, double time)
{
    return llround((time + log->offset - j->origin) * 1e9);
}

static void add_microseconds(struct text *out, const char *key, int64_t ns)
{
    text_addf(out, "\"%s\":%" PRId64 ".%03" PRId64 ",", key, ns / 1000, ns % 1000);
}

/* One that was not over lasts until the last moment of its rank that is known. */
static void add_event(struct text *out, const struct join *j, const struct trace_log *log,
                      const struct trace_event *e, double last)
{
    static const char *const kinds[] = { "", "work", "send", "wait", "wait" };
    bool waits = e->kind == TRACE_WAIT || e->kind == TRACE_MEET;
    int peer = waits ? waits_for(j, log, e) : -1;
    int64_t begin = since_origin(j, log, e->begin),
            end = since_origin(j, log, e->end > 0 ? e->end : last);

    text_addf(out, ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,", log->rank, e->thread);
    add_microseconds(out, "ts", begin);
    add_microseconds(out, "dur", end - begin);
    text_addf(out, "\"cat\":\"%s\",%s\"name\":", kinds[e->kind],
              waits ? "\"cname\":\"terrible\"," : "");
    add_name(out, e, peer);
    text_adds(out, ",");
    add_args(out, e, peer);
    text_adds(out, "}");
}

/* "rank 3 actor+learner on host", and how much of it there is. */
static void add_process(struct text *out, const struct trace_log *log)
{
    struct text name = { 0 };

    text_addf(&name, "rank %d %s on %s", log->rank, log->roles, log->host);
    text_addf(out, ",\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":",
              log->rank);
    json_add_string(out, name.data, name.size);
    text_addf(out, "}},\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_sort_index\",\"args\":"
              "{\"sort_index\":%d}}", log->rank, log->rank);
    text_addf(out, ",\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_labels\",\"args\":{\"labels\":"
              "\"clock %+.6f s, +-%.0f us; %lld older spans dropped\"}}", log->rank, log->offset,
              log->error * 1e6, (long long)log->dropped);
    for (int t = 0; t < TRACE_THREADS && log->thread[t][0]; t++) {
        text_addf(out, ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\",\"args\":"
                  "{\"name\":", log->rank, t);
        json_add_string(out, log->thread[t], strlen(log->thread[t]));
        text_adds(out, "}}");
    }
    text_free(&name);
}

static void add_rank(struct text *out, const struct join *j, const struct trace_log *log)
{
    double last = log->seen;

    for (size_t e = 0; e < log->n; e++) {
        last = log->events[e].begin > last ? log->events[e].begin : last;
        last = log->events[e].end > last ? log->events[e].end : last;
    }
    add_process(out, log);
    for (size_t e = 0; e < log->n; e++)
        add_event(out, j, log, &log->events[e], last);
}

/* ---- the file */

/* A ring that was read before and cannot be now: all of them stay. */
static int write_events(const struct join *j, FILE *file, const char *path)
{
    struct text out = { 0 };
    struct trace_log log;
    int rc = RL_OK;
    bool good = fprintf(file, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"software\":"
                        "\"rankwise\",\"ranks\":%d,\"began\":%.6f},\n\"traceEvents\":[", j->ranks,
                        j->origin + j->day) > 0;
    size_t comma = 1;                   /* that nothing is in front of */

    for (size_t i = 0; i < j->n && good; i++) {
        if (!j->rings[i].read)
            continue;
        TRY(trace_read(j->rings[i].path, &log));
        text_clear(&out);
        add_rank(&out, j, &log);
        good = fwrite(out.data + comma, 1, out.size - comma, file) == out.size - comma;
        comma = 0;
        trace_log_free(&log);
    }
    if (!good || fputs("\n]}\n", file) < 0 || fflush(file) != 0)
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
done:
    text_free(&out);
    return rc;
}

/* path.part -> fsync -> rename: readers meet the old file or the new one. */
static int write_file(const struct join *j, const char *path)
{
    char part[4400];
    FILE *file;
    int rc;

    snprintf(part, sizeof part, "%s.part", path);
    file = fopen(part, "we");
    if (!file)
        return rl_error(RL_EIO, "cannot write %s: %s", part, strerror(errno));
    rc = write_events(j, file, part);
    if (fclose(file) != 0 && rc == RL_OK)
        rc = rl_error(RL_EIO, "cannot write %s: %s", part, strerror(errno));
    if (rc == RL_OK)
        rc = file_sync(part);
    if (rc == RL_OK && rename(part, path) != 0)
        rc = rl_error(RL_EIO, "cannot rename %s: %s", part, strerror(errno));
    if (rc != RL_OK)
        unlink(part);
    return rc == RL_OK ? folder_sync(path) : rc;
}

int timeline_make_way(const char *folder, const char *name, const char *ending)
{
    char path[4300], kept[4300], other[64];
    int rc = RL_OK;

    snprintf(other, sizeof other, "%s%s", name, ending);
    TRY(path_join(path, sizeof path, folder, other));
    if (access(path, F_OK) != 0)
        return RL_OK;
    for (int i = 1; i == 1 || access(kept, F_OK) == 0; i++) {
        snprintf(other, sizeof other, "%s-%d%s", name, i, ending);
        TRY(path_join(kept, sizeof kept, folder, other));
    }
    if (rename(path, kept) != 0)
        rc = rl_error(RL_EIO, "cannot rename %s: %s", path, strerror(errno));
done:
    return rc;
}

/* Those that could not be read, or not whole, stay.  Returns how many. */
static int remove_rings(const char *folder, const struct join *j)
{
    int left = j->aside;
    char path[4500];

    for (size_t i = 0; i < j->n; i++) {
        const struct ring *ring = &j->rings[i];
        left += !ring->read || ring->damaged;
        snprintf(path, sizeof path, "%s%s", ring->path, DAMAGED);
        if (ring->damaged)
            rename(ring->path, path);
        else if (ring->read)
            unlink(ring->path);
    }
    if (path_join(path, sizeof path, folder, "trace") == RL_OK)
        rmdir(path);
    return left;
}

static int add_ring(struct join *j, const char *folder, const char *name)
{
    struct ring *more = realloc(j->rings, (j->n + 1) * sizeof *more);
    char path[4400];
    int rc = RL_OK;

    if (!more)
        return rl_error(RL_ENOFIT, "no memory for the names of %zu rings", j->n);
    j->rings = more;
    TRY(path_join(path, sizeof path, folder, name));
    j->rings[j->n] = (struct ring){ .path = strdup(path) };
    if (!j->rings[j->n].path)
        return rl_error(RL_ENOFIT, "no memory for the names of %zu rings", j->n);
    j->n++;
done:
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct ring *)a)->path, ((const struct ring *)b)->path);
}

static int find_rings(struct join *j, const char *folder)
{
    char rings[4200];
    struct dirent *entry;
    DIR *dir = NULL;
    int rc = RL_OK;

    TRY(path_join(rings, sizeof rings, folder, "trace"));
    dir = opendir(rings);
    while (dir && rc == RL_OK && (entry = readdir(dir))) {
        const char *end = strstr(entry->d_name, ".ring");
        if (end && end[5] == 0)
            rc = add_ring(j, rings, entry->d_name);
        j->aside += end && strcmp(end + 5, DAMAGED) == 0;
    }
    if (j->n > 0)
        qsort(j->rings, j->n, sizeof *j->rings, by_path);
done:
    if (dir)
        closedir(dir);
    return rc;
}

int timeline_join(const char *folder, int *left)
{
    struct join j = { 0 };
    char path[4200];
    int rc = RL_OK;

    *left = 0;
    TRY(path_join(path, sizeof path, folder, "trace.json"));
    TRY(find_rings(&j, folder));
    *left = (int)j.n + j.aside;
    if (j.n == 0)
        goto done;
    TRY(survey(&j));
    keep_last(&j);
    if (j.events > 0) {
        TRY(timeline_make_way(folder, "trace", ".json"));
        TRY(write_file(&j, path));
    }
    *left = remove_rings(folder, &j);
done:
    for (size_t i = 0; i < j.n; i++)
        free(j.rings[i].path);
    free(j.rings);
    free(j.arrivals);
    return rc;
}
