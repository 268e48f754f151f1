/* How far the clocks of hosts are apart: each rank asks rank 0 for its time, again and again.
 *
 *   rank r   begin ----.           .----> end      offset = theirs - (begin + end) / 2
 *   rank 0              `-> theirs '               wrong by half of end - begin at most
 *
 * The round that was quickest counts. */
#include <math.h>

#include "base/clock.h"
#include "base/status.h"
#include "comm/group.h"

#define ROUNDS 32

static int move(struct comm *g, double *time, int partner, bool sends)
{
    struct requests *q = &g->requests;
    int rc = RL_OK;

    q->n = 0;
    if (sends)
        TRY(requests_send(q, g, time, sizeof *time, partner, TAG_CLOCK));
    else
        TRY(requests_recv(q, g, time, sizeof *time, partner, TAG_CLOCK));
    rc = comm_wait(g, q, PHASE_START);
done:
    return rc;
}

static int answer(struct comm *g, int rank)
{
    double time;
    int rc = RL_OK;

    for (int i = 0; i < ROUNDS; i++) {
        TRY(move(g, &time, rank, false));
        time = clock_now();
        TRY(move(g, &time, rank, true));
    }
done:
    return rc;
}

static int ask(struct comm *g, double *offset, double *error)
{
    int rc = RL_OK;

    for (int i = 0; i < ROUNDS; i++) {
        double begin = clock_now(), theirs = begin, end;
        TRY(move(g, &theirs, 0, true));
        TRY(move(g, &theirs, 0, false));
        end = clock_now();
        if (i > 0 && (end - begin) / 2 >= *error)
            continue;
        *error = (end - begin) / 2;
        *offset = theirs - (begin + end) / 2;
    }
    if (fabs(*offset) <= *error)
        *offset = 0;
done:
    return rc;
}

int comm_clock_offset(struct comm *world, double *offset, double *error)
{
    int rc = RL_OK;

    *offset = *error = 0;
    if (world->rank > 0)
        return ask(world, offset, error);
    for (int r = 1; r < world->size; r++)
        TRY(answer(world, r));
done:
    return rc;
}
