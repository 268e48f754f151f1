/* rankwise trace RUN: where the time of the steps in trace.json went, rank by rank.
 *
 *   step     [---------------------------------------]     a span's own time is what no span in it
 *   update      [---------------------------]              has: of "step", what nobody accounts for
 *   wait              [----]      [-----]
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "base/trace.h"
#include "launch/commands/commands.h"
#include "launch/timeline.h"

#define ROUNDING 5e-4                   /* microseconds; times are whole nanoseconds */
#define DEPTH 64
#define SHOWN 0.05                      /* percent */
#define LONGEST (10e6 * TRACE_LONGEST)  /* microseconds that a time in the file may be */
#define PATIENCE 1.0                    /* seconds that ranks of a killed run may take to end */

struct event {
    int64_t rank, thread;
    double begin, end, own;             /* microseconds */
    const char *name;
};

struct process { int64_t rank; const char *name; };

struct spans {
    struct event *events;               /* (n) by place */
    struct process *processes;          /* (n_processes) by rank */
    size_t n, n_processes;
};

struct sum { const char *name; double own; };

void help_trace(FILE *out)
{
    fputs("RUN: a run folder, or a trace.json.  What a killed start left is put together first.\n"
          "Prints the share of each rank's steps by what it did itself, and for whom it waited.\n"
          "The timeline is trace.json: open it in ui.perfetto.dev or chrome://tracing.\n", out);
}

/* ---- events of a file */

/* By rank and thread; then as they begin, outer before inner. */
static int by_place(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->thread != y->thread)
        return x->thread < y->thread ? -1 : 1;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end < y->end) - (x->end > y->end);
}

static int by_rank(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

static bool take_event(const struct json *e, struct event *to)
{
    *to = (struct event){
        .rank = json_int(json_get(e, "pid"), -1),
        .thread = json_int(json_get(e, "tid"), -1),
        .begin = json_number(json_get(e, "ts"), NAN),
        .name = json_string(json_get(e, "name"), ""),
    };
    to->end = to->begin + json_number(json_get(e, "dur"), NAN);
    return to->rank >= 0 && to->thread >= 0 && fabs(to->begin) <= LONGEST &&
           to->end >= to->begin && to->end <= LONGEST;
}

static int take_spans(const struct json *root, const char *path, struct spans *s)
{
    const struct json *all = json_get(root, "traceEvents");
    size_t n = json_size(all);

    if (!json_is_array(all) || strcmp(json_string(json_get(json_get(root, "otherData"),
                                                           "software"), ""), "rankwise") != 0)
        return rl_error(RL_EINVAL, "%s: no timeline of Rankwise: name a run folder, or the "
                        "trace.json of a run with trace=true", path);
    s->events = calloc(n + 1, sizeof *s->events);
    s->processes = calloc(n + 1, sizeof *s->processes);
    if (!s->events || !s->processes)
        return rl_error(RL_ENOFIT, "no memory for %zu events", n);
    for (size_t i = 0; i < n; i++) {
        const struct json *e = json_at(all, i);
        bool span = strcmp(json_string(json_get(e, "ph"), ""), "X") == 0;
        if (span && !take_event(e, &s->events[s->n++]))
            return rl_error(RL_EINVAL, "%s: event %zu has no rank, thread or time", path, i);
        if (!span && strcmp(json_string(json_get(e, "name"), ""), "process_name") == 0)
            s->processes[s->n_processes++] = (struct process){
                json_int(json_get(e, "pid"), -1),
                json_string(json_get(json_get(e, "args"), "name"), "") };
    }
    qsort(s->events, s->n, sizeof *s->events, by_place);
    qsort(s->processes, s->n_processes, sizeof *s->processes, by_rank);
    return RL_OK;
}

static const char *process_name(const struct spans *s, int64_t rank)
{
    const struct process key = { .rank = rank };
    const struct process *found = bsearch(&key, s->processes, s->n_processes, sizeof key, by_rank);

    return found ? found->name : "a rank without a name";
}

/* ---- sums of a thread */

struct account {
    struct sum *sums;                   /* (n), each name once */
    size_t n;
    double steps, step_own;             /* microseconds */
    double least;                       /* share of a step that is in spans, of the worst step */
    int64_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sum *)a)->name, ((const struct sum *)b)->name);
}

/* Spans of one name become one. */
static void merge(struct account *a)
{
    size_t kept = 0;

    qsort(a->sums, a->n, sizeof *a->sums, by_name);
    for (size_t i = 0; i < a->n; i++)
        if (kept > 0 && by_name(&a->sums[kept - 1], &a->sums[i]) == 0)
            a->sums[kept - 1].own += a->sums[i].own;
        else
            a->sums[kept++] = a->sums[i];
    a->n = kept;
}

/* Own times; RL_EINVAL when two spans cross. */
static int unfold(struct event *events, size_t n, const char *path)
{
    struct event *stack[DEPTH];
    int depth = 0;

    for (size_t i = 0; i < n; i++) {
        struct event *e = &events[i];
        while (depth > 0 && stack[depth - 1]->end <= e->begin + ROUNDING)
            depth--;
        e->own = e->end - e->begin;
        if (depth > 0 && e->end > stack[depth - 1]->end + ROUNDING)
            return rl_error(RL_EINVAL, "%s: rank %" PRId64 ": \"%s\" crosses the end of \"%s\" at "
                            "%.6f s", path, e->rank, e->name, stack[depth - 1]->name,
                            stack[depth - 1]->end * 1e-6);
        if (depth > 0)
            stack[depth - 1]->own -= e->own;
        if (depth < DEPTH)
            stack[depth++] = e;
    }
    return RL_OK;
}

/* What lies in steps. */
static int account(struct account *a, const struct event *events, size_t n)
{
    double end = -INFINITY;

    a->sums = calloc(n + 1, sizeof *a->sums);
    if (!a->sums)
        return rl_error(RL_ENOFIT, "no memory for %zu spans", n);
    for (size_t i = 0; i < n; i++) {
        double lasts = events[i].end - events[i].begin;
        double share = lasts > 0 ? 1 - events[i].own / lasts : 1;

        if (strcmp(events[i].name, "step") == 0) {
            end = events[i].end;
            a->steps += lasts;
            a->step_own += events[i].own;
            a->least = a->count++ == 0 || share < a->least ? share : a->least;
        } else if (events[i].end <= end + ROUNDING) {
            a->sums[a->n++] = (struct sum){ events[i].name, events[i].own };
        }
    }
    merge(a);
    return RL_OK;
}

static int by_own(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;

    return (x->own < y->own) - (x->own > y->own);
}

/* Whatever a file says, it is one line. */
static void print_name(const char *name)
{
    for (; *name; name++)
        putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void print(const struct account *a, const char *who)
{
    double whole = a->steps > 0 ? a->steps : 1;

    print_name(who);
    printf(": %" PRId64 " steps, %.3f s, %.1f %% of it in spans (of the worst step %.1f %%)\n",
           a->count, a->steps * 1e-6, 100 * (1 - a->step_own / whole), 100 * a->least);
    for (size_t i = 0; i < a->n; i++) {
        if (100 * a->sums[i].own / whole < SHOWN)
            continue;
        printf("  %5.1f %%  %10.3f s  ", 100 * a->sums[i].own / whole, a->sums[i].own * 1e-6);
        print_name(a->sums[i].name);
        putchar('\n');
    }
}

/* One thread of a rank. */
static int report_thread(const struct spans *s, const char *path, struct event *events, size_t n)
{
    struct account a = { 0 };
    int rc = RL_OK;

    TRY(unfold(events, n, path));
    if (events->thread != 0)
        return RL_OK;                   /* beside the steps: nobody waits for it by itself */
    TRY(account(&a, events, n));
    qsort(a.sums, a.n, sizeof *a.sums, by_own);
    print(&a, process_name(s, events->rank));
done:
    free(a.sums);
    return rc;
}

static int report(const struct json *root, const char *path)
{
    struct spans s = { 0 };
    size_t end;
    int rc = RL_OK;

    TRY(take_spans(root, path, &s));
    for (size_t at = 0; at < s.n; at = end) {
        end = at;
        while (end < s.n && s.events[end].rank == s.events[at].rank &&
               s.events[end].thread == s.events[at].thread)
            end++;
        TRY(report_thread(&s, path, s.events + at, end - at));
    }
done:
    free(s.events);
    free(s.processes);
    return rc;
}

int command_trace(int argc, char **argv)
{
    struct json *root = NULL;
    char path[4200];
    int left, rc = RL_OK;

    if (argc != 1 || argv[0][0] == '-')
        return rl_error(RL_EINVAL, "trace needs one run folder or trace.json");
    snprintf(path, sizeof path, "%s", argv[0]);
    if (folder_exists(argv[0])) {
        TRY(timeline_rescue(argv[0], PATIENCE, &left));
        TRY(path_join(path, sizeof path, argv[0], "trace.json"));
        if (!file_exists(path) && left > 0)
            TRY(rl_error(RL_EINVAL, "%s: no trace.json: none of the %d rings in %s/trace can be "
                         "read, and they stay there", argv[0], left, argv[0]));
        if (!file_exists(path))
            TRY(rl_error(RL_EINVAL, "%s: no trace.json: train with trace=true", argv[0]));
    }
    if (file_exists(path) && !file_is_plain(path))
        TRY(rl_error(RL_EINVAL, "%s is no plain file", path));
    root = json_read(path);
    if (!root)
        return RL_EINVAL;
    rc = report(root, path);
    json_free(root);
done:
    return rc;
}
