/* OSP (2405.14103): the policy's own verdicts on its responses, from the reward column "judge",
 * become ranked pairs with graded strengths, and each pair is trained towards its strength by
 * soft-preference cross-entropy.  Rewards that are configured besides are measured only.
 *
 *   lam_i  --ranking.h-->  pairs (i, j), p_ij  --pairs.h-->  p softplus(-x) + (1-p) softplus(x) */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "compute/math.h"
#include "learner/osp/ranking.h"
#include "learner/preference/pairs.h"
#include "learner/preference/rows.h"

/* What is reported of a response's verdict: records of doubles, gathered in global order. */
enum verdict_term { VERDICT_JUDGED, VERDICT_LAM, VERDICT_BIAS, VERDICT_LENGTH, VERDICT_TERMS };

struct osp {
    struct pairs pairs;
    struct osp_settings set;
    int judge, bias;            /* reward columns */
    bool baseline_is_first;     /* the baseline is response 0, not one of the prompt's line */
    double *lam;                /* (k) of one group */
    int *length, *order;        /* (k) */
    double *terms;              /* (P, k, VERDICT_TERMS) */
};

/* ---- settings */

/* The reward column of kind judge that holds this; -1: there is none. */
static int column_of(const struct config *c, const char *column)
{
    for (int i = 0; i < c->n_rewards; i++)
        if (strcmp(c->rewards[i].kind, "judge") == 0 && strcmp(c->rewards[i].column, column) == 0)
            return i;
    return -1;
}

static int osp_check(const struct config *c, const struct algorithm *a)
{
    if (c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: %s compares responses and needs 2 or "
                        "more", config_where(c, "samples_per_prompt"), a->name);
    if (column_of(c, "strength") < 0 || column_of(c, "bias") < 0)
        return rl_error(RL_EINVAL, "%s: rewards: %s needs both columns of kind \"judge\", strength "
                        "and bias; without any of them it brings its own",
                        config_where(c, "rewards"), a->name);
    if (strcmp(c->osp.pairs, "vs_baseline") == 0 && c->osp.baseline)
        return rl_error(RL_EINVAL, "%s: osp.pairs: \"vs_baseline\" pairs samples with the "
                        "baseline, which osp.baseline takes from the prompts' lines and nobody "
                        "trains on",
                        config_where(c, "osp.pairs"));
    return RL_OK;
}

static void fill_settings(struct osp *o, const struct config *c)
{
    static const char *const names[] = { "all", "adjacent", "vs_baseline", "best_worst" };

    o->set = (struct osp_settings){
        .probability = strcmp(c->osp.average, "probability") == 0, .most = c->osp.clamp,
        .affine = strcmp(c->osp.strength, "affine") == 0, .min_strength = c->osp.min_strength,
        .graded = strcmp(c->osp.weight, "strength") == 0,
        .length_penalty = c->osp.length_penalty, .n_ref = c->osp.length_ref,
    };
    for (int i = 0; i < 4; i++)
        if (strcmp(c->osp.pairs, names[i]) == 0)
            o->set.pairs = (enum osp_pairs)i;
}

static int osp_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct osp *o = ln->state;

    fill_settings(o, c);
    o->judge = column_of(c, "strength");
    o->bias = column_of(c, "bias");
    o->baseline_is_first = !c->osp.baseline;
    loss_settings_fill(&o->pairs.set, c);
    o->pairs.loss = loss_find(strcmp(c->osp.link, "affine") == 0 ? "spce_affine" : "sigmoid");
    pairs_setup(ln, &o->pairs, ln->k * (ln->k - 1) / 2);
    if (ln->group_terms < (size_t)ln->k * VERDICT_TERMS)
        ln->group_terms = (size_t)ln->k * VERDICT_TERMS;
    return RL_OK;
}

static void osp_layout(struct learner *ln, struct memory *memory)
{
    struct osp *o = ln->state;
    size_t k = (size_t)ln->k;

    pairs_layout(ln, &o->pairs, memory);
    o->lam = memory_take(memory, k * sizeof *o->lam);
    o->length = memory_take(memory, k * sizeof *o->length);
    o->order = memory_take(memory, k * sizeof *o->order);
    o->terms = memory_take(memory, (size_t)ln->P * k * VERDICT_TERMS * sizeof *o->terms);
}

/* ---- targets */

/* A response that nobody judged leaves its whole prompt without pairs. */
static bool see_group(struct learner *ln, const struct batch *b, int g)
{
    struct osp *o = ln->state;
    bool judged = true;

    for (int s = 0; s < b->k; s++) {
        int n = g * b->k + s, from, end = row_response(b, n, &from);
        double *terms = o->terms + (size_t)n * VERDICT_TERMS;
        double lam = b->reward[(size_t)n * b->R + o->judge];
        double bias = b->reward[(size_t)n * b->R + o->bias];
        bool is_baseline = s == 0 && o->baseline_is_first, said = isfinite(lam) && isfinite(bias);
        o->lam[s] = is_baseline || !said ? 0 : osp_strength(&o->set, lam, bias);
        o->length[s] = end > from ? end - from : 0;
        terms[VERDICT_JUDGED] = said && !is_baseline;
        terms[VERDICT_LAM] = said ? lam : 0;
        terms[VERDICT_BIAS] = said ? bias : 0;
        terms[VERDICT_LENGTH] = o->length[s];
        judged = judged && said;
    }
    return judged;
}

static int osp_targets(struct learner *ln, const struct batch *b)
{
    struct osp *o = ln->state;
    int per_group = o->pairs.per_group;

    for (int g = 0; g < b->groups; g++) {
        struct group_rows rows = { b, g * b->k };
        struct pair *pair = o->pairs.pair + (size_t)g * per_group;
        bool judged = see_group(ln, b, g);
        osp_rank(pair, &o->set, o->lam, o->length, b->k, o->baseline_is_first ? 0 : -1, o->order);
        for (int i = 0; i < per_group; i++)     /* a margin that is 0 for ever teaches nothing */
            if (!judged || same_row(pair[i].winner, pair[i].loser, &rows))
                pair[i].weight = 0;
        pairs_mark(ln, &o->pairs, b, g, o->lam);
    }
    return RL_OK;
}

static int osp_count(struct learner *ln, const struct batch *b)
{
    struct osp *o = ln->state;

    return pairs_count(ln, &o->pairs, b);
}

static int osp_loss(struct learner *ln, const struct batch *b)
{
    struct osp *o = ln->state;

    return pairs_loss(ln, &o->pairs, b);
}

/* ---- report */

/* From the pairs' terms, which pairs_report has gathered. */
static void report_strengths(const struct learner *ln, const struct osp *o, const struct batch *b,
                             struct metrics *m)
{
    int pairs = b->P * o->pairs.per_group, kept = 0;
    double sum = 0, squares = 0, mean;

    for (int i = 0; i < pairs; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        if (t[PAIR_WEIGHT] > 0) {
            kept++;
            sum += t[PAIR_TARGET];
        }
    }
    metrics_set(m, "osp/pairs_per_prompt", (double)kept / b->P);
    if (kept == 0)
        return;
    mean = sum / kept;
    for (int i = 0; i < pairs; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        if (t[PAIR_WEIGHT] > 0)
            squares += (t[PAIR_TARGET] - mean) * (t[PAIR_TARGET] - mean);
    }
    metrics_set(m, "osp/strength/mean", mean);
    metrics_set(m, "osp/strength/std", sqrt(squares / kept));
}

/* Do both orders agree, which slot is favoured, and are longer responses? */
static int report_verdicts(struct learner *ln, struct osp *o, const struct batch *b,
                           struct metrics *m)
{
    int rows = b->P * b->k, judged = 0, agree = 0, rc = RL_OK;
    double bias = 0, correlation;

    TRY(stats_gather(&ln->stats, o->terms, (size_t)b->k * VERDICT_TERMS));
    for (int n = 0; n < rows; n++) {
        const double *t = ln->stats.all + (size_t)n * VERDICT_TERMS;
        if (!(t[VERDICT_JUDGED] > 0))
            continue;
        judged++;
        agree += (t[VERDICT_LAM] + t[VERDICT_BIAS]) * (t[VERDICT_LAM] - t[VERDICT_BIAS]) > 0;
        bias += t[VERDICT_BIAS];
    }
    if (judged > 0) {
        metrics_set(m, "osp/order_agreement", (double)agree / judged);
        metrics_set(m, "osp/order_bias", bias / judged);
    }
    if (stats_correlation(ln->stats.all, rows, VERDICT_TERMS, VERDICT_LAM, VERDICT_LENGTH,
                          &correlation))
        metrics_set(m, "osp/len_corr", correlation);
done:
    return rc;
}

static int osp_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct osp *o = ln->state;
    double loss;
    int rc = RL_OK;

    TRY(pairs_report(ln, &o->pairs, b, m, &loss));
    report_strengths(ln, o, b, m);
    TRY(report_verdicts(ln, o, b, m));
    TRY(pairs_check_start(ln, &o->pairs, b, m, loss));
done:
    return rc;
}

const struct method method_osp = {
    .state = sizeof(struct osp), .check = osp_check, .setup = osp_setup, .layout = osp_layout,
    .targets = osp_targets, .count = osp_count, .loss = osp_loss, .report = osp_report,
    .judges = true,
};
