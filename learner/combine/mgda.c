/* MGDA (Desideri 2012; Sener and Koltun 2018): the shortest vector in the hull of the gradients,
 * which no objective opposes: (Hp)_i >= p'Hp.  The user's weights have no say in it. */
#include "learner/combine/internal.h"

#include <string.h>

void rule_mgda(const double *H, const double *w, int K, const struct combine_settings *set,
               double *a, struct combine_report *r)
{
    double sub[COMBINE_MAX * COMBINE_MAX], sub_w[COMBINE_MAX];
    int live[COMBINE_MAX], n = live_objectives(H, K, set->skip_empty, live);
    struct dual d = { .K = n, .H = sub, .w = sub_w, .norm = true };
    struct point best;

    for (int i = 0; i < n; i++) {
        sub_w[i] = w[live[i]];
        for (int j = 0; j < n; j++)
            sub[i * n + j] = H[live[i] * K + live[j]];
    }
    r->path = dual_solve(&d, &best) ? COMBINE_SOLVED : COMBINE_FALLBACK;
    for (int i = 0; i < n; i++)
        r->p[live[i]] = best.p[i];
    r->phi = best.value;
    r->gap = best.zero ? 0 : best.gap;
    r->steps = best.steps;
    memcpy(r->mix, r->p, sizeof r->mix);
    memcpy(a, r->path == COMBINE_SOLVED ? r->p : w, (size_t)K * sizeof *a);
}
