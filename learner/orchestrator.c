/* The Preference Orchestrator (arXiv 2511.10656): an adapter learns from the prompt alone how much
 * each reward should weigh there.
 *
 *   rewards of the preferred response --> z --> t = softmax(z / temperature)
 *   prompt --> trunk --> hidden state of its last token --> adapter --> w = softmax(logits)
 *   L = mean over prompts of KL(t || w)
 *
 * The preferred response of a prompt is the one with the highest score.  z is the reward as a
 * number of standard deviations from the mean of all so far, with the sign of its weight.  The
 * adapter is a score head beside the policy's vocabulary head; nothing else is trained. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"
#include "model/mixture.h"

/* Terms of a prompt, then its target and its weights. */
enum mix_term { MIX_COUNTS, MIX_VALUE, MIX_TERMS };

struct orchestrator {
    int K;                      /* rewards */
    double *terms;              /* (P, MIX_TERMS + 2 K) of the prompts held here */
    double *scores;             /* (k) of one group */
};

static int orchestrator_check(const struct config *c, const struct algorithm *a)
{
    (void)a;
    if (c->n_rewards < 2 || c->n_rewards > MIXTURE_MOST)
        return rl_error(RL_EINVAL, "%s: rewards: orchestrator weighs 2 to %d rewards against each "
                        "other, not %d", config_where(c, "rewards"), MIXTURE_MOST, c->n_rewards);
    return RL_OK;
}

static int orchestrator_setup(struct learner *ln)
{
    struct orchestrator *o = ln->state;

    o->K = ln->config->n_rewards;
    if (ln->scores != o->K)
        return rl_error(RL_EBUG, "an adapter of %d outputs for %d rewards", ln->scores, o->K);
    ln->outputs = OUT_SCORE;
    ln->used_rows = 1;
    ln->group_terms = MIX_TERMS + 2 * (size_t)o->K;
    return RL_OK;
}

static size_t stride(const struct orchestrator *o)
{
    return MIX_TERMS + 2 * (size_t)o->K;
}

static void orchestrator_layout(struct learner *ln, struct memory *memory)
{
    struct orchestrator *o = ln->state;

    o->terms = memory_take(memory, (size_t)ln->P * stride(o) * sizeof *o->terms);
    o->scores = memory_take(memory, (size_t)ln->k * sizeof *o->scores);
    ln->rewards.standard = true;
}

/* The adapter's weights and what lies behind them. */
static int orchestrator_open(struct learner *ln)
{
    const struct array *head = model_array(ln->policy.model, SCORE_WEIGHT);

    optimizer_only(ln->policy.optimizer, head->offset, model_size(&ln->shape) - head->offset);
    return RL_OK;
}

/* ---- targets */

static void target_of(const struct learner *ln, const struct batch *b, int n, double *target)
{
    const struct orchestrator *o = ln->state;

    for (int r = 0; r < o->K; r++) {
        double z = row_reward(ln, b, n, r);
        target[r] = ln->config->rewards[r].weight < 0 ? -z : z;
    }
    mixture_softmax(target, target, o->K, ln->config->orchestrator.temperature);
}

static int orchestrator_targets(struct learner *ln, const struct batch *b)
{
    struct orchestrator *o = ln->state;

    for (int g = 0; g < b->groups; g++) {
        double *terms = o->terms + (size_t)g * stride(o);
        int best;
        memset(terms, 0, stride(o) * sizeof *terms);
        for (int s = 0; s < b->k; s++) {
            o->scores[s] = row_score(ln, b, g * b->k + s);
            ln->place[g * b->k + s] = -1;
        }
        best = label_best(o->scores, b->k);
        if (!isfinite(o->scores[best]))
            continue;                   /* no response has all its scores */
        terms[MIX_COUNTS] = 1;
        target_of(ln, b, g * b->k + best, terms + MIX_TERMS);
        ln->place[g * b->k + best] = 0;
    }
    return RL_OK;
}

static int orchestrator_count(struct learner *ln, const struct batch *b)
{
    struct orchestrator *o = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, o->terms, stride(o)));
    ln->total = 0;
    for (int g = 0; g < b->P; g++)
        ln->total += ln->stats.all[(size_t)g * stride(o) + MIX_COUNTS];
done:
    return rc;
}

/* ---- loss */

static int orchestrator_loss(struct learner *ln, const struct batch *b)
{
    struct orchestrator *o = ln->state;
    struct micro *micro = &ln->micro;
    double logits[MIXTURE_MOST], slopes[MIXTURE_MOST];

    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i], prompt = b->prompt_len[n] > 0 ? b->prompt_len[n] - 1 : 0;
        size_t at = (size_t)(micro->start[i] + prompt) * (size_t)o->K;
        double *terms = o->terms + (size_t)(n / b->k) * stride(o), *target = terms + MIX_TERMS;
        for (int r = 0; r < o->K; r++)
            logits[r] = micro->score[at + (size_t)r];
        terms[MIX_VALUE] = mixture_kl(target, logits, o->K, slopes);
        if (!isfinite(terms[MIX_VALUE]))
            return rl_error(RL_ENAN, "step %lld: the loss of prompt %lld is %g",
                            (long long)b->step + 1, (long long)b->prompt[n] + 1, terms[MIX_VALUE]);
        mixture_softmax(target + o->K, logits, o->K, 1);
        for (int r = 0; r < o->K; r++)
            micro->dscore[at + (size_t)r] = (float)(slopes[r] / ln->total);
    }
    return RL_OK;
}

/* The mean over the prompts that count of column c of their terms. */
static double mean_of(const struct learner *ln, const struct batch *b, int c)
{
    const struct orchestrator *o = ln->state;
    double sum = 0;

    for (int g = 0; g < b->P; g++) {
        const double *terms = ln->stats.all + (size_t)g * stride(o);
        sum += terms[MIX_COUNTS] > 0 ? terms[c] : 0;
    }
    return sum / ln->total;
}

static int orchestrator_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct orchestrator *o = ln->state;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, o->terms, stride(o)));
    metrics_set(m, "data/dropped_frac", 1 - ln->total / b->P);
    if (!(ln->total > 0))
        return RL_OK;
    metrics_set(m, "loss", mean_of(ln, b, MIX_VALUE));
    for (int r = 0; r < o->K; r++) {
        const char *name = ln->config->rewards[r].name;
        metrics_setf(m, mean_of(ln, b, MIX_TERMS + r), "orchestrator/target/%s", name);
        metrics_setf(m, mean_of(ln, b, MIX_TERMS + o->K + r), "orchestrator/weight/%s", name);
    }
done:
    return rc;
}

const struct method method_orchestrator = {
    .state = sizeof(struct orchestrator), .check = orchestrator_check,
    .setup = orchestrator_setup, .layout = orchestrator_layout, .open = orchestrator_open,
    .targets = orchestrator_targets, .count = orchestrator_count, .loss = orchestrator_loss,
    .report = orchestrator_report,
};
