/* Sums over the tokens of a row that count, and slopes back to them, for methods that see a row
 * only through its sum. */
#ifndef LEARNER_PREFERENCE_ROWS_H
#define LEARNER_PREFERENCE_ROWS_H

#include "learner/internal.h"

/* S and R of every row of the micro-batch, slope 0; R is 0 without the reference's column. */
void rows_sum(struct learner *ln, const struct batch *b);
/* The same where there will be gradients: actor, learner and reference are compared as well. */
void rows_sum_compared(struct learner *ln, const struct batch *b);
/* dlogp of every row of the micro-batch is its slope, on the tokens that count. */
void rows_spread(struct learner *ln, const struct batch *b);

/* The score of row n: of the rewards, or of a record's columns, which are added. */
double row_label(const struct learner *ln, const struct batch *b, int n);
/* The record's weight of row n; 1 of a rollout. */
double row_weight(const struct batch *b, int n);

#endif
