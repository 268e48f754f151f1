/* Language modelling: every token of a row is predicted from those before it.
 *
 *   L = - sum of logp / tokens predicted, over all ranks        dL/dlogp = -1 / tokens predicted
 *
 * Groups are single packed rows of text; there is no actor, reward or reference. */
#include "base/status.h"
#include "learner/internal.h"

static int lm_setup(struct learner *ln)
{
    if (ln->k != 1)
        return rl_error(RL_EBUG, "lm trains on groups of one row, not of %d", ln->k);
    return RL_OK;
}

struct lm { double *nll; };     /* (P) a row's negative log-likelihood */

static void lm_layout(struct learner *ln, struct memory *memory)
{
    struct lm *lm = ln->state;

    lm->nll = memory_take(memory, (size_t)ln->P * sizeof *lm->nll);
}

static int lm_targets(struct learner *ln, const struct batch *b)
{
    for (int n = 0; n < b->N; n++)
        ln->place[n] = 0;
    return RL_OK;
}

static int lm_count(struct learner *ln, const struct batch *b)
{
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    ln->total = (double)ln->counted[0];
done:
    return rc;
}

static int lm_loss(struct learner *ln, const struct batch *b)
{
    struct lm *lm = ln->state;
    struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        lm->nll[n] = -row_sum(micro->logp, from + shift, end + shift);
        row_fill(micro->dlogp, from + shift, end + shift, -1 / ln->total);
    }
    return RL_OK;
}

static int lm_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    const struct lm *lm = ln->state;
    double sum = 0;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, lm->nll, 1));
    for (int n = 0; n < b->P; n++)
        sum += ln->stats.all[n];
    if (ln->total > 0)
        metrics_set(m, "loss", sum / ln->total);
done:
    return rc;
}

const struct method method_lm = {
    .state = sizeof(struct lm), .setup = lm_setup, .layout = lm_layout, .targets = lm_targets,
    .count = lm_count, .loss = lm_loss, .report = lm_report,
};
