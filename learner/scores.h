/* What learners make of the reward columns.  A source's score becomes
 *
 *     y = clip((x - mean) / std)          row_reward: mean 0 and std 1 without normalise
 *     score of a response = sum of w weight y over the sources            row_score
 *
 * where w is 1, or what an orchestrator makes of the row's prompt (COL_MIX).
 *
 * A score that is NaN did not come (or was not finite): the response has failed.  It is left out:
 * no pair, no advantage, no part in a mean; reward/failed_frac counts.  When all of a step failed,
 * the update ends with RL_ENAN.
 *
 *   TRY(scores_begin(ln, b));          the whole step is looked at: means so far, failures
 *   x = row_score(ln, b, n);
 *   scores_end(ln);                    the update is done: the means so far are kept
 */
#ifndef LEARNER_SCORES_H
#define LEARNER_SCORES_H

#include <stdbool.h>

#include "base/config.h"
#include "base/memory.h"
#include "data/batch.h"
#include "learner/learner.h"
#include "learner/policy/whiten.h"

struct learner;

struct scores {
    int R;                      /* sources of the configuration */
    bool standard;              /* normalise "none" means "running": set by the method's layout */
    struct running *kept;       /* (R) after the last update: in checkpoints */
    struct running *now;        /* (R) with the scores of this step */
    struct unscored unscored;   /* of the step checked last: missing is 0 if there is a whole row */
    double *mean, *std;         /* (R) of this step */
    double *mix;                /* (R) with an orchestrator: its mean over the step's prompts */
};
void scores_layout(struct scores *s, struct memory *memory, int R);

/* w of source r for row n; without an orchestrator `otherwise`. */
double row_mix(const struct batch *b, int n, int r, double otherwise);
/* Every source as given, times its weights; NaN when one of them failed.  For reports. */
double score_given(const struct config *c, const struct batch *b, int n);

/* Weighted and shaped; NaN: the response has failed. */
double row_score(const struct learner *ln, const struct batch *b, int n);
/* y of source r alone, without its weight. */
double row_reward(const struct learner *ln, const struct batch *b, int n, int r);

/* Collective, behind stats_begin.  RL_ENAN, without a line: no response of the step has all its
 * scores (learner_unscored). */
int scores_begin(struct learner *ln, const struct batch *b);
void scores_end(struct learner *ln);

#endif
