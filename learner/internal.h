/* Inside of the learner: what its pages share.
 *
 *   learner.c       the story of an update               create.c       what a learner is made of
 *   algorithms.c    the table                            keys.c         who reads which key
 *   micro.c         micro-batches                        gradients.c    of leaves
 *   preference/     methods of pairs, lists, singles     lm.c           a method
 *   orchestrator.c  a method
 *   rows.c          actor, learner and reference compared, row by row
 *   scores.c        reward columns -> one score a row
 *   policy/, raco/, osp/, reward_model/   methods, in several pages
 *   combine/        gradients of objectives
 *   targets.c       labels        losses/   losses       measure.c      means without a gradient
 *   optimizer.c     AdamW                                stats.c        tables in global order
 *   nll.c           evaluation on text                   state.c        what a checkpoint holds
 *   ranked.c        evaluation on pairs
 *   ptx.c           rows of text beside a batch          health.c       NaN, skips, alarms
 */
#ifndef LEARNER_INTERNAL_H
#define LEARNER_INTERNAL_H

#include "learner/learner.h"
#include "learner/losses/loss.h"
#include "learner/scores.h"
#include "learner/stats.h"
#include "learner/targets.h"

/* How an algorithm learns from a batch: the steps of learner_update that are its own.
 *
 *   targets                     what each row counts; marks rows (ln->place)
 *   look, for each micro-batch  after a forward pass without gradient over the marked rows
 *   prepare                     numbers of the whole step: means, advantages, baselines
 *   ln->passes times:           (1; PPO: epochs x mini-batches)
 *     select                    marks the rows of this pass
 *     count                     what divides the loss, over all ranks
 *     loss, for each micro-batch  after the forward pass: terms, and gradients of its outputs
 *     report                    metrics, and a last check before the weights change
 *   finish                      metrics of the whole step, controllers
 *
 * observe: batches that come before the first step and are not trained on.
 * open, close, bytes: what it holds besides ln->memory.  gradients: instead of one backward pass
 * of each micro-batch into the tree and the tree's sum, the method fills ln->policy.grads.
 *
 * NULL where a method has nothing to say: look (then no such pass is made), prepare, select,
 * finish, observe, values, view, columns, check, gradients, open, close, bytes, held_out,
 * preview. */
struct method {
    size_t state;               /* bytes of the method's own struct: ln->state, zeroed */
    unsigned sources;           /* 1 << enum rows_from that `source` may choose; else the row's */
    /* How records become rows; NULL: VIEW_PAIRS. */
    enum view (*view)(const struct config *c, const struct algorithm *a);
    bool judges;                /* its policy answers judge prompts: ln->judge */
    bool sampling_temperature;  /* log-probabilities at `temperature` of the configuration, not 1 */
    unsigned (*columns)(const struct config *c, const struct algorithm *a);
    /* Keys that do not go together; one line names file, line and key. */
    int (*check)(const struct config *c, const struct algorithm *a);
    int (*setup)(struct learner *ln);           /* settings and sizes; there is no memory yet */
    void (*layout)(struct learner *ln, struct memory *memory);
    int (*open)(struct learner *ln);            /* memory and model are there */
    void (*close)(struct learner *ln);          /* also after an open that failed */
    size_t (*bytes)(const struct learner *ln, const struct learner_size *size);
    int (*values)(struct learner *ln, struct learner_value *out);   /* of a checkpoint; how many */
    int (*observe)(struct learner *ln, const struct batch *b);      /* Collective. */
    int (*targets)(struct learner *ln, const struct batch *b);      /* Not collective. */
    int (*look)(struct learner *ln, const struct batch *b);         /* Not collective. */
    int (*prepare)(struct learner *ln, const struct batch *b);      /* Collective. */
    int (*select)(struct learner *ln, const struct batch *b);       /* Not collective. */
    int (*count)(struct learner *ln, const struct batch *b);        /* Collective. */
    int (*loss)(struct learner *ln, const struct batch *b);         /* Not collective. */
    int (*gradients)(struct learner *ln, const struct batch *b);    /* Collective. */
    int (*report)(struct learner *ln, const struct batch *b, struct metrics *m);    /* Collective */
    int (*finish)(struct learner *ln, const struct batch *b, struct metrics *m);    /* Collective */
    /* learner_held_out, when the method has its own measure.  Collective. */
    int (*held_out)(struct learner *ln, const struct batch *b, int set, struct metrics *m,
                    const char *prefix);
    /* A look at the records before the first update: see learner_preview. */
    int64_t (*preview)(struct learner *ln);
    int (*preview_add)(struct learner *ln, const struct batch *b);                  /* Collective */
    int (*preview_end)(struct learner *ln);                                         /* Collective */
};
extern const struct method method_dpo, method_lists, method_singles, method_lm, method_policy,
                           method_raco, method_reward_model, method_more, method_objectives,
                           method_osp, method_judge, method_orchestrator;

/* Rows of one forward and backward pass, packed: whole prompt groups, without the rows that are not
 * marked. */
struct micro {
    int max_tokens;             /* the room: rows of any length share it */
    int group, groups;          /* of the batch held here */
    int N, T;
    int *row;                   /* (max_tokens) row of the batch: each has a token */
    int *start;                 /* (max_tokens + 1) */
    int *tokens;                /* (max_tokens) */
    float *logp, *dlogp;        /* (max_tokens) OUT_LOGP */
    float *entropy, *dentropy;  /* (max_tokens) OUT_ENTROPY; else NULL */
    float *score, *dscore;      /* (max_tokens, scores) OUT_SCORE; else NULL */
    double *S, *R, *slope;      /* (max_tokens) sums over the response; d loss / d S */
};

/* Something that is trained. */
struct trainee {
    struct model *model;        /* NULL: there is none */
    struct trainer *trainer;
    struct tree *tree;
    struct optimizer *optimizer;
    float *grads;               /* (model_size) the sum over all ranks */
};

/* Rows of text that are trained on beside the batch: ptx.c. */
struct ptx {
    int rows;                   /* in a step, over all ranks; 0: none */
    double coef;                /* of their loss; the method's setup sets it */
    const struct batch *b;      /* of this update */
    double *nll;                /* (rows) of those held here, over the tokens of the pass */
    double total;               /* tokens predicted in the pass */
    struct stats stats;
};

/* What a method wants of the forward pass.  The scores are the critic's when there is one, else
 * those of the policy's own head. */
enum output { OUT_LOGP = 1, OUT_ENTROPY = 2, OUT_SCORE = 4 };

enum second { SECONDS_FORWARD, SECONDS_BACKWARD, SECONDS_REDUCE, SECONDS_OPTIMIZER, SECONDS_LOOK,
              SECONDS };

/* A running mean; what a checkpoint holds of the health of a run; and what it was when the update
 * under way began: health.c. */
struct watch { double count, mean, variance; };
struct health_state {
    double in_row, skipped;     /* updates skipped: since the last that was not; in the run */
    double alarms;              /* given in the run */
    struct watch loss, norm;
};
#define HEALTH_VALUES 9
struct health {
    struct health_state state;
    double *kept;               /* all values of learner_values, one after the other */
    bool skips;                 /* the last update was skipped, and the run goes on */
};

struct learner {
    const struct config *config;
    const struct algorithm *algorithm;
    const struct method *method;
    void *state;                /* the method's own */
    struct comm *team;
    struct records *records;    /* NULL: rollouts, text */
    const struct judge *judge;  /* NULL: the method does not judge */
    int P, k, max_row_tokens;   /* the largest batch */
    int rows;                   /* held here, at most */
    struct model_shape shape;   /* of the policy */
    int ranks, rank;            /* of the team */
    int leaves;
    bool fast;                  /* one leaf a rank: bits depend on the number of ranks */

    struct trainee policy, critic;
    struct memory memory;       /* everything below */
    struct micro micro;
    int *place;                 /* (P, k) below 0: not marked; else the place in the micro-batch */
    double *row_terms;          /* (P, k, ROW_TERMS), rows.c */
    struct stats stats;
    struct scores rewards;      /* what the method makes of the reward columns */
    struct ptx text;
    struct health health;

    /* set by the method's setup */
    unsigned outputs;           /* at first OUT_LOGP */
    float temperature;          /* of the log-probabilities */
    bool blocks;                /* backward passes of the policy block by block */
    int pass_rows;              /* of full length, for which a pass has room; at first 0: as many
                                 * as micro_rows says */
    int objectives;             /* data sets or signs of the records, at least 1 */
    int scores;                 /* outputs of the score head in use */
    int used_rows;              /* of a group that are ever marked at once; at first k */
    size_t group_terms;         /* doubles that it gathers for a group, at most */
    int passes;                 /* over the batch in an update; at first 1 */
    double critic_lr;           /* at first lr */

    double kl_coef;             /* strength of the pull to the reference now; at first beta */
    int pass;                   /* the one under way */
    float *leaf_grads;          /* the policy's, of the leaf under way: for parameters that no
                                 * forward pass reads */
    bool parameters_only;       /* no other weights are trained: no backward pass */
    bool looked;                /* in this update, at a row of this rank */
    bool torn;                  /* an update failed when it had changed the weights */
    double total;               /* what divides the loss, over all ranks; 0: nothing to learn */
    int64_t counted[2];         /* of the rows run, over all ranks: tokens predicted, tokens */
    int64_t version, tokens;
    double seconds[SECONDS];    /* of this update */
};

/* ---- micro.c */
void micro_layout(struct micro *micro, struct memory *memory, unsigned outputs, int scores);
/* Pack the marked rows of groups from `group` on, up to `last`: those of the next of the passes,
 * about equally heavy, that the groups up to `end` take.  Returns the first group left out. */
int micro_pack(struct learner *ln, const struct batch *b, int group, int last, int end);
/* The same of rows that are chosen otherwise, of a batch of any size. */
typedef bool row_in(const struct learner *ln, const struct batch *b, int n);
bool row_any(const struct learner *ln, const struct batch *b, int n);
int micro_pack_rows(struct learner *ln, const struct batch *b, row_in *in, int group, int last,
                    int end);
/* Rows from n on, of groups that need not stay together; returns the first row left out. */
int micro_pack_each(struct learner *ln, const struct batch *b, int n);
/* Collective.  ln->counted over the marked rows. */
int gradients_count(struct learner *ln, const struct batch *b);
/* Is every row within the rooms?  RL_EBUG.  Not collective. */
int micro_check(const struct batch *b, int max_row_tokens);

/* Tokens [*from, end) of row n of the batch have a log-probability that counts: the response,
 * never the row's first token.  Returns end. */
int row_response(const struct batch *b, int n, int *from);
double row_sum(const float *x, int from, int end);              /* in double, ascending */
void row_fill(float *x, int from, int end, double value);

/* ---- gradients.c */

/* The groups of a leaf [*first, *end), counted from the first that is held here. */
void leaf_groups(const struct learner *ln, const struct batch *b, int leaf, int *first, int *end);
/* Gradients of the outputs = 0; then what the method's loss makes of them, and the backward pass of
 * the policy alone, added to grads. */
int micro_backward(struct learner *ln, const struct batch *b, float *grads);
/* Forward pass over the packed rows: the outputs that the method wants, kept for a backward pass or
 * not. */
int micro_forward(struct learner *ln, bool keep);
/* Forward, loss and backward of every leaf of this rank into the trees.  Not collective. */
int gradients_add(struct learner *ln, const struct batch *b);
/* Forward without gradient over the marked rows; the method looks.  Not collective. */
int gradients_look(struct learner *ln, const struct batch *b);

/* ---- ptx.c.  begin, count, report: collective; nothing to do without rows of text. */
void ptx_layout(struct learner *ln, struct memory *memory, int ranks);
int ptx_begin(struct learner *ln);
int ptx_count(struct learner *ln);             /* of the pass under way */
/* Rows [first, end) of those held here: those of this pass, into the slot of their leaf. */
bool ptx_is_in(const struct learner *ln, int first, int end);
int ptx_add(struct learner *ln, int first, int end, float *slot);
int ptx_report(struct learner *ln, struct metrics *m, int steps);

/* ---- health.c */
int health_open(struct learner *ln);            /* behind all that learner_values names */
void health_close(struct learner *ln);
void health_keep(struct learner *ln);           /* an update begins: its values, */
void health_restore(struct learner *ln);        /* and back to them: weights and moments stay */
/* An update came to RL_ENAN and is restored: is it counted as skipped, and may the run go on? */
bool health_skip(struct learner *ln, const struct batch *b);
void health_watch(struct learner *ln, const struct batch *b, struct metrics *m);
void health_report(const struct learner *ln, struct metrics *m);
/* Behind a sum of gradients that is no number on every rank (rc RL_ENAN): the rows and the learner
 * it came from are named, if a group has such a gradient by itself.  Returns rc.  Collective. */
int health_culprit(struct learner *ln, const struct batch *b, int rc);

/* ---- rows.c: of each row, |learner - actor| log-probability where the versions are equal, and
 * |actor - reference| */
enum row_term { ROW_LAG, ROW_MISMATCH_MAX, ROW_MISMATCH_SUM, ROW_MISMATCH_COUNT, ROW_REF_GAP,
                ROW_TERMS };
void rows_begin(struct learner *ln, const struct batch *b);
/* Row i of the micro-batch, after its forward pass. */
void rows_compare(struct learner *ln, const struct batch *b, int i);
/* Sets mismatch/ and async/.  *start: every row was sampled by the weights at hand, and by the
 * reference's equal.  Collective. */
int rows_report(struct learner *ln, const struct batch *b, struct metrics *m, bool *start);

/* ---- keys.c.  Was a key given that nothing reads as the configuration stands?  RL_EINVAL, or it
 * is forgotten when it is meant for other algorithms (algorithm_check). */
int keys_check(struct config *c, const struct algorithm *a);

/* ---- measure.c */
#define MEASURE_TERMS 8         /* of a row in learner_measure, besides its reward columns */

#endif
