/* The verbs of a group: agreement, barrier, broadcast, gathers, sums of integers.  Each starts
 * something non-blocking and hands it to comm_wait. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"
#include "comm/group.h"

/* A verb begins: its number is what a roll call compares. */
static struct requests *begin(struct comm *g)
{
    g->requests.n = 0;
    g->requests.sequence = ++g->sequence;
    return &g->requests;
}

/* What explains a rank's code there.  A code that came with a batch has its line elsewhere. */
enum line { LINE_NONE, LINE_KEPT, LINE_TOLD };

static enum line line_of(const struct comm *g, int rc)
{
    if (rc != RL_OK && rc == g->world->told)
        return LINE_TOLD;
    return status_message()[0] ? LINE_KEPT : LINE_NONE;
}

static int share_codes(struct comm *g, int rc)
{
    struct requests *q = begin(g);
    int *mine = g->codes[g->rank];
    int status;

    mine[0] = rc;
    mine[1] = line_of(g, rc);
    if (g->size == 1)
        return RL_OK;
    status = mpi_status(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, g->codes, 2, MPI_INT,
                                       g->mpi, requests_add(q, -1)));
    return status == RL_OK ? comm_wait(g, q, PHASE_AGREE) : status;
}

/* The lowest rank with such a line, of those with this code or of all; -1: nobody. */
static int find_line(const struct comm *g, enum line line, int code, bool of_all)
{
    for (int r = 0; r < g->size; r++)
        if (g->codes[r][1] == (int)line && (of_all || g->codes[r][0] == code))
            return r;
    return -1;
}

/* Who prints the line of a failure, -1: nobody has one.  See comm.h. */
static int find_speaker(const struct comm *g, int code)
{
    int speaker = find_line(g, LINE_KEPT, code, false);

    return speaker >= 0 ? speaker : find_line(g, LINE_KEPT, code, true);
}

/* Bad numbers are somebody's: the line says whose. */
static void add_rank(const struct comm *g, int code)
{
    char line[4096];

    if (code != RL_ENAN || g->world->size == 1 || !status_message()[0])
        return;
    snprintf(line, sizeof line, "%s", status_message());
    status_drop();
    rl_error(code, "%s (rank %d)", line, g->ranks[g->rank]);
}

int comm_agree(struct comm *g, int rc)
{
    int worst = RL_OK, speaker, status;
    bool told;

    if (rc == RL_ELOST)
        return rc;                    /* whoever was lost would not come here either */
    status = share_codes(g, rc);
    if (status != RL_OK)
        return status;
    for (int r = 0; r < g->size; r++)
        worst = status_worse(worst, g->codes[r][0]);
    if (worst == RL_OK || worst == RL_ESTOP) {
        status_keep();                /* of a batch that nobody has asked for yet */
        g->world->told = RL_OK;
        return worst;
    }
    told = find_line(g, LINE_TOLD, worst, false) >= 0;
    speaker = told ? -1 : find_speaker(g, worst);
    if (speaker == g->rank) {
        add_rank(g, worst);
        status_print();
    } else {
        status_drop();
    }
    g->world->told = told || speaker >= 0 ? worst : RL_OK;
    return worst;
}

int comm_barrier(struct comm *g, enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    if (g->size == 1)
        return RL_OK;
    TRY(mpi_status(MPI_Ibarrier(g->mpi, requests_add(q, -1))));
    rc = comm_wait(g, q, phase);
done:
    return rc;
}

int comm_broadcast(struct comm *g, void *data, size_t bytes, int root, enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    for (size_t at = 0, piece; g->size > 1 && at < bytes; at += piece) {
        piece = bytes - at < g->world->piece ? bytes - at : g->world->piece;
        TRY(mpi_status(MPI_Ibcast((char *)data + at, (int)piece, MPI_BYTE, root, g->mpi,
                                  requests_add(q, -1))));
        TRY(comm_wait(g, q, phase));
    }
done:
    return rc;
}

static size_t bytes_before(const size_t *counts, int rank)
{
    size_t sum = 0;

    for (int r = 0; r < rank; r++)
        sum += counts[r];
    return sum;
}

static void place_mine(struct comm *g, const void *mine, void *all, const size_t *counts)
{
    char *place = (char *)all + bytes_before(counts, g->rank);

    if (counts[g->rank] > 0 && place != mine)
        memmove(place, mine, counts[g->rank]);
}

int comm_allgather(struct comm *g, const void *mine, void *all, const size_t *counts,
                   enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    place_mine(g, mine, all, counts);
    mine = (char *)all + bytes_before(counts, g->rank);
    for (int i = 1; i < g->size; i++) {          /* each rank begins with another partner */
        int from = (g->rank + g->size - i) % g->size;
        TRY(requests_recv(q, g, (char *)all + bytes_before(counts, from), counts[from], from,
                          TAG_GATHER));
    }
    for (int i = 1; i < g->size; i++)
        TRY(requests_send(q, g, mine, counts[g->rank], (g->rank + i) % g->size, TAG_GATHER));
    rc = comm_wait(g, q, phase);
done:
    return rc;
}

int comm_gather(struct comm *g, const void *mine, void *all, const size_t *counts, int root,
                enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    if (g->rank == root) {
        place_mine(g, mine, all, counts);
        for (int r = 0; r < g->size; r++)
            if (r != root)
                TRY(requests_recv(q, g, (char *)all + bytes_before(counts, r), counts[r], r,
                                  TAG_GATHER));
    } else {
        TRY(requests_send(q, g, mine, counts[g->rank], root, TAG_GATHER));
    }
    rc = comm_wait(g, q, phase);
done:
    return rc;
}

int comm_gather_text(struct comm *g, const void *mine, size_t bytes, struct text *all, int root,
                     enum phase phase)
{
    size_t total = 0;
    char *end = NULL;
    int rc = RL_OK;

    memset(g->sizes, 0, (size_t)g->size * sizeof *g->sizes);
    g->sizes[g->rank] = (int64_t)bytes;
    TRY(comm_sum_int64(g, g->sizes, g->size, phase));
    for (int r = 0; r < g->size; r++)
        total += g->counts[r] = (size_t)g->sizes[r];
    if (g->rank == root)
        rc = text_reserve(all, all->size + total + 1);
    TRY(comm_agree(g, rc));
    if (g->rank == root)
        end = all->data + all->size;
    TRY(comm_gather(g, mine, end, g->counts, root, phase));
    if (g->rank == root) {
        all->size += total;
        all->data[all->size] = 0;
    }
done:
    return rc;
}

int comm_exchange(struct comm *g, const struct parcel *out, int n_out, const struct parcel *in,
                  int n_in, enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    for (int i = 0; i < n_in; i++)
        TRY(requests_recv(q, g, in[i].data, in[i].bytes, in[i].rank, TAG_PARCEL));
    for (int i = 0; i < n_out; i++)
        TRY(requests_send(q, g, out[i].data, out[i].bytes, out[i].rank, TAG_PARCEL));
    rc = comm_wait(g, q, phase);
done:
    return rc;
}

static int reduce(struct comm *g, int64_t *x, int n, MPI_Op op, enum phase phase)
{
    struct requests *q = begin(g);
    int rc = RL_OK;

    if (g->size == 1 || n == 0)
        return RL_OK;
    TRY(mpi_status(MPI_Iallreduce(MPI_IN_PLACE, x, n, MPI_INT64_T, op, g->mpi,
                                  requests_add(q, -1))));
    rc = comm_wait(g, q, phase);
done:
    return rc;
}

int comm_sum_int64(struct comm *g, int64_t *x, int n, enum phase phase)
{
    return reduce(g, x, n, MPI_SUM, phase);
}

int comm_max_int64(struct comm *g, int64_t *x, int n, enum phase phase)
{
    return reduce(g, x, n, MPI_MAX, phase);
}
