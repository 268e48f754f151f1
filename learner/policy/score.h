/* What happens to the score of a response before it becomes a reward (spec 1.2, 3.6, 3.7).
 *
 *     as given -> (r - mean) / std -> clip -> no eos: minus a penalty, or a fixed low score
 *              -> minus the overlong penalty
 */
#ifndef LEARNER_POLICY_SCORE_H
#define LEARNER_POLICY_SCORE_H

#include <stdbool.h>

/* gain r + bias maps scores of this mean and spread to those of target_mean and target_std. */
struct affine { double gain, bias; };
struct affine affine_to(double mean, double std, double target_mean, double target_std);
double affine_apply(const struct affine *a, double r);

double score_clip(double r, double low, double high);     /* NaN stays NaN */

struct eos_rule {
    double penalty;             /* taken off a score of a response without eos; 0: none */
    bool replace;               /* or: its score is `low` */
    double low;
};
double eos_score(double score, bool has_eos, const struct eos_rule *rule);

/* DAPO's soft punishment: 0 up to max_length - cache tokens, then linear to -1 at max_length, -1
 * beyond. */
double overlong_penalty(double length, double max_length, double cache);

/* Does a group of G scores teach anything: do two of them differ by more than tol?  Scores that are
 * not finite do not count. */
bool group_has_signal(const double *score, int G, double tol);

#endif
