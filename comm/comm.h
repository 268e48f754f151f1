/* Groups of ranks and the few verbs between them.  MPI lives in this folder only.
 *
 *   struct comm *world, *team;
 *   TRY(comm_start(&world, &argc, &argv));        one rank without mpirun: no MPI start-up
 *   TRY(comm_split(world, color, "learner", &team));
 *   rc = comm_agree(world, rc);                   every rank gets the worst status
 *   comm_free(team);
 *   comm_stop(world);                             or, after RL_ELOST, comm_abort(world, exit code)
 *
 * Every verb is non-blocking inside and polled against the world's deadline; a rank that does not
 * come is named (rank, host, roles, phase, step) and RL_ELOST is returned.  After RL_ELOST nothing
 * but comm_abort may follow: messages are still under way.  No run uses a float MPI_SUM:
 * sums of floats are comm_tree_sum (comm/tree.h).  "Collective": all ranks of the group must call.
 */
#ifndef COMM_COMM_H
#define COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a rank is at or waits for, as messages and time lines name it. */
enum phase {
    PHASE_START, PHASE_AGREE, PHASE_ROLLOUT, PHASE_REWARD, PHASE_REF_LOGP, PHASE_COUNT,
    PHASE_UPDATE, PHASE_REDUCE, PHASE_STATS, PHASE_WEIGHTS, PHASE_CHECKPOINT, PHASE_EVAL, PHASE_END,
    PHASES
};
const char *phase_name(enum phase phase);

struct comm;
struct compute;
struct text;

/* Start MPI when a launcher (mpirun, srun --mpi=pmix) started us, else a world of one.  Not to be
 * called twice.  In a world of several ranks error lines are kept from here on (status_hold) until
 * comm_agree, comm_abort or comm_stop prints them. */
int comm_start(struct comm **world, int *argc, char ***argv);
/* The same when the deadline is known: MPI's own start has no other.  A rank that hangs before all
 * have met is named and every rank ends with the exit code of RL_ELOST. */
int comm_start_within(struct comm **world, double deadline, int *argc, char ***argv);
/* The rank that mpirun or srun told this process, before MPI starts; -1: neither started it. */
int comm_launched(void);
/* Collective over the world: ends MPI.  After a failure that others do not know of: comm_abort. */
void comm_stop(struct comm *world);
/* Prints the line kept here, then ends every rank now; does not return. */
void comm_abort(struct comm *world, int exit_code);

/* A world of one rank that never talks (for commands and tests); comm_stop ends it.  NULL: no
 * memory (rl_error was called). */
struct comm *comm_alone(void);

/* Collective over g.  color < 0: this rank gets *out = NULL.  `name` is for messages.  comm_free is
 * collective over the part; NULL is fine. */
int comm_split(struct comm *g, int color, const char *name, struct comm **out);
void comm_free(struct comm *g);

int comm_rank(const struct comm *g);
int comm_size(const struct comm *g);
const char *comm_host(const struct comm *g, int rank);       /* host name of a rank of g */
int comm_ranks_on_host(const struct comm *world);            /* ranks that share my host */
bool comm_first_on_host(const struct comm *world);           /* am I the lowest of them? */
void comm_set_deadline(struct comm *world, double seconds);  /* for every group; at first 600 */
double comm_deadline(const struct comm *g);                  /* seconds */
int comm_set_roles(struct comm *world, const char *text);    /* Collective: for messages */
void comm_set_step(struct comm *world, int64_t step);        /* what messages say */

/* What this rank is at from here on: what others say of it when it can say nothing any more. */
void comm_doing(struct comm *world, enum phase phase);
/* This rank asks `whom` outside of the job; NULL: it has answered.  After the deadline and half a
 * second the whole job ends with that name, unless the rank gave up by itself: comm_lost, whose
 * line is "TEXT: rank 1 (host h, reward) waited for it at step 5", and after which waits fail at
 * once.  Returns RL_ELOST.  world may be NULL: a
 * process of its own; then the line is TEXT. */
void comm_asks(struct comm *world, const char *whom);
int comm_lost(struct comm *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* told is called, from another thread, when a loss ends this process without its main thread. */
void comm_on_loss(struct comm *world, void (*told)(void *data, const char *line), void *data);

/* Collective.  The worst of all ranks' codes.  One line explains a failure: of the lowest rank that
 * has that code and a line, else (the code came with a batch) of the lowest rank that has a line;
 * nobody's when some of the ranks have agreed on this code before, and on nothing else since, and
 * printed one.  The other lines are dropped.  On RL_OK and RL_ESTOP lines are kept: they may
 * explain a batch that still waits.  RL_ELOST needs no agreement: it returns at once. */
int comm_agree(struct comm *g, int rc);
int comm_barrier(struct comm *g, enum phase phase);
int comm_broadcast(struct comm *g, void *data, size_t bytes, int root, enum phase phase);
/* Every rank's bytes, in rank order, on every rank; counts (size) are bytes and are known to all.
 * `mine` may be the place in `all` where it ends up. */
int comm_allgather(struct comm *g, const void *mine, void *all, const size_t *counts,
                   enum phase phase);
/* The same, on root only; the others may pass all = NULL. */
int comm_gather(struct comm *g, const void *mine, void *all, const size_t *counts, int root,
                enum phase phase);
/* Bytes of any number from each rank, appended to root's `all` one behind the other in rank order;
 * the others may pass all = NULL.  Collective; every rank returns the same status. */
int comm_gather_text(struct comm *g, const void *mine, size_t bytes, struct text *all, int root,
                     enum phase phase);
/* Bytes between pairs of ranks: what one sends, in order, the other expects.  Collective, also for
 * ranks that have nothing to send or expect. */
struct parcel { int rank; void *data; size_t bytes; };
int comm_exchange(struct comm *g, const struct parcel *out, int n_out, const struct parcel *in,
                  int n_in, enum phase phase);
int comm_sum_int64(struct comm *g, int64_t *x, int n, enum phase phase);
int comm_max_int64(struct comm *g, int64_t *x, int n, enum phase phase);

/* Collective over the world, before a GPU's memory is taken.  Where k computes by a GPU's tensor
 * cores, on any rank, all must have what decides the bits in common: the GPU's model, its
 * multiprocessors, cuBLASLt.  RL_EINVAL on every rank, with two ranks and what they have; when
 * k->fast the log says it instead.  shares (size): the ranks that have k's GPU, this one among
 * them; k->device_room becomes what is free once all of them have opened it. */
int comm_compare_devices(struct comm *world, struct compute *k, bool *shares);

/* Collective over g, between its verbs.  From here on sums of trees over g are made by this rank's
 * GPU, if k is on one; they and weights go from GPU to GPU, if every rank has one of its own and
 * NCCL.  The log says so, or why not.  comm_leave_gpus, before k closes: Collective, NULL is
 * fine. */
int comm_use_gpus(struct comm *g, struct compute *k);
void comm_leave_gpus(struct comm *g);

/* What to add to clock_now() here for rank 0's, and half of the shortest round trip: the offset is
 * right to that, and it is 0 when the clocks may be the same.  Collective over the world. */
int comm_clock_offset(struct comm *world, double *offset, double *error);

/* Seconds this rank has waited in comm verbs since the last call, by phase (sums into
 * seconds[PHASES], then zeroes). */
void comm_waited(struct comm *world, double seconds[PHASES]);

#endif
