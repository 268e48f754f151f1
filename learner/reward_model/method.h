/* Inside of the reward-model stage: pairs of records -> duels -> slopes of the score head.
 *
 *   method.c     settings, memory, loss, report
 *   pairs.c      records -> pairs                       duel.h        one pair
 *   more.c       weights of data sets by MGDA           held_out.c    accuracy, calibration
 */
#ifndef LEARNER_REWARD_MODEL_METHOD_H
#define LEARNER_REWARD_MODEL_METHOD_H

#include "learner/combine/combine.h"
#include "learner/internal.h"
#include "learner/reward_model/duel.h"

struct rm_pair {
    int w, l;                   /* rows of the group */
    int head;                   /* scores: the output that must tell them apart */
    double weight;              /* those of a record and a head add to the record's weight */
    double margin;
};

/* Of a pair: weight, value, margin of rewards; gathered in global order. */
enum rm_term { RM_WEIGHT, RM_VALUE, RM_GAP, RM_TERMS };

enum rm_margin { MARGIN_GIVEN, MARGIN_SCORES, MARGIN_NONE };

/* MORE (Zeng et al. 2023, 2312.07401): see more.c. */
struct more {
    bool on;
    int K, C;                   /* data sets; elements of a head's gradient */
    double *group;              /* (groups, C + MORE_TERMS) of the step, held here */
    double *mean;               /* (K, C) running mean of each data set's gradient, */
    double *seen;               /* (K) and how many steps it has seen: in checkpoints */
    double *step;               /* (K, C) gradients of this step */
    double weights[COMBINE_MAX];        /* (K) lambda of this step */
    double share[COMBINE_MAX];  /* (K) lambda over the weight of the data set's pairs */
};
enum more_term { MORE_SET, MORE_WEIGHT, MORE_VALUE, MORE_TERMS };

struct reward_model {
    const struct verdict *verdict;
    enum link link;
    enum rm_margin margin;
    int room;                   /* pairs of a group, at most */
    int groups;                 /* held here, at most */
    struct rm_pair *pairs;      /* (groups, room) */
    int *count;                 /* (groups) */
    double *terms;              /* (groups, room, RM_TERMS) */
    double *scratch;            /* of a duel */
    double temperature;         /* the last one fitted, 1 at first: in checkpoints */
    double *gaps;               /* of the held-out pairs so far */
    int n_gaps, gaps_room;
    struct more more;
};

/* ---- pairs.c */
/* Pairs of group g into out (room), better row first; returns how many.  Every two rows whose
 * rewards differ in a column are a pair; rows of weight 0, of a reward that did not come, or equal
 * to the bit are none. */
int rm_pairs(const struct learner *ln, const struct batch *b, int g, struct rm_pair *out);
int rm_room(const struct learner *ln, int k);
/* Is there a head for each data set, rather than each column of signs? */
bool rm_heads_of_sets(const struct learner *ln, const struct batch *b);

/* ---- method.c */
/* The duel of a pair whose rows are at places w and l of the micro-batch; slopes: they go to dscore
 * and, times factor, to ln->leaf_grads. */
struct duel rm_duel(struct learner *ln, const struct batch *b, int g, const struct rm_pair *pair,
                    const int place[2], double factor);

/* ---- more.c */
int more_setup(struct learner *ln);
void more_begin(struct learner *ln, const struct batch *b);     /* a step */
void more_layout(struct learner *ln, struct memory *memory);
int more_look(struct learner *ln, const struct batch *b);
int more_prepare(struct learner *ln, const struct batch *b);
void more_report(struct learner *ln, struct metrics *m);

/* ---- held_out.c */
int rm_held_out(struct learner *ln, const struct batch *b, int set, struct metrics *m,
                const char *prefix);

#endif
