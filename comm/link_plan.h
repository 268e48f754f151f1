/* What comm/link.c (opening, sending) and comm/link_recv.c share: the messages of a link.
 *
 *   sender f -> receiver t:   header | row ends | part | part ...   a tag each, by batch under way
 *
 * The header goes from every sender to every receiver, also when they have no row in common: a
 * failure anywhere is known everywhere.  Row ends are the sender's start[first+1 .. first+rows];
 * the receiver shifts them.  Nothing is copied on the way out.
 */
#ifndef COMM_LINK_PLAN_H
#define COMM_LINK_PLAN_H

#include "comm/group.h"
#include "comm/link.h"

#define SLOTS 64                  /* most batches under way; tags repeat after so many */
#define PARTS 64                  /* most messages of a batch to one receiver */

_Static_assert(SLOTS * PARTS <= LINK_TAGS, "tags of two links would meet");

struct header {
    int64_t sequence, step;
    int64_t tokens;               /* in the rows sent to this receiver */
    int64_t base;                 /* start[] of the first of them */
    int32_t status;               /* not RL_OK: no columns follow */
    int32_t columns, P, k, R;
    int32_t first, rows;          /* the rows sent to this receiver, in global order */
};

/* A batch under way. */
struct slot {
    const struct batch *batch;
    int status;                   /* as it was sent */
    unsigned columns;
    int64_t sequence;
    enum phase phase;
    struct header *headers;       /* (n_to) */
    struct requests requests;
};

struct link {
    struct comm *world;
    char name[NAME_BYTES];
    int number;                   /* among the links of the world */
    int *from, *to;               /* (n_from), (n_to) world ranks */
    int n_from, n_to;
    int sender, receiver;         /* my index in from and to, -1 if not there */
    int leaves, depth;
    struct slot *slots;           /* (depth) */
    int64_t sent, received;
    struct header *incoming;      /* (n_from) */
    struct requests requests;     /* of the receiver */
};

enum message { MESSAGE_HEADER, MESSAGE_STARTS, MESSAGE_PARTS };    /* + index in batch_parts[] */

int link_tag(const struct link *link, int64_t sequence, int message);
/* The header of what slot holds for receiver `to`. */
struct header link_header(const struct link *link, const struct slot *slot, int to);

#endif
