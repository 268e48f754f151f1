/* What a step of policy gradients reports, and the coefficient of the next one. */
#include <math.h>

#include "base/status.h"
#include "learner/policy/method.h"

/* The passes of an update report together, in policy_finish. */
int policy_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    (void)ln;
    (void)b;
    (void)m;
    return RL_OK;
}

/* Sums of the terms of all rows, in global order; the largest ratio. */
static void add_terms(const double *all, int rows, double sum[POLICY_TERMS])
{
    for (int i = 0; i < POLICY_TERMS; i++)
        sum[i] = 0;
    for (int n = 0; n < rows; n++)
        for (int i = 0; i < POLICY_TERMS; i++) {
            double x = all[(size_t)n * POLICY_TERMS + i];
            sum[i] = i == TERM_RATIO_MAX ? fmax(sum[i], x) : sum[i] + x;
        }
}

static double variance(double sum, double squares, double n)
{
    return fmax(squares / n - (sum / n) * (sum / n), 0);
}

static void report_ratios(const struct policy *p, const double *sum, struct metrics *m)
{
    double n = sum[TERM_UNITS];

    if (!(n > 0))
        return;
    metrics_set(m, "loss", sum[TERM_LOSS] / p->updates);
    metrics_set(m, "policy/loss", sum[TERM_POLICY] / p->updates);
    metrics_set(m, "policy/clipfrac", sum[TERM_CLIPPED] / n);
    if (p->rules.clip.dual > 0)
        metrics_set(m, "policy/clipfrac_lower", sum[TERM_DUAL] / n);
    metrics_set(m, "policy/ratio/mean", sum[TERM_RATIO] / n);
    metrics_set(m, "policy/ratio/var", variance(sum[TERM_RATIO], sum[TERM_RATIO2], n));
    metrics_set(m, "policy/ratio/max", sum[TERM_RATIO_MAX]);
    metrics_set(m, "kl/approx", sum[TERM_APPROX] / sum[TERM_TOKENS]);
}

static void report_advantages(const struct policy *p, const double *sum, struct metrics *m)
{
    double n = sum[TERM_LENGTH];

    if (!(n > 0))
        return;
    metrics_set(m, "adv/mean", sum[TERM_ADV] / n);
    metrics_set(m, "adv/std", sqrt(variance(sum[TERM_ADV], sum[TERM_ADV2], n)));
    if (!p->rules.advantage->group)
        metrics_set(m, "return/mean", sum[TERM_RET] / n);
}

static void report_values(const struct policy *p, const double *sum, struct metrics *m)
{
    double n = sum[TERM_LENGTH], spread;

    if (!p->rules.critic || !(n > 0))
        return;
    spread = variance(sum[TERM_RET], sum[TERM_RET2], n);
    metrics_set(m, "value/mean", sum[TERM_V] / n);
    if (spread > 0)
        metrics_set(m, "value/explained_var",
                    1 - variance(sum[TERM_ERR], sum[TERM_ERR2], n) / spread);
    if (sum[TERM_VALUES] > 0) {
        metrics_set(m, "value/loss", sum[TERM_VALUE] / p->updates);
        metrics_set(m, "value/clipfrac", sum[TERM_VALUE_CLIPPED] / sum[TERM_VALUES]);
    }
}

int policy_finish(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct policy *p = ln->state;
    double sum[POLICY_TERMS], rows = (double)b->P * b->k;
    bool start;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, p->terms, (size_t)b->k * POLICY_TERMS));
    add_terms(ln->stats.all, b->P * b->k, sum);
    report_ratios(p, sum, m);
    report_advantages(p, sum, m);
    report_values(p, sum, m);
    metrics_set(m, "data/dropped_frac", 1 - sum[TERM_KEPT] / rows);
    if (p->rules.kl_in != KL_NOWHERE)
        metrics_set(m, "kl/coef", p->kl_coef);
    ln->kl_coef = p->rules.kl_in == KL_NOWHERE ? 0 : p->kl_coef;
    if (p->rules.kl_adapts)
        p->kl_coef = kl_adapt(p->kl_coef, sum[TERM_KL] / rows, p->rules.kl_target,
                              p->rules.kl_horizon, rows);
    TRY(rows_report(ln, b, m, &start));
    p->norm = p->norm_now;
done:
    return rc;
}
