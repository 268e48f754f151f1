/* Inside of combine/: the minimum over the simplex that raco, cagrad and mgda share.
 *
 *   raco, cagrad   f(p) = b'p + s sqrt(p'Hp)      slope d = b + s Hp / sqrt(p'Hp)
 *   mgda           f(p) = p'Hp                    slope d = Hp (half of it)
 *
 * p'd - min_i d_i is 0 at the minimum and elsewhere no smaller than what f (half of it for mgda) is
 * above it: the gap, which certifies a solution whatever found it.
 */
#ifndef LEARNER_COMBINE_INTERNAL_H
#define LEARNER_COMBINE_INTERNAL_H

#include "learner/combine/combine.h"

#define FACES_MAX 8             /* 2^8 - 1 faces are enumerated; beyond, mirror descent */
#define GAP_MAX 1e-8            /* of a certified solution; the largest H_ii is 1 */

struct dual {
    int K;
    const double *H, *w;        /* (K,K), (K) */
    double b[COMBINE_MAX], s;
    bool norm;                  /* mgda: p'Hp alone */
};

struct point {
    double p[COMBINE_MAX];
    double value, size;         /* f(p); the size of its terms, before they cancel */
    double gap;
    bool zero;                  /* G_p is nothing beside its parts: no direction, no certificate */
    int steps;                  /* of mirror descent */
};

double quad(const double *H, int K, const double *p);           /* p'Hp, not below 0 */
/* Is p'Hp nothing beside (sum |p_i| |g_i|)^2, which it cancels from? */
bool quad_is_zero(const double *H, int K, const double *p, double pHp);
void matvec(const double *H, int K, const double *p, double *out);
double inner(const double *x, const double *y, int n);

/* Sets value, size, zero and gap of the point from p. */
void dual_evaluate(const struct dual *d, struct point *at);

/* The best point; true: it is the minimum, by its certificate or because it has no direction. */
bool dual_solve(const struct dual *d, struct point *best);

/* faces.c: the exact minimum for K <= FACES_MAX. */
void dual_faces(const struct dual *d, struct point *best);
/* The stationary point q (n), of sum 1, of the plane through index (n); false: there is none. */
bool dual_face(const struct dual *d, const int *index, int n, double *q);
/* p (K) = q on the face and 0 elsewhere; false when q leaves the simplex. */
bool dual_spread(const struct dual *d, const int *index, int n, const double *q, double *p);

/* mirror.c: p_i <- p_i exp(-eta d_i) / Z for at most `steps` steps, from best->p, which is replaced
 * where the gap gets smaller. */
void dual_mirror(const struct dual *d, int steps, struct point *best);

void rule_raco(const double *H, const double *w, int K, const struct combine_settings *set,
               double *a, struct combine_report *report);
void rule_cagrad(const double *H, const double *w, int K, const struct combine_settings *set,
                 double *a, struct combine_report *report);
void rule_mgda(const double *H, const double *w, int K, const struct combine_settings *set,
               double *a, struct combine_report *report);
void rule_pcgrad(const double *H, const double *w, int K, const struct combine_settings *set,
                 double *a, struct combine_report *report);

/* The objectives in the minimum: all, or those with a gradient.  Returns how many. */
int live_objectives(const double *H, int K, bool skip_empty, int *live);

#endif
