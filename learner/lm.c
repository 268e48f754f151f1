/* Language modelling: the tokens of a row are predicted from those before them, all of a row of
 * text (lm), those of the response to a prompt (sft).
 *
 *   L = - sum over rows of w sum of logp / sum of w n        dL/dlogp = -w / sum of w n
 *
 * n tokens predicted, w the weight of the record (text: 1), sums over all ranks.  Groups are single
 * rows; there is no actor, reward or reference. */
#include "base/status.h"
#include "learner/internal.h"

enum { LM_COUNT, LM_NLL, LM_TERMS };    /* of a row, each times its weight */

struct lm { double *terms; };           /* (P, LM_TERMS) */

static double weight_of(const struct batch *b, int n)
{
    return b->filled & COL_LABEL ? b->weight[n] : 1;
}

static int lm_setup(struct learner *ln)
{
    if (ln->k != 1)
        return rl_error(RL_EBUG, "lm trains on groups of one row, not of %d", ln->k);
    ln->group_terms = LM_TERMS;
    return RL_OK;
}

static enum view lm_view(const struct config *c, const struct algorithm *a)
{
    (void)c, (void)a;
    return VIEW_SFT;
}

static void lm_layout(struct learner *ln, struct memory *memory)
{
    struct lm *lm = ln->state;

    lm->terms = memory_take(memory, (size_t)ln->P * LM_TERMS * sizeof *lm->terms);
}

static int lm_targets(struct learner *ln, const struct batch *b)
{
    struct lm *lm = ln->state;

    for (int n = 0; n < b->N; n++) {
        int from, end = row_response(b, n, &from);
        double w = weight_of(b, n);
        ln->place[n] = w > 0 ? 0 : -1;
        lm->terms[n * LM_TERMS + LM_COUNT] = end > from ? w * (end - from) : 0;
        lm->terms[n * LM_TERMS + LM_NLL] = 0;
    }
    return RL_OK;
}

static int lm_count(struct learner *ln, const struct batch *b)
{
    const struct lm *lm = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, lm->terms, LM_TERMS));
    ln->total = 0;
    for (int n = 0; n < b->P; n++)
        ln->total += ln->stats.all[n * LM_TERMS + LM_COUNT];
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
        double w = weight_of(b, n), nll = -row_sum(micro->logp, from + shift, end + shift);
        lm->terms[n * LM_TERMS + LM_NLL] = w * nll;
        row_fill(micro->dlogp, from + shift, end + shift, -w / ln->total);
    }
    return RL_OK;
}

static int lm_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    const struct lm *lm = ln->state;
    double sum = 0;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, lm->terms, LM_TERMS));
    for (int n = 0; n < b->P; n++)
        sum += ln->stats.all[n * LM_TERMS + LM_NLL];
    if (ln->total > 0)
        metrics_set(m, "loss", sum / ln->total);
done:
    return rc;
}

const struct method method_lm = {
    .state = sizeof(struct lm), .view = lm_view,
    .setup = lm_setup, .layout = lm_layout, .targets = lm_targets,
    .count = lm_count, .loss = lm_loss, .report = lm_report,
};
