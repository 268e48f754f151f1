/* Methods of single responses that are labelled desirable or not: KTO, BCO.
 *
 *   look      h = S - R of every row, without a gradient       prepare   the shift of the step
 *   loss      L = sum over labelled rows of weight l(h, label, shift) / sum of weights
 *
 *   kto   shift z0 = max(0, mean of h): of mismatched pairs of prompt and response, which come as
 *         the second row of a group with weight 0; of rollouts, the mean over the rollouts
 *         themselves, which estimates the same KL divergence from the policy's own samples
 *   bco   shift delta: running means of beta h of both classes, this step included
 *
 * Rollouts are labelled by their score: against the mean of their group (kto.labels =
 * "group_mean"; a response at the mean has no label and weighs 0), or against kto.threshold. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/losses/single.h"
#include "learner/preference/rows.h"
#include "learner/preference/udm.h"

/* Terms of a row. */
enum single_term { SINGLE_WEIGHT, SINGLE_TWIN, SINGLE_DESIRABLE, SINGLE_H, SINGLE_VALUE, SINGLE_S,
                   SINGLE_R, SINGLE_TERMS };

struct singles {
    const struct single_loss *loss;
    struct loss_settings set;
    bool kto, twins;            /* twins: the second row of a group is a mismatched one */
    double *terms;              /* (P, k, SINGLE_TERMS) */
    double *scores;             /* (k) of one group */
    double shift;               /* of this step */
    struct bco_means means;     /* bco: after the last update; in checkpoints */
    struct bco_means now;       /* with this step */
    struct udm udm;
};

/* ---- settings */

static int singles_check(const struct config *c, const struct algorithm *a)
{
    bool rollouts = algorithm_source(a, c) == SOURCE_PROMPTS;

    if (rollouts && c->samples_per_prompt < 2 && strcmp(c->kto.labels, "group_mean") == 0)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: kto.labels = \"group_mean\" compares "
                        "responses and needs 2 or more; or set kto.labels = \"threshold\"",
                        config_where(c, "samples_per_prompt"));
    if (c->bco.udm_min > c->bco.udm_max)
        return rl_error(RL_EINVAL, "%s: bco.udm_min: %g is more than bco.udm_max = %g",
                        config_where(c, "bco.udm_min"), c->bco.udm_min, c->bco.udm_max);
    if (rollouts && c->bco.udm)
        return rl_error(RL_EINVAL, "%s: bco.udm: it compares the prompts of labelled records and "
                        "needs source = \"pairs\"", config_where(c, "bco.udm"));
    return RL_OK;
}

static enum view singles_view(const struct config *c, const struct algorithm *a)
{
    (void)c;
    return single_find(a->variant)->eval == single_kto ? VIEW_KTO : VIEW_SINGLES;
}

static unsigned singles_columns(const struct config *c, const struct algorithm *a)
{
    bool rollouts = algorithm_source(a, c) == SOURCE_PROMPTS;

    return COL_TOKENS | COL_REWARD | COL_REF_LOGP | (rollouts ? COL_ACTOR_LOGP : COL_LABEL);
}

static int singles_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct singles *s = ln->state;

    loss_settings_fill(&s->set, c);
    s->loss = single_find(ln->algorithm->variant);
    s->kto = s->loss->eval == single_kto;
    s->twins = s->kto && algorithm_source(ln->algorithm, c) == SOURCE_PAIRS;
    ln->group_terms = (size_t)ln->k * SINGLE_TERMS;
    if (!s->kto)
        udm_setup(ln, &s->udm);
    return RL_OK;
}

static void singles_layout(struct learner *ln, struct memory *memory)
{
    struct singles *s = ln->state;

    s->terms = memory_take(memory, (size_t)ln->P * ln->k * SINGLE_TERMS * sizeof(double));
    s->scores = memory_take(memory, (size_t)ln->k * sizeof(double));
    udm_layout(&s->udm, memory);
}

static int singles_values(struct learner *ln, struct learner_value *out)
{
    struct singles *s = ln->state;

    if (s->kto)
        return 0;
    out[0] = (struct learner_value){ "bco_means", s->means.mean, 2 };
    out[1] = (struct learner_value){ "bco_counts", s->means.count, 2 };
    return 2 + udm_values(&s->udm, out + 2);
}

/* ---- targets */

static void label(double *terms, double weight, double above)
{
    terms[SINGLE_WEIGHT] = isfinite(above) && above != 0 ? weight : 0;
    terms[SINGLE_DESIRABLE] = above > 0;
}

static void label_rollouts(struct learner *ln, const struct batch *b, int g)
{
    const struct config *c = ln->config;
    struct singles *s = ln->state;
    bool group = strcmp(c->kto.labels, "group_mean") == 0;
    double mean = 0, bar = c->kto.threshold;
    int n = 0;

    for (int i = 0; i < b->k; i++) {
        s->scores[i] = row_label(ln, b, g * b->k + i);
        mean += isfinite(s->scores[i]) ? s->scores[i] : 0;
        n += isfinite(s->scores[i]);
    }
    for (int i = 0; i < b->k; i++) {
        double *terms = s->terms + ((size_t)g * b->k + i) * SINGLE_TERMS;
        if (group)
            label(terms, 1, fabs(s->scores[i] - mean / n) <= c->dpo.tie_eps ? 0
                                                         : s->scores[i] - mean / n);
        else
            label(terms, 1, s->scores[i] >= bar ? 1 : s->scores[i] < bar ? -1 : NAN);
    }
}

static void label_record(struct learner *ln, const struct batch *b, int g)
{
    struct singles *s = ln->state;

    for (int n = g * b->k; n < (g + 1) * b->k; n++) {
        double *terms = s->terms + (size_t)n * SINGLE_TERMS;
        terms[SINGLE_TWIN] = s->twins && n > g * b->k;
        label(terms, row_weight(b, n), row_label(ln, b, n) - 0.5);
    }
}

static int singles_targets(struct learner *ln, const struct batch *b)
{
    struct singles *s = ln->state;

    memset(s->terms, 0, (size_t)b->N * SINGLE_TERMS * sizeof(double));
    for (int g = 0; g < b->groups; g++)
        if (b->filled & COL_LABEL)
            label_record(ln, b, g);
        else
            label_rollouts(ln, b, g);
    for (int n = 0; n < b->N; n++)
        ln->place[n] = 0;           /* all of them are looked at */
    return RL_OK;
}

/* ---- the whole step */

static int singles_look(struct learner *ln, const struct batch *b)
{
    struct singles *s = ln->state;
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    rows_sum(ln, b);
    for (int i = 0; i < micro->N; i++) {
        double h = micro->S[i] - micro->R[i];
        s->terms[(size_t)micro->row[i] * SINGLE_TERMS + SINGLE_H] = h;
        if (!isfinite(h) && rc == RL_OK)
            rc = rl_error(RL_ENAN, "step %lld: the log-probabilities of prompt %lld are %g, of the "
                          "reference %g", (long long)b->step + 1,
                          (long long)b->prompt[micro->row[i]] + 1, micro->S[i], micro->R[i]);
    }
    return rc;
}

static double kto_shift(const struct singles *s, const double *all, int rows)
{
    double sum = 0, count = 0;

    for (int n = 0; n < rows; n++)
        if (!s->twins || all[n * SINGLE_TERMS + SINGLE_TWIN] > 0) {
            sum += all[n * SINGLE_TERMS + SINGLE_H];
            count++;
        }
    return kto_z0(sum, count);
}

static double bco_shift(struct singles *s, const double *all, int rows, bool of_classes)
{
    double sum[2] = { 0 }, count[2] = { 0 };

    for (int n = 0; n < rows; n++) {
        const double *t = all + (size_t)n * SINGLE_TERMS;
        if (t[SINGLE_WEIGHT] > 0) {
            sum[t[SINGLE_DESIRABLE] > 0] += s->set.beta * t[SINGLE_H];
            count[t[SINGLE_DESIRABLE] > 0]++;
        }
    }
    s->now = s->means;
    for (int i = 0; i < 2; i++)
        bco_add(&s->now, i, sum[i], count[i]);
    return bco_delta(&s->now, of_classes);
}

static int singles_prepare(struct learner *ln, const struct batch *b)
{
    struct singles *s = ln->state;
    int rows = b->P * b->k, rc = RL_OK;

    TRY(stats_gather(&ln->stats, s->terms, (size_t)b->k * SINGLE_TERMS));
    s->shift = s->kto ? kto_shift(s, ln->stats.all, rows)
                      : bco_shift(s, ln->stats.all, rows,
                                  strcmp(ln->config->bco.delta, "classes") == 0);
    ln->total = 0;
    for (int n = 0; n < rows; n++)
        ln->total += ln->stats.all[(size_t)n * SINGLE_TERMS + SINGLE_WEIGHT];
done:
    return rc;
}

static int singles_select(struct learner *ln, const struct batch *b)
{
    const struct singles *s = ln->state;

    for (int n = 0; n < b->N; n++)
        ln->place[n] = s->terms[(size_t)n * SINGLE_TERMS + SINGLE_WEIGHT] > 0 ? 0 : -1;
    return RL_OK;
}

static int singles_count(struct learner *ln, const struct batch *b)
{
    return gradients_count(ln, b);
}

/* ---- loss */

static int singles_loss(struct learner *ln, const struct batch *b)
{
    struct singles *s = ln->state;
    struct micro *micro = &ln->micro;

    rows_sum_compared(ln, b);
    for (int i = 0; i < micro->N; i++) {
        int n = micro->row[i];
        double *terms = s->terms + (size_t)n * SINGLE_TERMS;
        struct single_input in = { .S = micro->S[i], .R = micro->R[i], .weight = 1,
                                   .desirable = terms[SINGLE_DESIRABLE] > 0, .shift = s->shift,
                                   .set = &s->set };
        struct single_output out;
        if (s->udm.kept[1] > 0 && !in.desirable)
            in.weight = udm_of(&s->udm, ln->config, b, n);
        s->loss->eval(&in, &out);
        terms[SINGLE_S] = in.S;
        terms[SINGLE_R] = in.R;
        terms[SINGLE_VALUE] = out.value;
        micro->slope[i] = terms[SINGLE_WEIGHT] * out.dS / ln->total;
    }
    rows_spread(ln, b);
    return RL_OK;
}

/* ---- report */

struct class { double h, S; int n; };

static void report_classes(const struct singles *s, const struct class class[2], struct metrics *m)
{
    static const char *const names[] = { "rejected", "chosen" };
    const char *method = s->loss->name;

    for (int i = 0; i < 2; i++)
        if (class[i].n > 0) {
            metrics_setf(m, s->set.beta * class[i].h / class[i].n, "%s/rewards/%s", method,
                         names[i]);
            metrics_setf(m, class[i].S / class[i].n, "%s/logps/%s", method, names[i]);
        }
    if (class[0].n > 0 && class[1].n > 0)
        metrics_setf(m, s->set.beta * (class[1].h / class[1].n - class[0].h / class[0].n),
                     "%s/rewards/margins", method);
    metrics_setf(m, s->shift, s->kto ? "kto/z0" : "bco/delta");
    if (class[0].n + class[1].n > 0)
        metrics_setf(m, (double)class[1].n / (class[0].n + class[1].n), "%s/chosen_frac", method);
}

static void report_rows(struct learner *ln, int rows, struct metrics *m)
{
    const struct singles *s = ln->state;
    struct class class[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    double loss = 0;
    int labelled = 0, twins = 0;

    for (int n = 0; n < rows; n++) {
        const double *t = ln->stats.all + (size_t)n * SINGLE_TERMS;
        struct class *of = &class[t[SINGLE_DESIRABLE] > 0];
        twins += t[SINGLE_TWIN] > 0;
        if (!(t[SINGLE_WEIGHT] > 0))
            continue;
        labelled++;
        loss += t[SINGLE_WEIGHT] * t[SINGLE_VALUE];
        of->h += t[SINGLE_S] - t[SINGLE_R];
        of->S += t[SINGLE_S];
        of->n++;
    }
    if (labelled > 0)
        metrics_set(m, "loss", loss / ln->total);
    metrics_set(m, "data/dropped_frac", (double)(rows - twins - labelled) / (rows - twins));
    report_classes(s, class, m);
}

static int singles_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct singles *s = ln->state;
    bool start;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, s->terms, (size_t)b->k * SINGLE_TERMS));
    report_rows(ln, b->P * b->k, m);
    TRY(rows_report(ln, b, m, &start));
done:
    return rc;
}

static int singles_finish(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct singles *s = ln->state;

    (void)b;
    (void)m;
    s->means = s->now;
    return RL_OK;
}

/* ---- before the first update: the prompts of all records */

static bool desirable(const struct batch *b, int n)
{
    return b->reward[(size_t)n * b->R] > 0.5;
}

static int64_t singles_preview(struct learner *ln)
{
    const struct singles *s = ln->state;

    return s->udm.wanted && !(s->udm.kept[1] > 0) ? s->udm.room : 0;
}

static int singles_preview_add(struct learner *ln, const struct batch *b)
{
    struct singles *s = ln->state;

    return udm_add(ln, &s->udm, b, desirable);
}

static int singles_preview_end(struct learner *ln)
{
    struct singles *s = ln->state;

    return udm_fit(ln, &s->udm);
}

const struct method method_singles = {
    .state = sizeof(struct singles), .sources = 1u << SOURCE_PROMPTS | 1u << SOURCE_PAIRS,
    .view = singles_view, .check = singles_check, .columns = singles_columns,
    .setup = singles_setup, .layout = singles_layout, .values = singles_values,
    .targets = singles_targets, .look = singles_look, .prepare = singles_prepare,
    .select = singles_select, .count = singles_count, .loss = singles_loss,
    .report = singles_report, .finish = singles_finish,
    .preview = singles_preview, .preview_add = singles_preview_add,
    .preview_end = singles_preview_end,
};
