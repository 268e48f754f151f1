/* Labels that may be wrong: what a method thinks of each, and what it learns of those who gave
 * them.
 *
 *   lcpo   an annotator is right with probability eta; the target of a pair is the confidence in
 *          its label, from eta and the policy.  eta follows the mean confidence.
 *   spa    a pair whose margin is among the lowest seen lately gets the target 1 - alpha, once
 *          spa.after of the steps are done.  Margins are those of log-ratios extrapolated beyond
 *          the policy that sampled (offline: beyond the reference, which is the last iteration's).
 *
 * What goes on from step to step (eta, the recent margins) is in checkpoints, and changes at the
 * end of an update only. */
#ifndef LEARNER_PREFERENCE_DOUBT_H
#define LEARNER_PREFERENCE_DOUBT_H

#include "learner/preference/pairs.h"

enum doubts { DOUBT_NONE, DOUBT_LCPO, DOUBT_SPA };

struct doubt {
    enum doubts kind;
    int annotators;
    double *eta;                /* (annotators) */
    double *sum, *count;        /* (annotators) of confidences, of labels in this step */
    int window;
    double *recent, *room;      /* (window) margins, a ring */
    double *fresh;              /* (P, per_group) margins of this step */
    int n_fresh;
    double seen[1];             /* margins that ever came */
    double threshold;           /* of this step; -infinity: no label is doubted */
};

void doubt_setup(struct doubt *d, const struct config *c, enum doubts kind);
void doubt_layout(struct doubt *d, struct memory *memory, size_t pairs);
int doubt_values(struct doubt *d, struct learner_value *out);
/* The step begins.  RL_EINVAL: more annotators than lcpo.annotators. */
int doubt_begin(struct learner *ln, struct doubt *d, const struct batch *b);
/* Target or confidence of a pair whose sums are there; rows: of the batch. */
void doubt_pair(struct learner *ln, const struct doubt *d, const struct batch *b, int row_w,
                int row_l, struct pair_input *in, double *terms);
/* After pairs_report: what the step says, as metrics, from the terms in ln->stats.all. */
void doubt_report(struct learner *ln, struct doubt *d, int pairs, struct metrics *m);
void doubt_end(struct doubt *d, const struct config *c);

#endif
