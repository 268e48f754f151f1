/* Whitening over the tokens of all ranks: out = (x - mean) / spread.
 *
 *     per row    sum, count              gathered, added in global row order  -> whiten_mean
 *     per row    sum of (x - mean)^2     gathered, added in global row order  -> whiten_spread
 *     per token  whiten_row
 *
 * Two passes over per-row sums, so that the bits do not depend on who holds which rows; a mean of
 * means per rank would be wrong and a merge of (n, mean, M2) would depend on the ranks.
 */
#ifndef LEARNER_POLICY_WHITEN_H
#define LEARNER_POLICY_WHITEN_H

#include <stdbool.h>

struct whitening {
    bool keep_mean;             /* add the mean back: for rewards */
    bool unbiased;              /* variance / (n - 1), not / n */
    double eps;                 /* added to the variance: 1e-8 */
    double floor;               /* or: the variance is at least this (REINFORCE++: 1e-8, eps 0) */

    double count, mean, var, factor;        /* set by the steps below */
};

/* Partial sums of one row of T values; mask NULL: all count. */
double whiten_row_sum(const double *x, const bool *mask, int T);
double whiten_row_squares(const double *x, const bool *mask, int T, double mean);

/* From the sums over all rows.  A count under 2, or (without a floor) a variance under 1e-12: the
 * factor is 1, so that only the mean is taken off. */
void whiten_mean(struct whitening *w, double count, double sum);
void whiten_spread(struct whitening *w, double squares);
/* In place; unmasked values become 0. */
void whiten_row(const struct whitening *w, double *x, const bool *mask, int T);

/* A mean and variance that goes on over steps, value by value in global order (Welford 1962). */
struct running { double count, mean, m2; };
void running_add(struct running *r, double x);          /* not finite: left out */
double running_std(const struct running *r);            /* 1 before two values that differ */

#endif
