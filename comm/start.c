/* The beginning and the end: who started us, the world, MPI_Init to MPI_Finalize or MPI_Abort. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "comm/group.h"
#include "comm/undertaker.h"

#define FIRST_DEADLINE 600.0    /* seconds */
#define LISTEN 0.7

static void world_free(struct world *w)
{
    if (!w)
        return;
    watch_close(w->watch);
    free(w->host);
    free(w->roles);
    free(w->sent);
    free(w->heard);
    free(w->sending);
    free(w->is_heard);
    free(w->suspect);
    free(w->behind);
    free(w);
}

static int world_create(struct world **out, bool mpi, int rank, int size)
{
    struct world *w = calloc(1, sizeof *w);
    size_t n = (size_t)size;

    *out = NULL;
    if (!w)
        return rl_error(RL_ENOFIT, "cannot allocate the world");
    w->mpi = mpi;
    w->rank = rank;
    w->size = size;
    w->roll = MPI_COMM_NULL;
    w->deadline = FIRST_DEADLINE;
    w->listen = LISTEN;
    w->piece = PIECE_BYTES;
    w->lower_call = -1e9;
    w->host = calloc(n, sizeof *w->host);
    w->roles = calloc(n, sizeof *w->roles);
    w->sent = calloc(n, sizeof *w->sent);
    w->heard = calloc(n, sizeof *w->heard);
    w->sending = calloc(n, sizeof *w->sending);
    w->is_heard = calloc(n, sizeof *w->is_heard);
    w->suspect = calloc(n, sizeof *w->suspect);
    w->behind = calloc(n, sizeof *w->behind);
    if (!w->host || !w->roles || !w->sent || !w->heard || !w->sending || !w->is_heard ||
        !w->suspect || !w->behind) {
        world_free(w);
        return rl_error(RL_ENOFIT, "cannot allocate a world of %d ranks", size);
    }
    for (int r = 0; r < size; r++)
        w->sending[r] = MPI_REQUEST_NULL;
    if (gethostname(w->host[rank], HOST_BYTES - 1) != 0)
        strcpy(w->host[rank], "unknown");
    *out = w;
    return RL_OK;
}

static int share_texts(struct comm *g, char (*text)[HOST_BYTES])
{
    size_t *counts = malloc((size_t)g->size * sizeof *counts);
    int rc;

    if (!counts)
        return rl_error(RL_ENOFIT, "cannot allocate a world of %d ranks", g->size);
    for (int r = 0; r < g->size; r++)
        counts[r] = HOST_BYTES;
    rc = comm_allgather(g, text[g->rank], text, counts, PHASE_START);
    free(counts);
    return rc;
}

_Static_assert(ROLES_BYTES == HOST_BYTES && ROLES_BYTES == BOARD_ROLES, "share_texts sends both");

int comm_set_roles(struct comm *world, const char *text)
{
    struct world *w = world->world;

    snprintf(w->roles[w->rank], ROLES_BYTES, "%s", text ? text : "");
    if (w->watch)
        memcpy(board_mine(watch_board(w->watch))->roles, w->roles[w->rank], BOARD_ROLES);
    return share_texts(world, w->roles);
}

struct comm *comm_alone(void)
{
    struct world *w;
    struct comm *g = NULL;

    if (world_create(&w, false, 0, 1) != RL_OK)
        return NULL;
    if (group_create(&g, w, MPI_COMM_NULL, "world") != RL_OK)
        world_free(w);
    else
        g->is_world = true;
    return g;
}

int comm_launched(void)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK" };

    for (int i = 0; i < 3; i++)
        if (getenv(names[i]))
            return atoi(getenv(names[i]));
    return -1;
}

/* Tasks of the Slurm step we run in, 0 outside of one.  A batch script is no step of srun. */
static int slurm_tasks(void)
{
    const char *step = getenv("SLURM_STEP_NUM_TASKS"), *tasks = getenv("SLURM_NTASKS");

    if (!step && (getenv("SLURM_STEP_ID") || getenv("SLURM_STEPID")))
        step = tasks;
    return step && getenv("SLURM_PROCID") ? atoi(step) : 0;
}

/* Two duplicates of MPI's world: one for our messages, one for roll calls only.  The world takes
 * the watch over. */
static int open_world(struct comm **world, struct watch *watch, double deadline)
{
    struct world *w = NULL;
    MPI_Comm talk = MPI_COMM_NULL;
    int rank, size, rc = RL_OK;

    TRY(mpi_status(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN)));
    TRY(mpi_status(MPI_Comm_rank(MPI_COMM_WORLD, &rank)));
    TRY(mpi_status(MPI_Comm_size(MPI_COMM_WORLD, &size)));
    if (size == 1 && slurm_tasks() > 1) {
        rc = rl_error(RL_EINVAL, "srun started %d tasks, but MPI sees one: use srun --mpi=pmix",
                      slurm_tasks());
        goto done;
    }
    TRY(world_create(&w, true, rank, size));
    w->deadline = deadline;
    board_mine(watch_board(watch))->rank = rank;
    TRY(mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &talk)));
    TRY(mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &w->roll)));
    TRY(group_create(world, w, talk, "world"));
    (*world)->is_world = true;
    w->watch = watch;
    status_hold(size > 1);
    rc = share_texts(*world, w->host);
    if (rc == RL_OK)
        watch_started(watch);
    return rc;                        /* from here on comm_stop and comm_abort clean up */
done:
    world_free(w);
    watch_close(watch);
    return rc;
}

/* A world of one, which may wait for somebody outside all the same. */
static int start_alone(struct comm **world, double deadline)
{
    int rc = RL_OK;

    if (slurm_tasks() > 1)
        return rl_error(RL_EINVAL, "started by srun without PMIx: use srun --mpi=pmix");
    *world = comm_alone();
    if (!*world)
        return RL_ENOFIT;
    TRY(watch_open(&(*world)->world->watch, deadline));
    watch_started((*world)->world->watch);
    comm_set_deadline(*world, deadline);
done:
    if (rc != RL_OK) {
        comm_stop(*world);
        *world = NULL;
    }
    return rc;
}

/* Ranks of one host need shared memory only.  Open MPI would load all drivers of networks to choose
 * one, and that of Omni-Path measures a clock for 0.2 s.  Who has chosen already is heeded. */
static void choose_transport(void)
{
    const char *here = getenv("OMPI_COMM_WORLD_LOCAL_SIZE"), *all = getenv("OMPI_COMM_WORLD_SIZE");

    bool chosen = getenv("OMPI_MCA_mtl") || getenv("OMPI_MCA_btl");

    if (here && all && strcmp(here, all) == 0 && !chosen)
        setenv("OMPI_MCA_pml", "ob1", 0);
}

int comm_start_within(struct comm **world, double deadline, int *argc, char ***argv)
{
    struct watch *watch = NULL;
    int level, started = 0, rc = RL_OK;

    *world = NULL;
    if (comm_launched() < 0)
        return start_alone(world, deadline);
    TRY(mpi_status(MPI_Initialized(&started)));
    if (started)
        return rl_error(RL_EBUG, "comm_start was called twice");
    choose_transport();
    TRY(watch_open(&watch, deadline));
    TRY(mpi_status(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level)));
    if (level < MPI_THREAD_FUNNELED)
        TRY(rl_error(RL_EINVAL, "this MPI cannot run beside threads (MPI_THREAD_FUNNELED)"));
    return open_world(world, watch, deadline);
done:
    watch_close(watch);
    return rc;
}

int comm_start(struct comm **world, int *argc, char ***argv)
{
    return comm_start_within(world, FIRST_DEADLINE, argc, argv);
}

void world_blocks(struct world *w, const char *call)
{
    if (w->watch)
        watch_ask(w->watch, call);
}

void comm_stop(struct comm *world)
{
    struct world *w;

    if (!world)
        return;
    w = world->world;
    if (w->mpi) {
        /* MPI_Finalize waits for ever: go in together or not at all. */
        if (comm_barrier(world, PHASE_END) != RL_OK)
            comm_abort(world, status_exit_code(RL_ELOST));
        status_hold(false);
        status_print();
        if (w->watch)
            board_mine(watch_board(w->watch))->doing = DOING_END;
        MPI_Comm_free(&world->mpi);
        MPI_Comm_free(&w->roll);
        MPI_Finalize();
    }
    group_destroy(world);
    world_free(w);
}

void comm_abort(struct comm *world, int exit_code)
{
    status_print();
    if (world && world->world->watch) {         /* from here on it ends this process, too */
        undertaker_leave(watch_board(world->world->watch));
        board_end(watch_board(world->world->watch), exit_code);
    }
    if (world && world->world->mpi)
        rollcall_farewell(world->world);
    if (world && world->world->mpi)
        MPI_Abort(MPI_COMM_WORLD, exit_code);
    exit(exit_code);
}
