/* The metrics of a step of RACO: each objective's loss and how the step weighs it; where H was
 * made, lengths and angles of the gradients and what the solve found. */
#include <math.h>

#include "base/status.h"
#include "learner/raco/raco.h"

/* Sums over the pairs of all ranks. */
struct sums {
    double loss[COMBINE_MAX];           /* each objective's, of what it counts */
    double right[COMBINE_MAX], signed_pairs[COMBINE_MAX], ties[COMBINE_MAX];
    int pairs, kept, agreed;
};

static void add_pair(const struct raco *r, const double *t, struct sums *s)
{
    const double *sign = t + RACO_TERMS, *value = sign + r->K;
    double margin = t[RACO_S_W] - t[RACO_R_W] - (t[RACO_S_L] - t[RACO_R_L]);
    bool agreed = fabs(sign[0]) > 0;

    s->pairs++;
    if (!(t[RACO_WEIGHT] > 0))
        return;
    s->kept++;
    for (int i = 0; i < r->K; i++) {
        agreed = agreed && sign[i] == sign[0];
        if (isnan(sign[i]))
            continue;
        s->loss[i] += t[RACO_WEIGHT] * value[i];
        s->ties[i] += sign[i] == 0;
        s->signed_pairs[i] += sign[i] != 0;
        s->right[i] += sign[i] * margin > 0;
    }
    s->agreed += agreed;
}

static void set_pairs(struct learner *ln, struct metrics *m, const struct sums *s)
{
    const struct raco *r = ln->state;

    for (int i = 0; i < r->K; i++) {
        const char *name = raco_name(ln, i);

        if (r->B[i] > 0)
            metrics_setf(m, s->loss[i] / r->B[i], "raco/loss/%s", name);
        if (s->signed_pairs[i] > 0)
            metrics_setf(m, s->right[i] / s->signed_pairs[i], "raco/accuracies/%s", name);
        if (s->signed_pairs[i] + s->ties[i] > 0)
            metrics_setf(m, s->ties[i] / (s->signed_pairs[i] + s->ties[i]), "raco/tie_frac/%s",
                         name);
        metrics_setf(m, r->a[i], "raco/a/%s", name);
    }
    if (s->kept > 0)
        metrics_set(m, "raco/agree_frac", (double)s->agreed / s->kept);
    metrics_set(m, "data/dropped_frac", (double)(s->pairs - s->kept) / s->pairs);
}

/* Cosine of two gradients; 0 where one of them is nothing. */
static double cosine(const struct raco *r, int i, int j)
{
    double lengths = sqrt(r->H[i * r->K + i]) * sqrt(r->H[j * r->K + j]);

    return lengths > 0 ? r->H[i * r->K + j] / lengths : 0;
}

static void set_gradients(struct learner *ln, struct metrics *m)
{
    const struct raco *r = ln->state;

    for (int i = 0; i < r->K; i++) {
        metrics_setf(m, sqrt(r->H[i * r->K + i]), "raco/g_norm/%s", raco_name(ln, i));
        for (int j = i + 1; j < r->K; j++)
            metrics_setf(m, cosine(r, i, j), "raco/cos/%s_%s", raco_name(ln, i),
                         raco_name(ln, j));
    }
}

static void set_solve(struct learner *ln, struct metrics *m)
{
    const struct raco *r = ln->state;
    const struct combine_report *found = &r->report;

    metrics_set(m, "raco/solver_fallback", found->path != COMBINE_SOLVED);
    if (found->path == COMBINE_SKIP)
        return;
    for (int i = 0; i < r->K && r->rule->mixes; i++) {
        metrics_setf(m, found->p[i], "raco/p/%s", raco_name(ln, i));
        metrics_setf(m, found->mix[i], "raco/p_clipped/%s", raco_name(ln, i));
    }
    metrics_set(m, "raco/g0_norm", found->g0_norm);
    metrics_set(m, "raco/update_norm", found->update_norm);
    metrics_set(m, "raco/min_decrease", found->min_decrease);
    if (r->rule->mixes)
        metrics_set(m, "raco/duality_gap", found->gap);
    if (r->set.clip_guard)
        metrics_set(m, "raco/guarded", found->guarded);
}

/* Policy and reference are one model: every margin is 0, or learner and actor differ. */
static int check_first(const struct learner *ln, const struct sums *s)
{
    const struct raco *r = ln->state;

    for (int i = 0; i < r->K; i++)
        if (r->B[i] > 0 && fabs(s->loss[i] / r->B[i] - 0.69314718055994530942) > 1e-6)
            return rl_error(RL_EBUG, "the first loss of \"%s\" is %.9g, not log 2, though policy "
                            "and reference agree: the learner computes other log-probabilities "
                            "than the actor", raco_name(ln, i), s->loss[i] / r->B[i]);
    return RL_OK;
}

int raco_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    const struct raco *r = ln->state;
    size_t pairs = (size_t)b->P * (size_t)r->pairs_per_group;
    struct sums s = { .pairs = 0 };
    double loss = 0;
    bool start;
    int rc = RL_OK;

    TRY(stats_gather(&ln->stats, r->terms, (size_t)r->pairs_per_group * (size_t)r->stride));
    for (size_t p = 0; p < pairs; p++)
        add_pair(r, ln->stats.all + p * (size_t)r->stride, &s);
    for (int i = 0; i < r->K; i++)
        loss += r->B[i] > 0 ? r->a[i] * (s.loss[i] / r->B[i]) : 0;
    if (s.kept > 0)
        metrics_set(m, "loss", loss);
    set_pairs(ln, m, &s);
    if (r->solved) {
        set_gradients(ln, m);
        set_solve(ln, m);
    }
    TRY(rows_report(ln, b, m, &start));
    if (start && ln->version == 0 && r->loss->eval == loss_sigmoid && ln->config->dpo.nll == 0)
        rc = check_first(ln, &s);
done:
    return rc;
}
