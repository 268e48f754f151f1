/* Loss and slopes of the pairs of a micro-batch, under every objective at once. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/raco/raco.h"

/* Sums of one row of the micro-batch. */
static void row_sums(struct learner *ln, const struct batch *b, int i)
{
    const struct raco *r = ln->state;
    struct micro *micro = &ln->micro;
    int n = micro->row[i], from, end = row_response(b, n, &from);
    int shift = micro->start[i] - b->start[n];          /* from the batch to the packed rows */

    micro->S[i] = row_sum(micro->logp, from + shift, end + shift);
    micro->R[i] = r->loss->needs & LOSS_REF ? row_sum(b->ref_logp, from, end) : 0;
    if (r->compare)
        rows_compare(ln, b, i);
}

/* One pair: values into its terms, slopes of each objective into out (K).  RL_ENAN names it. */
static int pair_slopes(struct learner *ln, const struct batch *b, int g, int p,
                       struct pair_output *out)
{
    const struct raco *r = ln->state;
    const struct micro *micro = &ln->micro;
    const struct pair *pair = &r->pairs[g * r->pairs_per_group + p];
    double *terms = raco_terms(r, g, p), *value = terms + RACO_TERMS + r->K;
    int row_w = g * b->k + pair->winner, row_l = g * b->k + pair->loser, from;
    int w = ln->place[row_w], l = ln->place[row_l];
    struct pair_input in = { .S_w = micro->S[w], .S_l = micro->S[l], .R_w = micro->R[w],
                             .R_l = micro->R[l], .target = 1, .set = &r->pair_set };

    in.n_w = row_response(b, row_w, &from) - from;
    in.n_l = row_response(b, row_l, &from) - from;
    for (int i = 0; i < r->K; i++) {
        double sign = terms[RACO_TERMS + i];

        loss_signed(r->loss, &in, isnan(sign) ? 0 : sign, &out[i]);
        value[i] = out[i].value;
        if (!isfinite(in.S_w + in.S_l + in.R_w + in.R_l + value[i]))
            return rl_error(RL_ENAN, "step %lld: the loss of prompt %lld under \"%s\" is %g "
                            "(log-probabilities %g and %g, reference %g and %g)",
                            (long long)b->step + 1, (long long)b->prompt[row_w] + 1,
                            raco_name(ln, i), value[i], in.S_w, in.S_l, in.R_w, in.R_l);
    }
    terms[RACO_S_W] = in.S_w;
    terms[RACO_S_L] = in.S_l;
    terms[RACO_R_W] = in.R_w;
    terms[RACO_R_L] = in.R_l;
    return RL_OK;
}

/* f(ln, w, l, i, slope of w, of l) for every pair of the micro-batch and objective i, each as the
 * gradient of L_i: the pair's weight over what the objective counts. */
typedef void each_slope(struct learner *ln, int w, int l, int i, double dw, double dl, void *user);

static int each_pair(struct learner *ln, const struct batch *b, each_slope *f, void *user)
{
    const struct raco *r = ln->state;
    const struct micro *micro = &ln->micro;
    struct pair_output out[COMBINE_MAX];
    int rc = RL_OK;

    for (int i = 0; i < micro->N; i++)
        row_sums(ln, b, i);
    for (int g = micro->group; g < micro->group + micro->groups; g++)
        for (int p = 0; p < r->pairs_per_group; p++) {
            const struct pair *pair = &r->pairs[g * r->pairs_per_group + p];
            int w = ln->place[g * b->k + pair->winner], l = ln->place[g * b->k + pair->loser];

            if (w < 0 || l < 0 || !(pair->weight > 0))
                continue;
            TRY(pair_slopes(ln, b, g, p, out));
            for (int i = 0; i < r->K && ln->total > 0; i++)
                if (fabs(raco_terms(r, g, p)[RACO_TERMS + i]) > 0)
                    f(ln, w, l, i, pair->weight * out[i].dS_w / r->B[i],
                      pair->weight * out[i].dS_l / r->B[i], user);
        }
done:
    return rc;
}

static void add_weighed(struct learner *ln, int w, int l, int i, double dw, double dl, void *user)
{
    const struct raco *r = ln->state;

    (void)user;
    ln->micro.slope[w] += r->coef[i] * dw;
    ln->micro.slope[l] += r->coef[i] * dl;
}

int raco_loss(struct learner *ln, const struct batch *b)
{
    struct micro *micro = &ln->micro;
    int rc = RL_OK;

    memset(micro->slope, 0, (size_t)micro->N * sizeof *micro->slope);
    TRY(each_pair(ln, b, add_weighed, NULL));
    for (int i = 0; i < micro->N; i++) {
        int from, end = row_response(b, micro->row[i], &from);
        int shift = micro->start[i] - b->start[micro->row[i]];

        row_fill(micro->dlogp, from + shift, end + shift, micro->slope[i]);
    }
done:
    return rc;
}

static void add_apart(struct learner *ln, int w, int l, int i, double dw, double dl, void *user)
{
    double *slope = (double *)user + (size_t)i * (size_t)ln->micro.N;

    slope[w] += dw;
    slope[l] += dl;
}

int raco_slopes(struct learner *ln, const struct batch *b, double *slope)
{
    const struct raco *r = ln->state;

    memset(slope, 0, (size_t)r->K * (size_t)ln->micro.N * sizeof *slope);
    return each_pair(ln, b, add_apart, slope);
}
