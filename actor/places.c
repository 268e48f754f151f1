/* Places in the decode batch: a row holds one, and its pages, from its first token to its last.
 *
 *   place i:  row 5, table line i [ 7 | 2 | 9 | . ]     the first `active` places are taken
 */
#include "actor/internal.h"

#include <string.h>

#include "base/status.h"

static int *line_of(const struct actor *a, int i)
{
    return a->table + (size_t)i * (size_t)a->stride;
}

/* Give the next free place to a row: its prompt's whole pages are shared, the last is copied. */
static int place_take(struct actor *a, int row)
{
    const int *from = prompt_of(a, row / a->batch->k)->table;
    struct place *place = &a->place[a->active];
    int *table = line_of(a, a->active), prompt = prompt_length(a, row), rc = RL_OK;

    place->row = row;
    place->pages = 0;
    a->active++;
    while ((place->pages + 1) * KEY_BLOCK <= prompt) {
        table[place->pages] = from[place->pages];
        cache_share(a->cache, table[place->pages++]);
    }
    if (prompt % KEY_BLOCK != 0) {
        TRY(actor_page(a, &table[place->pages]));
        cache_copy(a->cache, table[place->pages], from[place->pages]);
        place->pages++;
    }
done:
    return rc;
}

/* The row of place i is done; the last place moves into the gap. */
static void place_give(struct actor *a, int i)
{
    int *table = line_of(a, i), last = --a->active;

    for (int page = 0; page < a->place[i].pages; page++)
        cache_release(a->cache, table[page]);
    if (i == last)
        return;
    a->place[i] = a->place[last];
    memcpy(table, line_of(a, last), (size_t)a->stride * sizeof *table);
}

/* Has the row's prompt been computed?  Its first token was drawn then. */
static bool is_ready(const struct actor *a, int row)
{
    return a->finish[row] != FINISH_NONE || a->length[row] > prompt_length(a, row);
}

int places_take(struct actor *a)
{
    int k = a->batch->k, rc = RL_OK;

    while (a->active < a->set.rows_at_once && a->next < a->opened && is_ready(a, a->next)) {
        if (a->finish[a->next] == FINISH_NONE)
            TRY(place_take(a, a->next));
        a->next++;
        if (a->next % k == 0)
            prompt_close(a, (a->next - 1) / k);
    }
done:
    return rc;
}

int places_feed(struct actor *a)
{
    int rc = RL_OK;

    for (int i = 0; i < a->active; i++) {
        struct place *place = &a->place[i];
        int at = a->length[place->row] - 1;
        if (at == place->pages * KEY_BLOCK) {
            TRY(actor_page(a, &line_of(a, i)[place->pages]));
            place->pages++;
        }
        actor_feed(a, actor_row(a, place->row) + at, 1, at);
    }
done:
    return rc;
}

void places_give(struct actor *a, bool all)
{
    for (int i = a->active - 1; i >= 0; i--)
        if (all || a->finish[a->place[i].row] != FINISH_NONE)
            place_give(a, i);
}
