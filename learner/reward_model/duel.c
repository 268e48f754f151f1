/* Outputs of two rows in, slopes of the outputs out. */
#include "learner/reward_model/duel.h"

#include <string.h>

#include "learner/losses/primitives.h"

double link_value(enum link link, double z, double *slope)
{
    if (link == LINK_LOGISTIC) {
        *slope = -sigmoid(-z);
        return softplus(-z);
    }
    *slope = z >= 1 ? 0 : z > 0 ? z - 1 : -1;
    return z >= 1 ? 0 : z > 0 ? (1 - z) * (1 - z) / 2 : 0.5 - z;
}

/* ---- scores */

double duel_scores(enum link link, double r_w, double r_l, double margin, double center,
                   double *d_w, double *d_l)
{
    double slope, value = link_value(link, r_w - r_l - margin, &slope), sum = r_w + r_l;

    *d_w = slope + 2 * center * sum;
    *d_l = -slope + 2 * center * sum;
    return value + center * sum * sum;
}

static struct duel_result eval_scores(const struct duel *p)
{
    struct duel_result out;
    double r_w = p->w.last[p->head], r_l = p->l.last[p->head], d_w, d_l;

    out.gap = r_w - r_l;
    out.value = duel_scores(p->link, r_w, r_l, p->margin, p->center, &d_w, &d_l);
    if (p->w.d_last) {
        p->w.d_last[p->head] += (float)(p->factor * d_w);
        p->l.d_last[p->head] += (float)(p->factor * d_l);
    }
    return out;
}

/* ---- rows of floats to doubles and back */

static double *widen(double **scratch, const float *x, int n)
{
    double *out = *scratch;

    for (int i = 0; i < n; i++)
        out[i] = x[i];
    *scratch += n;
    return out;
}

static double *take(double **scratch, int n)
{
    double *out = *scratch;

    *scratch += n;
    return out;
}

static void add(float *out, const double *d, int n, double factor)
{
    for (int i = 0; i < n && out; i++)
        out[i] += (float)(factor * d[i]);
}

/* ---- point */

static struct duel_result eval_point(const struct duel *p, double *s)
{
    const struct verdict *v = p->verdict;
    int dim = v->dim, K = v->prototypes;
    struct point_input in = { .verdict = v, .margin = p->margin };
    struct point_slopes d;
    struct duel_result out;

    in.f_w = widen(&s, p->w.last, dim);
    in.f_l = widen(&s, p->l.last, dim);
    in.logits = widen(&s, p->at.users + (size_t)p->user * K, K);
    in.p_w = widen(&s, v->of_prompt ? p->w.prompt + dim : p->at.prototypes, K * dim);
    in.p_l = v->of_prompt ? widen(&s, p->l.prompt + dim, K * dim) : in.p_w;
    d = (struct point_slopes){ take(&s, dim), take(&s, dim), take(&s, K * dim), take(&s, K * dim),
                               take(&s, K) };
    out.value = duel_point(p->link, &in, &d, s, &out.gap);
    if (!p->w.d_last)
        return out;
    add(p->w.d_last, d.f_w, dim, p->factor);
    add(p->l.d_last, d.f_l, dim, p->factor);
    add(p->at.d_users ? p->at.d_users + (size_t)p->user * K : NULL, d.logits, K, p->factor);
    add(v->of_prompt ? p->w.d_prompt + dim : p->at.d_prototypes, d.p_w, K * dim, p->factor);
    add(v->of_prompt ? p->l.d_prompt + dim : p->at.d_prototypes, d.p_l, K * dim, p->factor);
    return out;
}

/* ---- general */

/* From the slope of v / |v| to that of v, in place. */
static void through_length(double *d, const double *unit, double length, int n)
{
    double along = 0;

    for (int i = 0; i < n; i++)
        along += d[i] * unit[i];
    for (int i = 0; i < n; i++)
        d[i] = (d[i] - along * unit[i]) / length;
}

/* From the slope of c = softmax(logits), of which this row's is one half, to that of the logits. */
static void through_softmax(float *d_logits, const double *d, const double *c, int n,
                            double factor)
{
    double mean = 0;

    for (int l = 0; l < n; l++)
        mean += c[l] * d[l];
    for (int l = 0; l < n; l++)
        d_logits[l] += (float)(0.5 * factor * c[l] * (d[l] - mean));
}

/* The scales of a pair: those of the model, or the mean of those of the rows' prompts. */
static void scales_of(const struct duel *p, double *c, double *c_w, double *c_l)
{
    const struct verdict *v = p->verdict;

    gpm_scales(v, c_w, p->at.scale, p->w.prompt);
    gpm_scales(v, c_l, p->at.scale, p->l.prompt);
    for (int l = 0; l < v->planes; l++)
        c[l] = 0.5 * (c_w[l] + c_l[l]);
}

static struct duel_result eval_general(const struct duel *p, double *s)
{
    const struct verdict *v = p->verdict;
    int n = 2 * v->planes;
    double *v_w = take(&s, n), *v_l = take(&s, n), *c = take(&s, v->planes);
    double *c_w = take(&s, v->planes), *c_l = take(&s, v->planes);
    double length_w = gpm_vector(v, v_w, p->w.last), length_l = gpm_vector(v, v_l, p->l.last);
    struct general_input in = { .verdict = v, .v_w = v_w, .v_l = v_l, .c = c,
                                .margin = p->margin };
    struct general_slopes d = { take(&s, n), take(&s, n), take(&s, v->planes) };
    struct duel_result out;

    scales_of(p, c, c_w, c_l);
    out.value = duel_general(p->link, &in, &d, &out.gap);
    if (!p->w.d_last)
        return out;
    if (v->unit) {
        through_length(d.v_w, v_w, length_w, n);
        through_length(d.v_l, v_l, length_l, n);
    }
    add(p->w.d_last, d.v_w, n, p->factor);
    add(p->l.d_last, d.v_l, n, p->factor);
    add(p->at.d_scale, d.c, v->planes, p->factor);
    if (v->scale == GPM_PROMPT) {
        through_softmax(p->w.d_prompt + n, d.c, c_w, v->planes, p->factor);
        through_softmax(p->l.d_prompt + n, d.c, c_l, v->planes, p->factor);
    }
    return out;
}

size_t duel_scratch(const struct verdict *v)
{
    size_t dim = (size_t)v->dim, K = (size_t)v->prototypes, planes = (size_t)v->planes;

    return 4 * dim + 2 * K + 4 * K * dim + point_scratch(v) + 12 * planes;
}

struct duel_result duel_eval(const struct duel *duel, double *scratch)
{
    if (duel->verdict->kind == VERDICT_POINT)
        return eval_point(duel, scratch);
    if (duel->verdict->kind == VERDICT_GENERAL)
        return eval_general(duel, scratch);
    return eval_scores(duel);
}
