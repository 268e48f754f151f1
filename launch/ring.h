/* The ring of one kind of batch (training or evaluation): its batches by role and slot, and the
 * links that carry columns from role to role.
 *
 *   actor --tokens--> reward ----reward----> learner
 *     |  \--tokens--> refmodel --ref_logp-->    ^
 *     +---------- tokens, actor_logp -----------+
 *
 * Roles of a rank whose shares of the step are equal use one struct batch: then a link is a
 * pointer.  Without an actor the rows come from files: every role that needs tokens reads its own
 * share, and only references -> learner is left.
 */
#ifndef LAUNCH_RING_H
#define LAUNCH_RING_H

#include <stdbool.h>

#include "base/memory.h"
#include "base/random.h"
#include "comm/link.h"
#include "data/batch.h"
#include "data/prompts.h"
#include "data/records.h"
#include "launch/placement.h"

#define RING_DEPTH 2                /* batches under way at most: max_lag + 1 */

/* P groups of k rows a step, over all ranks; rows of at most row_tokens tokens, R rewards; and what
 * the groups are drawn from, one of three. */
struct ring_size {
    int P, k, depth, row_tokens, R;
    unsigned roles;                 /* that take part, if a rank holds them */
    unsigned scores;                /* columns that rewards fill */
    unsigned at_once;               /* roles whose part others wait for, or that does not keep */
    struct prompts *prompts;
    struct records *records;
    struct corpus *corpus;
    int64_t stride;                 /* draws of a step: P, or more when some are drawn again */
    bool held_out;                  /* the first P, in file order; else those of the step, shuffled
                                     * when the configuration says so */
};

struct ring {
    int P, k, depth;
    unsigned roles;                 /* that take part, on this rank or others */
    struct ring_size size;
    unsigned late;                  /* roles of this rank, a learner, that do their part when it
                                     * collects the batch: until then nobody needs what they make */
    enum purpose purpose;           /* of the batches under way */
    bool bare;                      /* nobody will look at their ref_logp: it is not made */
    struct memory memory;
    struct batch store[ROLES][RING_DEPTH];
    int first[ROLES], count[ROLES]; /* the share of this rank, by role; count 0: not held */
    struct batch *batch[ROLES][RING_DEPTH];     /* NULL: the role is not held here */
    int64_t collected[RING_DEPTH];              /* step whose columns have all come, -1: none */
    /* NULL: between roles of which one does not take part */
    struct link *prompts_to_reward, *prompts_to_refmodel, *rollouts, *rewards, *references;
};

/* Every rank of world opens the same rings in the same order.  It sends nothing: a rank that fails
 * (memory) returns alone, so the ranks agree afterwards. */
int ring_open(struct ring *ring, struct comm *world, const struct placement *p, int leaves,
              const struct ring_size *size);
void ring_close(struct ring *ring);
/* RL_ENOFIT when a batch of that size cannot be addressed; to be asked before ring_open. */
int ring_check(int P, int k, int row_tokens);
/* Bytes of the batches on a rank (for plan). */
size_t ring_bytes(const struct placement *p, int rank, int leaves, const struct ring_size *size);

/* Wait until the batches that the next ring_begin clears have left this rank. */
int ring_ready(struct ring *ring);
/* The batch of `step` for a role, NULL if the rank does not hold it; ring_begin clears it and sets
 * its share. */
struct batch *ring_batch(struct ring *ring, enum role role, int64_t step);
void ring_begin(struct ring *ring, int64_t step);
/* ring_batch of a role whose part is done as soon as the tokens are there, or late; else NULL, and
 * for a reference of bare batches. */
struct batch *ring_batch_now(struct ring *ring, enum role role, int64_t step);
struct batch *ring_batch_late(struct ring *ring, enum role role, int64_t step);
/* Fill b with its share of the groups of `step`: whole rows, or prompts for an actor. */
int ring_draw(struct ring *ring, const struct config *c, int64_t step, struct batch *b);

#endif
