/* Online DPO (Guo et al. 2024, with the losses of losses/): the responses of a prompt are scored,
 * labelled, and the policy moves towards the chosen and away from the rejected one.
 *
 *   rewards -> scores -> pairs (weight w)        L = sum over pairs of w l(S_w, S_l) / sum of w
 *   dL/dlogp = the sum over a row's pairs of w dl/dS / sum of w, the same for each response token
 *
 * The weights are counted over all ranks before the first gradient, so that gradients add up. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

/* Terms of a pair that are reported: records of doubles, gathered in global order. */
enum pair_term { PAIR_WEIGHT, PAIR_TIE, PAIR_SCORE_W, PAIR_SCORE_L, PAIR_VALUE, PAIR_S_W, PAIR_S_L,
                 PAIR_R_W, PAIR_R_L, PAIR_N_W, PAIR_N_L, PAIR_TERMS };

struct dpo {
    const struct loss *loss;
    struct loss_settings set;
    enum pairing pairing;
    enum tie_policy tie_policy;
    int pairs_per_group;
    struct pair *pairs;         /* (P, pairs_per_group) of the groups held here */
    double *pair_terms;         /* (P, pairs_per_group, PAIR_TERMS) */
    double *scores;             /* (k) of one group, adjusted */
    bool *has_eos;              /* (k) */
};

static int dpo_check(const struct config *c, const struct algorithm *a)
{
    if (!loss_find(c->dpo.loss))
        return rl_error(RL_EINVAL, "%s: dpo.loss: there is no '%s'", config_where(c, "dpo.loss"),
                        c->dpo.loss);
    if (c->dpo.label_smoothing > 0 && strcmp(c->dpo.loss, "sigmoid") != 0)
        return rl_error(RL_EINVAL, "%s: dpo.label_smoothing: smooths dpo.loss = \"sigmoid\" only; "
                        "it is \"%s\" (%s)", config_where(c, "dpo.label_smoothing"),
                        c->dpo.loss, config_where(c, "dpo.loss"));
    if (algorithm_source(a, c) == SOURCE_PAIRS)
        return RL_OK;
    if (c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: %s compares responses and needs 2 or "
                        "more", config_where(c, "samples_per_prompt"), a->name);
    if (strcmp(c->dpo.pairing, "pair") == 0 && c->samples_per_prompt != 2)
        return rl_error(RL_EINVAL, "%s: dpo.pairing: \"pair\" needs samples_per_prompt = 2, which "
                        "is %lld (%s)", config_where(c, "dpo.pairing"),
                        (long long)c->samples_per_prompt, config_where(c, "samples_per_prompt"));
    return RL_OK;
}

static int dpo_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct dpo *d = ln->state;
    int rc = RL_OK;

    TRY(pairing_parse(&d->pairing, c->dpo.pairing));
    TRY(tie_policy_parse(&d->tie_policy, c->dpo.tie_policy));
    loss_settings_fill(&d->set, c);
    d->loss = loss_find(c->dpo.loss);
    d->pairs_per_group = label_pairs(d->pairing, ln->k);
    ln->used_rows = d->pairing == PAIRING_ALL ? ln->k : 2;
    ln->group_terms = (size_t)d->pairs_per_group * PAIR_TERMS;
done:
    return rc;
}

static void dpo_layout(struct learner *ln, struct memory *memory)
{
    struct dpo *d = ln->state;
    size_t pairs = (size_t)ln->P * d->pairs_per_group;

    d->pairs = memory_take(memory, pairs * sizeof *d->pairs);
    d->pair_terms = memory_take(memory, pairs * PAIR_TERMS * sizeof(double));
    d->scores = memory_take(memory, (size_t)ln->k * sizeof *d->scores);
    d->has_eos = memory_take(memory, (size_t)ln->k * sizeof *d->has_eos);
}

/* ---- targets */

struct group_rows { const struct batch *b; int first; };

static bool same_response(int i, int j, void *user)
{
    const struct group_rows *g = user;
    const int *start = g->b->start + g->first;
    size_t length = (size_t)(start[i + 1] - start[i]);
    const int *a = g->b->tokens + start[i], *b = g->b->tokens + start[j];

    return length == (size_t)(start[j + 1] - start[j]) && memcmp(a, b, length * sizeof *a) == 0;
}

/* Label group g of the batch held here, and mark the rows that its pairs need. */
static void label(struct learner *ln, const struct batch *b, int g)
{
    const struct config *c = ln->config;
    struct dpo *d = ln->state;
    struct group_rows rows = { b, g * b->k };
    struct pair *pairs = d->pairs + (size_t)g * d->pairs_per_group;
    double *terms = d->pair_terms + (size_t)g * d->pairs_per_group * PAIR_TERMS;

    for (int s = 0; s < b->k; s++) {
        int n = rows.first + s;
        d->scores[s] = row_score(ln, b, n);
        d->has_eos[s] = b->finish[n] == FINISH_EOS;
        ln->place[n] = -1;
    }
    label_adjust(d->scores, d->has_eos, b->k, c->dpo.missing_eos_penalty);
    label_group(pairs, d->scores, b->k, d->pairing, d->tie_policy, c->dpo.tie_eps, same_response,
                &rows);
    for (int p = 0; p < d->pairs_per_group; p++, terms += PAIR_TERMS) {
        memset(terms, 0, PAIR_TERMS * sizeof *terms);
        terms[PAIR_WEIGHT] = pairs[p].weight;
        terms[PAIR_TIE] = pairs[p].tie;
        terms[PAIR_SCORE_W] = d->scores[pairs[p].winner];
        terms[PAIR_SCORE_L] = d->scores[pairs[p].loser];
        if (pairs[p].weight > 0)
            ln->place[rows.first + pairs[p].winner] = ln->place[rows.first + pairs[p].loser] = 0;
    }
}

static int dpo_targets(struct learner *ln, const struct batch *b)
{
    for (int g = 0; g < b->groups; g++)
        label(ln, b, g);
    return RL_OK;
}

/* No pair of the step is left: the first of each group is run all the same, with weight 0, so that
 * actor and learner are compared in every step. */
static void run_first_pairs(struct learner *ln, const struct batch *b)
{
    const struct dpo *d = ln->state;

    for (int g = 0; g < b->groups; g++) {
        const struct pair *pair = &d->pairs[(size_t)g * d->pairs_per_group];
        ln->place[g * b->k + pair->winner] = ln->place[g * b->k + pair->loser] = 0;
    }
}

static int dpo_count(struct learner *ln, const struct batch *b)
{
    const struct dpo *d = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, d->pair_terms, (size_t)d->pairs_per_group * PAIR_TERMS));
    ln->total = 0;
    for (size_t p = 0; p < (size_t)b->P * d->pairs_per_group; p++)
        ln->total += ln->stats.all[p * PAIR_TERMS + PAIR_WEIGHT];
    if (!(ln->total > 0))
        run_first_pairs(ln, b);
done:
    return rc;
}

/* ---- loss */

/* Sums of one row of the micro-batch. */
static void row_sums(struct learner *ln, const struct batch *b, int i)
{
    struct micro *micro = &ln->micro;
    int n = micro->row[i], from, end = row_response(b, n, &from);
    int shift = micro->start[i] - b->start[n];          /* from the batch to the packed rows */

    micro->S[i] = row_sum(micro->logp, from + shift, end + shift);
    micro->R[i] = row_sum(b->ref_logp, from, end);
    micro->slope[i] = 0;
    rows_compare(ln, b, i);
}

/* Value of one pair, its slopes added to its rows. */
static int pair_terms(struct learner *ln, const struct batch *b, int g, int p)
{
    const struct dpo *d = ln->state;
    struct micro *micro = &ln->micro;
    size_t index = (size_t)g * d->pairs_per_group + p;
    const struct pair *pair = &d->pairs[index];
    double *terms = d->pair_terms + index * PAIR_TERMS;
    int row_w = g * b->k + pair->winner, row_l = g * b->k + pair->loser, from;
    int w = ln->place[row_w], l = ln->place[row_l];
    struct pair_input in = { .S_w = micro->S[w], .S_l = micro->S[l],
                             .R_w = micro->R[w], .R_l = micro->R[l], .target = pair->target,
                             .set = &d->set };
    struct pair_output out;

    in.n_w = row_response(b, row_w, &from) - from;
    in.n_l = row_response(b, row_l, &from) - from;
    loss_eval(d->loss, &in, &out);
    if (!isfinite(in.S_w + in.S_l + in.R_w + in.R_l + out.value))
        return rl_error(RL_ENAN, "step %lld: the loss of prompt %lld is %g (log-probabilities %g "
                        "and %g, reference %g and %g)", (long long)b->step + 1,
                        (long long)b->prompt[row_w] + 1, out.value, in.S_w, in.S_l, in.R_w, in.R_l);
    micro->slope[w] += pair->weight * out.dS_w / ln->total;
    micro->slope[l] += pair->weight * out.dS_l / ln->total;
    terms[PAIR_VALUE] = out.value;
    terms[PAIR_S_W] = in.S_w;
    terms[PAIR_S_L] = in.S_l;
    terms[PAIR_R_W] = in.R_w;
    terms[PAIR_R_L] = in.R_l;
    terms[PAIR_N_W] = in.n_w;
    terms[PAIR_N_L] = in.n_l;
    return RL_OK;
}

static int dpo_loss(struct learner *ln, const struct batch *b)
{
    const struct dpo *d = ln->state;
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    for (int i = 0; i < micro->N; i++)
        row_sums(ln, b, i);
    for (int g = micro->group; g < micro->group + micro->groups; g++)
        for (int p = 0; p < d->pairs_per_group; p++)
            if (d->pairs[(size_t)g * d->pairs_per_group + p].weight > 0)
                TRY(pair_terms(ln, b, g, p));
    for (int i = 0; i < micro->N; i++) {
        int from, end = row_response(b, micro->row[i], &from);
        int shift = micro->start[i] - b->start[micro->row[i]];
        row_fill(micro->dlogp, from + shift, end + shift, micro->slope[i]);
    }
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

static void pair_values(const double *t, double beta, double *v)
{
    double chosen = beta * (t[PAIR_S_W] - t[PAIR_R_W]);
    double rejected = beta * (t[PAIR_S_L] - t[PAIR_R_L]);

    v[0] = chosen;
    v[1] = rejected;
    v[2] = chosen - rejected;
    v[3] = chosen > rejected;
    v[4] = t[PAIR_S_W];
    v[5] = t[PAIR_S_L];
    v[6] = t[PAIR_S_W] >= t[PAIR_S_L];
    v[7] = t[PAIR_SCORE_W] - t[PAIR_SCORE_L];
    v[8] = t[PAIR_N_W] - t[PAIR_N_L];
}

/* Means over the pairs that were kept; *loss is the number that was differentiated. */
static void report_pairs(struct learner *ln, const struct batch *b, struct metrics *m, double *loss)
{
    const struct dpo *d = ln->state;
    int pairs = b->P * d->pairs_per_group, kept = 0, ties = 0;
    double sum[PAIR_METRICS] = { 0 }, v[PAIR_METRICS];

    *loss = 0;
    for (int p = 0; p < pairs; p++) {
        const double *t = ln->stats.all + (size_t)p * PAIR_TERMS;
        ties += t[PAIR_TIE] > 0;
        if (!(t[PAIR_WEIGHT] > 0))
            continue;
        kept++;
        *loss += t[PAIR_WEIGHT] * t[PAIR_VALUE];
        pair_values(t, ln->config->beta, v);
        for (int i = 0; i < PAIR_METRICS; i++)
            sum[i] += v[i];
    }
    if (kept > 0) {
        *loss /= ln->total;
        metrics_set(m, "loss", *loss);
        for (int i = 0; i < PAIR_METRICS; i++)
            metrics_set(m, pair_metrics[i], sum[i] / kept);
    }
    metrics_set(m, "dpo/tie_frac", (double)ties / pairs);
    metrics_set(m, "data/dropped_frac", (double)(pairs - kept) / pairs);
}

static int dpo_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    const struct dpo *d = ln->state;
    double loss, log2 = 0.69314718055994530942;
    bool start;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, d->pair_terms, (size_t)d->pairs_per_group * PAIR_TERMS));
    report_pairs(ln, b, m, &loss);
    TRY(rows_report(ln, b, m, &start));
    /* Actor and reference are one model: then every margin is 0, or learner and actor differ. */
    if (start && ln->version == 0 && ln->total > 0 && d->loss->eval == loss_sigmoid &&
        ln->config->dpo.nll == 0 && fabs(loss - log2) > 1e-6)
        rc = rl_error(RL_EBUG, "the first loss is %.9g, not log 2, though policy and reference "
                      "agree: the learner computes other log-probabilities than the actor", loss);
done:
    return rc;
}

const struct method method_dpo = {
    .state = sizeof(struct dpo), .sources = 1u << SOURCE_PAIRS,
    .check = dpo_check, .setup = dpo_setup, .layout = dpo_layout,
    .targets = dpo_targets,
    .count = dpo_count, .loss = dpo_loss, .report = dpo_report,
};
