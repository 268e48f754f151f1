/* The policy loss: importance ratio times advantage, clipped, and what a token weighs in the mean.
 *
 *     ratio = exp(clamp(logp - old, -20, 20))                  beyond the clamp the slope is 0
 *     l1 = -A ratio      l2 = -A clip(ratio, 1 - low, 1 + high)      L = max(l1, l2)
 *     A < 0 and a dual clip c > 1:  L = min(L, -A c)                  Ye et al. 2020
 *     dL/dlogp = -A ratio where l1 is the value used, else 0
 *
 * PPO: Schulman et al. 2017, eq. 7; clip-higher (high > low): DAPO, Yu et al. 2025.
 *
 * GSPO (Zheng et al. 2025) takes one ratio a response, exp(mean of logp - old): then
 * dL/dlogp_t = -A ratio / n for each token, that is -A ratio for a token that weighs 1 / n.
 */
#ifndef LEARNER_POLICY_SURROGATE_H
#define LEARNER_POLICY_SURROGATE_H

#include <stdbool.h>

struct clipping {
    double low, high;           /* INFINITY: no bound on that side */
    double dual;                /* 0: none */
};

struct surrogate {
    double value, slope;        /* of one token of weight 1; slope by its logp */
    double ratio;
    bool clipped;               /* l2 > l1 */
    bool dual_clipped;          /* the dual clip is the value used */
};

struct surrogate surrogate_token(double logp, double old, double adv, const struct clipping *clip);
/* The same of a response, from the mean of logp - old over its tokens; value and slope are those of
 * every token of it. */
struct surrogate surrogate_response(double mean_log_ratio, double adv, const struct clipping *clip);

/* ---- what a token weighs (spec 3.5): n tokens in its response; totals are over all ranks */
enum aggregation {
    TOKEN_MEAN,                 /* 1 / tokens */
    SEQ_MEAN_TOKEN_MEAN,        /* 1 / (rows n) */
    SEQ_MEAN_TOKEN_SUM,         /* 1 / rows */
    SEQ_MEAN_TOKEN_SUM_NORM,    /* 1 / (rows length) */
};
struct totals {
    double tokens;              /* masked tokens of the mini-batch */
    double rows;                /* its responses with at least one */
    double length;              /* a constant: the longest response there may be */
};
/* "token-mean", ...; false: no such name. */
bool aggregation_parse(enum aggregation *out, const char *name);
double token_weight(enum aggregation how, const struct totals *all, double n);  /* n = 0: 0 */

/* ---- tokens sampled by weights that are not `old` (spec 3.8): a constant factor of the loss */
/* Truncated importance sampling: min(exp(old - gen), most). */
double importance_token(double old, double gen, double most);
/* 1 if exp(mean of old - gen) lies within [1 / most, most], else 0: the response is left out. */
double importance_response(double mean_old_minus_gen, double most);

#endif
