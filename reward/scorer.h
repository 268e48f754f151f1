/* A trained reward model at work in the reward role: outputs of its score head for the rows of a
 * batch, a few rows at a time; how they are cut changes no bit.
 *
 *   TRY(scorer_create(&s, model, micro_rows, max_row_tokens));
 *   scorer_begin(s);                               a batch
 *   TRY(scorer_run(s, b, NULL));                   once, however many columns ask
 *   double r = scorer_reward(s, n, head or user);  of row n
 *   scorer_destroy(s);
 */
#ifndef REWARD_SCORER_H
#define REWARD_SCORER_H

#include "data/batch.h"
#include "data/tokenizer.h"
#include "model/model.h"

struct scorer;

/* Rows of at most max_row_tokens tokens, those of a context included; a pass has room for
 * micro_rows of them, and shorter ones share it.  The caller keeps the model and destroys it after
 * the scorer.  RL_EINVAL, RL_ENOFIT. */
int scorer_create(struct scorer **s, struct model *model, int micro_rows, int max_row_tokens);
void scorer_destroy(struct scorer *s);                  /* NULL is fine */
size_t scorer_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                    int max_row_tokens);
const struct model_shape *scorer_shape(const struct scorer *s);

/* What was run is of another batch from here on. */
void scorer_begin(struct scorer *s);
/* Run the batch's rows, each with `context` between the ids that the prompt's first `head` are and
 * the rest of its prompt (NULL: as they are, and not again when they were run since scorer_begin).
 * RL_EINVAL: a row that is too long with its context. */
struct context { const int *ids; int n, head; };
int scorer_run(struct scorer *s, const struct batch *b, const struct context *context);

/* Of the rows that were run last: the score `which` of row n (VERDICT_SCORES), its reward for user
 * `which` (VERDICT_POINT; below 0: the mean over all users), and how much better row i is than
 * row j (any verdict; VERDICT_GENERAL has nothing else). */
double scorer_reward(const struct scorer *s, int n, int which);
double scorer_margin(const struct scorer *s, int i, int j, int which);

#endif
