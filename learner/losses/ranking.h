/* Does the policy rank pairs as their labels say, without a reference?  (Chen et al. 2024,
 * 2405.19534.) */
#ifndef LEARNER_LOSSES_RANKING_H
#define LEARNER_LOSSES_RANKING_H

#include <stdbool.h>

/* Is the chosen response at least as likely as the rejected; and token for token?  An empty
 * response has mean 0. */
bool ranks_right(double S_w, double S_l);
bool ranks_right_by_token(double S_w, double S_l, int n_w, int n_l);

/* The perfect optimum of DPO on a pair whose chosen response is preferred with probability alpha:
 * its S_w - S_l, and whether that ranks right. */
double ideal_log_ratio(double R_w, double R_l, double alpha, double beta);

#endif
