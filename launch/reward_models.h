/* The reward models that the configuration names, each one opened once for the columns that name
 * it, and the orchestrator that weighs the columns.
 *
 *   TRY(reward_sources_open(&r, config, &policy, row_tokens));      small files, shapes
 *   TRY(reward_models_open(&models, &r, config, compute));          weights; for reward_create
 *   reward_models_close(models, config);
 *   reward_sources_close(&r);
 */
#ifndef LAUNCH_REWARD_MODELS_H
#define LAUNCH_REWARD_MODELS_H

#include "base/config.h"
#include "launch/models.h"

struct reward_sources {
    int n;
    struct source *items;               /* (n) different ones */
    int *of;                            /* (n_rewards) which; -1: of another kind */
    int row_tokens;                     /* of the longest row they score */
};

/* RL_EINVAL, one line that names the reward: a key that is missing, a model without scores, of
 * another vocabulary than the policy's, or with too few positions for rows of row_tokens. */
int reward_sources_open(struct reward_sources *r, const struct config *c,
                        const struct source *policy, int row_tokens);
void reward_sources_close(struct reward_sources *r);            /* fine on a zeroed struct */
/* Bytes of the models and of what scoring by them takes. */
size_t reward_sources_bytes(const struct reward_sources *r, const struct config *c,
                            int micro_rows, struct compute *compute);

/* (n_rewards) for struct reward_parts.  *models is NULL on error. */
int reward_models_open(struct model ***models, const struct reward_sources *r,
                       const struct config *c, struct compute *compute);
void reward_models_close(struct model **models, const struct config *c);    /* NULL is fine */

/* orchestrator.model for a run whose longest prompt this is.  RL_EINVAL, one line that names the
 * key: no orchestrator, another number of rewards than the configuration's, another vocabulary
 * than the policy's, too few positions.  The caller closes *s, also after an error. */
int orchestrator_open(struct source *s, const struct config *c, const struct source *policy,
                      int longest_prompt);

#endif
