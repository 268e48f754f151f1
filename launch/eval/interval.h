/* Intervals of 95 % for the figures of an evaluation.  No rank and no order matters: the draws are
 * numbers by counter (PURPOSE_BOOTSTRAP). */
#ifndef LAUNCH_EVAL_INTERVAL_H
#define LAUNCH_EVAL_INTERVAL_H

#include <stdint.h>

struct interval { double low, high; };

/* Wilson's score interval (1927) of a share p of n; n = 0: all of [0, 1]. */
struct interval interval_share(double p, double n);

/* Percentile bootstrap (Efron 1979) of the mean sum of sums / sum of counts over groups that are
 * drawn whole: the responses of a prompt belong together.  scratch: (resamples). */
struct interval interval_mean(const double *sums, const double *counts, int groups, uint64_t seed,
                              int resamples, double *scratch);

#endif
