/* See pairs.h. */
#include "learner/preference/pairs.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "compute/math.h"
#include "learner/losses/ranking.h"
#include "learner/preference/rows.h"

#define LN2 0.69314718055994530942

/* ---- settings */

int pairs_check_loss(const struct config *c, const struct algorithm *a)
{
    const char *loss = c->dpo.loss;
    size_t n = strlen(loss);

    if (!loss_find(loss))
        return rl_error(RL_EINVAL, "%s: dpo.loss: there is no '%s'", config_where(c, "dpo.loss"),
                        loss);
    for (const char *p = a->variant; p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL)
        if (strncmp(p, loss, n) == 0 && (p[n] == ' ' || p[n] == 0))
            return RL_OK;
    if (a->variant)
        return rl_error(RL_EINVAL, "%s: dpo.loss: %s minimises \"%s\", not \"%s\"; leave it out",
                        config_where(c, "dpo.loss"), a->name, a->variant, loss);
    return RL_OK;
}

int pairs_check_rollouts(const struct config *c, const struct algorithm *a)
{
    if (c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: %s compares responses and needs 2 or "
                        "more", config_where(c, "samples_per_prompt"), a->name);
    if (strcmp(c->dpo.pairing, "pair") == 0 && c->samples_per_prompt != 2)
        return rl_error(RL_EINVAL, "%s: dpo.pairing: \"pair\" needs samples_per_prompt = 2, which "
                        "is %lld (%s)", config_where(c, "dpo.pairing"),
                        (long long)c->samples_per_prompt, config_where(c, "samples_per_prompt"));
    return RL_OK;
}

void pairs_setup(struct learner *ln, struct pairs *p, int per_group)
{
    p->needs = p->loss->needs;
    if (p->needs & (LOSS_SIGNS | LOSS_CONFIDENCE))      /* made of another */
        p->needs = (p->needs & ~(unsigned)(LOSS_REF | LOSS_MEAN)) | p->set.base->needs;
    p->per_group = per_group;
    ln->used_rows = per_group == 1 ? 2 : ln->k;
    ln->group_terms = (size_t)per_group * PAIR_TERMS;
}

void pairs_layout(struct learner *ln, struct pairs *p, struct memory *memory)
{
    size_t pairs = (size_t)ln->P * p->per_group;

    p->pair = memory_take(memory, pairs * sizeof *p->pair);
    p->terms = memory_take(memory, pairs * PAIR_TERMS * sizeof(double));
}

/* ---- targets */

bool same_row(int i, int j, void *user)
{
    const struct group_rows *g = user;
    const int *start = g->b->start + g->first;
    size_t length = (size_t)(start[i + 1] - start[i]);
    const int *a = g->b->tokens + start[i], *b = g->b->tokens + start[j];

    return length == (size_t)(start[j + 1] - start[j]) && memcmp(a, b, length * sizeof *a) == 0;
}

void pairs_mark(struct learner *ln, struct pairs *p, const struct batch *b, int g,
                const double *scores)
{
    size_t first = (size_t)g * p->per_group;
    double *terms = p->terms + first * PAIR_TERMS;
    int row = g * b->k;

    for (int s = 0; s < b->k; s++)
        ln->place[row + s] = -1;
    for (const struct pair *q = p->pair + first; q < p->pair + first + p->per_group; q++) {
        memset(terms, 0, PAIR_TERMS * sizeof *terms);
        terms[PAIR_WEIGHT] = q->weight;
        terms[PAIR_TIE] = q->tie;
        terms[PAIR_TARGET] = q->target;
        terms[PAIR_SCORE_W] = scores[q->winner];
        terms[PAIR_SCORE_L] = scores[q->loser];
        terms[PAIR_ANNOTATOR] = b->filled & COL_LABEL ? b->annotator[row + q->winner] : 0;
        if (q->weight > 0)
            ln->place[row + q->winner] = ln->place[row + q->loser] = 0;
        terms += PAIR_TERMS;
    }
}

/* No pair of the step is left: the first of each group is run all the same, with weight 0, so that
 * actor and learner are compared in every step. */
static void run_first_pairs(struct learner *ln, const struct pairs *p, const struct batch *b)
{
    for (int g = 0; g < b->groups; g++) {
        const struct pair *pair = &p->pair[(size_t)g * p->per_group];
        ln->place[g * b->k + pair->winner] = ln->place[g * b->k + pair->loser] = 0;
    }
}

int pairs_count(struct learner *ln, struct pairs *p, const struct batch *b)
{
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, p->terms, (size_t)p->per_group * PAIR_TERMS));
    ln->total = 0;
    for (size_t i = 0; i < (size_t)b->P * p->per_group; i++)
        ln->total += ln->stats.all[i * PAIR_TERMS + PAIR_WEIGHT];
    if (!(ln->total > 0))
        run_first_pairs(ln, p, b);
done:
    return rc;
}

/* ---- loss */

static void remember(const struct pair_input *in, const struct pair_output *out, double *terms)
{
    terms[PAIR_TARGET] = in->target;
    terms[PAIR_VALUE] = out->value;
    terms[PAIR_S_W] = in->S_w;
    terms[PAIR_S_L] = in->S_l;
    terms[PAIR_R_W] = in->R_w;
    terms[PAIR_R_L] = in->R_l;
    terms[PAIR_N_W] = in->n_w;
    terms[PAIR_N_L] = in->n_l;
}

/* Value of pair i of group g, its slopes added to its rows. */
static int pair_loss(struct learner *ln, struct pairs *p, const struct batch *b, int g, int i)
{
    struct micro *micro = &ln->micro;
    size_t index = (size_t)g * p->per_group + i;
    const struct pair *pair = &p->pair[index];
    double *terms = p->terms + index * PAIR_TERMS;
    int row_w = g * b->k + pair->winner, row_l = g * b->k + pair->loser, from;
    int w = ln->place[row_w], l = ln->place[row_l];
    struct pair_input in = { .S_w = micro->S[w], .S_l = micro->S[l], .target = pair->target,
                             .R_w = micro->R[w], .R_l = micro->R[l], .set = &p->set };
    struct pair_output out;

    in.n_w = row_response(b, row_w, &from) - from;
    in.n_l = row_response(b, row_l, &from) - from;
    if (p->know)
        p->know(ln, b, g, i, &in, terms);
    loss_eval(p->loss, &in, &out);
    if (!isfinite(in.S_w + in.S_l + in.R_w + in.R_l + out.value))
        return rl_error(RL_ENAN, "step %lld: the loss of prompt %lld is %g (log-probabilities %g "
                        "and %g, reference %g and %g)", (long long)b->step + 1,
                        (long long)b->prompt[row_w] + 1, out.value, in.S_w, in.S_l, in.R_w, in.R_l);
    micro->slope[w] += pair->weight * out.dS_w / ln->total;
    micro->slope[l] += pair->weight * out.dS_l / ln->total;
    remember(&in, &out, terms);
    return RL_OK;
}

int pairs_loss(struct learner *ln, struct pairs *p, const struct batch *b)
{
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    rows_sum_compared(ln, b);
    for (int g = micro->group; g < micro->group + micro->groups; g++)
        for (int i = 0; i < p->per_group; i++)
            if (p->pair[(size_t)g * p->per_group + i].weight > 0)
                TRY(pair_loss(ln, p, b, g, i));
    rows_spread(ln, b);
done:
    return rc;
}

/* ---- report */

static const char *const pair_metrics[] = {
    "dpo/rewards/chosen", "dpo/rewards/rejected", "dpo/rewards/margins", "dpo/rewards/accuracies",
    "dpo/logps/chosen", "dpo/logps/rejected", "dpo/ranking_accuracy", "dpo/scores_margin",
    "dpo/len_delta",
};
#define PAIR_METRICS (int)(sizeof pair_metrics / sizeof *pair_metrics)

/* Implicit rewards: beta h; for a loss of means without a reference beta A. */
static void pair_values(const struct pairs *p, const double *t, double *v)
{
    bool mean = (p->needs & LOSS_MEAN) && !(p->needs & LOSS_REF);
    double n_w = mean ? tokens_of((int)t[PAIR_N_W]) : 1;
    double n_l = mean ? tokens_of((int)t[PAIR_N_L]) : 1;
    double chosen = p->set.beta * (t[PAIR_S_W] - t[PAIR_R_W]) / n_w;
    double rejected = p->set.beta * (t[PAIR_S_L] - t[PAIR_R_L]) / n_l;

    v[0] = chosen;
    v[1] = rejected;
    v[2] = chosen - rejected;
    v[3] = chosen > rejected;
    v[4] = t[PAIR_S_W];
    v[5] = t[PAIR_S_L];
    v[6] = ranks_right(t[PAIR_S_W], t[PAIR_S_L]);
    v[7] = t[PAIR_SCORE_W] - t[PAIR_SCORE_L];
    v[8] = t[PAIR_N_W] - t[PAIR_N_L];
}

/* Entropy of a target: what a soft-preference cross-entropy cannot go below. */
static double floor_of(double p)
{
    return p > 0 && p < 1 ? -p * rw_log(p) - (1 - p) * rw_log1p(-p) : 0;
}

/* Sums over the pairs that are kept, in global order. */
struct sums { double v[PAIR_METRICS], loss, above_floor; int kept, ties, soft; };

static void add_pairs(const struct learner *ln, const struct pairs *p, int pairs, struct sums *s)
{
    double v[PAIR_METRICS];

    for (int i = 0; i < pairs; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        s->ties += t[PAIR_TIE] > 0;
        if (!(t[PAIR_WEIGHT] > 0))
            continue;
        s->kept++;
        s->soft += t[PAIR_TARGET] != 1;
        s->loss += t[PAIR_WEIGHT] * t[PAIR_VALUE];
        s->above_floor += t[PAIR_VALUE] - floor_of(t[PAIR_TARGET]);
        pair_values(p, t, v);
        for (int k = 0; k < PAIR_METRICS; k++)
            s->v[k] += v[k];
    }
}

int pairs_report(struct learner *ln, struct pairs *p, const struct batch *b, struct metrics *m,
                 double *loss)
{
    int pairs = b->P * p->per_group, rc = RL_OK;
    struct sums s = { 0 };

    TRY(stats_gather(&ln->stats, p->terms, (size_t)p->per_group * PAIR_TERMS));
    add_pairs(ln, p, pairs, &s);
    *loss = s.kept > 0 ? s.loss / ln->total : 0;
    if (s.kept > 0) {
        metrics_set(m, "loss", *loss);
        for (int i = 0; i < PAIR_METRICS; i++)
            metrics_set(m, pair_metrics[i], s.v[i] / s.kept);
    }
    if (s.soft > 0 && p->loss->eval == loss_sigmoid && p->set.nll == 0)
        metrics_set(m, "spce/kl", s.above_floor / s.kept);
    metrics_set(m, "dpo/tie_frac", (double)s.ties / pairs);
    metrics_set(m, "data/dropped_frac", (double)(pairs - s.kept) / pairs);
done:
    return rc;
}

/* Records start from the reference when that is the model. */
static bool starts_from_reference(const struct config *c)
{
    return c->refmodel && c->model && strcmp(c->refmodel, c->model) == 0;
}

int pairs_check_start(struct learner *ln, const struct pairs *p, const struct batch *b,
                      struct metrics *m, double loss)
{
    unsigned filled = ln->stats.columns;
    bool start, plain = p->loss->eval == loss_sigmoid && p->set.nll == 0;
    int rc = RL_OK;

    TRY(rows_report(ln, b, m, &start));
    if (!(filled & COL_ACTOR_LOGP))
        start = starts_from_reference(ln->config);
    if (start && ln->version == 0 && ln->total > 0 && plain && fabs(loss - LN2) > 1e-6)
        rc = rl_error(RL_EBUG, "the first loss is %.9g, not log 2, though policy and reference "
                      "agree: the learner computes other log-probabilities than the %s", loss,
                      filled & COL_ACTOR_LOGP ? "actor" : "reference model");
done:
    return rc;
}
