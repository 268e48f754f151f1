/* Language modelling: every token of a row is predicted from those before it.
 *
 *   L = - sum of logp / tokens predicted, over all ranks        dL/dlogp = -1 / tokens predicted
 *
 * Groups are single packed rows of text; there is no actor, reward or reference. */
#include "base/status.h"
#include "learner/internal.h"

int lm_setup(struct learner *ln)
{
    if (ln->k != 1)
        return rl_error(RL_EBUG, "lm trains on groups of one row, not of %d", ln->k);
    return RL_OK;
}

void lm_layout(struct learner *ln, struct memory *memory)
{
    ln->row_terms = memory_take(memory, (size_t)ln->P * sizeof(double));
}

int lm_targets(struct learner *ln, const struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        ln->place[n] = 0;
    return RL_OK;
}

int lm_count(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    ln->total = (double)ln->counted[0];
done:
    return rc;
}

int lm_loss(struct learner *ln, const struct batch *b)
{
    struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        ln->row_terms[n] = -row_sum(micro->logp, from + shift, end + shift);
        row_fill(micro->dlogp, from + shift, end + shift, -1 / ln->total);
    }
    return RL_OK;
}

int lm_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    double sum = 0;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, ln->row_terms, 1));
    for (int n = 0; n < b->P; n++)
        sum += ln->stats.all[n];
    if (ln->total > 0)
        metrics_set(m, "loss", sum / ln->total);
done:
    return rc;
}
