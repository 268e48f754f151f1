/* Estimates of the KL divergence from one sampled token, d = logp - ref (Schulman 2020,
 * "Approximating KL divergence"), and the controllers of their coefficient.
 *
 *   name     value               slope in a loss    property
 *   k1       d                   1                  unbiased, of either sign
 *   k2       d^2 / 2             d                  its slope is an unbiased slope of the KL
 *   k3       exp(-d) - 1 + d     1 - exp(-d)        unbiased, never negative, little variance
 *   k3plus   that of k3          that of k2
 *
 * The value of k3 is cut at 10, where its slope is 0; that of k3plus keeps its slope there.  k1 and
 * k2 are not cut.
 */
#ifndef LEARNER_POLICY_KL_H
#define LEARNER_POLICY_KL_H

#include <stdbool.h>

struct kl_estimator {
    const char *name;
    double (*value)(double d);
    double (*slope)(double d);
};
extern const struct kl_estimator kl_estimators[];       /* ends with name NULL */
const struct kl_estimator *kl_find(const char *name);   /* NULL: no such name */

/* Per-token reward of one response of T tokens, the KL in the reward (spec 3.2):
 *
 *     r_t = -coef kl_t + [t is the last masked token] score
 *
 * kl (T) are estimates of the tokens, NULL for no penalty.  mask NULL: every token counts.
 * Unmasked tokens get 0, also where all are. */
void shaped_reward(double *reward, const double *kl, const bool *mask, int T, double coef,
                   double score);

/* The coefficient after a batch of `responses` (over all ranks) with mean KL per response `kl`:
 *
 *     coef (1 + clip(kl / target - 1, -0.2, 0.2) responses / horizon)         Ziegler et al. 2019
 *
 * A kl that is not finite leaves it as it is. */
double kl_adapt(double coef, double kl, double target, double horizon, double responses);

#endif
