/* PAL: both answers are measured from the user's ideal point.
 *
 *   p = softmax(w)    a = sum_k p_k P_k    R(f) = -|f - a|, or factor cos(f, a)
 *   z = R(f_w) - R(f_l) - margin
 */
#include <math.h>
#include <string.h>

#include "learner/reward_model/duel.h"

size_t point_scratch(const struct verdict *v)
{
    return 4 * (size_t)v->dim + (size_t)v->prototypes;
}

/* df, da (dim) = sign times the slopes of pal_reward; 0 where it has none. */
static void slope_reward(const struct verdict *v, const double *f, const double *a, double sign,
                         double *df, double *da)
{
    double gap = 0, ff = 0, aa = 0, fa = 0;

    for (int d = 0; d < v->dim; d++) {
        gap += (f[d] - a[d]) * (f[d] - a[d]);
        ff += f[d] * f[d];
        aa += a[d] * a[d];
        fa += f[d] * a[d];
    }
    for (int d = 0; d < v->dim; d++) {
        double length = sqrt(ff) * sqrt(aa), cosine = length > 0 ? fa / length : 0;
        double to_f = gap > 0 ? -(f[d] - a[d]) / sqrt(gap) : 0, to_a = -to_f;

        if (v->cosine) {
            to_f = length > 0 ? v->factor * (a[d] / length - cosine * f[d] / ff) : 0;
            to_a = length > 0 ? v->factor * (f[d] / length - cosine * a[d] / aa) : 0;
        }
        df[d] = sign * to_f;
        da[d] = sign * to_a;
    }
}

/* a = sum_k p_k P_k: slopes of P written, those of the logits added. */
static void slope_ideal(const double *da, const double *p, const double *P, int K, int dim,
                        double *dP, double *dlogits)
{
    double mean = 0;

    for (int k = 0; k < K; k++) {
        double along = 0;
        for (int d = 0; d < dim; d++) {
            along += da[d] * P[k * dim + d];
            dP[k * dim + d] = p[k] * da[d];
        }
        mean += p[k] * along;
    }
    for (int k = 0; k < K; k++) {
        double along = 0;
        for (int d = 0; d < dim; d++)
            along += da[d] * P[k * dim + d];
        dlogits[k] += p[k] * (along - mean);
    }
}

double duel_point(enum link link, const struct point_input *in, const struct point_slopes *d,
                  double *scratch, double *gap)
{
    const struct verdict *v = in->verdict;
    int K = v->prototypes, dim = v->dim;
    double *a_w = scratch, *a_l = a_w + dim, *da_w = a_l + dim, *da_l = da_w + dim;
    double *p = da_l + dim, slope, value;

    pal_ideal(a_w, p, in->logits, in->p_w, K, dim);
    pal_ideal(a_l, p, in->logits, in->p_l, K, dim);
    *gap = pal_reward(v, in->f_w, a_w) - pal_reward(v, in->f_l, a_l);
    value = link_value(link, *gap - in->margin, &slope);
    slope_reward(v, in->f_w, a_w, slope, d->f_w, da_w);
    slope_reward(v, in->f_l, a_l, -slope, d->f_l, da_l);
    memset(d->logits, 0, (size_t)K * sizeof *d->logits);
    slope_ideal(da_w, p, in->p_w, K, dim, d->p_w, d->logits);
    slope_ideal(da_l, p, in->p_l, K, dim, d->p_l, d->logits);
    return value;
}
