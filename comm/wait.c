/* Requests under way, and the one wait of the program.
 *
 *   0 .. 50 us        test again at once       a partner on another core is about to answer
 *   .. 500 us         give the core away       a partner may need this core
 *   later             sleep, 2 % of the wait so far, 5 ms at most
 *
 * The clock of this patience starts anew when two tests in a row took long, because then they moved
 * data.  One alone may have found a cold cache, or lost its core: it is repeated at once.
 *
 * After the first wait that failed, all others fail at once: on its way out a rank meets many.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "base/trace.h"
#include "comm/gpus.h"

#define SPIN 50e-6
#define YIELD 500e-6
#define SLEEP_LEAST 20e-6
#define SLEEP_MOST 5e-3
#define MOVED_DATA 20e-6                  /* an idle test takes about 1 us, a cold one more: */
#define MOVING 4                          /* so many in a row are a message that comes in */
#define ANSWER_EVERY 20e-3
#define PAUSED 1.0

int mpi_status(int code)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int size, kind = MPI_ERR_OTHER;

    if (code == MPI_SUCCESS)
        return RL_OK;
    MPI_Error_string(code, text, &size);
    MPI_Error_class(code, &kind);
    if (kind == MPI_ERR_NO_MEM)
        return rl_error(RL_ENOFIT, "MPI: %s", text);
    if (kind == MPI_ERR_TRUNCATE || kind == MPI_ERR_ARG || kind == MPI_ERR_COUNT ||
        kind == MPI_ERR_RANK || kind == MPI_ERR_TAG || kind == MPI_ERR_COMM)
        return rl_error(RL_EBUG, "MPI: %s: ranks disagree about a message", text);
    return rl_error(RL_ELOST, "MPI: %s", text);
}

int requests_init(struct requests *q, const char *name, int room)
{
    memset(q, 0, sizeof *q);
    q->name = name;
    q->room = room > 0 ? room : 1;
    q->request = calloc((size_t)q->room, sizeof *q->request);
    q->peer = calloc((size_t)q->room, sizeof *q->peer);
    if (!q->request || !q->peer)
        return rl_error(RL_ENOFIT, "%s: cannot allocate %d requests", name, q->room);
    return RL_OK;
}

/* Messages that are still under way are let go: this happens after a failure only. */
void requests_free(struct requests *q)
{
    for (int i = 0; i < q->n; i++)
        if (q->request[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&q->request[i]);
    free(q->request);
    free(q->peer);
    memset(q, 0, sizeof *q);
}

/* Room is planned for messages of one piece; more are needed only beyond PIECE_BYTES. */
static int grow(struct requests *q)
{
    int room = 2 * q->room;
    MPI_Request *request = realloc(q->request, (size_t)room * sizeof *request);
    int *peer;

    if (request)
        q->request = request;
    peer = request ? realloc(q->peer, (size_t)room * sizeof *peer) : NULL;
    if (!peer)
        return rl_error(RL_ENOFIT, "%s: cannot allocate %d requests", q->name, room);
    q->peer = peer;
    q->room = room;
    return RL_OK;
}

MPI_Request *requests_add(struct requests *q, int peer)
{
    if (q->n == q->room && grow(q) != RL_OK)
        return NULL;
    q->request[q->n] = MPI_REQUEST_NULL;
    q->peer[q->n] = peer;
    return &q->request[q->n++];
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int requests_send(struct requests *q, struct comm *g, const void *data, size_t bytes, int to,
                  int tag)
{
    int rc = RL_OK;

    for (size_t at = 0, piece; at < bytes; at += piece) {
        MPI_Request *request = requests_add(q, g->ranks[to]);
        piece = smaller(bytes - at, g->world->piece);
        if (!request)
            return RL_ENOFIT;
        q->bytes += piece;
        TRY(mpi_status(MPI_Isend((const char *)data + at, (int)piece, MPI_BYTE, to, tag, g->mpi,
                                 request)));
    }
done:
    return rc;
}

int requests_recv(struct requests *q, struct comm *g, void *data, size_t bytes, int from,
                  int tag)
{
    int rc = RL_OK;

    for (size_t at = 0, piece; at < bytes; at += piece) {
        MPI_Request *request = requests_add(q, g->ranks[from]);
        piece = smaller(bytes - at, g->world->piece);
        if (!request)
            return RL_ENOFIT;
        q->bytes += piece;
        TRY(mpi_status(MPI_Irecv((char *)data + at, (int)piece, MPI_BYTE, from, tag, g->mpi,
                                 request)));
    }
done:
    return rc;
}

static void be_patient(double idle)
{
    double pause = 0.02 * idle;

    if (idle < SPIN)
        return;
    if (idle < YIELD) {
        sched_yield();
        return;
    }
    if (pause < SLEEP_LEAST)
        pause = SLEEP_LEAST;
    clock_sleep(pause < SLEEP_MOST ? pause : SLEEP_MOST);
}

/* What the board says of this rank while it waits, since when. */
static void show(struct world *w, enum phase phase, bool waits, double since)
{
    struct place *mine = w->watch ? board_mine(watch_board(w->watch)) : NULL;

    if (!mine)
        return;
    mine->at = (int32_t)phase;
    mine->waits = since;
    mine->doing = waits ? DOING_WAIT : DOING_WORK;
}

int world_look(struct world *w)
{
    const char *line = w->watch ? watch_take(w->watch) : NULL;

    return line ? rl_error(RL_ELOST, "%s", line) : RL_OK;
}

/* Whom all of them depend on, -1: several ranks, or the whole group. */
static int peer_of(const struct requests *q)
{
    for (int i = 1; i < q->n; i++)
        if (q->peer[i] != q->peer[0])
            return -1;
    return q->n > 0 ? q->peer[0] : -1;
}

/* Verbs of a group begin when all have come. */
static struct trace begin_wait(const struct comm *g, const struct requests *q, enum phase phase)
{
    return trace_begin_at(q->name == g->name ? TRACE_MEET : TRACE_WAIT, phase_name(phase), q->name,
                          q->sequence, peer_of(q));
}

static int test_all(struct requests *q, int *done)
{
    int rc = RL_OK;

    TRY(mpi_status(MPI_Testall(q->n, q->request, done, MPI_STATUSES_IGNORE)));
    if (!*done || !q->also)
        return RL_OK;
    rc = q->also(q->of);
    *done = rc == RL_OK;
done:
    return rc > 0 ? RL_OK : rc;
}

int comm_wait(struct comm *g, struct requests *q, enum phase phase)
{
    struct trace waited;
    double start, now, idle_since, answered, seen;
    int done = 0, slow = 0, rc = RL_OK;

    if (g->world->lost)
        return RL_ELOST;
    if (q->n == 0 && !q->also)
        return RL_OK;
    waited = begin_wait(g, q, phase);
    start = now = idle_since = answered = seen = waited.begin;
    show(g->world, phase, true, start);
    while (!done) {
        double before = now;
        TRY(test_all(q, &done));
        now = clock_now();
        if (done)
            break;
        TRY(world_look(g->world));
        if (now - seen > PAUSED) {        /* this rank was stopped itself */
            start += now - seen;
            show(g->world, phase, true, start);
        }
        seen = now;
        if (now - start > g->world->deadline) {
            /* MPI did come back; the watch leaves time for a roll call, and a lower rank's */
            start = now - g->world->deadline + 2.2 * g->world->listen;
            show(g->world, phase, true, start);
            rc = rollcall_blame(g, q, phase);
            goto done;
        }
        slow = now - before > MOVED_DATA ? slow + 1 : 0;
        if (slow >= MOVING)
            idle_since = now;
        if (now - answered > ANSWER_EVERY) {
            rollcall_answer(g, q, phase);
            answered = now;
            TRY(g->world->farewell ? RL_ELOST : RL_OK);
        }
        if (slow == 0)
            be_patient(now - idle_since);
        now = clock_now();
    }
done:
    g->world->waited[phase] += trace_end(waited, TRACE_BYTES, (int64_t)q->bytes);
    if (rc == RL_OK)
        q->n = 0, q->bytes = 0;
    if (rc == RL_ELOST || (rc != RL_OK && q->also))
        gpus_abort(g->world);
    show(g->world, phase, false, clock_now());
    return rc;
}
