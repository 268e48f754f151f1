/* Mirror descent on the simplex (exponentiated gradient, Kivinen and Warmuth 1997): for more
 * objectives than faces can be counted, and where the exact solution fails its certificate.
 *
 *   p_i <- p_i exp(-eta (d_i - min d)) / Z
 *
 * eta grows while the value falls and is halved when it rises.  Now and then the face of those
 * objectives that have weight by then is solved exactly, which ends most descents early. */
#include "learner/combine/internal.h"

#include <math.h>
#include <string.h>

#include "compute/math.h"

static void slope(const struct dual *d, const struct point *at, double *out)
{
    double length;

    matvec(d->H, d->K, at->p, out);
    if (d->norm)
        return;
    length = sqrt(fmax(inner(at->p, out, d->K), 0));
    for (int i = 0; i < d->K; i++)
        out[i] = d->b[i] + (at->zero ? 0 : d->s * out[i] / length);
}

static void descend(const struct dual *d, const struct point *at, double eta, struct point *next)
{
    double down[COMBINE_MAX], least = INFINITY, sum = 0;

    slope(d, at, down);
    for (int i = 0; i < d->K; i++)
        least = fmin(least, down[i]);
    for (int i = 0; i < d->K; i++) {
        next->p[i] = at->p[i] * rw_exp(-eta * (down[i] - least));
        sum += next->p[i];
    }
    for (int i = 0; i < d->K; i++)
        next->p[i] /= sum;
    dual_evaluate(d, next);
}

/* index without its most negative element, or with the objective that the slope at `at` wants in.
 * False: neither changes it. */
static bool exchange(const struct dual *d, const struct point *at, bool inside, const double *q,
                     int *index, int *n)
{
    double down[COMBINE_MAX];
    int least = 0;

    if (!inside) {
        for (int i = 1; i < *n; i++)
            least = q[i] < q[least] ? i : least;
        for (int i = least; i < *n - 1; i++)
            index[i] = index[i + 1];
        return --*n > 0;
    }
    slope(d, at, down);
    for (int i = 1; i < d->K; i++)
        least = down[i] < down[least] ? i : least;
    for (int i = 0; i < *n; i++)
        if (index[i] == least)
            return false;
    index[(*n)++] = least;
    return true;
}

/* From the face of what has weight: solve it exactly, take objectives out and in. */
static void polish(const struct dual *d, const struct point *at, struct point *best)
{
    struct point sharp = { 0 };
    double q[COMBINE_MAX];
    int index[COMBINE_MAX], n = 0;
    bool inside;

    for (int i = 0; i < d->K; i++)
        if (at->p[i] > 1e-4 / d->K)
            index[n++] = i;
    for (int round = 0; round < 3 * d->K && best->gap > GAP_MAX; round++) {
        if (!dual_face(d, index, n, q))
            return;
        inside = dual_spread(d, index, n, q, sharp.p);
        if (inside) {
            dual_evaluate(d, &sharp);
            if (sharp.gap < best->gap)
                *best = sharp;
        }
        if (!exchange(d, &sharp, inside, q, index, &n))
            return;
    }
}

void dual_mirror(const struct dual *d, int steps, struct point *best)
{
    struct point at = *best, next = { 0 };
    double eta = 1;
    int step;

    for (int i = 0; i < d->K; i++)              /* a weight of 0 would stay 0 */
        at.p[i] = (at.p[i] + 1e-3 / d->K) / 1.001;
    dual_evaluate(d, &at);
    for (step = 0; step < steps && best->gap > GAP_MAX; step++) {
        descend(d, &at, eta, &next);
        if (next.value > at.value) {
            eta /= 2;
            continue;
        }
        at = next;
        eta = fmin(eta * 1.25, 1e9);
        if (at.gap < best->gap)
            *best = at;
        if (step % 50 == 49)
            polish(d, &at, best);
    }
    best->steps = step;
}
