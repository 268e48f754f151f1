/* A reward model on held-out pairs: how often it prefers what the labels prefer, how far its
 * certainty can be believed, and the temperature that would make it so. */
#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "launch/eval/reading.h"
#include "learner/reward_model/calibration.h"
#include "reward/scorer.h"

/* Which output judges: the objective's head, or the annotator's user. */
static int which(const struct model_shape *shape, const struct batch *b, int n, int objective)
{
    if (shape->verdict.kind == VERDICT_POINT)
        return b->annotator[n] < shape->verdict.users ? b->annotator[n] : -1;
    if (shape->verdict.kind == VERDICT_GENERAL)
        return 0;
    return objective < shape->scores ? objective : shape->scores - 1;
}

/* Per pair and objective: how much better the winner is found; NaN: the labels are equal. */
static int judge_block(struct reading *r, struct scorer *scorer, int at)
{
    const struct model_shape *shape = scorer_shape(scorer);
    const struct batch *b = &r->batch;
    int rc = RL_OK;

    TRY(reading_block(r, at));
    scorer_begin(scorer);
    TRY(scorer_run(scorer, b, NULL));
    for (int g = 0; g < b->groups; g++)
        for (int i = 0; i < r->scores; i++) {
            const double *label = b->reward + (size_t)2 * g * b->R + i;
            double gap = scorer_margin(scorer, 2 * g, 2 * g + 1, which(shape, b, 2 * g, i));
            double sign = label[0] > label[b->R] ? 1 : label[0] < label[b->R] ? -1 : NAN;
            r->rows[(size_t)(at + g) * r->columns + i] = sign * gap;
        }
done:
    return rc;
}

static int add_objective(struct reading *r, const double *all, int i, const char *name)
{
    double *gaps = malloc(((size_t)r->P + 1) * sizeof *gaps), temperature;
    double tau = r->e->policy->source.shape.verdict.temperature;
    int n = 0, rc = RL_OK;

    if (!gaps)
        return rl_error(RL_ENOFIT, "no memory for %d margins", r->P);
    for (int p = 0; p < r->P; p++)
        if (isfinite(all[(size_t)p * r->columns + i]))
            gaps[n++] = all[(size_t)p * r->columns + i];
    TRY(figure_share(r->e, calibration_accuracy(gaps, n), n, "%saccuracy%s", r->prefix, name));
    TRY(figure_mean(r->e, &(struct table_column){ all, r->P, 1, r->columns, i }, "%smargin%s",
                    r->prefix, name));
    TRY(figure_add(r->e, calibration_ece(gaps, n, CALIBRATION_BINS, 1), "%sece%s", r->prefix,
                   name));
    TRY(figure_add(r->e, calibration_ece(gaps, n, CALIBRATION_BINS, tau > 0 ? tau : 1),
                   "%sece_fitted%s", r->prefix, name));
    temperature = calibration_temperature(gaps, n);
    TRY(figure_add(r->e, temperature, "%stemperature%s", r->prefix, name));
done:
    free(gaps);
    return rc;
}

static int add_figures(struct reading *r, const double *all)
{
    const char *const *names;
    char name[128];
    int rc = RL_OK;

    records_objectives(r->records, &names);
    for (int i = 0; i < r->scores; i++) {
        snprintf(name, sizeof name, "/%s", names[i]);
        TRY(add_objective(r, all, i, r->scores > 1 ? name : ""));
    }
done:
    return rc;
}

static int open_file(struct reading *r, const struct strings *path, struct scorer **scorer)
{
    int longest, rc = RL_OK;

    TRY(reading_pairs(r, path));
    longest = records_longest(r->records);
    r->k = 2;
    r->scores = records_columns(r->records);
    r->columns = r->scores;
    TRY(reading_begin(r, path->items[0], records_count(r->records), longest, r->scores));
    TRY(scorer_create(scorer, r->e->policy->model, eval_micro_rows(r->e, r->count, r->k), longest));
done:
    return rc;
}

static int judge_all(struct reading *r, struct scorer *scorer)
{
    int rc = RL_OK;

    for (int at = 0; at < r->count; at += EVAL_GROUPS)
        TRY(judge_block(r, scorer, at));
done:
    return rc;
}

int eval_reward_model(struct eval *e)
{
    int rc = RL_OK;

    for (int f = 0; f < e->config->eval_pairs.count && rc == RL_OK; f++) {
        struct reading r = { .e = e };
        struct scorer *scorer = NULL;
        double *all = NULL;
        rc = open_file(&r, &(struct strings){ &e->config->eval_pairs.items[f], 1 }, &scorer);
        rc = comm_agree(e->world, rc);
        if (rc == RL_OK)
            rc = comm_agree(e->world, judge_all(&r, scorer));
        if (rc == RL_OK)
            rc = eval_gather(e, r.P, (size_t)r.columns, r.rows, &all);
        if (rc == RL_OK)
            rc = add_figures(&r, all);
        free(all);
        scorer_destroy(scorer);
        reading_end(&r);
    }
    return rc;
}
