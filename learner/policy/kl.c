/* Three estimates of a KL divergence, the reward they shape, and the coefficient that follows. */
#include "learner/policy/kl.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "compute/math.h"

#define K3_MOST 10.0            /* of the estimate, both signs; it is never negative */
#define K3_FAR 20.0             /* of d: beyond, exp(-d) is far above K3_MOST anyway */

static double k1(double d)
{
    return d;
}

static double k1_slope(double d)
{
    (void)d;
    return 1;
}

static double k2(double d)
{
    return 0.5 * d * d;
}

static double k2_slope(double d)
{
    return d;
}

static double k3_uncut(double d)
{
    return rw_exp(-d) - 1 + d;
}

static bool k3_is_cut(double d)
{
    return fabs(d) > K3_FAR || k3_uncut(d) > K3_MOST;
}

static double k3(double d)
{
    return k3_is_cut(d) ? K3_MOST : k3_uncut(d);
}

static double k3_slope(double d)
{
    return k3_is_cut(d) ? 0 : 1 - rw_exp(-d);
}

const struct kl_estimator kl_estimators[] = {
    { "k1", k1, k1_slope },
    { "k2", k2, k2_slope },
    { "k3", k3, k3_slope },
    { "k3plus", k3, k2_slope },
    { NULL, NULL, NULL },
};

const struct kl_estimator *kl_find(const char *name)
{
    for (const struct kl_estimator *k = kl_estimators; k->name; k++)
        if (strcmp(k->name, name) == 0)
            return k;
    return NULL;
}

void shaped_reward(double *reward, const double *kl, const bool *mask, int T, double coef,
                   double score)
{
    int last = -1;

    for (int t = 0; t < T; t++) {
        reward[t] = 0;
        if (mask && !mask[t])
            continue;
        if (kl)
            reward[t] = -coef * kl[t];
        last = t;
    }
    if (last >= 0)
        reward[last] += score;
}

double kl_adapt(double coef, double kl, double target, double horizon, double responses)
{
    double error = kl / target - 1;

    if (!isfinite(error))
        return coef;
    return coef * (1 + fmin(fmax(error, -0.2), 0.2) * responses / horizon);
}
