/* Prompts that are open: being computed, chunk by chunk, or computed, with rows of theirs that wait
 * for places.
 *
 *   groups   0 1 2 | 3 4 5 6 | 7 ...        those of the rows next .. opened are open
 *                    | | |
 *   pass     [ places | all that is left of 3 | all of 4 | the beginning of 5 ]
 *
 * A group is opened while the rows that wait for places, its own left out, can count on free ones:
 * the pages of their prompts are some of those planned for these places, and the newest prompt has
 * pages of its own.  So the next prompt is computed before a place falls free, and no page is ever
 * waited for.
 */
#include "actor/internal.h"

#include <string.h>

#include "base/status.h"

static int prompt_open(struct actor *a, int group)
{
    struct prompt *p = prompt_of(a, group);
    int first = group * a->batch->k, rc = RL_OK;

    p->pages = p->done = p->fed = 0;
    if (a->finish[first] != FINISH_NONE)            /* no room for a single token */
        return RL_OK;
    while (p->pages * KEY_BLOCK < prompt_length(a, first)) {
        TRY(actor_page(a, &p->table[p->pages]));
        p->pages++;
    }
done:
    return rc;
}

int prefill_open(struct actor *a)
{
    int k = a->batch->k, rc = RL_OK;

    while (a->opened < a->batch->N && a->active + a->opened - a->next <= a->set.rows_at_once) {
        a->opened += k;
        TRY(prompt_open(a, a->opened / k - 1));
    }
done:
    return rc;
}

void prompt_close(struct actor *a, int group)
{
    struct prompt *p = prompt_of(a, group);

    while (p->pages > 0)
        cache_release(a->cache, p->table[--p->pages]);
}

void prefill_close(struct actor *a)
{
    for (int row = a->next; row < a->opened; row++)
        prompt_close(a, row / a->batch->k);
}

int prefill_feed(struct actor *a)
{
    int k = a->batch->k, ended = 0;

    for (int g = a->next / k; g < a->opened / k && a->fed < a->pass_tokens; g++) {
        struct prompt *p = prompt_of(a, g);
        int room = a->pass_tokens - a->fed, left = prompt_length(a, g * k) - p->done;
        if (p->pages == 0 || left == 0)
            continue;
        p->fed = left < room ? left : room;
        memcpy(a->table + (size_t)a->lines * (size_t)a->stride, p->table,
               (size_t)p->pages * sizeof *p->table);
        actor_feed(a, actor_row(a, g * k) + p->done, p->fed, p->done);
        ended += p->fed == left;
    }
    return ended;
}

int prefill_draw(struct actor *a, float *z)
{
    int k = a->batch->k, rc = RL_OK;

    for (int g = a->next / k; g < a->opened / k; g++) {
        struct prompt *p = prompt_of(a, g);
        if (p->fed == 0)
            continue;
        p->done += p->fed;
        p->fed = 0;
        if (p->done < prompt_length(a, g * k))
            continue;
        TRY(draw_first(a, g * k, z));
        z += a->V;
    }
done:
    return rc;
}
