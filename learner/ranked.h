/* Held-out pairs in a table: two rows a pair, of which columns of scores say which is the better.
 *
 *   row     S, R, n, score of objective 0, ..        S and R: sums over the n response tokens,
 *                                                    policy and reference
 */
#ifndef LEARNER_RANKED_H
#define LEARNER_RANKED_H

#include "learner/losses/ranking.h"

enum { RANKED_S, RANKED_R, RANKED_N, RANKED_COLUMNS };         /* then the scores */

/* Counts and sums over the pairs that objective r tells apart. */
struct ranked {
    int pairs;
    int raw, per_token;         /* ranked right: section 5.9, without a reference */
    int accurate;               /* beta (h_w - h_l) > 0,  h = S - R */
    int ideal;                  /* ranked right by DPO's optimum for labels of certainty alpha */
    double margin;              /* sum of beta (h_w - h_l) */
};
struct ranked ranked_count(const double *table, int pairs, int columns, int r, double beta,
                           double alpha);
/* The rows of a pair by objective r; false: a tie, or an empty response. */
bool ranked_order(const double *two, int columns, int r, const double **w, const double **l);

#endif
