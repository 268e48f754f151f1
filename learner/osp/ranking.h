/* OSP's arithmetic: what the judge said of the k responses of a prompt becomes ranked pairs with
 * graded strengths (Online Self-Preferring language models, 2405.14103; spec section 2).
 *
 *   strength lam_i against one baseline -> u_i = sigmoid(lam_i) -> pairs (i, j) with u_i > u_j
 *   p_ij = sigmoid(lam_i - lam_j)   "bt"      (1 + u_i - u_j) / 2   "affine"
 */
#ifndef LEARNER_OSP_RANKING_H
#define LEARNER_OSP_RANKING_H

#include <stdbool.h>

#include "learner/targets.h"

enum osp_pairs { OSP_ALL, OSP_ADJACENT, OSP_VS_BASELINE, OSP_BEST_WORST };

struct osp_settings {
    bool probability;           /* u = (sigmoid(d1) + sigmoid(d2)) / 2 in place of sigmoid(lam) */
    double most;                /* |lam| is at most this */
    enum osp_pairs pairs;
    bool affine;                /* the strength */
    double min_strength;        /* pairs with p below 0.5 + this are dropped */
    bool graded;                /* weights in proportion to 2 p - 1, not equal */
    double length_penalty;      /* a (n_i - n_j) / n_ref is taken from lam_i - lam_j, which may
                                 * turn the pair round; 0: none */
    double n_ref;
};

/* lam, clamped, of what was said; the baseline's own is 0. */
double osp_strength(const struct osp_settings *set, double lam, double bias);

/* Pairs of a group of k >= 2 responses of strengths lam(k) and lengths n(k), into pair (room
 * k (k - 1) / 2), in order (winner, loser); the others of the room get weight 0.  The kept pairs of
 * a group weigh 1 together.  baseline: the response that is the baseline, -1: none of them.
 * order(k): the responses best first (less the penalty), equal
 * ones by index.  Returns how many are kept. */
int osp_rank(struct pair *pair, const struct osp_settings *set, const double *lam, const int *n,
             int k, int baseline, int *order);

#endif
