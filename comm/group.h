/* What the files of this folder share: the group, the requests under way, the one wait.
 * Nobody outside comm/ and its tests includes this. */
#ifndef COMM_GROUP_H
#define COMM_GROUP_H

#include <mpi.h>

#include "comm/comm.h"
#include "comm/watch.h"

#define HOST_BYTES 64
#define ROLES_BYTES 64
#define NAME_BYTES 48
#define PIECE_BYTES ((size_t)1 << 30)     /* one message: counts of MPI are ints */
#define LINK_TAGS 4096                    /* of one link: depth x parts, see comm/link.c */

/* All tags.  Collectives of MPI have a space of their own. */
enum tag {
    TAG_NOTE = 1,                         /* roll calls, on their own communicator */
    TAG_GATHER,
    TAG_TREE,
    TAG_PARCEL,
    TAG_CLOCK,
    TAG_FEED = 1000,                      /* + number of the feed */
    TAG_LINK = 10000,                     /* + number of the link * LINK_TAGS */
};

enum note_kind {
    NOTE_ANSWER,
    NOTE_CALL,                            /* "I gave up, who is there?" */
    NOTE_FAREWELL,                        /* "I have said who is lost and end the job" */
    NOTE_REFUSAL,                         /* "NCCL does not start here, do not wait for it" */
};

/* Where a rank waits; the whole text of a roll call.  Fixed size, sent as bytes. */
struct note {
    int32_t kind;                         /* enum note_kind */
    int32_t call;                         /* number of the call at the rank that called */
    int32_t phase;
    int32_t waits_for;                    /* a world rank, -1: its group */
    int64_t step, sequence;
    char name[NAME_BYTES];                /* of the group or link */
};

/* Messages under way that are waited for together. */
struct requests {
    const char *name;                     /* of the group or link, for messages */
    int64_t sequence;                     /* of the operation in it */
    MPI_Request *request;
    int *peer;                            /* world rank each depends on, -1: the whole group */
    int n, room;
    size_t bytes;                         /* of messages between pairs of ranks */
    int (*also)(void *of);                /* NULL, or work of a GPU that needs the group: */
    void *of;                             /* RL_OK, above 0: not yet, or a code */
    const int *with;                      /* (n_with) world ranks that it needs, NULL: all of it */
    int n_with;
};

/* What all groups of a process have in common. */
struct world {
    bool mpi;
    int rank, size;
    MPI_Comm roll;                        /* for roll calls only */
    double deadline;
    double listen;                        /* seconds of a roll call */
    int64_t step;
    size_t piece;                         /* bytes in one message; tests make it small */
    int links, feeds;                     /* opened so far: they number the tags */
    double waited[PHASES];
    bool lost;                            /* a wait has failed: later ones fail at once */
    struct watch *watch;                  /* NULL: a world that nobody launched */
    struct gpus *gpus;                    /* groups that use NCCL, comm/gpus.c */
    int told;                             /* code of the failure whose line was printed, RL_OK */
    char (*host)[HOST_BYTES];             /* of every rank */
    char (*roles)[ROLES_BYTES];
    /* the roll call (comm/rollcall.c) */
    int calls;
    double lower_call;                    /* when a lower rank last called */
    bool farewell;                        /* a rank has taken its leave: all is said */
    bool refusal;                         /* of NCCL, by another rank */
    struct note *sent, *heard;            /* (size) */
    MPI_Request *sending;                 /* (size) */
    bool *is_heard, *suspect, *behind;    /* (size) behind: a suspect waits for it */
};

struct comm {
    struct world *world;
    bool is_world;                        /* owns `world` */
    MPI_Comm mpi;
    int rank, size;
    int *ranks;                           /* (size) in the world */
    int (*codes)[2];                      /* (size) of comm_agree: code, enum line */
    int64_t *sizes;                       /* (size) of comm_gather_text, in bytes */
    size_t *counts;                       /* (size) the same */
    char name[NAME_BYTES];
    int64_t sequence;                     /* verbs so far */
    struct requests requests;
    struct compute *gpu;                  /* that computes here, NULL: the processor */
    struct gpus *gpus;                    /* of all ranks together, NULL: they talk over MPI */
};

/* One of our codes for a code of MPI; the line says what MPI said. */
int mpi_status(int code);

int requests_init(struct requests *q, const char *name, int room);
void requests_free(struct requests *q);
/* The place of one more request, NULL (and a line) when there is no memory. */
MPI_Request *requests_add(struct requests *q, int peer);
/* Start moving bytes to or from a rank of g, in pieces; 0 bytes are no message. */
int requests_send(struct requests *q, struct comm *g, const void *data, size_t bytes, int to,
                  int tag);
int requests_recv(struct requests *q, struct comm *g, void *data, size_t bytes, int from,
                  int tag);

/* Finish q, or name who did not come (RL_ELOST).  Every wait of the program is this one. */
int comm_wait(struct comm *g, struct requests *q, enum phase phase);

/* RL_ELOST and its line: the watch has seen a loss. */
int world_look(struct world *w);
/* This rank enters a call of MPI that has no deadline; NULL: it came back. */
void world_blocks(struct world *w, const char *call);

/* comm/rollcall.c */
void rollcall_answer(struct comm *g, const struct requests *q, enum phase phase);
int rollcall_blame(struct comm *g, struct requests *q, enum phase phase);
void rollcall_farewell(struct world *w);
void rollcall_refusal(struct comm *g);            /* the others of g hear it in their wait */

/* A group on this communicator (MPI_COMM_NULL: one silent rank); takes it over on success. */
int group_create(struct comm **out, struct world *world, MPI_Comm mpi, const char *name);
void group_destroy(struct comm *g);

#endif
