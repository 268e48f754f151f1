/* One pair under a reward model: what its outputs say of the winner and the loser, the loss, and
 * the slopes.  Knows no model, rank or batch.
 *
 *   z = (margin of rewards) - (margin that is asked for)        value = link(z)
 *
 *   kind      margin of rewards                      source
 *   scores    r_w - r_l, + center (r_w + r_l)^2      Bradley & Terry 1952; Ouyang et al. 2022
 *   point     |f_l - a| - |f_w - a|                  PAL (2406.08469)
 *   general   s(w > l) / tau                         GPM (2410.02197)
 *
 * link: logistic softplus(-z), or the smooth hinge: 0 from 1 on, (1 - z)^2 / 2 to 0, then 1/2 - z.
 * Slopes are of the value and are added to, as everywhere.
 */
#ifndef LEARNER_REWARD_MODEL_DUEL_H
#define LEARNER_REWARD_MODEL_DUEL_H

#include <stddef.h>

#include "base/memory.h"
#include "model/verdict.h"

enum link { LINK_LOGISTIC, LINK_HINGE };
double link_value(enum link link, double z, double *slope);

/* ---- the three kinds, in double */

/* value of one pair; d_w and d_l get its slopes. */
double duel_scores(enum link link, double r_w, double r_l, double margin, double center,
                   double *d_w, double *d_l);

/* f (dim) of both, each with prototypes (K, dim) of its own or the same; logits (K) of the user. */
struct point_input {
    const struct verdict *verdict;
    const double *f_w, *f_l, *p_w, *p_l, *logits;
    double margin;
};
struct point_slopes { double *f_w, *f_l, *p_w, *p_l, *logits; };    /* all written */
/* scratch: point_scratch doubles.  *gap: the margin of rewards. */
size_t point_scratch(const struct verdict *v);
double duel_point(enum link link, const struct point_input *in, const struct point_slopes *d,
                  double *scratch, double *gap);

/* v (2 planes) of both, c (planes). */
struct general_input {
    const struct verdict *verdict;
    const double *v_w, *v_l, *c;
    double margin;
};
struct general_slopes { double *v_w, *v_l, *c; };                   /* all written */
double duel_general(enum link link, const struct general_input *in, const struct general_slopes *d,
                    double *gap);

/* ---- a pair of rows */

/* A row's outputs (S) at its last token and at its prompt's last, and where their slopes go. */
struct seat {
    const float *last, *prompt;
    float *d_last, *d_prompt;    /* NULL: no slopes are wanted */
};
/* The verdict's parameters, and where their slopes go (NULL: not wanted). */
struct duel_parameters {
    const float *prototypes, *users, *scale;
    float *d_prototypes, *d_users, *d_scale;
};
struct duel {
    const struct verdict *verdict;
    enum link link;
    struct seat w, l;
    struct duel_parameters at;
    int head;                    /* scores: which output */
    int user;                    /* point */
    double margin;               /* that is asked for */
    double center;
    double factor;               /* of the slopes: weight / total */
};
struct duel_result {
    double value;
    double gap;                  /* margin of rewards: sigmoid of it is the probability to win */
};
/* Doubles of scratch that a duel takes, from memory or of one's own. */
size_t duel_scratch(const struct verdict *v);
struct duel_result duel_eval(const struct duel *duel, double *scratch);

#endif
