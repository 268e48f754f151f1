/* A model that follows the policy: the reference when ref.update says so, the judge when osp.judge
 * is "ema".  Learners make it from the policy's weights after each update, and checkpoints hold it;
 * the ranks of the role that uses it get it as actors get the policy.
 *
 *   every   a copy of the policy each `every` steps        ema   w = decay w + (1 - decay) policy
 *
 * A batch meets the follower as it was when the batch was sampled, after max(0, step - max_lag)
 * updates of the policy (docs/iteration.md). */
#ifndef LAUNCH_FOLLOWER_H
#define LAUNCH_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"
#include "comm/link.h"
#include "launch/models.h"
#include "launch/placement.h"

struct follower {
    bool is_on;
    const char *folder;                 /* of its arrays in a checkpoint */
    enum role role;                     /* that uses it */
    int64_t every;                      /* 0: ema */
    float decay;
    struct model *model;                /* NULL: neither a learner nor of the role */
    struct feed *feed;                  /* NULL: no rank needs it from another */
};

/* What it is, before it is opened. */
struct follower_rule { const char *folder; enum role role; const char *update; int64_t every;
                       double decay; };

/* Collective over world.  update "none", "current" and "frozen" leave it off.  The model begins as
 * `source` has it. */
int follower_open(struct follower *f, const struct follower_rule *rule, struct comm *world,
                  const struct placement *p, const struct source *source, struct compute *compute);
void follower_close(struct follower *f);
/* Does this rank hold a copy of it? */
bool follower_is_here(const struct follower_rule *rule, unsigned roles);

/* Is it another model after the update that made version `step` of the policy? */
bool follower_moves(const struct follower *f, int64_t step);
/* After the update that made version `step` of the policy.  By learners; not collective. */
void follower_update(struct follower *f, const struct model *policy, int64_t step);
/* To the ranks of its role that are no learners.  Collective. */
int follower_exchange(struct follower *f, const struct placement *p, int rank, int64_t step);

#endif
