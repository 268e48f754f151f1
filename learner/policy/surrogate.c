/* The clipped surrogate of policy gradients and the weights of its mean.  See surrogate.h. */
#include "learner/policy/surrogate.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "compute/math.h"

#define FAR 20.0                /* of a log-ratio */

static double clamped_ratio(double log_ratio)
{
    return rw_exp(log_ratio > FAR ? FAR : log_ratio < -FAR ? -FAR : log_ratio);
}

static struct surrogate surrogate(double log_ratio, double adv, const struct clipping *clip)
{
    struct surrogate s = { .ratio = clamped_ratio(log_ratio) };
    double bounded = fmin(fmax(s.ratio, 1 - clip->low), 1 + clip->high);
    double l1 = -adv * s.ratio, l2 = -adv * bounded;

    s.clipped = l2 > l1;
    s.value = s.clipped ? l2 : l1;
    if (adv < 0 && clip->dual > 0 && s.value > -adv * clip->dual) {
        s.dual_clipped = true;
        s.value = -adv * clip->dual;
    }
    if (!s.clipped && !s.dual_clipped && fabs(log_ratio) <= FAR)
        s.slope = l1;
    return s;
}

struct surrogate surrogate_token(double logp, double old, double adv, const struct clipping *clip)
{
    return surrogate(logp - old, adv, clip);
}

struct surrogate surrogate_response(double mean_log_ratio, double adv, const struct clipping *clip)
{
    return surrogate(mean_log_ratio, adv, clip);
}

bool aggregation_parse(enum aggregation *out, const char *name)
{
    static const char *const names[] = { "token-mean", "seq-mean-token-mean", "seq-mean-token-sum",
                                         "seq-mean-token-sum-norm" };

    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum aggregation)i;
            return true;
        }
    return false;
}

double token_weight(enum aggregation how, const struct totals *all, double n)
{
    double divisor = how == TOKEN_MEAN ? all->tokens : all->rows;

    if (!(n > 0) || !(divisor > 0))
        return 0;
    if (how == SEQ_MEAN_TOKEN_MEAN)
        divisor *= n;
    if (how == SEQ_MEAN_TOKEN_SUM_NORM)
        divisor *= all->length;
    return 1 / divisor;
}

double importance_token(double old, double gen, double most)
{
    return fmin(clamped_ratio(old - gen), most);
}

double importance_response(double mean_old_minus_gen, double most)
{
    double ratio = clamped_ratio(mean_old_minus_gen);

    return ratio <= most && ratio * most >= 1 ? 1 : 0;
}
