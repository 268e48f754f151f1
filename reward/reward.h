/* Rewards: a table of kinds, several per run, one column of the batch each.
 *
 *   TRY(reward_create(&reward, &parts));
 *   TRY(reward_fill(reward, batch, prompts, purpose));     reads tokens, fills reward(N,R) (and
 *                                                          mix(N,R) with an orchestrator)
 *   reward_destroy(reward);
 *
 * A score that does not come, is not finite or is beyond REWARD_LARGEST is NaN in the column:
 * learners leave the response out.  Scores from outside (a process, a server, a plug-in) are no
 * function of the response; a run records them (record.h) and hands them back after a resume.
 */
#ifndef REWARD_REWARD_H
#define REWARD_REWARD_H

#include <stdbool.h>

#include "base/config.h"
#include "base/random.h"
#include "data/batch.h"
#include "data/prompts.h"
#include "data/tokenizer.h"

/* Squares and sums of scores must be numbers, too. */
#define REWARD_LARGEST 1e30

struct model;
struct scorer;                          /* scorer.h */
struct verdicts;                        /* verdicts.h */
struct judge;                           /* data/judge.h */

/* What a kind sees of one response. */
struct response {
    const char *text; size_t bytes;     /* decoded without special tokens; ends with a zero byte */
    const int *ids; int count;          /* its tokens, eos included when it was made */
    int finish;
    const char *prompt;                 /* text or NULL */
    const struct json *fields;          /* of the prompt's line, may be NULL */
    const char *file; int64_t line;     /* where the prompt stands, lines from 1; NULL: unknown */
};

/* What a kind that scores by a model gets besides its keys. */
struct reward_model_parts {
    struct scorer *scorer;              /* shared by all columns of the model */
    struct tokenizer *tokenizer;        /* NULL: there is none */
    int row_tokens;                     /* of the longest row */
};

/* A kind is a row of reward_kinds[] (ends with name NULL).  It has one of open, open_model,
 * open_judge; score, score_many or fill. */
struct reward_kind {
    const char *name;
    const char *keys;                   /* of struct config_reward that it alone reads, one space
                                         * between; others are refused */
    /* RL_EINVAL names the key that is wrong; `where` begins the line.  c outlives the state. */
    int (*open)(void **state, const struct config_reward *c, const char *where);
    int (*open_model)(void **state, const struct config_reward *c, const char *where,
                      const struct reward_model_parts *parts);
    /* verdicts: shared by all columns of the judge. */
    int (*open_judge)(void **state, const struct config_reward *c, const char *where,
                      struct verdicts *verdicts);
    /* Fills *score; NaN: there is none.  Errors call rl_error, as everywhere, and end the run. */
    int (*score)(void *state, const struct response *r, double *score);
    /* Fills n scores at once.  When some are NaN, why goes to `trouble` (one line).  RL_ELOST,
     * without rl_error: the run's deadline is over; `trouble` says who has not answered. */
    int (*score_many)(void *state, const struct response *r, int n, double *scores,
                      struct text *trouble);
    /* Fills the scores (N) of whole rows; a prompt's k rows lie together. */
    int (*fill)(void *state, const struct batch *b, double *scores);
    void (*close)(void *state);         /* NULL is fine */
    /* Does it read the response's text?  NULL: always. */
    bool (*needs_text)(const struct config_reward *c);
    bool outside;                       /* scores come from outside: they are recorded */
};
extern const struct reward_kind reward_kinds[];
/* NULL: there is none of this name. */
const struct reward_kind *reward_kind_find(const char *name);

struct reward;                          /* defined in reward.c */

struct comm;

/* What the rewards of a rank are made of.  The caller keeps all of it and destroys it after. */
struct reward_parts {
    const struct config *config;
    struct tokenizer *tokenizer;        /* NULL only if no kind needs text */
    struct model *const *models;        /* (n_rewards) of kind "model": its reward model, the same
                                         * pointer where it is the same; NULL: no such kind */
    int row_tokens;                     /* of the longest row, for models */
    int most_rows;                      /* of a batch: more micro_rows are none; 0: unknown */
    struct model *judge_model;          /* of kind "judge": who judges, */
    const struct judge *judge;          /* and the template; NULL: no such kind */
    struct model *orchestrator;         /* weighs the rewards by prompt; NULL: nobody does */
    int max_prompt;                     /* tokens of the longest prompt, for the orchestrator */
    bool notes;                         /* what is missing is noted (reward_missing), else said */
    struct comm *world;                 /* for messages, which tell who asks; NULL is fine */
};
/* One column for each group of config->rewards, in that order.  RL_EINVAL: one line that names
 * file, line and key.  *reward is NULL on error. */
int reward_create(struct reward **reward, const struct reward_parts *parts);
void reward_destroy(struct reward *reward);             /* NULL is fine */

/* Scores that are on record (lines of record.h): reward_fill takes them and asks nobody, as long as
 * the response is the same. */
int reward_replay(struct reward *reward, const char *lines, size_t bytes);

/* Fill b->reward (N,R) with unweighted scores, and b->mix (N,R) where there is an orchestrator, but
 * not for an evaluation: those are of the configuration's weights.  prompts: the file the batch's
 * prompts came from, for their text and fields (training and evaluation differ); NULL is fine.  A
 * batch that failed upstream is left as it is; on failure b gets the code as its status.  RL_ENAN:
 * a score is missing and on_failure is "error"; the line names the reward and the row; or the
 * orchestrator's weights are not finite.  RL_ESTOP: a wait was given up (base/stop.h).
 * RL_ELOST: somebody outside has not answered within the run's deadline; the line names the reward.
 * Not collective. */
int reward_fill(struct reward *reward, struct batch *b, const struct prompts *prompts,
                enum purpose purpose);

/* The notes of missing scores in batches of steps up to `step` (from 0), and in those that no step
 * trains on (step -1), go behind `out` and are forgotten: lines "STEP REWARD MISSING ROWS WHY", the
 * reward by its number. */
void reward_missing(struct reward *reward, int64_t step, struct text *out);

#endif
