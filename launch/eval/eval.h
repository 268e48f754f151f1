/* Evaluation by itself: how good a model is on held-out prompts, pairs and text, and how much
 * better than another.  Every rank holds all models and works on its share of each file; tables of
 * doubles come together in global order, so that figures have the same bits on any number of ranks.
 *
 *   TRY(eval_open(&e, config, world, model));
 *   TRY(eval_prompts(&e));  TRY(eval_pairs(&e));  TRY(eval_text(&e));
 *   ... e.figures ...
 *   eval_close(&e);
 *
 *   eval.c      models, shares, tables, figures         prompts.c       responses: scores, wins
 *   pairs.c     ranking of pairs                        duel.c      a judge compares responses
 *   text.c      perplexity                              reward_model.c  a model of scores on pairs
 *   reading.c   files of records and text               interval.c      how sure the figures are
 */
#ifndef LAUNCH_EVAL_EVAL_H
#define LAUNCH_EVAL_EVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "comm/comm.h"
#include "data/batch.h"
#include "data/judge.h"
#include "launch/eval/interval.h"
#include "launch/models.h"
#include "launch/rewards.h"
#include "refmodel/refmodel.h"

#define EVAL_GROUPS 64                  /* groups at once on a rank */

/* A model is opened once, whoever needs it. */
struct seat { struct source source; struct model *model; };

/* "eval/held-out/score", its value, and an interval of 95 % where there is one. */
struct figure { char name[192]; double value; bool sure; struct interval in; };

struct eval {
    const struct config *config;
    struct comm *world;
    struct compute *compute;
    struct seat seats[4];
    int n_seats;
    struct seat *policy;
    struct seat *reference;             /* may be the policy; NULL: the policy is a reward model */
    struct seat *other, *judge;         /* NULL: none */
    int context;                        /* positions that policy, reference and other have */
    struct rewards rewards;             /* .reward NULL: the configuration has none */
    struct judge *template;             /* of eval.judge; NULL: none */

    struct figure *figures;             /* equal on every rank */
    int n_figures, room;
};

/* model NULL: the newest checkpoint of the run in `output`, or `model` of the configuration when
 * there is none.  The caller keeps config and world and closes, also after an error.  RL_EINVAL:
 * one line.  Not collective. */
int eval_open(struct eval *e, const struct config *config, struct comm *world, const char *model);
void eval_close(struct eval *e);                    /* fine on a zeroed struct */

/* Each adds the figures of the files that the configuration names; nothing without.  Collective.
 * eval_prompts      eval/<set>/score, reward/<name>, kl, len, ..; against another model winrate
 * eval_pairs        eval/<set>/ranking_accuracy, accuracy, margin, ..; of reward models accuracy
 * eval_text         eval/<set>/perplexity */
int eval_prompts(struct eval *e);
int eval_pairs(struct eval *e);
int eval_text(struct eval *e);

/* ---- eval.c, for its pages */

/* "eval/<stem of path>/". */
void eval_prefix(const char *path, char *out, size_t room);
/* Groups [first, first + count) of P are this rank's. */
void eval_share(const struct eval *e, int P, int *first, int *count);
/* per_group doubles for each group of the share -> those of all groups, in order.  Free *all.
 * Collective. */
int eval_gather(struct eval *e, int P, size_t per_group, const double *mine, double **all);
/* A batch of at most `groups` groups of k rows; memory_close ends it. */
int eval_batch(struct batch *b, struct memory *memory, int groups, int k, int row_tokens, int R);
/* Rows in one pass: micro_rows, or all that a batch has. */
int eval_micro_rows(const struct eval *e, int groups, int k);
/* Begin block `at` of the share: b's groups, at most EVAL_GROUPS. */
void eval_block(const struct eval *e, struct batch *b, int P, int k, int at);

/* Figures: a plain one; a share of n with Wilson's interval; the mean of a column over the rows
 * where it is finite, drawn by groups of k rows.  Without such a row there is none. */
int figure_add(struct eval *e, double value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int figure_share(struct eval *e, double share, double n, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct table_column { const double *table; int groups, k, columns, c; };
int figure_mean(struct eval *e, const struct table_column *column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Of DUEL_TERMS columns from column->c on: how often the first wins under the name given (1[logit >
 * 0], ties half), and how well the judge judges. */
int figure_duels(struct eval *e, const struct table_column *column, const char *prefix,
                 const char *wins);

/* ---- reward_model.c: eval_pairs when the model is a reward model. */
int eval_reward_model(struct eval *e);

/* ---- duel.c: a judge compares two answers to one prompt */
struct duels;
int duels_create(struct duels **d, struct eval *e, int longest_prompt, int longest_answer);
void duels_destroy(struct duels *d);                /* NULL is fine */
/* n comparisons: step 1 row i of a with row i of b, which have the same prompts; step 2, a and b
 * the same batch, row 2 i with row 2 i + 1. */
struct duel_rows { const struct batch *a, *b; int n, step; };
/* out[i * stride + ..] is the mean of the two orders' logit differences in favour of the first, 1
 * when the orders agree, and half their difference (how much being shown as A helps).  NaN: too
 * long for the judge.  Not collective. */
enum { DUEL_LOGIT, DUEL_AGREES, DUEL_BIAS, DUEL_TERMS };
int duels_fill(struct duels *d, const struct duel_rows *rows, double *out, int stride);

#endif
