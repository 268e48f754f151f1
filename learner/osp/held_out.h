/* How well the policy judges held-out pairs (spec 2.6): both orders are asked, without a gradient.
 *
 *   accuracy   share of pairs whose chosen answer has lam > 0        bias   mean of (d1 - d2) / 2
 */
#ifndef LEARNER_OSP_HELD_OUT_H
#define LEARNER_OSP_HELD_OUT_H

#include "learner/internal.h"

/* Pairs of a batch of any size (VIEW_PAIRS: chosen, rejected).  Sets <prefix>judge_accuracy,
 * <prefix>judge_agreement (of both orders) and <prefix>judge_bias.  Collective. */
int judge_held_out(struct learner *ln, const struct batch *b, struct metrics *m,
                   const char *prefix);

#endif
