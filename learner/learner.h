/* The learner: targets -> loss -> gradients -> one sum over ranks -> new weights.
 *
 *   TRY(learner_create(&ln, &parts));
 *   TRY(learner_update(ln, batch, metrics));       Collective over team
 *   learner_destroy(ln);
 *
 * An algorithm is a row of algorithms[] (algorithms.c), a pairwise loss a row of losses[].
 *
 * reduction = "reproducible": the batch is cut into reduction_leaves leaves, summed in one tree;
 * the same bits on any number of ranks, and a rank holds the groups that share_of (comm/link.h)
 * gives it.  reduction = "fast": what a rank holds, whatever that is, is one leaf; fewer buffers
 * and fewer additions, the bits depend on the number of ranks.
 */
#ifndef LEARNER_LEARNER_H
#define LEARNER_LEARNER_H

#include "base/config.h"
#include "base/metrics.h"
#include "comm/comm.h"
#include "comm/tree.h"
#include "data/batch.h"
#include "data/records.h"
#include "learner/optimizer.h"
#include "model/model.h"

struct learner;
struct judge;                           /* data/judge.h */

/* Where the rows of a step come from. */
enum rows_from {
    SOURCE_PROMPTS,             /* an actor completes prompts */
    SOURCE_PAIRS,               /* records in files: pairs, lists, singles */
    SOURCE_TEXT,                /* packed rows of text */
};

/* An algorithm is a method (learner/internal.h) and what the row makes of it. */
struct algorithm {
    const char *name;           /* "online_dpo", "lm" */
    const struct method *method;
    enum rows_from source;
    unsigned columns;           /* of the batch it reads, unless the method knows better */
    const char *variant;        /* the method's: a loss, a preset; NULL: none */
};
extern const struct algorithm algorithms[];             /* ends with name NULL */
const struct algorithm *algorithm_find(const char *name);
/* All names with `between` between them. */
void algorithm_names(struct text *out, const char *between);
/* Is there such an algorithm, and does the configuration have what it needs, and no key that
 * nothing reads?  RL_EINVAL: one line that names file, line and key.  Keys that a file has for
 * another algorithm, where an argument or an including file chose this one, are forgotten and
 * told. */
int algorithm_check(struct config *c);

/* What a run of this configuration needs: rows from where (`source`, else the row's), which columns
 * of the batch, records of pairs in which view, and log-probabilities at which temperature (the
 * sampling one for policy gradients, else 1). */
enum rows_from algorithm_source(const struct algorithm *a, const struct config *c);
unsigned algorithm_columns(const struct algorithm *a, const struct config *c);
enum view algorithm_view(const struct algorithm *a, const struct config *c);
enum view algorithm_held_out_view(const struct algorithm *a, const struct config *c);
double algorithm_temperature(const struct algorithm *a, const struct config *c);

/* The score head that the algorithm trains on the policy's trunk in place of the vocabulary head,
 * from the configuration and what the records hold; false: none. */
bool algorithm_scores(const struct algorithm *a, const struct config *c, int objectives,
                      int annotators, struct verdict *verdict, int *scores);

/* Does its policy answer judge prompts? */
bool algorithm_judges(const struct algorithm *a);
/* Outputs of a score head that the algorithm trains beside the policy's vocabulary head; 0: it does
 * not. */
int algorithm_adapter(const struct algorithm *a, const struct config *c);

/* What a learner works on; the caller keeps all of it and destroys it after the learner. */
struct learner_parts {
    const struct config *config;
    struct model *policy;
    struct model *critic;       /* a model of its own with a score head; NULL: none */
    struct comm *team;
    struct records *records;    /* what the steps are drawn from; NULL: rollouts, text */
    const struct judge *judge;  /* the template, when algorithm_judges; NULL: none */
    int P, k;                   /* groups and rows a group of a step, over all ranks */
    int max_row_tokens;         /* tokens in the longest row */
    int objectives;             /* of the records (records_objectives); 0, 1: none to tell apart */
    int text_rows;              /* rows of text beside the batch of a step, over all ranks */
};
/* RL_EINVAL names a key; RL_ENOFIT. */
int learner_create(struct learner **ln, const struct learner_parts *parts);
void learner_destroy(struct learner *ln);               /* NULL is fine */

/* Bytes that create takes on a rank of the team, optimizer and activations included; for plan.  The
 * negative code of an error that create would report too. */
struct learner_size {
    const struct config *config;
    const struct model_shape *policy, *critic;          /* critic: NULL without one */
    struct compute *compute;
    struct records *records;
    int ranks, rank, P, k, max_row_tokens, objectives, text_rows;
};
int64_t learner_bytes(const struct learner_size *size);

/* Before the first update of a run, some methods look at the records: learner_preview says how many
 * (0: none, or they have, in the run that is resumed), add takes a batch of them in file order
 * (rows of weight 0 do not count), end makes of them what goes on in checkpoints.  add and end:
 * Collective, the same on every rank. */
int64_t learner_preview(struct learner *ln);
int learner_preview_add(struct learner *ln, const struct batch *b);
int learner_preview_end(struct learner *ln);

/* One update from the share b of the step.  Collective.  Sets the metrics of the update on every
 * rank (equal values, but for time/forward, backward, reduce, optimizer, which are this rank's).
 * A failed batch (status) on any rank fails on all.  When every pair is dropped, weights and
 * moments stay and optim/skipped counts it; the version counts on.  RL_ENAN: the weights are
 * untouched (or learner_whole is false), the line names the tensor or the prompt. */
int learner_update(struct learner *ln, struct batch *b, struct metrics *m);
/* Behind an update that ended with RL_ENAN: is it skipped, as on_nonfinite says?  Then its metrics
 * are set, the version counts on, and the run may go on. */
bool learner_skips(const struct learner *ln);

/* A batch that is only looked at, before the first update: for what a method measures of scores.
 * Collective. */
int learner_observe(struct learner *ln, const struct batch *b);

/* Behind one of these that ended with RL_ENAN: had no response of the step all its scores?  Then
 * there is no line yet, as only the rewards know why; *u is of the reward that failed most. */
struct unscored { int reward, missing, rows; };
bool learner_unscored(const struct learner *ln, struct unscored *u);

/* The rows of text that the next updates train on beside their batch (k 1, prompt_len 1): its share
 * is that of share_of, like a batch's.  The caller keeps it. */
void learner_set_text(struct learner *ln, const struct batch *text);

/* Means over the rows of all ranks that need no gradient, from the columns that are filled.
 * Prefix "": reward/, kl/ref, policy/entropy, len/, rollout/ of a training batch; of records the
 * lengths only.  Another prefix
 * ("eval/stories.eval/"): <prefix>score, <prefix>kl, <prefix>len.  The batch may be of any size.
 * Collective. */
int learner_measure(struct learner *ln, const struct batch *b, struct metrics *m,
                    const char *prefix);
/* Held-out records: a batch of any size, of held-out file `set`.  A reward model: <prefix>accuracy
 * of this batch; then rm/accuracy, rm/ece and rm/temperature over it and those since file 0; the
 * temperature is kept with the model.  With a head for each file of training, file i is head i's.
 * Does nothing for a method without a measure of its own.  Collective. */
int learner_held_out(struct learner *ln, const struct batch *b, int set, struct metrics *m,
                     const char *prefix);
/* Evaluation on pairs (VIEW_PAIRS): <prefix>ranking_accuracy (S_w >= S_l, no reference),
 * <prefix>ranking_accuracy_per_token, <prefix>perplexity of the chosen, and with a reference
 * <prefix>accuracy, margin, ranking_accuracy_ideal (ranked.h).  With several reward columns each
 * has its own, "/name" of objectives[] at the end; pairs that are equal in a column are left out of
 * it.  Nothing for a policy without a vocabulary head.  The batch may be of any size.
 * Collective. */
int learner_measure_pairs(struct learner *ln, const struct batch *b, struct metrics *m,
                          const char *prefix, const char *const *objectives);
/* Evaluation of the policy as a judge on held-out pairs: both orders; <prefix>judge_accuracy,
 * judge_agreement, judge_bias.  Nothing for an algorithm that does not judge.  Collective. */
int learner_judge_pairs(struct learner *ln, const struct batch *b, struct metrics *m,
                        const char *prefix);
/* Evaluation on text: summed negative log-likelihood of the rows of a batch of any size, and the
 * tokens predicted, over all ranks.  RL_EBUG: a row is longer than max_row_tokens.  Collective. */
int learner_nll(struct learner *ln, const struct batch *b, double *sum, int64_t *count);

/* State that a checkpoint holds: flat buffers laid out like a model's weights (the weights
 * themselves, moments, a critic's), and short rows of doubles (powers of the betas, controllers,
 * running means).  Equal on every rank.  The data may be written in place; then
 * learner_restored. */
#define LEARNER_FLATS 12
#define LEARNER_VALUES 24
struct learner_flat { const char *folder; const struct model *model; float *data; };
struct learner_value { const char *name; double *x; size_t n; };
int learner_flats(struct learner *ln, struct learner_flat out[LEARNER_FLATS]);
int learner_values(struct learner *ln, struct learner_value out[LEARNER_VALUES]);
void learner_restored(struct learner *ln);

/* Are the weights those of a whole number of updates?  Not after an update of several passes that
 * failed in a later one: then they must not be saved. */
bool learner_whole(const struct learner *ln);

/* Updates done, of a run that goes on. */
void learner_set_version(struct learner *ln, int64_t version);
/* Tokens trained on so far, over all ranks: of the rows that were run, prompts included. */
int64_t learner_tokens(const struct learner *ln);
void learner_set_tokens(struct learner *ln, int64_t tokens);

#endif
