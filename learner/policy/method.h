/* Inside of the policy-gradient method: what its pages share.
 *
 *   rules.c     presets, keys            method.c    settings, memory, values before the update
 *   rewards.c   scores -> advantages     steps.c     mini-batches and their loss
 *   report.c    metrics, controllers
 *
 * Arrays "by token" are indexed as b->tokens is: those of a response lie at [from, end) of
 * row_response.
 */
#ifndef LEARNER_POLICY_METHOD_H
#define LEARNER_POLICY_METHOD_H

#include "data/shuffle.h"
#include "learner/internal.h"
#include "learner/policy/rules.h"
#include "learner/policy/whiten.h"

/* Sums over the passes of an update, of a row.  Units are what has a ratio: tokens or responses. */
enum policy_term {
    TERM_LOSS, TERM_POLICY, TERM_VALUE,     /* weighted: adding rows gives the loss */
    TERM_UNITS, TERM_CLIPPED, TERM_DUAL, TERM_RATIO, TERM_RATIO2, TERM_RATIO_MAX,
    TERM_TOKENS, TERM_APPROX,               /* tokens seen; (logp - old)^2 / 2 */
    TERM_VALUES, TERM_VALUE_CLIPPED,
    /* once a step */
    TERM_KEPT, TERM_KL,                     /* k1, summed over the response */
    TERM_LENGTH, TERM_ADV, TERM_ADV2,       /* tokens with an advantage */
    TERM_RET, TERM_RET2, TERM_V, TERM_ERR, TERM_ERR2,
    POLICY_TERMS
};

struct policy {
    struct policy_rules rules;

    /* of the rows held here */
    bool *kept;                 /* (rows) has tokens that count in the loss */
    bool *failed;               /* (rows) its score did not come: advantage 0 */
    double *score;              /* (rows) */
    double *after;              /* (rows) the critic's value behind the last token */
    double *terms;              /* (rows, POLICY_TERMS) */
    double *adv, *ret;          /* by token */
    double *value;              /* by token, before the update; only with a critic */
    float *old;                 /* by token; only with tis, of rows of older weights */
    double *kl, *reward;        /* (max_row_tokens) of the row at hand */
    double *scores, *advs;      /* (k) of the group at hand */
    int *lengths;               /* (k) */
    struct shuffled *order;     /* (P, k) rows of the step, as mini-batches take them */

    /* of the pass under way */
    struct totals totals;
    double values;              /* tokens that the critic learns from */

    int updates;                /* passes of this step that changed the weights */

    struct running norm_now;    /* norm with the scores of this step */

    /* what outlives a step, and is in checkpoints */
    double kl_coef;
    struct running norm;        /* of scores: so far, or of those before training */
};

_Static_assert(sizeof(struct running) == 3 * sizeof(double), "a row of doubles in checkpoints");

static inline double *policy_terms(const struct policy *p, int n)
{
    return p->terms + (size_t)n * POLICY_TERMS;
}

/* log-probability of token t of row n that the ratio is taken to. */
double policy_old(const struct learner *ln, const struct batch *b, int n, int t);

int policy_observe(struct learner *ln, const struct batch *b);
int policy_prepare(struct learner *ln, const struct batch *b);
int policy_select(struct learner *ln, const struct batch *b);
int policy_count(struct learner *ln, const struct batch *b);
int policy_loss(struct learner *ln, const struct batch *b);
int policy_report(struct learner *ln, const struct batch *b, struct metrics *m);
int policy_finish(struct learner *ln, const struct batch *b, struct metrics *m);

#endif
