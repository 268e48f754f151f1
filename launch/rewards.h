/* The rewards of a configuration outside of a run: reward models, the judge's template and the
 * reward role, opened together.
 *
 *   struct rewards r;
 *   TRY(rewards_open(&r, config, &source, judge, compute, row_tokens));
 *   TRY(reward_fill(r.reward, batch, prompts, PURPOSE_EVAL));
 *   rewards_close(&r);
 */
#ifndef LAUNCH_REWARDS_H
#define LAUNCH_REWARDS_H

#include "base/config.h"
#include "data/judge.h"
#include "launch/models.h"
#include "launch/reward_models.h"
#include "reward/reward.h"

struct rewards {
    struct reward *reward;              /* one column for each group of config->rewards */
    const struct config *config;
    struct reward_sources sources;
    struct model **models;
    struct judge *template;             /* NULL: no reward of kind "judge" */
};

/* policy says tokenizer and vocabulary; judge is asked by rewards of kind "judge" (NULL: they are
 * refused); row_tokens: of the longest row.  The caller keeps all of it, and closes, also after an
 * error.  RL_EINVAL: one line that names file, line and key. */
int rewards_open(struct rewards *r, const struct config *config, const struct source *policy,
                 struct model *judge, struct compute *compute, int row_tokens);
void rewards_close(struct rewards *r);              /* fine on a zeroed struct */

#endif
