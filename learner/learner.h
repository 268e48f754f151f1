/* The learner: targets -> loss -> gradients -> one sum over ranks -> new weights.
 *
 *   TRY(learner_create(&ln, config, model, team, P, k, max_row_tokens));
 *   TRY(learner_update(ln, batch, metrics));       Collective over team
 *   learner_destroy(ln);
 *
 * An algorithm is a row of algorithms[], a pairwise loss a row of losses[].
 *
 * reduction = "reproducible": the batch is cut into reduction_leaves leaves, summed in one tree;
 * the same bits on any number of ranks, and a rank holds the groups that share_of (comm/link.h)
 * gives it.  reduction = "fast": what a rank holds, whatever that is, is one leaf; fewer buffers
 * and fewer additions, the bits depend on the number of ranks.
 */
#ifndef LEARNER_LEARNER_H
#define LEARNER_LEARNER_H

#include "base/config.h"
#include "base/metrics.h"
#include "comm/comm.h"
#include "comm/tree.h"
#include "data/batch.h"
#include "learner/optimizer.h"
#include "model/model.h"

struct learner;

/* An algorithm: the columns it needs and how targets, loss and report are made from a batch. */
struct algorithm {
    const char *name;           /* "online_dpo", "lm" */
    unsigned columns;           /* of the batch it reads */
    bool rollouts;              /* needs an actor; else rows come from text */
    int (*setup)(struct learner *ln);                       /* check its settings */
    void (*layout)(struct learner *ln, struct memory *memory);
    /* Which rows are run, and what each counts.  Not collective. */
    int (*targets)(struct learner *ln, const struct batch *b);
    /* What divides the loss, over all ranks.  Collective. */
    int (*count)(struct learner *ln, const struct batch *b);
    /* Terms and dlogp of the micro-batch at hand.  Not collective. */
    int (*loss)(struct learner *ln, const struct batch *b);
    /* Its metrics, and a last check before the weights change.  Collective. */
    int (*report)(struct learner *ln, const struct batch *b, struct metrics *m);
};
extern const struct algorithm algorithms[];             /* ends with name NULL */
const struct algorithm *algorithm_find(const char *name);

/* The caller keeps config, model and team.  max_row_tokens: tokens in the longest row.  P, k:
 * groups and rows per group of a step, over all ranks.  RL_EINVAL names a key; RL_ENOFIT. */
int learner_create(struct learner **ln, const struct config *config, struct model *model,
                   struct comm *team, int P, int k, int max_row_tokens);
void learner_destroy(struct learner *ln);               /* NULL is fine */
/* Bytes that create takes on a rank of the team, optimizer and activations included; for plan.  The
 * negative code of an error that create would report too. */
int64_t learner_bytes(const struct config *config, const struct model_shape *shape,
                      struct compute *compute, int ranks, int rank, int P, int k,
                      int max_row_tokens);

/* One update from the share b of the step.  Collective.  Sets the metrics of the update on every
 * rank (equal values, but for time/forward, backward, reduce, optimizer, which are this rank's).
 * A failed batch (status) on any rank fails on all.  When every pair is dropped, weights and
 * moments stay and optim/skipped is 1; the version counts on.  RL_ENAN: the weights are untouched,
 * the line names the tensor or the prompt. */
int learner_update(struct learner *ln, struct batch *b, struct metrics *m);

/* Means over the rows of all ranks that need no gradient, from the columns that are filled.
 * Prefix "": reward/, kl/ref, policy/entropy, len/, rollout/ of a training batch.  Another prefix
 * ("eval/stories.eval/"): <prefix>score, <prefix>kl, <prefix>len.  The batch may be of any size.
 * Collective. */
int learner_measure(struct learner *ln, const struct batch *b, struct metrics *m,
                    const char *prefix);
/* Evaluation on text: summed negative log-likelihood of the rows of a batch of any size, and the
 * tokens predicted, over all ranks.  RL_EBUG: a row is longer than max_row_tokens.  Collective. */
int learner_nll(struct learner *ln, const struct batch *b, double *sum, int64_t *count);

/* State that a checkpoint holds besides the weights. */
struct optimizer *learner_optimizer(struct learner *ln);
int64_t learner_version(const struct learner *ln);      /* updates done */
void learner_set_version(struct learner *ln, int64_t version);
/* Tokens trained on so far, over all ranks: of the rows that were run, prompts included. */
int64_t learner_tokens(const struct learner *ln);
void learner_set_tokens(struct learner *ln, int64_t tokens);

#endif
