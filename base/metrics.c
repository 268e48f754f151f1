/* The numbers of a step.  A few dozen names, so a list walked from the start is fast enough, and it
 * keeps the order of first setting. */
#include "base/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/status.h"

#define NAME_ROOM 128

struct metric { char name[NAME_ROOM]; bool is_hash; double value; uint64_t hash; };

struct metrics {
    struct metric *items;
    int count, room;
    int error;                 /* setting returns nothing: the first failure waits for the line */
};

int metrics_create(struct metrics **m)
{
    *m = calloc(1, sizeof **m);
    return *m ? RL_OK : rl_error(RL_ENOFIT, "cannot allocate the metrics");
}

void metrics_destroy(struct metrics *m)
{
    if (!m)
        return;
    free(m->items);
    free(m);
}

static struct metric *find(const struct metrics *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->items[i].name, name) == 0)
            return &m->items[i];
    return NULL;
}

/* The metric of that name, new at 0 if it was not there; NULL after an error. */
static struct metric *place(struct metrics *m, const char *name)
{
    struct metric *item = find(m, name);

    if (item)
        return item;
    if (strlen(name) >= NAME_ROOM) {
        m->error = rl_error(RL_EINVAL, "metric name longer than %d bytes: %s", NAME_ROOM - 1, name);
        return NULL;
    }
    if (m->count == m->room) {
        int room = m->room ? 2 * m->room : 64;
        struct metric *items = realloc(m->items, (size_t)room * sizeof *items);
        if (!items) {
            m->error = rl_error(RL_ENOFIT, "cannot allocate %d metrics", room);
            return NULL;
        }
        m->items = items;
        m->room = room;
    }
    item = &m->items[m->count++];
    memset(item, 0, sizeof *item);
    strcpy(item->name, name);
    return item;
}

void metrics_set(struct metrics *m, const char *name, double value)
{
    struct metric *item = place(m, name);

    if (item) {
        item->is_hash = false;
        item->value = value;
    }
}

void metrics_setf(struct metrics *m, double value, const char *format, ...)
{
    char name[2 * NAME_ROOM];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);      /* a cut name is still too long for place() */
    va_end(args);
    metrics_set(m, name, value);
}

void metrics_set_hash(struct metrics *m, const char *name, uint64_t value)
{
    struct metric *item = place(m, name);

    if (item) {
        item->is_hash = true;
        item->hash = value;
    }
}

double metrics_get(const struct metrics *m, const char *name, double otherwise)
{
    const struct metric *item = find(m, name);

    return item && !item->is_hash ? item->value : otherwise;
}

bool metrics_has(const struct metrics *m, const char *name)
{
    return find(m, name) != NULL;
}

int metrics_line(struct metrics *m, struct text *out)
{
    int rc = m->error;

    for (int i = 0; i < m->count; i++) {
        const struct metric *item = &m->items[i];
        text_adds(out, i ? ", " : "{");
        json_add_string(out, item->name, strlen(item->name));
        text_adds(out, ": ");
        if (item->is_hash)
            text_addf(out, "\"%016llx\"", (unsigned long long)item->hash);
        else
            json_add_number(out, item->value);
    }
    text_adds(out, m->count ? "}\n" : "{}\n");
    metrics_clear(m);
    return rc;
}

void metrics_clear(struct metrics *m)
{
    m->count = 0;
    m->error = RL_OK;
}
