/* Listwise losses: the k responses to one prompt, with a label each, to a value and k slopes.
 *
 *   struct list_input in = { .k = 4, .S = S, .R = R, .n = n, .label = label, .set = &set };
 *   list_find("lipo")->eval(&in, &value, dS);
 *
 *   label of   lipo           how good, in [0, 1]
 *              pro            a reward, any scale
 *              listwise_soft  the probability that it should have; sums to 1
 *              gpo            its mean preference score against the others (gpo_scores)
 */
#ifndef LEARNER_LOSSES_LIST_H
#define LEARNER_LOSSES_LIST_H

#include "learner/losses/loss.h"

struct list_input {
    int k;                      /* at most LIST_ROOM */
    const double *S, *R;        /* (k) sums over response tokens; R is not read without LOSS_REF */
    const int *n;               /* (k) tokens */
    const double *label;        /* (k) */
    const struct loss_settings *set;
};
#define LIST_ROOM 1024          /* samples_per_prompt goes no further */

struct list_loss {
    const char *name;
    unsigned needs;             /* LOSS_REF, LOSS_MEAN */
    void (*eval)(const struct list_input *in, double *value, double *dS);
};
extern const struct list_loss list_losses[];            /* ends with name NULL */
const struct list_loss *list_find(const char *name);    /* NULL: there is none */

/* LiPO: rank(k) of the scores, 1 for the largest, the first index first among equals; and the
 * weight D of the pair (i, j). */
void lipo_ranks(int *rank, const double *s, int k);
double lipo_weight(double label_i, double label_j, int rank_i, int rank_j);

/* GPO: label(k) of a skew-symmetric table of preferences, score[i * k + j] of i over j. */
void gpo_scores(double *label, const double *score, int k);

/* The rows of list_losses[]. */
void list_lipo(const struct list_input *in, double *value, double *dS);
void list_pro(const struct list_input *in, double *value, double *dS);
void list_soft(const struct list_input *in, double *value, double *dS);
void list_gpo(const struct list_input *in, double *value, double *dS);

#endif
