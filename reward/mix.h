/* Weights of the rewards by prompt: a trained orchestrator (arXiv 2511.10656) at work in the reward
 * role.
 *
 *   prompt --> trunk --> hidden state of its last token --> adapter --> w(x) = softmax(logits)
 *
 *   TRY(mix_create(&mix, model, micro_rows, max_prompt));
 *   TRY(mix_fill(mix, b));                         reads the prompts, fills mix(N,R)
 *   mix_destroy(mix);
 *
 * A prompt is run once, whatever the number of its responses, and without them; how prompts are cut
 * into passes changes no bit.
 */
#ifndef REWARD_MIX_H
#define REWARD_MIX_H

#include "data/batch.h"
#include "model/model.h"

struct mix;

/* Prompts of at most max_prompt tokens; a pass has room for micro_rows of them, and shorter ones
 * share it.  The caller keeps the model, which has an output of its score head for each reward, and
 * destroys it after.  RL_EINVAL, RL_ENOFIT. */
int mix_create(struct mix **mix, struct model *model, int micro_rows, int max_prompt);
void mix_destroy(struct mix *mix);                      /* NULL is fine */
size_t mix_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                 int max_prompt);

/* Fill b->mix (N,R): positive weights of sum 1, the same for the k rows of a prompt.  RL_ENAN: the
 * adapter's outputs are not finite.  Not collective. */
int mix_fill(struct mix *mix, struct batch *b);

#endif
