/* See hung.h. */
#include "launch/hung.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "comm/board.h"
#include "comm/watch.h"

static struct board *board_of(struct hung *h, const char *folder)
{
    if (!h->board)
        h->board = board_look(folder);
    return h->board;
}

static const struct place *first_stopped(const struct board *board)
{
    for (int i = 0; i < board_rows(board); i++) {
        const struct place *p = board_place(board, i);
        if (p->doing != DOING_NOTHING && board_health(p) == HEALTH_STOPPED)
            return p;
    }
    return NULL;
}

bool hung_look(struct hung *h, const char *folder, double patience, char *line, size_t room)
{
    const struct board *board = board_of(h, folder);
    const struct place *p = board ? first_stopped(board) : NULL;
    double now = clock_now();
    size_t used;

    if (!p || h->since == 0)
        h->since = p ? now : 0;
    if (!p || now - h->since < patience)
        return false;
    line[0] = 0;
    place_name(p, board_host(board), line, room);
    used = strlen(line);
    snprintf(line + used, room - used, " is stopped ");
    place_say(p, line, room);
    used = strlen(line);
    snprintf(line + used, room - used, " for %g s", patience);
    return true;
}

void hung_place(struct hung *h, const char *folder, int rank, char *line, size_t room)
{
    const struct board *board = board_of(h, folder);
    const struct place *p = board ? board_find(board, rank) : NULL;
    size_t used = strlen(line);

    if (!p)
        return;
    snprintf(line + used, room - used, " ");
    place_say(p, line, room);
}

void hung_free(struct hung *h)
{
    board_close(h->board);
    memset(h, 0, sizeof *h);
}
