/* Groups whose ranks have a GPU each and talk over NCCL: comm_use_gpus (comm.h) makes them.
 *
 *   TRY(gpus_begin(g));
 *   TRY(gpus_send(g, x, bytes, to));              memory of GPUs (base/memory.h)
 *   TRY(gpus_recv(g, y, bytes, from));
 *   TRY(gpus_end(g, q, phase));                   all of it is in the compute stream, as one
 *   k->add(k, z, y, n);                           after it; and it after what was computed before
 *   TRY(gpus_wait(g, q, phase));                  done
 *
 * One order of calls: that of the program, the same on every rank of the group, and gpus_wait
 * before another group of this rank has a call.  So a GPU never has calls of two groups at once,
 * and no two GPUs have two groups in different orders, which would wait for each other for ever.
 *
 * q says who waits (name, number) when a rank is late: deadlines, roll calls and what they say are
 * those of comm_wait.  Whatever fails, here or in a wait for MPI, aborts every group of this rank,
 * because kernels that wait for a lost one would never end.  After it every call is RL_ELOST.
 */
#ifndef COMM_GPUS_H
#define COMM_GPUS_H

#include "comm/group.h"

/* NULL in comm->gpus: this group has none, and talks over MPI. */
struct gpus;

int gpus_begin(struct comm *g);
int gpus_end(struct comm *g, struct requests *q, enum phase phase);
int gpus_wait(struct comm *g, struct requests *q, enum phase phase);

/* Between gpus_begin and gpus_end.  0 bytes are no message; two ranks list the messages between
 * them in the same order. */
int gpus_send(struct comm *g, const void *data, size_t bytes, int to);
int gpus_recv(struct comm *g, void *data, size_t bytes, int from);
/* The same, called by every rank of the group, in one order. */
int gpus_broadcast(struct comm *g, void *data, size_t bytes, int root);
/* Every rank's bytes, in rank order; counts (size) are known to all, mine lie in their place. */
int gpus_allgather(struct comm *g, void *all, const size_t *counts);
/* Sums in NCCL's order, which depends on the ranks: for reduction = "fast".  x(n) in place. */
int gpus_allreduce(struct comm *g, float *x, size_t n);
/* mine(n) = the sum of rank's part of every rank's x(size, n). */
int gpus_reduce_scatter(struct comm *g, const float *x, float *mine, size_t n);

/* A loss: every group of this process ends what is under way. */
void gpus_abort(struct world *w);

#endif
