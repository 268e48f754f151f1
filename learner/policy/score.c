/* Scores before they are rewards.  See score.h. */
#include "learner/policy/score.h"

#include <math.h>

struct affine affine_to(double mean, double std, double target_mean, double target_std)
{
    struct affine a = { .gain = target_std / std };

    a.bias = target_mean - a.gain * mean;
    return a;
}

double affine_apply(const struct affine *a, double r)
{
    return a->gain * r + a->bias;
}

double score_clip(double r, double low, double high)
{
    return r < low ? low : r > high ? high : r;
}

double eos_score(double score, bool has_eos, const struct eos_rule *rule)
{
    if (has_eos)
        return score;
    return rule->replace && !isnan(score) ? rule->low : score - rule->penalty;
}

double overlong_penalty(double length, double max_length, double cache)
{
    double limit = max_length - cache;

    return length <= limit ? 0 : length > max_length ? -1 : (limit - length) / cache;
}

bool group_has_signal(const double *score, int G, double tol)
{
    double min = HUGE_VAL, max = -HUGE_VAL;

    for (int i = 0; i < G; i++)
        if (isfinite(score[i])) {
            min = fmin(min, score[i]);
            max = fmax(max, score[i]);
        }
    return max - min > tol;
}
