/* What every method that trains on pairs shares: pairs of rows with weights and targets -> the loss
 * of a step, slopes of its rows, metrics.
 *
 *   setup     pairs_setup(ln, p, per_group)          p->loss and p->set are chosen before
 *   targets   p->pair[g * per_group ..] of each group, then pairs_mark(ln, p, b, g, scores)
 *   count     pairs_count(ln, p, b)
 *   loss      pairs_loss(ln, p, b)
 *   report    pairs_report(ln, p, b, m, &loss), and p->set's own metrics
 *
 *   L = sum over pairs of weight l(S_w, S_l) / sum of weights
 *   dL/dlogp = the sum over a row's pairs of weight dl/dS / sum, the same for each response token
 *
 * The weights are counted over all ranks before the first gradient, so that gradients add up.
 */
#ifndef LEARNER_PREFERENCE_PAIRS_H
#define LEARNER_PREFERENCE_PAIRS_H

#include "learner/internal.h"

/* Terms of a pair: records of doubles, gathered in global order.  PAIR_OWN: of the method. */
enum pair_term { PAIR_WEIGHT, PAIR_TIE, PAIR_SCORE_W, PAIR_SCORE_L, PAIR_TARGET, PAIR_VALUE,
                 PAIR_S_W, PAIR_S_L, PAIR_R_W, PAIR_R_L, PAIR_N_W, PAIR_N_L, PAIR_OWN,
                 PAIR_ANNOTATOR, PAIR_TERMS };

struct pairs {
    const struct loss *loss;
    struct loss_settings set;
    unsigned needs;             /* enum loss_needs of the loss, and of what it is made of */
    int per_group;
    struct pair *pair;          /* (P, per_group) of the groups held here */
    double *terms;              /* (P, per_group, PAIR_TERMS) */

    /* What the method knows of a pair once its sums are there: target, margin, confidence, signs.
     * terms: the pair's; PAIR_OWN is its own.  NULL: nothing.  Not collective. */
    void (*know)(struct learner *ln, const struct batch *b, int g, int i, struct pair_input *in,
                 double *terms);
};

/* May the algorithm have dpo.loss?  Its variant: the losses that it may, one space between; NULL:
 * all that need nothing but a pair.  And: do samples_per_prompt and dpo.pairing make pairs? */
int pairs_check_loss(const struct config *c, const struct algorithm *a);
int pairs_check_rollouts(const struct config *c, const struct algorithm *a);

/* raco.weights: one for each objective (of rollouts: each reward), of sum 1; an orchestrator brings
 * its own, and then objective_count is that of the rewards and each weighs the same at first. */
int check_objective_weights(const struct config *c, const struct algorithm *a);
/* The weights against the objectives that the records have: signs or, if `sets`, data sets. */
int check_recorded_objectives(const struct learner *ln, bool sets);
int objective_count(const struct config *c);
double objective_weight(const struct config *c, int i);

void pairs_setup(struct learner *ln, struct pairs *p, int per_group);
void pairs_layout(struct learner *ln, struct pairs *p, struct memory *memory);

/* The pairs of group g are made: their rows are marked, their terms begun.  scores(k). */
void pairs_mark(struct learner *ln, struct pairs *p, const struct batch *b, int g,
                const double *scores);
/* Are rows i and j of a group the same tokens?  For label_group; user: a struct group_rows. */
struct group_rows { const struct batch *b; int first; };
bool same_row(int i, int j, void *user);

/* Steps of struct method.  pairs_report's *loss is the number that was differentiated;
 * ln->stats.all holds the terms of all pairs until the next gathering. */
int pairs_count(struct learner *ln, struct pairs *p, const struct batch *b);
int pairs_loss(struct learner *ln, struct pairs *p, const struct batch *b);
int pairs_report(struct learner *ln, struct pairs *p, const struct batch *b, struct metrics *m,
                 double *loss);

/* Actor and reference were one model in the first update: then every margin was 0 and the loss of
 * "sigmoid" is ln 2, or learner and actor differ (RL_EBUG).  Collective: rows_report is in it. */
int pairs_check_start(struct learner *ln, const struct pairs *p, const struct batch *b,
                      struct metrics *m, double loss);

#endif
