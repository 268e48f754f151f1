/* The learner: targets -> loss -> gradients -> one sum over ranks -> new weights.
 *
 *   TRY(learner_create(&ln, &settings, model, team));
 *   TRY(learner_update(ln, batch, metrics));       Collective over team
 *   learner_destroy(ln);
 *
 * An algorithm is a row of algorithms[], a pairwise loss a row of losses[].
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

/* An algorithm: the columns it needs and how targets, loss and gradients are made from a batch. */
struct algorithm {
    const char *name;           /* "online_dpo", "lm" */
    unsigned columns;           /* of the batch it reads */
    bool rollouts;              /* needs an actor; else rows come from text */
};
extern const struct algorithm algorithms[];             /* ends with name NULL */
const struct algorithm *algorithm_find(const char *name);

/* The caller keeps config, model and team.  max_row_tokens: tokens in the longest row. P, k: groups and rows per group of a step. */
int learner_create(struct learner **ln, const struct config *config, struct model *model, struct comm *team,
                   int P, int k, int max_row_tokens);
void learner_destroy(struct learner *ln);
size_t learner_bytes(const struct config *config, const struct model_shape *shape, struct compute *compute,
                     int ranks, int rank, int P, int k, int max_row_tokens);

/* One update from the share b of the step.  Collective.  Sets the metrics of the update on every rank (equal values).  RL_ENAN: the weights
 * are untouched, the line names the tensor. */
int learner_update(struct learner *ln, struct batch *b, struct metrics *m);

/* Means over the rows of all ranks that need no gradient: rewards, kl/ref, lengths, eos; for training (prefix "") and evaluation
 * (prefix "eval/stories.eval/").  Collective. */
int learner_measure(struct learner *ln, const struct batch *b, struct metrics *m, const char *prefix);
/* lm evaluation: mean loss of the rows of a batch, all ranks.  Collective. */
int learner_nll(struct learner *ln, const struct batch *b, double *sum, int64_t *count);

/* State that a checkpoint holds besides the weights. */
struct optimizer *learner_optimizer(struct learner *ln);
int64_t learner_version(const struct learner *ln);      /* updates done */
void learner_set_version(struct learner *ln, int64_t version);
int64_t learner_tokens(const struct learner *ln);       /* trained on so far */
void learner_set_tokens(struct learner *ln, int64_t tokens);

#endif
