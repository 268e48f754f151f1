/* Labelling: scores of the k responses of a prompt become (chosen, rejected) pairs with weights. */
#ifndef LEARNER_TARGETS_H
#define LEARNER_TARGETS_H

#include <stdbool.h>

#include "base/config.h"

struct pair { int winner, loser; double weight, target; bool tie; };

enum pairing { PAIRING_PAIR, PAIRING_BEST_WORST, PAIRING_ALL };
enum tie_policy { TIE_DROP, TIE_SOFT, TIE_FIRST };

/* score -= penalty for responses without eos. */
void label_adjust(double *scores, const bool *has_eos, int k, double penalty);
int label_best(const double *scores, int k);        /* first index wins ties */
int label_worst(const double *scores, int k);
/* One pair from two responses.  A tie (|a - b| <= eps) gets weight 0 (drop), target 0.5 (soft) or the first wins (first); identical responses
 * get weight 0. */
struct pair label_pair(const double *scores, int i, int j, enum tie_policy policy, double eps, bool identical);
/* All pairs of a group into pairs (room k*(k-1)/2); returns how many.  same(i, j, user): are the responses the same tokens? */
int label_group(struct pair *pairs, const double *scores, int k, enum pairing pairing, enum tie_policy policy,
                double eps, bool (*same)(int i, int j, void *user), void *user);

#endif
