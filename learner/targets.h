/* Labelling: the scores of the k responses of a prompt become (chosen, rejected) pairs with
 * weights.
 *
 *   label_adjust(scores, has_eos, k, penalty);
 *   n = label_group(pairs, scores, k, PAIRING_BEST_WORST, TIE_DROP, eps, same, user);
 *
 * A pair that is left out keeps its place with weight 0, so a group always has label_pairs()
 * pairs.
 */
#ifndef LEARNER_TARGETS_H
#define LEARNER_TARGETS_H

#include <stdbool.h>

#include "base/config.h"

/* winner and loser are samples of the group.  target: probability that the label is right, before
 * smoothing (1; 0.5 for a soft tie). */
struct pair { int winner, loser; double weight, target; bool tie; };

enum pairing { PAIRING_PAIR, PAIRING_BEST_WORST, PAIRING_ALL };
enum tie_policy { TIE_DROP, TIE_SOFT, TIE_FIRST };

/* The names of the configuration.  RL_EINVAL names the key. */
int pairing_parse(enum pairing *pairing, const char *name);
int tie_policy_parse(enum tie_policy *policy, const char *name);

/* Pairs that label_group makes of k responses: 1, or k (k - 1) / 2 for `all`. */
int label_pairs(enum pairing pairing, int k);

/* score -= penalty for responses without eos. */
void label_adjust(double *scores, const bool *has_eos, int k, double penalty);
/* The first index wins equal values; NaN, a score that did not come, never wins. */
int label_best(const double *scores, int k);
int label_worst(const double *scores, int k);
/* One pair from two responses; without a tie the larger score wins.  A tie (|a - b| <= eps) keeps
 * the order (i, j) and gets weight 0 (drop), target 0.5 (soft) or nothing special (first).
 * Identical responses get weight 0 whatever their scores, and so does a pair with a NaN. */
struct pair label_pair(const double *scores, int i, int j, enum tie_policy policy, double eps,
                       bool identical);
/* All pairs of a group of k >= 2 into pairs (room label_pairs); returns how many.  `pair` takes
 * samples 0 and 1; best_worst of equal scores is a tie of samples 0 and 1; each pair of `all`
 * weighs 2 / (k (k - 1)).  same(i, j, user): are the responses the same tokens? */
int label_group(struct pair *pairs, const double *scores, int k, enum pairing pairing,
                enum tie_policy policy, double eps, bool (*same)(int i, int j, void *user),
                void *user);

#endif
