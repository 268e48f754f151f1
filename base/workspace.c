/* Memory of modules that take turns; see workspace.h. */
#include "base/workspace.h"

#include <string.h>

#include "base/status.h"

void workspace_together(struct workspace *w, bool together)
{
    if (!w)
        return;
    w->together = together;
    w->next = 0;
    w->users += together;
}

/* Where the next user's bytes begin: behind those that live at once with it, or at 0. */
static size_t place(struct workspace *w, size_t bytes)
{
    size_t begin;

    if (!w->together)
        w->users++;
    memory_rewind(&w->memory, w->together ? w->next : 0);
    begin = memory_mark(&w->memory);
    memory_take(&w->memory, bytes);
    w->next = memory_mark(&w->memory);
    return begin;
}

size_t workspace_count(struct workspace *w, size_t bytes)
{
    if (!w)
        return bytes;
    place(w, bytes);
    return 0;
}

int workspace_open(struct workspace *w, size_t bytes)
{
    *w = (struct workspace){ .memory = { .peak = bytes,
                             .lower = "micro_rows, samples_per_prompt or max_new" } };
    return memory_open(&w->memory);
}

void workspace_close(struct workspace *w)
{
    memory_close(&w->memory);
    memset(w, 0, sizeof *w);
}

int workspace_part_open(struct workspace_part *p, struct workspace *w)
{
    size_t begin;

    p->of = w;
    if (!w)
        return memory_open(&p->memory);
    begin = place(w, p->memory.peak);
    if (memory_mark(&w->memory) - begin < p->memory.peak)
        return RL_EBUG;                         /* memory_take has said so */
    p->user = w->users;
    p->memory.base = w->memory.base + begin;
    p->memory.size = p->memory.peak;
    p->memory.used = 0;
    return RL_OK;
}

void workspace_part_close(struct workspace_part *p)
{
    memory_close(&p->memory);
    memset(p, 0, sizeof *p);
}

void workspace_part_begin(struct workspace_part *p)
{
    if (p->of)
        p->of->holder = p->user;
}

bool workspace_part_holds(const struct workspace_part *p)
{
    return !p->of || p->of->holder == p->user;
}
