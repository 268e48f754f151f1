/* What is known of every row of rollouts, whatever is learned from it: how far the weights that
 * made it are behind, and how far actor, learner and reference are apart on it. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

void rows_begin(struct learner *ln, const struct batch *b)
{
    for (int n = 0; n < b->N; n++) {
        double *terms = ln->row_terms + (size_t)n * ROW_TERMS;
        memset(terms, 0, ROW_TERMS * sizeof *terms);
        terms[ROW_LAG] = (double)(ln->version - b->version[n]);
    }
}

void rows_compare(struct learner *ln, const struct batch *b, int i)
{
    struct micro *micro = &ln->micro;
    int n = micro->row[i], from, end = row_response(b, n, &from);
    double *terms = ln->row_terms + (size_t)n * ROW_TERMS;
    int shift = micro->start[i] - b->start[n];          /* from the batch to the packed rows */

    if (!(b->filled & COL_ACTOR_LOGP))
        return;                     /* no actor made this row */
    for (int t = from; t < end && b->filled & COL_REF_LOGP; t++)
        terms[ROW_REF_GAP] = fmax(terms[ROW_REF_GAP], fabs((double)b->actor_logp[t] -
                                                           (double)b->ref_logp[t]));
    if (b->version[n] != ln->version || ln->pass > 0)
        return;                     /* other weights: nothing to compare */
    for (int t = from; t < end; t++) {
        double gap = fabs((double)micro->logp[t + shift] - (double)b->actor_logp[t]);
        terms[ROW_MISMATCH_MAX] = fmax(terms[ROW_MISMATCH_MAX], gap);
        terms[ROW_MISMATCH_SUM] += gap;
        terms[ROW_MISMATCH_COUNT]++;
    }
}

int rows_report(struct learner *ln, const struct batch *b, struct metrics *m, bool *start)
{
    int rows = b->P * b->k, rc = RL_OK;
    double worst = 0, sum = 0, count = 0, apart = 0;
    struct moments lag;

    *start = false;
    TRY(stats_gather(&ln->stats, ln->row_terms, (size_t)b->k * ROW_TERMS));
    if (!(ln->stats.columns & COL_ACTOR_LOGP))
        return RL_OK;
    lag = stats_moments(ln->stats.all, rows, ROW_TERMS, ROW_LAG);
    for (int n = 0; n < rows; n++) {
        const double *t = ln->stats.all + (size_t)n * ROW_TERMS;
        worst = fmax(worst, t[ROW_MISMATCH_MAX]);
        apart = fmax(apart, t[ROW_REF_GAP]);
        sum += t[ROW_MISMATCH_SUM];
        count += t[ROW_MISMATCH_COUNT];
    }
    if (count > 0) {
        metrics_set(m, "mismatch/logp_abs_max", worst);
        metrics_set(m, "mismatch/logp_abs_mean", sum / count);
    }
    metrics_set(m, "async/lag/mean", lag.mean);
    metrics_set(m, "async/lag/max", lag.max);
    *start = lag.max == 0 && apart == 0;
done:
    return rc;
}
