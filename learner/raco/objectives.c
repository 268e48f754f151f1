/* From rewards to pairs with a sign for each objective.
 *
 *   y_i = weight_i r_i              objective i's score of a response (row_reward: shaped)
 *   score = sum_i w_i y_i           chooses the pairs and names the first of each; w is the
 *                                   prompt's own with an orchestrator
 *   s_i = sign(y_i of the first - y_i of the second), 0 within tie_eps
 *
 * Online a response without one of its scores has failed and is in no pair.  Records from files may
 * leave an objective out (several data sets): it does not count the pair. */
#include <math.h>
#include <string.h>

#include "learner/preference/pairs.h"
#include "learner/raco/raco.h"

const char *raco_name(const struct learner *ln, int i)
{
    const struct raco *r = ln->state;

    return r->names ? r->names[i] : ln->config->rewards[i].name;
}

double *raco_terms(const struct raco *r, int g, int p)
{
    return r->terms + ((size_t)g * (size_t)r->pairs_per_group + (size_t)p) * (size_t)r->stride;
}

static double score_of(const struct learner *ln, const struct batch *b, int n, int i)
{
    const double *y = b->reward + (size_t)n * (size_t)b->R;

    if (!(b->filled & COL_LABEL))
        return ln->config->rewards[i].weight * row_reward(ln, b, n, i);
    if (b->objective[n] >= 0)           /* several data sets: each is an objective */
        return b->objective[n] == i ? y[0] : NAN;
    return y[i];
}

/* The scores of the group's responses: (k, K) each objective's, then (k) the weighted sum. */
static void score_group(const struct learner *ln, const struct batch *b, int g)
{
    const struct raco *r = ln->state;
    bool online = !(b->filled & COL_LABEL);
    double penalty = online ? ln->config->dpo.missing_eos_penalty : 0;
    double *sum = r->scores + (size_t)b->k * (size_t)r->K;

    for (int s = 0; s < b->k; s++) {
        int n = g * b->k + s;

        sum[s] = 0;
        for (int i = 0; i < r->K; i++) {
            double *y = &r->scores[s * r->K + i];

            *y = score_of(ln, b, n, i) - (row_ended(b, n) ? 0 : penalty);
            if (online || isfinite(*y))
                sum[s] += row_mix(b, n, i, r->w[i]) * *y;
        }
    }
}

/* +1, -1, 0, or NAN without an opinion. */
static double sign_of(double first, double second, double eps)
{
    if (!isfinite(first) || !isfinite(second))
        return NAN;
    if (fabs(first - second) <= eps)
        return 0;
    return first > second ? 1 : -1;
}

/* Signs, and the loss of a pair that is not run: that of a margin of 0. */
static void label_pair_terms(struct learner *ln, const struct pair *pair, double *terms)
{
    const struct raco *r = ln->state;
    struct pair_input nothing = { .target = 1, .n_w = 1, .n_l = 1, .set = &r->pair_set };
    struct pair_output tie;

    memset(terms, 0, (size_t)r->stride * sizeof *terms);
    loss_signed(r->loss, &nothing, 0, &tie);
    terms[RACO_WEIGHT] = pair->weight;
    for (int i = 0; i < r->K; i++) {
        terms[RACO_TERMS + i] = sign_of(r->scores[pair->winner * r->K + i],
                                        r->scores[pair->loser * r->K + i],
                                        ln->config->dpo.tie_eps);
        terms[RACO_TERMS + r->K + i] = tie.value;
    }
}

/* Does a pair teach some objective something? */
static bool teaches(const struct raco *r, const double *terms)
{
    bool some = false;

    for (int i = 0; i < r->K; i++)
        some |= fabs(terms[RACO_TERMS + i]) > 0;        /* a NAN is not */
    return some && terms[RACO_WEIGHT] > 0;
}

enum raco_kind raco_kind(const struct raco *r, const double *terms)
{
    enum raco_kind kind = KIND_NONE;

    for (int p = 0; p < r->pairs_per_group; p++, terms += r->stride) {
        const double *sign = terms + RACO_TERMS;

        if (!teaches(r, terms))
            continue;
        if (kind == KIND_NONE)
            kind = KIND_COMMON;
        for (int i = 0; i < r->K; i++)
            if (!(sign[i] == sign[0] && fabs(sign[i]) > 0))
                kind = KIND_OWN;
    }
    return kind;
}

void raco_label(struct learner *ln, const struct batch *b, int g)
{
    struct raco *r = ln->state;
    struct group_rows rows = { b, g * b->k };
    struct pair *pairs = r->pairs + (size_t)g * (size_t)r->pairs_per_group;

    score_group(ln, b, g);
    /* Equal sums are no tie here: the objectives may pull either way. */
    label_group(pairs, r->scores + (size_t)b->k * (size_t)r->K, b->k, r->pairing, TIE_FIRST, 0,
                same_row, &rows);
    for (int p = 0; p < r->pairs_per_group; p++) {
        if (b->filled & COL_LABEL)
            pairs[p].weight *= b->weight[rows.first];
        label_pair_terms(ln, &pairs[p], raco_terms(r, g, p));
    }
    r->kind[g] = (unsigned char)raco_kind(r, raco_terms(r, g, 0));
}

void raco_mark(struct learner *ln, const struct batch *b, int kinds)
{
    const struct raco *r = ln->state;

    for (int n = 0; n < b->N; n++)
        ln->place[n] = -1;
    for (int g = 0; g < b->groups; g++)
        for (int p = 0; p < r->pairs_per_group && r->kind[g] & kinds; p++) {
            const struct pair *pair = &r->pairs[g * r->pairs_per_group + p];

            if (teaches(r, raco_terms(r, g, p)))
                ln->place[g * b->k + pair->winner] = ln->place[g * b->k + pair->loser] = 0;
        }
}
