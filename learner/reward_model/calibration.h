/* How far a reward model's margins can be believed, on held-out pairs.  gaps (n): the margin of the
 * winner over the loser, sigmoid of it being the probability that was said.
 *
 *   accuracy = share of gaps above 0                                      (a gap of 0 is wrong)
 *   ece = sum over bins (n_b / n) |mean confidence - accuracy|        (confidence: sigmoid(|gap|))
 *   temperature = argmin over tau of the cross entropy of sigmoid(gap / tau)      (Guo et al. 2017)
 *
 * whose target is (n + 1) / (n + 2), not 1, so that a few pairs that are all right do not say that
 * the model is never wrong (Platt 1999).
 */
#ifndef LEARNER_REWARD_MODEL_CALIBRATION_H
#define LEARNER_REWARD_MODEL_CALIBRATION_H

#define CALIBRATION_BINS 10
#define CALIBRATION_MOST 1000.0         /* the temperature is within 1 / this and this */

double calibration_accuracy(const double *gaps, int n);
/* Bins of equal width on [0, 1], bin min(bins - 1, floor(bins c)); gaps are divided by the
 * temperature.  bins <= 100. */
double calibration_ece(const double *gaps, int n, int bins, double temperature);
/* 1 without pairs; no better than chance: the most. */
double calibration_temperature(const double *gaps, int n);

#endif
