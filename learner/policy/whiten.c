/* Mean 0 and variance 1 over all masked tokens.  See whiten.h. */
#include "learner/policy/whiten.h"

#include <math.h>
#include <stddef.h>

#define NO_SPREAD 1e-12         /* a variance below it is rounding */

double whiten_row_sum(const double *x, const bool *mask, int T)
{
    double sum = 0;

    for (int t = 0; t < T; t++)
        if (!mask || mask[t])
            sum += x[t];
    return sum;
}

double whiten_row_squares(const double *x, const bool *mask, int T, double mean)
{
    double sum = 0;

    for (int t = 0; t < T; t++)
        if (!mask || mask[t])
            sum += (x[t] - mean) * (x[t] - mean);
    return sum;
}

void whiten_mean(struct whitening *w, double count, double sum)
{
    w->count = count;
    w->mean = count > 0 ? sum / count : 0;
    w->var = 0;
    w->factor = 1;
}

void whiten_spread(struct whitening *w, double squares)
{
    double n = w->unbiased ? w->count - 1 : w->count;

    w->var = n > 0 ? squares / n : 0;
    w->factor = 1;
    if (w->count < 2)
        return;
    if (w->floor > 0)
        w->factor = 1 / sqrt(fmax(w->var, w->floor));
    else if (w->var >= NO_SPREAD)
        w->factor = 1 / sqrt(w->var + w->eps);
}

void whiten_row(const struct whitening *w, double *x, const bool *mask, int T)
{
    double shift = w->keep_mean ? w->mean : 0;

    for (int t = 0; t < T; t++)
        x[t] = !mask || mask[t] ? (x[t] - w->mean) * w->factor + shift : 0;
}

void running_add(struct running *r, double x)
{
    double d = x - r->mean;

    if (!isfinite(x))
        return;
    r->count += 1;
    r->mean += d / r->count;
    r->m2 += d * (x - r->mean);
}

double running_std(const struct running *r)
{
    double var = r->count > 1 ? r->m2 / r->count : 0;

    return var > NO_SPREAD ? sqrt(var) : 1;
}
