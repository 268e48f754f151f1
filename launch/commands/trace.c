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
#include "launch/commands/commands.h"
#include "launch/timeline.h"

#define ROUNDING 5e-4                   /* microseconds; times are whole nanoseconds */
#define DEPTH 64
#define SHOWN 0.05                      /* percent */
#define PATIENCE 1.0                    /* seconds that ranks of a killed run may take to end */

struct event {
    int64_t rank, thread;
    double begin, end, own;             /* microseconds */
    const char *name;
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

static int take_events(const struct json *root, struct event **out, size_t *n)
{
    const struct json *all = json_get(root, "traceEvents");
    struct event *events = calloc(json_size(all) + 1, sizeof *events);

    *out = events;
    *n = 0;
    if (!events)
        return rl_error(RL_ENOFIT, "no memory for %zu events", json_size(all));
    for (size_t i = 0; i < json_size(all); i++) {
        const struct json *e = json_at(all, i);
        if (strcmp(json_string(json_get(e, "ph"), ""), "X") != 0)
            continue;
        events[*n] = (struct event){
            .rank = json_int(json_get(e, "pid"), -1),
            .thread = json_int(json_get(e, "tid"), -1),
            .begin = json_number(json_get(e, "ts"), NAN),
            .name = json_string(json_get(e, "name"), ""),
        };
        events[*n].end = events[*n].begin + json_number(json_get(e, "dur"), NAN);
        if (events[*n].rank < 0 || events[*n].thread < 0 || !(events[*n].end >= events[*n].begin))
            return rl_error(RL_EINVAL, "event %zu has no rank, thread or time", i);
        (*n)++;
    }
    qsort(events, *n, sizeof *events, by_place);
    return RL_OK;
}

static const char *process_name(const struct json *root, int64_t rank)
{
    const struct json *all = json_get(root, "traceEvents");

    for (size_t i = 0; i < json_size(all); i++) {
        const struct json *e = json_at(all, i);
        if (strcmp(json_string(json_get(e, "name"), ""), "process_name") == 0 &&
            json_int(json_get(e, "pid"), -1) == rank)
            return json_string(json_get(json_get(e, "args"), "name"), "");
    }
    return "a rank without a name";
}

/* ---- sums of a thread */

struct account {
    struct sum *sums;                   /* (n), by name */
    size_t n;
    double steps, step_own;             /* microseconds */
    double least;                       /* share of a step that is in spans, of the worst step */
    int64_t count;
};

static int add(struct account *a, const struct event *e)
{
    struct sum *more;

    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->sums[i].name, e->name) == 0) {
            a->sums[i].own += e->own;
            return RL_OK;
        }
    more = realloc(a->sums, (a->n + 1) * sizeof *more);
    if (!more)
        return rl_error(RL_ENOFIT, "no memory for the names of spans");
    a->sums = more;
    a->sums[a->n++] = (struct sum){ e->name, e->own };
    return RL_OK;
}

/* Own times; RL_EINVAL when two spans cross. */
static int unfold(struct event *events, size_t n)
{
    struct event *stack[DEPTH];
    int depth = 0;

    for (size_t i = 0; i < n; i++) {
        struct event *e = &events[i];
        while (depth > 0 && stack[depth - 1]->end <= e->begin + ROUNDING)
            depth--;
        e->own = e->end - e->begin;
        if (depth > 0 && e->end > stack[depth - 1]->end + ROUNDING)
            return rl_error(RL_EINVAL, "rank %" PRId64 ": \"%s\" crosses the end of \"%s\" at %.6f "
                            "s", e->rank, e->name, stack[depth - 1]->name,
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
    int rc = RL_OK;

    for (size_t i = 0; i < n && rc == RL_OK; i++) {
        double lasts = events[i].end - events[i].begin;
        double share = lasts > 0 ? 1 - events[i].own / lasts : 1;

        if (strcmp(events[i].name, "step") == 0) {
            end = events[i].end;
            a->steps += lasts;
            a->step_own += events[i].own;
            a->least = a->count++ == 0 || share < a->least ? share : a->least;
        } else if (events[i].end <= end + ROUNDING) {
            rc = add(a, &events[i]);
        }
    }
    return rc;
}

static int by_own(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;

    return (x->own < y->own) - (x->own > y->own);
}

static void print(const struct account *a, const char *who)
{
    double whole = a->steps > 0 ? a->steps : 1;

    printf("%s: %" PRId64 " steps, %.3f s, %.1f %% of it in spans (of the worst step %.1f %%)\n",
           who, a->count, a->steps * 1e-6, 100 * (1 - a->step_own / whole), 100 * a->least);
    for (size_t i = 0; i < a->n; i++)
        if (100 * a->sums[i].own / whole >= SHOWN)
            printf("  %5.1f %%  %10.3f s  %s\n", 100 * a->sums[i].own / whole,
                   a->sums[i].own * 1e-6, a->sums[i].name);
}

static int report(const struct json *root)
{
    struct event *events = NULL;
    size_t n = 0, end;
    int rc = RL_OK;

    TRY(take_events(root, &events, &n));
    for (size_t at = 0; at < n; at = end) {
        struct account a = { 0 };
        end = at;
        while (end < n && events[end].rank == events[at].rank &&
               events[end].thread == events[at].thread)
            end++;
        TRY(unfold(events + at, end - at));
        if (events[at].thread != 0)
            continue;                   /* beside the steps: nobody waits for it by itself */
        rc = account(&a, events + at, end - at);
        if (rc == RL_OK && a.n > 0)
            qsort(a.sums, a.n, sizeof *a.sums, by_own);
        if (rc == RL_OK)
            print(&a, process_name(root, events[at].rank));
        free(a.sums);
        TRY(rc);
    }
done:
    free(events);
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
    root = json_read(path);
    if (!root)
        return RL_EINVAL;
    rc = report(root);
    json_free(root);
done:
    return rc;
}
