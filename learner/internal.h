/* Inside of the learner: what its pages share.
 *
 *   learner.c       create, one update, state            gradients.c   leaves, micro-batches
 *   online_dpo.c    an algorithm                         lm.c          an algorithm
 *   targets.c       labels        losses/   losses       measure.c     means that need no gradient
 *   optimizer.c     AdamW                                stats.c       tables in global order
 */
#ifndef LEARNER_INTERNAL_H
#define LEARNER_INTERNAL_H

#include "learner/learner.h"
#include "learner/losses/loss.h"
#include "learner/stats.h"
#include "learner/targets.h"

/* Rows of one forward and backward pass, packed: whole prompt groups, without the rows that no
 * pair needs. */
struct micro {
    int max_rows, max_tokens;
    int group, groups;          /* of the batch held here */
    int N, T;
    int *row;                   /* (max_rows) row of the batch */
    int *start;                 /* (max_rows + 1) */
    int *tokens;                /* (max_tokens) */
    float *logp, *dlogp;        /* (max_tokens) */
    double *S, *R, *slope;      /* (max_rows) sums over the response; d loss / d S */
};

/* Terms of a pair and of a row that are reported: records of doubles, gathered in global order. */
enum pair_term { PAIR_WEIGHT, PAIR_TIE, PAIR_SCORE_W, PAIR_SCORE_L, PAIR_VALUE, PAIR_S_W, PAIR_S_L,
                 PAIR_R_W, PAIR_R_L, PAIR_N_W, PAIR_N_L, PAIR_TERMS };
/* Lag of the weights; |learner - actor| log-prob over a row of equal version: largest, sum, count;
 * largest |actor - reference|. */
enum row_term { ROW_LAG, ROW_MISMATCH_MAX, ROW_MISMATCH_SUM, ROW_MISMATCH_COUNT, ROW_REF_GAP,
                ROW_TERMS };

#define MEASURE_TERMS 7         /* of a row in learner_measure, besides its reward columns */

struct online_dpo {
    const struct loss *loss;
    enum pairing pairing;
    enum tie_policy tie_policy;
    int pairs_per_group;
    struct pair *pairs;         /* (P, pairs_per_group) of the groups held here */
    double *pair_terms;         /* (P, pairs_per_group, PAIR_TERMS) */
    double *scores;             /* (k) of one group, adjusted */
    bool *has_eos;              /* (k) */
};

struct learner {
    const struct config *config;
    const struct algorithm *algorithm;
    struct model *model;
    struct comm *team;
    int P, k, max_row_tokens;   /* the largest batch */
    int leaves;
    bool fast;                  /* one leaf a rank: bits depend on the number of ranks */

    struct trainer *trainer;
    struct tree *tree;
    struct optimizer *optimizer;
    struct memory memory;       /* everything below */
    float *grads;               /* (model_size) the sum over all ranks */
    struct micro micro;
    int *place;                 /* (P, k) -1: not run; else the place in the micro-batch */
    double *row_terms;          /* (P, k, ROW_TERMS); lm: (P) the row's negative log-likelihood */
    struct stats stats;
    struct online_dpo dpo;

    double total;               /* what divides the loss, over all ranks; 0: nothing to learn */
    int64_t counted[2];         /* of the rows run, over all ranks: tokens predicted, tokens */
    int64_t version, tokens;
    double seconds[4];          /* of this update: forward, backward, reduce, optimizer */
};

/* ---- the steps of an update that an algorithm brings (columns of algorithms[]) */
int dpo_setup(struct learner *ln);                      /* settings; no memory yet */
void dpo_layout(struct learner *ln, struct memory *memory);
int dpo_targets(struct learner *ln, const struct batch *b);
int dpo_count(struct learner *ln, const struct batch *b);
int dpo_loss(struct learner *ln, const struct batch *b);
int dpo_report(struct learner *ln, const struct batch *b, struct metrics *m);
int lm_setup(struct learner *ln);
void lm_layout(struct learner *ln, struct memory *memory);
int lm_targets(struct learner *ln, const struct batch *b);
int lm_count(struct learner *ln, const struct batch *b);
int lm_loss(struct learner *ln, const struct batch *b);
int lm_report(struct learner *ln, const struct batch *b, struct metrics *m);

/* ---- gradients.c */
void micro_layout(struct micro *micro, struct memory *memory);
void micro_clear(struct micro *micro);
void micro_add(struct micro *micro, const struct batch *b, int n);
/* Forward, loss and backward of every leaf of this rank into the tree.  Not collective. */
int gradients_add(struct learner *ln, const struct batch *b);
/* Collective.  ln->counted over the rows marked in ln->place. */
int gradients_count(struct learner *ln, const struct batch *b);
/* Is every row within the rooms?  RL_EBUG.  Not collective. */
int micro_check(const struct batch *b, int max_row_tokens);

/* Tokens [*from, end) of row n of the batch have a log-probability that counts: the response,
 * never the row's first token.  Returns end. */
int row_response(const struct batch *b, int n, int *from);
double row_sum(const float *x, int from, int end);              /* in double, ascending */
void row_fill(float *x, int from, int end, double value);
double row_score(const struct config *c, const struct batch *b, int n);     /* weighted rewards */

#endif
