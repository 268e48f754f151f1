/* The minimum over the simplex: exact for few objectives, by descent for many, and checked. */
#include "learner/combine/internal.h"

#include <math.h>
#include <string.h>

/* Where G_p is nothing its length has no slope, but 0 is one of its subgradients: a gap that is
 * right, if larger than it could be. */
void dual_evaluate(const struct dual *d, struct point *at)
{
    double Hp[COMBINE_MAX], linear = inner(d->b, at->p, d->K), squares, length, least = INFINITY;

    matvec(d->H, d->K, at->p, Hp);
    squares = fmax(inner(at->p, Hp, d->K), 0);
    length = sqrt(squares);
    at->zero = quad_is_zero(d->H, d->K, at->p, squares);
    at->value = d->norm ? squares : linear + d->s * length;
    at->size = d->norm ? squares : fmax(fabs(linear), d->s * length);
    for (int i = 0; i < d->K; i++)
        least = fmin(least, d->norm ? Hp[i] : d->b[i] + (at->zero ? 0 : d->s * Hp[i] / length));
    at->gap = fmax(at->value - least, 0);
}

bool dual_solve(const struct dual *d, struct point *best)
{
    memset(best, 0, sizeof *best);
    if (d->K <= FACES_MAX) {
        dual_faces(d, best);
        if (best->zero)
            return true;                /* no direction, hence no certificate */
        if (best->gap > GAP_MAX)
            dual_mirror(d, 2000, best);
        return best->gap <= GAP_MAX;
    }
    for (int i = 0; i < d->K; i++)
        best->p[i] = 1.0 / d->K;
    dual_evaluate(d, best);
    dual_mirror(d, 20000, best);
    return best->gap <= GAP_MAX;
}
