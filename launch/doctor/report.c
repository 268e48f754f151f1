/* Findings of all hosts become lines: equal ones once, hosts named where they differ. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "launch/doctor/doctor.h"

struct finding *doctor_says(struct exam *e, bool change, const char *topic, const char *format, ...)
{
    struct finding *f;
    va_list args;

    if (e->n == FINDINGS)
        return NULL;
    f = &e->found[e->n++];
    memset(f, 0, sizeof *f);
    f->change = change;
    snprintf(f->topic, sizeof f->topic, "%s", topic);
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return f;
}

void doctor_figure(struct finding *f, double figure, const char *unit)
{
    if (!f)
        return;
    f->measured = true;
    f->figure = figure;
    snprintf(f->unit, sizeof f->unit, "%s", unit);
}

static bool same(const struct finding *a, const struct finding *b)
{
    return a->topic[0] && a->change == b->change && strcmp(a->topic, b->topic) == 0 &&
           strcmp(a->text, b->text) == 0;
}

/* Prints `all[at]` and takes its equals out; hosts: how many have looked. */
static void print_line(struct comm *world, struct finding *all, int n, int at, int hosts)
{
    struct finding f = all[at];
    double low = f.figure, high = f.figure;
    char names[200] = "";
    int having = 0;

    for (int i = at; i < n; i++) {
        size_t used = strlen(names);
        if (!same(&all[i], &f))
            continue;
        low = all[i].figure < low ? all[i].figure : low;
        high = all[i].figure > high ? all[i].figure : high;
        snprintf(names + used, sizeof names - used, "%s%s", having ? ", " : "",
                 comm_host(world, i / FINDINGS));
        having++;
        all[i].topic[0] = 0;
    }
    printf("%-7s%-10s%s", f.change ? "CHANGE" : "ok", f.topic, f.text);
    if (f.measured && having > 1)
        printf(": %.3g to %.3g %s", low, high, f.unit);
    else if (f.measured)
        printf(": %.3g %s", low, f.unit);
    if (having < hosts)
        printf(" [%s]", names);
    printf("\n");
}

int doctor_report(struct exam *e, int64_t *changes)
{
    int ranks = comm_size(e->world), n = ranks * FINDINGS, hosts = 0, rc = RL_OK;
    size_t *counts = malloc((size_t)ranks * sizeof *counts);
    struct finding *all = calloc((size_t)n, sizeof *all);

    if (!counts || !all)
        rc = rl_error(RL_ENOFIT, "no memory for the findings of %d ranks", ranks);
    TRY(comm_agree(e->world, rc));
    for (int r = 0; r < ranks; r++)
        counts[r] = sizeof e->found;
    TRY(comm_allgather(e->world, e->found, all, counts, PHASE_END));
    for (int r = 0; r < ranks; r++)
        hosts += all[r * FINDINGS].topic[0] != 0;
    *changes = 0;
    for (int k = 0; k < FINDINGS; k++)          /* check by check, then host by host */
        for (int i = k; i < n; i += FINDINGS) {
            if (!all[i].topic[0])
                continue;
            *changes += all[i].change;
            if (comm_rank(e->world) == 0)
                print_line(e->world, all, n, i, hosts);
        }
    fflush(stdout);                             /* before the line that closes it */
done:
    free(all);
    free(counts);
    return rc;
}
