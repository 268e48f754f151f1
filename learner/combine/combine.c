/* The table of rules and what they share: H made safe and scaled, the report completed. */
#include "learner/combine/internal.h"

#include <math.h>
#include <string.h>

static void rule_weighted_sum(const double *H, const double *w, int K,
                              const struct combine_settings *set, double *a,
                              struct combine_report *report)
{
    (void)H, (void)set;
    memcpy(a, w, (size_t)K * sizeof *a);
    memcpy(report->p, w, (size_t)K * sizeof *a);
    memcpy(report->mix, w, (size_t)K * sizeof *a);
}

const struct combine combines[] = {
    { "raco", true, rule_raco },
    { "cagrad", true, rule_cagrad },
    { "mgda", true, rule_mgda },
    { "pcgrad", false, rule_pcgrad },
    { "weighted_sum", false, rule_weighted_sum },
    { NULL, false, NULL },
};

const struct combine *combine_find(const char *name)
{
    for (const struct combine *c = combines; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

double inner(const double *x, const double *y, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

void matvec(const double *H, int K, const double *p, double *out)
{
    for (int i = 0; i < K; i++)
        out[i] = inner(H + (size_t)i * (size_t)K, p, K);
}

double quad(const double *H, int K, const double *p)
{
    double Hp[COMBINE_MAX];

    matvec(H, K, p, Hp);
    return fmax(inner(p, Hp, K), 0);
}

/* H is rounded to about 1e-16 of its entries, so that what p'Hp has left below 1e-14 of the sum it
 * cancels from is no length. */
bool quad_is_zero(const double *H, int K, const double *p, double pHp)
{
    double parts = 0;

    for (int i = 0; i < K; i++)
        parts += fabs(p[i]) * sqrt(fmax(H[i * K + i], 0));
    return pHp <= 1e-14 * parts * parts;
}

int live_objectives(const double *H, int K, bool skip_empty, int *live)
{
    int n = 0;

    for (int i = 0; i < K; i++)
        if (!skip_empty || H[i * K + i] > 1e-20)        /* of the largest, which is 1 */
            live[n++] = i;
    return n;
}

/* The symmetric part of H over its largest diagonal entry.  Tolerances are relative from here on:
 * gradients of preference losses are often below 1e-6, and their squares below any absolute one.
 * Returns the entry; NAN where H is not finite. */
static double normalise(const double *H, int K, double *out)
{
    double scale = 0;

    for (int i = 0; i < K * K; i++)
        if (!isfinite(H[i]))
            return NAN;
    for (int i = 0; i < K; i++)
        scale = fmax(scale, H[i * K + i]);
    for (int i = 0; i < K && scale > 0; i++)
        for (int j = 0; j < K; j++)
            out[i * K + j] = (H[i * K + j] / scale + H[j * K + i] / scale) / 2;
    return scale;
}

static void keep_weights(const double *w, int K, enum combine_path path, double *a,
                         struct combine_report *r)
{
    r->path = path;
    r->rho = NAN;
    memcpy(a, w, (size_t)K * sizeof *a);
    memcpy(r->p, w, (size_t)K * sizeof *a);
    memcpy(r->mix, w, (size_t)K * sizeof *a);
}

/* What follows from a and the mixture, and everything in the units of H again. */
static void complete(const double *H, const double *w, int K, double scale, const double *a,
                     struct combine_report *r)
{
    double b[COMBINE_MAX];

    matvec(H, K, w, b);
    matvec(H, K, a, r->decrease);
    r->g0_norm = sqrt(fmax(inner(w, b, K), 0));
    r->update_norm = sqrt(fmax(inner(a, r->decrease, K), 0));
    r->mix_norm = r->path == COMBINE_ZERO_ANCHOR ? 0 : sqrt(quad(H, K, r->mix));
    r->rho = NAN;
    if (r->path != COMBINE_ZERO_MIXTURE && r->g0_norm > 0 && r->mix_norm > 0)
        r->rho = inner(b, r->mix, K) / (r->g0_norm * r->mix_norm);
    for (int i = 0; i < K; i++)
        r->decrease[i] *= scale;
    r->min_decrease = r->decrease[0];
    for (int i = 1; i < K; i++)
        r->min_decrease = fmin(r->min_decrease, r->decrease[i]);
    r->phi *= scale;
    r->g0_norm *= sqrt(scale);
    r->mix_norm *= sqrt(scale);
    r->update_norm *= sqrt(scale);
}

void combine_solve(const struct combine *rule, const double *H, const double *w, int K,
                   const struct combine_settings *set, double *a, struct combine_report *report)
{
    double unit[COMBINE_MAX * COMBINE_MAX];
    double scale = normalise(H, K, unit);

    memset(report, 0, sizeof *report);
    keep_weights(w, K, COMBINE_ZERO_GRADIENTS, a, report);
    if (isnan(scale)) {
        memset(a, 0, (size_t)K * sizeof *a);
        report->path = COMBINE_SKIP;
        return;
    }
    if (!(scale > 0))
        return;
    memset(report, 0, sizeof *report);
    rule->solve(unit, w, K, set, a, report);
    complete(unit, w, K, scale, a, report);
}
