/* See mixture.h. */
#include "model/mixture.h"

#include <math.h>

#include "compute/math.h"

static double highest(const double *x, int n)
{
    double most = x[0];

    for (int i = 1; i < n; i++)
        most = fmax(most, x[i]);
    return most;
}

void mixture_softmax(double *w, const double *x, int n, double temperature)
{
    double most = highest(x, n), sum = 0;

    for (int i = 0; i < n; i++) {
        w[i] = rw_exp((x[i] - most) / temperature);
        sum += w[i];
    }
    for (int i = 0; i < n; i++)
        w[i] /= sum;
}

double mixture_kl(const double *t, const double *logits, int n, double *slopes)
{
    double most = highest(logits, n), sum = 0, kl = 0;

    for (int i = 0; i < n; i++) {
        slopes[i] = rw_exp(logits[i] - most);
        sum += slopes[i];
    }
    for (int i = 0; i < n; i++) {
        slopes[i] = slopes[i] / sum - t[i];
        if (t[i] > 0)
            kl += t[i] * (rw_log(t[i]) - (logits[i] - most - rw_log(sum)));
    }
    return kl;
}

double mixture_term(double p, double margin)
{
    double e = rw_exp(-fabs(margin));           /* in (0, 1]: never overflows */

    return p * (margin >= 0 ? 1 / (1 + e) : e / (1 + e));
}
