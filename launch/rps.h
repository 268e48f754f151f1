/* RPS (arXiv 2510.20498): a response for a target direction v in the space of rewards.
 *
 *   directions u_1 .. u_k within an angle of v  -->  one response to each  -->  the one with the
 *   largest v . r, r its rewards
 *
 * A direction reaches the model as text before the prompt, for models that were trained with such
 * a text; without one this is best of k. */
#ifndef LAUNCH_RPS_H
#define LAUNCH_RPS_H

#include "base/config.h"
#include "base/random.h"
#include "base/text.h"

#define RPS_MOST 64                     /* rewards */

/* v of unit length (n_rewards): numbers with commas between them, or (NULL) the weights of the
 * rewards.  RL_EINVAL. */
int rps_target(double *v, const char *numbers, const struct config *c);
/* u of unit length: v turned by a share of `angle` (radians), uniform in [0, 1], to a side that is
 * uniform too; by the numbers of the counter, whose position is used. */
void rps_direction(double *u, const double *v, int K, double angle, struct counter counter);
/* The text with {name} replaced by the direction's number of that reward, two decimals. */
void rps_prefix(struct text *out, const char *text, const struct config *c, const double *u);

double rps_score(const double *v, const double *r, int K);              /* v . r */
/* The highest of n; the first wins equal ones; NaN never wins.  -1: none is a number. */
int rps_best(const double *scores, int n);

#endif
