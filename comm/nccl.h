/* NCCL behind a table: what librankwise_cuda.so knows of it, for comm/gpus.c, which knows ranks.
 * Neither nccl.h nor mpi.h is needed to read this.
 *
 *   nccl->create(&group, k, id, ranks, rank)     at once; every rank of the group
 *   while (nccl->placed(group) == NCCL_BUSY)     ... until all of them have come
 *   nccl->begin(group)                           messages between pairs move side by side
 *   nccl->send(group, ...); nccl->receive(group, ...)
 *   nccl->end(group)
 *   while (nccl->placed(group) == NCCL_BUSY)     ... until it is in the stream of k
 *   k->add(k, ...)                               comes after it, and it after what was before
 *   while (nccl->done(group) == NCCL_BUSY)       ... until the stream has come here
 *
 * No call waits for another rank, close and abort perhaps apart.  Between two calls of begin, or
 * without it after every verb, placed() is asked until it is not NCCL_BUSY.  All memory is planned
 * memory (base/memory.h).  Codes are those of base/status.h, with a line: RL_ELOST when the other
 * end or the way there failed, RL_EBUG.
 */
#ifndef COMM_NCCL_H
#define COMM_NCCL_H

#include <stdbool.h>
#include <stddef.h>

#define NCCL_ID_BYTES 128
#define NCCL_BUSY 1
#define GPU_NAME_BYTES 32

struct compute;
struct nccl_group;

/* The second symbol of the library: `const struct nccl_door rankwise_nccl`; device_door.abi is its
 * version, too. */
struct nccl_door {
    /* Opens libnccl.so.2, or what RANKWISE_NCCL names; false: *why says why there is none. */
    bool (*load)(const char **why);
    void (*gpu_name)(char name[GPU_NAME_BYTES]);              /* of this process, on its host */
    int (*make_id)(struct compute *k, char id[NCCL_ID_BYTES]);          /* by one rank */
    int (*create)(struct nccl_group **group, struct compute *k, const char id[NCCL_ID_BYTES],
                  int ranks, int rank);
    int (*placed)(struct nccl_group *group);                  /* RL_OK, NCCL_BUSY or a code */
    int (*done)(struct nccl_group *group);
    int (*begin)(struct nccl_group *group);
    int (*end)(struct nccl_group *group);
    int (*send)(struct nccl_group *group, const void *data, size_t bytes, int to);
    int (*receive)(struct nccl_group *group, void *data, size_t bytes, int from);
    int (*broadcast)(struct nccl_group *group, const void *from, void *to, size_t bytes, int root);
    int (*all_reduce)(struct nccl_group *group, float *x, size_t n);           /* in place */
    /* mine(n) = the sum of rank's n of every rank's x(ranks * n) */
    int (*reduce_scatter)(struct nccl_group *group, const float *x, float *mine, size_t n);
    int (*finish)(struct nccl_group *group);                  /* no more calls; then placed() */
    void (*close)(struct nccl_group *group);                  /* after it, or after abort */
    void (*abort)(struct nccl_group *group);                  /* what is under way ends now */
};

#endif
