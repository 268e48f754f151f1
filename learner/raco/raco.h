/* RACO and its relatives as a method (arXiv 2602.02495): K objectives look at the same pairs, and
 * the step goes along sum_i a_i g_i with a of combine/.
 *
 *   raco.c       the method: settings, coefficients, checkpoint
 *   objectives.c rewards -> pairs with a sign for each objective
 *   pairs.c      loss and slopes of a micro-batch, objectives weighed by `coef`
 *   store.c      K gradients at once
 *   blocks.c     K gradients of one part of a block at a time: two_pass, sketch
 *   leaves.c     a solve for every leaf
 *   gram.c       H from gradients, a from H
 *   report.c     metrics
 *
 *   objective     r_i of the two responses       sign s_i      L_i = (1/B_i) sum_b l(s_ib Delta_b)
 *   dL_i/dS       is one number a row: the gradient of L_i is the sum over rows of that number
 *                 times the gradient of the row's log-probability.
 *
 * A pair on which all objectives agree has one gradient for all; its group is "common" and is run
 * once.  The other groups are "own": K times. */
#ifndef LEARNER_RACO_RACO_H
#define LEARNER_RACO_RACO_H

#include "learner/combine/combine.h"
#include "learner/internal.h"

enum raco_mode { MODE_STORE, MODE_TWO_PASS, MODE_SKETCH };
enum raco_kind { KIND_NONE, KIND_COMMON, KIND_OWN, KIND_ANY };  /* of a group */

/* Terms of a pair that are reported, then for each objective its sign (NAN: it has no opinion and
 * does not count the pair) and its loss. */
enum raco_term { RACO_WEIGHT, RACO_S_W, RACO_S_L, RACO_R_W, RACO_R_L, RACO_TERMS };

/* A run of the flat buffer that is one piece of a Gram matrix. */
struct raco_piece { size_t from, to; };

struct raco {
    /* settings */
    const struct combine *rule;
    struct combine_settings set;
    const struct loss *loss;
    struct loss_settings pair_set;
    enum raco_mode mode;
    enum pairing pairing;
    bool solves;                /* a depends on the gradients */
    bool each_leaf;             /* raco.solve = "leaf" */
    int K;
    const char *const *names;   /* (K) of the records' objectives; NULL: the rewards' */
    double w[COMBINE_MAX];      /* raco.weights, or of the step's prompts (orchestrator.model) */
    int pairs_per_group, stride;        /* doubles of a pair's terms */

    /* of the step */
    struct pair *pairs;         /* (P, pairs_per_group) of the groups held here */
    double *terms;              /* (P, pairs_per_group, stride) */
    double *scores;             /* (k, K) objectives, then (k) weighted sums, of one group */
    unsigned char *kind;        /* (P) enum raco_kind */
    int kinds;                  /* that there are on any rank: a sum of KIND_ */
    double B[COMBINE_MAX];      /* weight of the pairs that each objective counts, all ranks */
    double coef[COMBINE_MAX];   /* what the objectives weigh in the pass under way */
    bool compare;               /* the pass is the first over its rows: actor against learner */

    /* what combines them */
    double a[COMBINE_MAX];      /* the last solve's; in the checkpoint */
    double H[COMBINE_MAX * COMBINE_MAX];
    bool solved;                /* H and report are of this step */
    struct combine_report report;
    struct raco_piece *piece;   /* (pieces) in the order of the flat buffer */
    size_t pieces;
    double *gram, *all_gram;    /* (pieces, gram_terms) of this rank, of all */
    size_t *counts;             /* (ranks) bytes */

    /* store: K gradients of everything */
    struct tree *own[COMBINE_MAX];
    float *g[COMBINE_MAX];      /* (model_size); two_pass: (the largest part) */
    double *found, *all_found;  /* raco.solve = "leaf": (leaves) what each found, leaves.c */

    /* two_pass, sketch: K gradients of one part, the first of them for the common groups */
    struct tree *block_tree;    /* of a block; sketch: of all sketches */
    double *slope;              /* (K, rows) */
    float *scale;               /* (1 + K, rows) of the common groups; of each objective's own */
    float *common;              /* (the largest part) */
    size_t buckets;
    double *sketch;             /* (leaves held, 1 + K, buckets); then (K, buckets) of the sum */
    float *sketch_sum;          /* (1 + K, buckets) */
};

double *raco_terms(const struct raco *r, int g, int p);
const char *raco_name(const struct learner *ln, int i);         /* of objective i */

/* objectives.c */
/* Pairs of group g of the batch held here, and what each objective says of them. */
void raco_label(struct learner *ln, const struct batch *b, int g);
/* Marks the rows of the pairs that teach something, in groups of these kinds (a sum of KIND_), and
 * no other. */
void raco_mark(struct learner *ln, const struct batch *b, int kinds);
enum raco_kind raco_kind(const struct raco *r, const double *terms);    /* terms: of a group */

/* pairs.c: the method's loss */
int raco_loss(struct learner *ln, const struct batch *b);
/* slope (K, micro.N): dL_i / dS of each row of the micro-batch.  After its forward pass. */
int raco_slopes(struct learner *ln, const struct batch *b, double *slope);

/* store.c */
int store_open(struct learner *ln);
/* Collective.  H's pieces, from g_i in r->g. */
int store_gradients(struct learner *ln, const struct batch *b);
/* out (model_size) = sum of a_i g_i. */
void store_combine(const struct learner *ln, const double *a, float *out);
/* g_i of the marked rows of a leaf, into its tree or, without trees, added to g_i.  A leaf of one
 * micro-batch keeps its activations from objective to objective (*held, at first false); the
 * micro-batches of a longer one are run again.  Not collective. */
int leaf_objective(struct learner *ln, const struct batch *b, int leaf, int i, bool *held);
/* g_i = own_i + (B_0 / B_i) common, n floats: the common groups' gradient was made for objective
 * 0. */
void add_common(const struct raco *r, int i, float *own, const float *common, size_t n);
double common_factor(const struct raco *r, int i);

/* leaves.c */
void leaves_layout(struct learner *ln, struct memory *memory);
/* Collective.  ln->policy.grads, from a solve for every leaf; a and report are means over them. */
int leaves_gradient(struct learner *ln, const struct batch *b);

/* blocks.c */
void blocks_layout_raco(struct learner *ln, struct memory *memory);
int blocks_open(struct learner *ln);
size_t blocks_bytes(const struct learner *ln, const struct learner_size *size);
/* Collective.  H's pieces, or H itself from sketches. */
int blocks_gradients(struct learner *ln, const struct batch *b);
int blocks_rows(const struct learner *ln);              /* of the largest share of a learner */

/* gram.c */
bool gram_in_scope(const struct learner *ln, int block);
int gram_deepest(const struct learner *ln);             /* the last block that is in scope */
void gram_layout(struct learner *ln, struct memory *memory);
void gram_list(struct learner *ln);                     /* the pieces */
/* sum (pieces, gram_terms): pieces [begin, end), from g[i][0] = element `from`. */
void gram_pieces(struct learner *ln, const float *const *g, size_t from, size_t begin, size_t end,
                 double *sum);
/* The pieces of [from, to), from g[i][0] = element `from`.  A rank makes its share of them. */
void gram_make(struct learner *ln, const float *const *g, size_t from, size_t to);
/* Collective.  H from the pieces of all ranks. */
int gram_gather(struct learner *ln);
/* Collective.  a and report from H: solved on one rank, known to all. */
int gram_solve(struct learner *ln);

/* report.c */
int raco_report(struct learner *ln, const struct batch *b, struct metrics *m);

#endif
