/* RPS (arXiv 2510.20498): a response for a target direction v in the space of rewards.
 *
 *   directions u_1 .. u_k within an angle of v  -->  one response to each  -->  the one with the
 *   largest v . r, r its rewards
 *
 * A direction reaches the model as text before the prompt, for models that were trained with such
 * a text.  Without one, or with an angle of 0, this is best of k: the baseline of the paper.
 *
 *   TRY(rps_open(&r, &settings));                              the configuration, v
 *   TRY(rps_longest(&r, prompts, "p.jsonl", &source, &n));     tokens before a response
 *   TRY(rps_start(&r, &source, model, groups, n, max_new));
 *   TRY(rps_fill(&r, actor, prompts, batch));                  prompts in, responses out
 *   n = r.best[g];                                             the row of group g
 *   rps_close(&r);
 *
 * Rewards see the prompt without the text: it says what is wanted, not what is asked.
 */
#ifndef LAUNCH_RPS_H
#define LAUNCH_RPS_H

#include "actor/actor.h"
#include "base/config.h"
#include "base/random.h"
#include "base/text.h"
#include "data/prompts.h"
#include "launch/rewards.h"

#define RPS_MOST 64                     /* rewards */

/* ---- directions */

/* v of unit length (n_rewards): numbers with commas between them, or (NULL) the weights of the
 * rewards.  RL_EINVAL. */
int rps_target(double *v, const char *numbers, const struct config *c);
/* u of unit length: v turned by a share of `angle` (radians), uniform in [0, 1], to a side that is
 * uniform too; by the numbers of the counter, whose position is used. */
void rps_direction(double *u, const double *v, int K, double angle, struct counter counter);
/* The text with {name} replaced by the direction's number of that reward, two decimals.  Returns
 * how many were. */
int rps_prefix(struct text *out, const char *text, const struct config *c, const double *u);

double rps_score(const double *v, const double *r, int K);              /* v . r */
/* The highest of n; the first wins equal ones; NaN never wins.  -1: none is a number. */
int rps_best(const double *scores, int n);

/* ---- responses */

struct rps_settings {                   /* the strings outlive struct rps */
    const char *path;                   /* of the configuration with the rewards, */
    char *const *keys; int n_keys;      /* and key=value words that go before it */
    const char *target;                 /* NULL: the rewards' weights */
    const char *prefix;                 /* NULL: every direction is the target */
    double angle;                       /* radians */
    int k;                              /* directions of a prompt */
    uint64_t seed;
};

struct rps {
    struct rps_settings set;
    struct config *config;
    struct rewards rewards;
    int K;                              /* rewards */
    double v[RPS_MOST];
    struct tokenizer *tokenizer;        /* the model's */
    const char *name;                   /* of the file of prompts, for messages */
    int longest;                        /* tokens of a prompt without the text */
    struct memory memory;
    struct batch asked;                 /* rows with the text before the prompt */
    double *u, *scores;                 /* (rows,K), (rows): v . r, NaN when a reward failed */
    int *best;                          /* (groups) the row that is chosen */
    struct ids ids;                     /* scratch: a prompt with its text */
    struct text text;
};

/* Reads the configuration.  RL_EINVAL, one line: no rewards, a target that is none, a prefix that
 * says nothing of a direction.  Close, also after an error. */
int rps_open(struct rps *r, const struct rps_settings *set);
void rps_close(struct rps *r);                      /* fine on a zeroed struct */
/* Tokens of the longest prompt with its text, or without.  RL_EINVAL names the line of `name` that
 * has ids only or is too long for the model. */
int rps_longest(struct rps *r, const struct prompts *prompts, const char *name,
                const struct source *source, int *longest);
/* Rewards, and room for `groups` prompts of `longest` tokens.  A "judge" asks the model. */
int rps_start(struct rps *r, const struct source *source, struct model *model, int groups,
              int longest, int max_new);
/* b holds prompts of k rows and K reward columns; fills responses, actor_logp (which is given the
 * text too) and rewards, and r's u, scores and best.  RL_ENAN: no response of a prompt has all its
 * scores.  The same for any split into batches. */
int rps_fill(struct rps *r, struct actor *actor, const struct prompts *prompts, struct batch *b);
/* ,"rewards":{name: r, ..},"score":v.r,"direction":{name: u, ..} of row n. */
void rps_add_json(const struct rps *r, const struct batch *b, int n, struct text *line);

#endif
