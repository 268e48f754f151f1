/* The stage before OSP: the policy learns to judge (spec 2.6).  Each pair is a judge prompt with
 * its two answers in drawn order, whose one answer token is learned over the whole vocabulary, and
 * the chosen answer as ordinary supervised text:
 *
 *   L = - mean over judged pairs of w log p(answer) - judge.sft mean over the chosen's tokens */
#include <math.h>

#include "base/status.h"
#include "learner/internal.h"

enum { JUDGE_ROW, SFT_ROW, JUDGE_ROWS };        /* of a group */
/* Of a group: weights, and sums of w nll, of its judge row and its sft row; was the answer likelier
 * than the even chance? */
enum { W_JUDGE, W_SFT, NLL_JUDGE, NLL_SFT, RIGHT, JUDGE_TERMS };

struct judging { double *terms, total[JUDGE_ROWS]; };   /* (P, JUDGE_TERMS) */

static enum view judge_view(const struct config *c, const struct algorithm *a)
{
    (void)c, (void)a;
    return VIEW_JUDGE;
}

static int judge_setup(struct learner *ln)
{
    if (ln->k != JUDGE_ROWS)
        return rl_error(RL_EBUG, "judge trains on groups of %d rows, not of %d", JUDGE_ROWS, ln->k);
    ln->group_terms = JUDGE_TERMS;
    return RL_OK;
}

static void judge_layout(struct learner *ln, struct memory *memory)
{
    struct judging *j = ln->state;

    j->terms = memory_take(memory, (size_t)ln->P * JUDGE_TERMS * sizeof *j->terms);
}

static int judge_targets(struct learner *ln, const struct batch *b)
{
    struct judging *j = ln->state;

    for (int g = 0; g < b->groups; g++) {
        double *t = j->terms + (size_t)g * JUDGE_TERMS, w = b->weight[g * b->k];
        int sft = g * b->k + SFT_ROW, from, end = row_response(b, sft, &from);
        bool learned = w > 0 && ln->config->judge_sft > 0 && end > from;
        t[W_JUDGE] = w;
        t[W_SFT] = learned ? w * (end - from) : 0;
        t[NLL_JUDGE] = t[NLL_SFT] = t[RIGHT] = 0;
        ln->place[g * b->k + JUDGE_ROW] = w > 0 ? 0 : -1;
        ln->place[sft] = learned ? 0 : -1;
    }
    return RL_OK;
}

static int judge_count(struct learner *ln, const struct batch *b)
{
    struct judging *j = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, j->terms, JUDGE_TERMS));
    j->total[JUDGE_ROW] = j->total[SFT_ROW] = 0;
    for (int g = 0; g < b->P; g++) {
        j->total[JUDGE_ROW] += ln->stats.all[g * JUDGE_TERMS + W_JUDGE];
        j->total[SFT_ROW] += ln->stats.all[g * JUDGE_TERMS + W_SFT];
    }
    ln->total = j->total[JUDGE_ROW];
done:
    return rc;
}

static int judge_loss(struct learner *ln, const struct batch *b)
{
    struct judging *j = ln->state;
    struct micro *micro = &ln->micro;

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], part = n % b->k, from, end = row_response(b, n, &from);
        int shift = micro->start[i] - b->start[n];
        double *t = j->terms + (size_t)(n / b->k) * JUDGE_TERMS, w = t[W_JUDGE];
        double nll = -row_sum(micro->logp, from + shift, end + shift);
        double coef = part == SFT_ROW ? ln->config->judge_sft : 1;
        if (!isfinite(nll))
            return rl_error(RL_ENAN, "step %lld: the log-probability of record %lld is %g",
                            (long long)b->step + 1, (long long)b->prompt[n] + 1, -nll);
        t[NLL_JUDGE + part] = w * nll;
        if (part == JUDGE_ROW)
            t[RIGHT] = nll < 0.69314718055994530942;
        if (j->total[part] > 0)
            row_fill(micro->dlogp, from + shift, end + shift, -coef * w / j->total[part]);
    }
    return RL_OK;
}

static int judge_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    const struct judging *j = ln->state;
    double sum[JUDGE_ROWS] = { 0 }, right = 0, judged = 0;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, j->terms, JUDGE_TERMS));
    for (int g = 0; g < b->P; g++) {
        const double *t = ln->stats.all + (size_t)g * JUDGE_TERMS;
        sum[JUDGE_ROW] += t[NLL_JUDGE];
        sum[SFT_ROW] += t[NLL_SFT];
        right += t[RIGHT];
        judged += t[W_JUDGE] > 0;
    }
    if (!(ln->total > 0))
        return RL_OK;
    sum[JUDGE_ROW] /= j->total[JUDGE_ROW];
    if (j->total[SFT_ROW] > 0)
        sum[SFT_ROW] *= ln->config->judge_sft / j->total[SFT_ROW];
    metrics_set(m, "loss", sum[JUDGE_ROW] + sum[SFT_ROW]);
    metrics_set(m, "judge/loss", sum[JUDGE_ROW]);
    metrics_set(m, "judge/accuracy", right / judged);
done:
    return rc;
}

const struct method method_judge = {
    .state = sizeof(struct judging), .view = judge_view, .setup = judge_setup,
    .layout = judge_layout, .targets = judge_targets, .count = judge_count, .loss = judge_loss,
    .report = judge_report, .judges = true,
};
