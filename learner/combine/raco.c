/* RACO (arXiv 2602.02495, algorithm 1) and CAGrad (arXiv 2110.14048), by the Gram matrix:
 *
 *   p = argmin Phi(p)        Phi(p) = b'p + s sqrt(p'Hp), b = Hw, s = c sqrt(w'Hw)
 *   m = min(p, w)            element by element; cagrad: m = p
 *   a = w + s m / sqrt(m'Hm)
 *
 * For two objectives clipping turns the correction towards the anchor g0; for three and more it can
 * turn it away, and a loss may then increase: min_decrease tells, the guard prevents. */
#include "learner/combine/internal.h"

#include <math.h>
#include <string.h>

/* The dual over the live objectives.  The anchor is of all of them. */
static bool solve_live(const double *H, const double *w, int K, double s, bool skip_empty,
                       struct combine_report *r, bool *zero)
{
    double sub[COMBINE_MAX * COMBINE_MAX], sub_w[COMBINE_MAX], b[COMBINE_MAX];
    int live[COMBINE_MAX], n = live_objectives(H, K, skip_empty, live);
    struct dual d = { .K = n, .H = sub, .w = sub_w, .s = s };
    struct point best;
    bool solved;

    matvec(H, K, w, b);
    for (int i = 0; i < n; i++) {
        d.b[i] = b[live[i]];
        sub_w[i] = w[live[i]];
        for (int j = 0; j < n; j++)
            sub[i * n + j] = H[live[i] * K + live[j]];
    }
    solved = dual_solve(&d, &best);
    for (int i = 0; i < n; i++)
        r->p[live[i]] = best.p[i];
    r->phi = best.value;
    r->gap = best.zero ? 0 : best.gap;
    r->steps = best.steps;
    *zero = best.zero;
    return solved;
}

/* Cosine of g0 with the mixture, NAN where one of them is nothing. */
static double cosine(const double *H, const double *w, int K, const double *mix)
{
    double b[COMBINE_MAX], squares = quad(H, K, mix);

    matvec(H, K, w, b);
    return squares > 0 ? inner(b, mix, K) / sqrt(inner(w, b, K) * squares) : NAN;
}

/* r->mix from r->p.  Where clipping does nothing the two cosines are equal but for rounding. */
static void clip(const double *H, const double *w, int K, const struct combine_settings *set,
                 struct combine_report *r)
{
    memcpy(r->mix, r->p, sizeof r->mix);
    for (int i = 0; i < K && set->clip; i++)
        r->mix[i] = fmin(r->p[i], w[i]);
    if (set->clip && set->clip_guard &&
        cosine(H, w, K, r->mix) < cosine(H, w, K, r->p) - 1e-12) {
        r->guarded = true;
        memcpy(r->mix, r->p, sizeof r->mix);
    }
}

static double rescale(const struct combine_settings *set, double c)
{
    if (set->rescale == RESCALE_NONE)
        return 1;
    return 1 / (1 + (set->rescale == RESCALE_LINEAR ? c : c * c));
}

void rule_raco(const double *H, const double *w, int K, const struct combine_settings *set,
               double *a, struct combine_report *r)
{
    double c = K == 1 && set->k1_is_dpo ? 0 : set->c;
    double anchor = quad(H, K, w), s = c * sqrt(anchor), squares, factor;
    bool solved, zero;

    memcpy(a, w, (size_t)K * sizeof *a);
    memcpy(r->p, w, (size_t)K * sizeof *a);
    memcpy(r->mix, w, (size_t)K * sizeof *a);
    r->path = COMBINE_ZERO_ANCHOR;
    if (anchor <= 1e-14)
        return;
    memset(r->p, 0, sizeof r->p);
    solved = solve_live(H, w, K, s, set->skip_empty, r, &zero);
    clip(H, w, K, set, r);
    squares = quad(H, K, r->mix);
    if (s == 0)
        r->path = COMBINE_C_ZERO;
    else if (!solved)
        r->path = COMBINE_FALLBACK;
    else if (sqrt(squares) <= 1e-12 || quad_is_zero(H, K, r->mix, squares))
        r->path = COMBINE_ZERO_MIXTURE;
    else
        r->path = COMBINE_SOLVED;
    if (r->path != COMBINE_SOLVED)
        return;
    factor = rescale(set, c);
    for (int i = 0; i < K; i++)
        a[i] = (w[i] + s / sqrt(squares) * r->mix[i]) * factor;
}

void rule_cagrad(const double *H, const double *w, int K, const struct combine_settings *set,
                 double *a, struct combine_report *r)
{
    struct combine_settings unclipped = *set;

    unclipped.clip = false;
    rule_raco(H, w, K, &unclipped, a, r);
}
