/* Stable primitives (spec: conventions).  Never log(sigmoid(x)), never 1 - exp(a). */
#include "learner/losses/primitives.h"

#include <math.h>

#include "compute/math.h"

#define LN2 0.69314718055994530942

double softplus(double x)
{
    return fmax(x, 0) + rw_log1p(rw_exp(-fabs(x)));
}

double sigmoid(double x)
{
    double e = rw_exp(-fabs(x));         /* in (0, 1]: never overflows */

    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

/* With u = exp(x) as rounded, (u - 1) x / log(u): the errors of u - 1 and of log(u) cancel
 * (Kahan). */
double expm1_own(double x)
{
    double u = rw_exp(x);

    if (u == 1)
        return x;
    if (u - 1 == -1 || u == HUGE_VAL)
        return u - 1;
    return (u - 1) * (x / rw_log(u));
}

double log1mexp(double a)
{
    return a > -LN2 ? rw_log(-expm1_own(a)) : rw_log1p(-rw_exp(a));
}

double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

double logit(double p)
{
    p = clamp(p, 1e-6, 1 - 1e-6);
    return rw_log(p) - rw_log1p(-p);
}

static double largest(const double *v, int n)
{
    double max = v[0];

    for (int i = 1; i < n; i++)
        if (v[i] > max || isnan(v[i]))
            max = v[i];
    return max;
}

double logsumexp(const double *v, int n)
{
    double max = largest(v, n), sum = 0;

    for (int i = 0; i < n; i++)
        sum += rw_exp(v[i] - max);
    return max + rw_log(sum);
}

void softmax(double *p, const double *v, int n)
{
    double max = largest(v, n), sum = 0;

    for (int i = 0; i < n; i++)
        sum += p[i] = rw_exp(v[i] - max);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}
