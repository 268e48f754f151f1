/* Labels that may be wrong, or that the policy makes itself.  LCPO: 2509.24159; SPA (Selfie):
 * Kim et al. 2024, 2406.04412. */
#ifndef LEARNER_LOSSES_NOISE_H
#define LEARNER_LOSSES_NOISE_H

struct pair_input;

/* LCPO (lcpo.c).  Probability that the label is right by the policy (set->base is the loss), then
 * by policy and annotator (eta); 0 / 0 is eta.  The annotator's next eta. */
double lcpo_likelihood(const struct pair_input *in);
double lcpo_confidence(double p, double eta);
double lcpo_eta(double eta, double a, double mean_confidence);

/* SPA (spa.c).  The target of a pair: 1, or 1 - alpha if its margin is not above the threshold.
 * Log-ratio extrapolated beyond the policy, for detection that is not coupled to it.  The
 * q-quantile of n margins (lower neighbour; room: n doubles, sorted afterwards). */
double spa_label(double margin, double threshold, double alpha);
double spa_extrapolate(double h, double h_previous, double lambda);
double spa_quantile(double *room, const double *margins, int n, double q);

#endif
