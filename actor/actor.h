/* The actor: completes prompts with continuous batching over a paged cache; the k samples of a
 * prompt share its pages.
 *
 *   TRY(actor_create(&actor, model, &settings));
 *   TRY(actor_fill(actor, batch, PURPOSE_SAMPLE, version));     prompts in, completions out
 *   actor_destroy(actor);
 *
 * The token at (step, group, sample, position) is drawn with the random number of that counter: the
 * same completion in any batch, on any rank.
 */
#ifndef ACTOR_ACTOR_H
#define ACTOR_ACTOR_H

#include <stdint.h>

#include "base/random.h"
#include "data/batch.h"
#include "data/stop_strings.h"
#include "model/model.h"

struct actor;                   /* defined in actor/internal.h */

struct actor_settings {
    float temperature;          /* of sampling; 0 is greedy (highest logit, lowest id) */
    float loss_temperature;     /* actor_logp is log p over the whole vocabulary at this one */
    int top_k;                  /* 0: off */
    float top_p, min_p;         /* 1 and 0: off */
    float repetition_penalty;   /* of tokens in the row, prompt included, before the filters: logits
                                 * above 0 are divided, others multiplied by it (CTRL, Keskar et
                                 * al. 2019, 1909.05858; as Hugging Face's); 1 or 0: off */
    int max_new;
    const int *eos; int n_eos;  /* ids that end a row; copied */
    const int *stop_tokens; int n_stop_tokens;  /* more of them; copied */
    struct stop_strings *stop;  /* NULL: none; the caller keeps it and closes it after the actor */
    uint64_t seed;
    int max_prompt;             /* tokens in the longest prompt */
    int rows_at_once;           /* decode batch; the cache holds this many rows, max_rows at most;
                                 * a pass takes twice as many tokens of prompts, or 128 */
    int max_rows;               /* rows of the largest batch */
};

/* The caller keeps the model and destroys it after the actor.  RL_EINVAL names the setting that is
 * out of range; *a is NULL on error. */
int actor_create(struct actor **a, struct model *model, const struct actor_settings *settings);
void actor_destroy(struct actor *a);                    /* NULL is fine */

/* What actor_create takes, in bytes, with settings that it accepts. */
size_t actor_bytes(const struct model_shape *shape, struct compute *k,
                   const struct actor_settings *settings);

/* Sample with another temperature from now on (evaluation: 0). */
void actor_set_temperature(struct actor *a, float temperature);

/* Complete every row of b, which holds prompts only (COL_TOKENS; the k rows of a group are equal).
 * Fills tokens, start, finish, version and actor_logp (0 on the prompt).  A row ends with an eos id
 * or a stop token, which is part of it (FINISH_EOS), or with the token in which its response's text
 * comes to the end of a stop string (FINISH_STOP), or after max_new tokens, or where the model's
 * context ends (FINISH_LENGTH).  A batch that failed upstream is left as it is.  On failure b keeps
 * its prompts and gets the code as its status.  RL_ENAN: the line names the row and the position.
 * Not collective. */
int actor_fill(struct actor *a, struct batch *b, enum purpose purpose, int64_t version);
/* The same for chosen groups of a step: number[g] stands for group g of b in the counter. */
int actor_fill_groups(struct actor *a, struct batch *b, enum purpose purpose, int64_t version,
                      const int *number);

/* Of the last fill: tokens made, and rows decoded at once (mean over the forward passes). */
void actor_stats(const struct actor *a, int64_t *tokens, double *mean_rows);

#endif
