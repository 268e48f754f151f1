/* Groups: a part of the world, and what can be asked of it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "comm/group.h"

const char *phase_name(enum phase phase)
{
    static const char *const names[PHASES] = {
        [PHASE_START] = "start",     [PHASE_AGREE] = "agreement",     [PHASE_ROLLOUT] = "rollout",
        [PHASE_REWARD] = "reward",   [PHASE_REF_LOGP] = "ref_logp",   [PHASE_COUNT] = "counts",
        [PHASE_UPDATE] = "update",   [PHASE_REDUCE] = "gradients",    [PHASE_STATS] = "statistics",
        [PHASE_WEIGHTS] = "weights", [PHASE_CHECKPOINT] = "checkpoint",
        [PHASE_EVAL] = "evaluation", [PHASE_END] = "end",
    };

    return names[phase];
}

/* The ranks of a communicator, as the world counts them. */
static int find_ranks(struct comm *g)
{
    MPI_Group part = MPI_GROUP_NULL, whole = MPI_GROUP_NULL;
    int *local = NULL, rc = RL_OK;

    if (g->mpi == MPI_COMM_NULL) {
        g->ranks[0] = 0;
        return RL_OK;
    }
    local = malloc((size_t)g->size * sizeof *local);
    if (!local)
        return rl_error(RL_ENOFIT, "cannot allocate a group of %d ranks", g->size);
    for (int r = 0; r < g->size; r++)
        local[r] = r;
    TRY(mpi_status(MPI_Comm_group(g->mpi, &part)));
    TRY(mpi_status(MPI_Comm_group(g->world->roll, &whole)));
    TRY(mpi_status(MPI_Group_translate_ranks(part, g->size, local, whole, g->ranks)));
done:
    if (part != MPI_GROUP_NULL)
        MPI_Group_free(&part);
    if (whole != MPI_GROUP_NULL)
        MPI_Group_free(&whole);
    free(local);
    return rc;
}

int group_create(struct comm **out, struct world *world, MPI_Comm mpi, const char *name)
{
    struct comm *g = calloc(1, sizeof *g);
    int rc = RL_OK;

    *out = NULL;
    if (!g)
        return rl_error(RL_ENOFIT, "cannot allocate a group");
    g->world = world;
    g->mpi = mpi;
    g->size = 1;
    snprintf(g->name, sizeof g->name, "%s", name);
    if (mpi != MPI_COMM_NULL) {
        TRY(mpi_status(MPI_Comm_rank(mpi, &g->rank)));
        TRY(mpi_status(MPI_Comm_size(mpi, &g->size)));
    }
    g->ranks = calloc((size_t)g->size, sizeof *g->ranks);
    g->codes = calloc((size_t)g->size, sizeof *g->codes);
    g->sizes = calloc((size_t)g->size, sizeof *g->sizes);
    g->counts = calloc((size_t)g->size, sizeof *g->counts);
    if (!g->ranks || !g->codes || !g->sizes || !g->counts) {
        rc = rl_error(RL_ENOFIT, "cannot allocate a group of %d ranks", g->size);
        goto done;
    }
    TRY(requests_init(&g->requests, g->name, 2 * g->size));
    TRY(find_ranks(g));
    *out = g;
done:
    if (rc != RL_OK)
        group_destroy(g);
    return rc;
}

/* Leaves the communicator to the caller. */
void group_destroy(struct comm *g)
{
    if (!g)
        return;
    requests_free(&g->requests);
    free(g->ranks);
    free(g->codes);
    free(g->sizes);
    free(g->counts);
    free(g);
}

int comm_split(struct comm *g, int color, const char *name, struct comm **out)
{
    MPI_Comm part = MPI_COMM_NULL;
    int rc = RL_OK;

    *out = NULL;
    /* MPI_Comm_split blocks: go in together, so that it waits for nobody. */
    TRY(comm_barrier(g, PHASE_START));
    if (g->mpi == MPI_COMM_NULL && color < 0)
        return RL_OK;
    if (g->mpi != MPI_COMM_NULL) {
        int key = color < 0 ? MPI_UNDEFINED : color;
        world_blocks(g->world, "MPI_Comm_split");
        rc = mpi_status(MPI_Comm_split(g->mpi, key, g->rank, &part));
        world_blocks(g->world, NULL);
        TRY(rc);
        if (part == MPI_COMM_NULL)
            return RL_OK;
    }
    TRY(group_create(out, g->world, part, name));
done:
    if (rc != RL_OK && part != MPI_COMM_NULL)
        MPI_Comm_free(&part);
    return rc;
}

void comm_free(struct comm *g)
{
    MPI_Comm mpi;

    if (!g)
        return;
    if (g->is_world) {
        comm_stop(g);
        return;
    }
    mpi = g->mpi;
    /* Freeing blocks too.  A group that lost a rank keeps its communicator until comm_abort. */
    if (mpi != MPI_COMM_NULL && comm_barrier(g, PHASE_END) == RL_OK) {
        world_blocks(g->world, "MPI_Comm_free");
        MPI_Comm_free(&mpi);
        world_blocks(g->world, NULL);
    }
    group_destroy(g);
}

int comm_rank(const struct comm *g)
{
    return g->rank;
}

int comm_size(const struct comm *g)
{
    return g->size;
}

const char *comm_host(const struct comm *g, int rank)
{
    return g->world->host[g->ranks[rank]];
}

int comm_ranks_on_host(const struct comm *world)
{
    const struct world *w = world->world;
    int n = 0;

    for (int r = 0; r < w->size; r++)
        n += strcmp(w->host[r], w->host[w->rank]) == 0;
    return n;
}

bool comm_first_on_host(const struct comm *world)
{
    const struct world *w = world->world;
    int r = 0;

    while (strcmp(w->host[r], w->host[w->rank]) != 0)
        r++;
    return r == w->rank;
}

void comm_set_deadline(struct comm *world, double seconds)
{
    world->world->deadline = seconds;
    if (world->world->watch)
        watch_deadline(world->world->watch, seconds);
}

double comm_deadline(const struct comm *g)
{
    return g->world->deadline;
}

void comm_set_step(struct comm *world, int64_t step)
{
    world->world->step = step;
    if (world->world->watch)
        board_mine(watch_board(world->world->watch))->step = step;
}

void comm_doing(struct comm *world, enum phase phase)
{
    struct place *mine;

    if (!world->world->watch)
        return;
    mine = board_mine(watch_board(world->world->watch));
    mine->phase = (int32_t)phase;
    mine->since = clock_now();
}

void comm_asks(struct comm *world, const char *whom)
{
    if (world && world->world->watch)
        watch_ask(world->world->watch, whom);
}

void comm_on_loss(struct comm *world, void (*told)(void *data, const char *line), void *data)
{
    if (world->world->watch)
        watch_on_loss(world->world->watch, told, data);
}

int comm_lost(struct comm *world, const char *format, ...)
{
    const struct world *w = world ? world->world : NULL;
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!w)
        return rl_error(RL_ELOST, "%s", text);
    world->world->lost = true;
    if (w->watch && !board_speak(watch_board(w->watch))) {
        clock_sleep(w->listen);         /* another rank here has said one like it */
        return RL_ELOST;
    }
    return rl_error(RL_ELOST, "%s: rank %d (host %s%s%s) waited for it at step %lld", text, w->rank,
                    w->host[w->rank], w->roles[w->rank][0] ? ", " : "", w->roles[w->rank],
                    (long long)w->step);
}

void comm_waited(struct comm *world, double seconds[PHASES])
{
    struct world *w = world->world;

    memcpy(seconds, w->waited, sizeof w->waited);
    memset(w->waited, 0, sizeof w->waited);
}
