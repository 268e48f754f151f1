/* See doubt.h. */
#include "learner/preference/doubt.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/losses/noise.h"

#define SHOWN 8                 /* annotators that have a metric of their own */

void doubt_setup(struct doubt *d, const struct config *c, enum doubts kind)
{
    d->kind = kind;
    d->annotators = kind == DOUBT_LCPO ? (int)c->lcpo.annotators : 0;
    d->window = kind == DOUBT_SPA ? (int)c->spa.window : 0;
}

void doubt_layout(struct doubt *d, struct memory *memory, size_t pairs)
{
    size_t annotators = (size_t)d->annotators, window = (size_t)d->window;

    d->eta = memory_take(memory, annotators * sizeof(double));
    d->sum = memory_take(memory, annotators * sizeof(double));
    d->count = memory_take(memory, annotators * sizeof(double));
    d->recent = memory_take(memory, window * sizeof(double));
    d->room = memory_take(memory, window * sizeof(double));
    d->fresh = memory_take(memory, (window > 0 ? pairs : 0) * sizeof(double));
}

int doubt_values(struct doubt *d, struct learner_value *out)
{
    if (d->kind == DOUBT_LCPO) {
        out[0] = (struct learner_value){ "lcpo_eta", d->eta, (size_t)d->annotators };
        return 1;
    }
    if (d->kind == DOUBT_SPA) {
        out[0] = (struct learner_value){ "spa_margins", d->recent, (size_t)d->window };
        out[1] = (struct learner_value){ "spa_seen", d->seen, 1 };
        return 2;
    }
    return 0;
}

/* ---- a step begins */

static int begin_lcpo(struct learner *ln, struct doubt *d, const struct batch *b)
{
    for (int i = 0; ln->version == 0 && i < d->annotators; i++)
        d->eta[i] = ln->config->lcpo.eta;
    for (int n = 0; n < b->N && b->filled & COL_LABEL; n++)
        if (b->annotator[n] < 0 || b->annotator[n] >= d->annotators)
            return rl_error(RL_EINVAL, "lcpo.annotators: step %lld has a label of annotator %d, "
                            "and there are %d, counted from 0; raise it", (long long)b->step + 1,
                            b->annotator[n], d->annotators);
    return RL_OK;
}

static void begin_spa(struct learner *ln, struct doubt *d)
{
    const struct config *c = ln->config;
    int n = d->seen[0] < d->window ? (int)d->seen[0] : d->window;

    d->threshold = -HUGE_VAL;
    if (n > 0 && (double)ln->version >= c->spa.after * (double)c->steps)
        d->threshold = spa_quantile(d->room, d->recent, n, c->spa.quantile);
}

int doubt_begin(struct learner *ln, struct doubt *d, const struct batch *b)
{
    if (d->kind == DOUBT_LCPO)
        return begin_lcpo(ln, d, b);
    if (d->kind == DOUBT_SPA)
        begin_spa(ln, d);
    return RL_OK;
}

/* ---- a pair */

/* Log-ratio of a row under the policy that sampled it, 0 where none did: the reference then is the
 * policy of the last iteration. */
static double h_before(const struct batch *b, int row)
{
    int from, end = row_response(b, row, &from);

    if (!(b->filled & COL_ACTOR_LOGP) || !(b->filled & COL_REF_LOGP))
        return 0;
    return row_sum(b->actor_logp, from, end) - row_sum(b->ref_logp, from, end);
}

void doubt_pair(struct learner *ln, const struct doubt *d, const struct batch *b, int row_w,
                int row_l, struct pair_input *in, double *terms)
{
    const struct config *c = ln->config;
    double h_w, h_l;

    if (d->kind == DOUBT_LCPO) {
        in->confidence = lcpo_confidence(lcpo_likelihood(in), d->eta[(int)terms[PAIR_ANNOTATOR]]);
        terms[PAIR_OWN] = in->confidence;
    }
    if (d->kind == DOUBT_SPA) {
        h_w = spa_extrapolate(in->S_w - in->R_w, h_before(b, row_w), c->spa.lambda);
        h_l = spa_extrapolate(in->S_l - in->R_l, h_before(b, row_l), c->spa.lambda);
        terms[PAIR_OWN] = in->set->beta * (h_w - h_l);
        if (in->target == 1)
            in->target = spa_label(terms[PAIR_OWN], d->threshold, c->spa.alpha);
    }
}

/* ---- a step ends */

static void report_lcpo(struct learner *ln, struct doubt *d, int pairs, struct metrics *m)
{
    size_t bytes = (size_t)d->annotators * sizeof(double);
    double all = 0, kept = 0;

    memset(d->sum, 0, bytes);
    memset(d->count, 0, bytes);
    for (int i = 0; i < pairs; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        if (!(t[PAIR_WEIGHT] > 0))
            continue;
        d->sum[(int)t[PAIR_ANNOTATOR]] += t[PAIR_OWN];
        d->count[(int)t[PAIR_ANNOTATOR]]++;
        all += t[PAIR_OWN];
        kept++;
    }
    if (kept > 0)
        metrics_set(m, "lcpo/confidence", all / kept);
    for (int a = 0; a < d->annotators && a < SHOWN; a++)
        if (d->count[a] > 0)
            metrics_setf(m, d->eta[a], "lcpo/eta/%d", a);
}

static void report_spa(struct learner *ln, struct doubt *d, int pairs, struct metrics *m)
{
    int doubted = 0;

    d->n_fresh = 0;
    for (int i = 0; i < pairs; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        if (!(t[PAIR_WEIGHT] > 0))
            continue;
        d->fresh[d->n_fresh++] = t[PAIR_OWN];
        doubted += t[PAIR_TARGET] < 1;
    }
    if (d->n_fresh > 0)
        metrics_set(m, "spa/smoothed_frac", (double)doubted / d->n_fresh);
    if (isfinite(d->threshold))
        metrics_set(m, "spa/threshold", d->threshold);
}

void doubt_report(struct learner *ln, struct doubt *d, int pairs, struct metrics *m)
{
    if (d->kind == DOUBT_LCPO)
        report_lcpo(ln, d, pairs, m);
    if (d->kind == DOUBT_SPA)
        report_spa(ln, d, pairs, m);
}

void doubt_end(struct doubt *d, const struct config *c)
{
    for (int a = 0; a < d->annotators; a++)
        if (d->count[a] > 0)
            d->eta[a] = lcpo_eta(d->eta[a], c->lcpo.rate, d->sum[a] / d->count[a]);
    for (int i = 0; i < d->n_fresh; i++) {
        d->recent[(int64_t)d->seen[0] % d->window] = d->fresh[i];
        d->seen[0]++;
    }
    d->n_fresh = 0;
}
