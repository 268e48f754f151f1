/* Methods of lists: all responses to a prompt at once, with any loss of list_losses[].
 *
 *   scores -> labels of the list's rows      L = sum over lists of weight l(S, R) / sum of weights
 *
 *   lipo            label (score - lowest) / (highest - lowest), or the score, when it is a label
 *   pro             the score
 *   listwise_soft   softmax of score / list.temperature
 *   gpo             mean over the others of the preference score, of scores or of their sigmoid;
 *                   or the score, when it is such a mean already (that of a gpm reward model is)
 *
 * A row whose score did not come, or that only fills a shorter list, is left out.  A list of fewer
 * than two rows, or of equal scores where only their order teaches (lipo, pro), weighs 0. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/losses/list.h"
#include "learner/preference/rows.h"

/* Terms of a list. */
enum list_term { LIST_WEIGHT, LIST_VALUE, LIST_ROWS, LIST_ORDERED, LIST_PAIRS, LIST_BEST_H,
                 LIST_MEAN_H, LIST_BEST_S, LIST_TERMS };

struct lists {
    const struct list_loss *loss;
    struct loss_settings set;
    double *label;              /* (P, k) */
    double *terms;              /* (P, LIST_TERMS) */
    double *scores;             /* (k) of one list, then of its table (k, k) for gpo */
    double *S, *R, *y, *dS;     /* (k) of the rows that a list has */
    int *n, *row;               /* (k) */
};

/* ---- settings */

static int lists_check(const struct config *c, const struct algorithm *a)
{
    if (algorithm_source(a, c) == SOURCE_PROMPTS && c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: %s compares responses and needs 2 or "
                        "more", config_where(c, "samples_per_prompt"), a->name);
    return RL_OK;
}

static enum view lists_view(const struct config *c, const struct algorithm *a)
{
    (void)c;
    (void)a;
    return VIEW_LISTS;
}

static unsigned lists_columns(const struct config *c, const struct algorithm *a)
{
    unsigned from = algorithm_source(a, c) == SOURCE_PROMPTS ? COL_ACTOR_LOGP : COL_LABEL;

    return COL_TOKENS | COL_REWARD | from |
           (list_find(a->variant)->needs & LOSS_REF ? COL_REF_LOGP : 0);
}

static int lists_setup(struct learner *ln)
{
    struct lists *l = ln->state;

    if (ln->k > LIST_ROOM)
        return rl_error(RL_EINVAL, "samples_per_prompt: lists are of at most %d responses, not %d",
                        LIST_ROOM, ln->k);
    loss_settings_fill(&l->set, ln->config);
    l->loss = list_find(ln->algorithm->variant);
    ln->group_terms = LIST_TERMS;
    return RL_OK;
}

static void lists_layout(struct learner *ln, struct memory *memory)
{
    struct lists *l = ln->state;
    size_t P = (size_t)ln->P, k = (size_t)ln->k;

    l->label = memory_take(memory, P * k * sizeof(double));
    l->terms = memory_take(memory, P * LIST_TERMS * sizeof(double));
    l->scores = memory_take(memory, (k + k * k) * sizeof(double));
    l->S = memory_take(memory, k * sizeof(double));
    l->R = memory_take(memory, k * sizeof(double));
    l->y = memory_take(memory, k * sizeof(double));
    l->dS = memory_take(memory, k * sizeof(double));
    l->n = memory_take(memory, k * sizeof(int));
    l->row = memory_take(memory, k * sizeof(int));
}

/* ---- targets: scores(n) of the rows that are there become labels */

static void label_lipo(double *y, const double *score, int n)
{
    double low = score[0], high = score[0];

    for (int i = 1; i < n; i++) {
        low = score[i] < low ? score[i] : low;
        high = score[i] > high ? score[i] : high;
    }
    for (int i = 0; i < n; i++)
        y[i] = high > low ? (score[i] - low) / (high - low) : 0;
}

static void label_soft(double *y, const double *score, int n, double temperature)
{
    for (int i = 0; i < n; i++)
        y[i] = score[i] / temperature;
    softmax(y, y, n);
}

static void label_gpo(double *y, const double *score, int n, double *table, const char *preference)
{
    bool probability = strcmp(preference, "probability") == 0;

    if (strcmp(preference, "given") == 0) {
        memcpy(y, score, (size_t)n * sizeof *y);
        return;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            table[i * n + j] = probability ? sigmoid(score[i] - score[j]) - 0.5
                                           : score[i] - score[j];
    gpo_scores(y, table, n);
}

static void make_labels(struct learner *ln, double *y, const double *score, int n)
{
    const struct config *c = ln->config;
    struct lists *l = ln->state;

    if (l->loss->eval == list_lipo && strcmp(c->list.labels, "scaled") == 0)
        label_lipo(y, score, n);
    else if (l->loss->eval == list_soft)
        label_soft(y, score, n, c->list.temperature);
    else if (l->loss->eval == list_gpo)
        label_gpo(y, score, n, l->scores + ln->k, c->list.preference);
    else
        memcpy(y, score, (size_t)n * sizeof *y);
}

/* Rows of group g that are there, their scores in l->scores; the others get place -1. */
static int rows_there(struct learner *ln, const struct batch *b, int g)
{
    struct lists *l = ln->state;
    int count = 0;

    for (int n = g * b->k; n < (g + 1) * b->k; n++) {
        double score = row_label(ln, b, n);
        bool there = isfinite(score) && row_weight(b, n) > 0;
        ln->place[n] = there ? 0 : -1;
        if (there) {
            l->scores[count] = score;
            l->row[count++] = n;
        }
    }
    return count;
}

static bool all_equal(const double *x, int n)
{
    for (int i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

static void target(struct learner *ln, const struct batch *b, int g)
{
    struct lists *l = ln->state;
    double *terms = l->terms + (size_t)g * LIST_TERMS;
    int n = rows_there(ln, b, g);
    bool ordered = l->loss->eval == list_lipo || l->loss->eval == list_pro;

    memset(terms, 0, LIST_TERMS * sizeof *terms);
    if (n >= 2 && !(ordered && all_equal(l->scores, n))) {
        terms[LIST_WEIGHT] = row_weight(b, l->row[0]);
        make_labels(ln, l->y, l->scores, n);
    }
    for (int i = 0; i < n; i++) {
        l->label[l->row[i]] = terms[LIST_WEIGHT] > 0 ? l->y[i] : 0;
        if (!(terms[LIST_WEIGHT] > 0))
            ln->place[l->row[i]] = -1;
    }
}

static int lists_targets(struct learner *ln, const struct batch *b)
{
    for (int g = 0; g < b->groups; g++)
        target(ln, b, g);
    return RL_OK;
}

static int lists_count(struct learner *ln, const struct batch *b)
{
    struct lists *l = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, l->terms, LIST_TERMS));
    ln->total = 0;
    for (int g = 0; g < b->P; g++)
        ln->total += ln->stats.all[(size_t)g * LIST_TERMS + LIST_WEIGHT];
done:
    return rc;
}

/* ---- loss */

/* How well the policy orders the list, and its best response. */
static void describe(const struct lists *l, int n, double *terms)
{
    int best = 0;

    terms[LIST_ROWS] = n;
    for (int i = 0; i < n; i++) {
        best = l->y[i] > l->y[best] ? i : best;
        terms[LIST_MEAN_H] += (l->S[i] - l->R[i]) / n;
        for (int j = 0; j < n; j++)
            if (l->y[i] > l->y[j]) {
                terms[LIST_PAIRS]++;
                terms[LIST_ORDERED] += l->S[i] - l->R[i] > l->S[j] - l->R[j];
            }
    }
    terms[LIST_BEST_H] = l->S[best] - l->R[best];
    terms[LIST_BEST_S] = l->S[best];
}

static int list_loss(struct learner *ln, const struct batch *b, int g)
{
    struct lists *l = ln->state;
    struct micro *micro = &ln->micro;
    double *terms = l->terms + (size_t)g * LIST_TERMS, sum = 0;
    struct list_input in = { .S = l->S, .R = l->R, .n = l->n, .label = l->y, .set = &l->set };
    int from;

    for (int row = g * b->k; row < (g + 1) * b->k; row++) {
        int i = ln->place[row];
        if (i < 0)
            continue;
        l->S[in.k] = micro->S[i];
        l->R[in.k] = micro->R[i];
        l->n[in.k] = row_response(b, row, &from) - from;
        l->y[in.k] = l->label[row];
        l->row[in.k++] = i;
        sum += micro->S[i] + micro->R[i];
    }
    l->loss->eval(&in, &terms[LIST_VALUE], l->dS);
    if (!isfinite(sum + terms[LIST_VALUE]))
        return rl_error(RL_ENAN, "step %lld: the loss of prompt %lld is %g (log-probabilities and "
                        "reference add to %g)", (long long)b->step + 1,
                        (long long)b->prompt[g * b->k] + 1, terms[LIST_VALUE], sum);
    for (int i = 0; i < in.k; i++)
        micro->slope[l->row[i]] += terms[LIST_WEIGHT] * l->dS[i] / ln->total;
    describe(l, in.k, terms);
    return RL_OK;
}

static int lists_loss(struct learner *ln, const struct batch *b)
{
    struct lists *l = ln->state;
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    rows_sum_compared(ln, b);
    for (int g = micro->group; g < micro->group + micro->groups; g++)
        if (l->terms[(size_t)g * LIST_TERMS + LIST_WEIGHT] > 0)
            TRY(list_loss(ln, b, g));
    rows_spread(ln, b);
done:
    return rc;
}

/* ---- report */

static void report_lists(struct learner *ln, int P, struct metrics *m)
{
    const struct lists *l = ln->state;
    double sum[LIST_TERMS] = { 0 }, loss = 0, beta = l->set.beta;
    int kept = 0;

    for (int g = 0; g < P; g++) {
        const double *t = ln->stats.all + (size_t)g * LIST_TERMS;
        if (!(t[LIST_WEIGHT] > 0))
            continue;
        kept++;
        loss += t[LIST_WEIGHT] * t[LIST_VALUE];
        for (int i = 0; i < LIST_TERMS; i++)
            sum[i] += t[i];
    }
    metrics_set(m, "data/dropped_frac", (double)(P - kept) / P);
    if (kept == 0)
        return;
    metrics_set(m, "loss", loss / ln->total);
    metrics_set(m, "list/rows", sum[LIST_ROWS] / kept);
    metrics_set(m, "list/logps/best", sum[LIST_BEST_S] / kept);
    metrics_set(m, "list/rewards/best", beta * sum[LIST_BEST_H] / kept);
    metrics_set(m, "list/rewards/mean", beta * sum[LIST_MEAN_H] / kept);
    if (sum[LIST_PAIRS] > 0)
        metrics_set(m, "list/rewards/accuracies", sum[LIST_ORDERED] / sum[LIST_PAIRS]);
}

static int lists_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct lists *l = ln->state;
    bool start;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, l->terms, LIST_TERMS));
    report_lists(ln, b->P, m);
    TRY(rows_report(ln, b, m, &start));
done:
    return rc;
}

const struct method method_lists = {
    .state = sizeof(struct lists), .sources = 1u << SOURCE_PROMPTS | 1u << SOURCE_PAIRS,
    .view = lists_view, .check = lists_check, .columns = lists_columns,
    .setup = lists_setup, .layout = lists_layout, .targets = lists_targets, .count = lists_count,
    .loss = lists_loss, .report = lists_report,
};
