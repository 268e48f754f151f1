/* GPM: a skew-symmetric score of two vectors, s = sum_l c_l (w[2l] l[2l+1] - w[2l+1] l[2l]). */
#include "learner/reward_model/duel.h"

double duel_general(enum link link, const struct general_input *in, const struct general_slopes *d,
                    double *gap)
{
    const struct verdict *v = in->verdict;
    const double *w = in->v_w, *l = in->v_l;
    double slope, value;

    *gap = gpm_score(in->c, w, l, v->planes) / v->tau;
    value = link_value(link, *gap - in->margin, &slope);
    slope /= v->tau;
    for (int i = 0; i < v->planes; i++) {
        int x = 2 * i, y = 2 * i + 1;

        d->v_w[x] = slope * in->c[i] * l[y];
        d->v_w[y] = -slope * in->c[i] * l[x];
        d->v_l[x] = -slope * in->c[i] * w[y];
        d->v_l[y] = slope * in->c[i] * w[x];
        d->c[i] = slope * (w[x] * l[y] - w[y] * l[x]);
    }
    return value;
}
