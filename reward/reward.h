/* Rewards: a table of kinds, several per run, one column of the batch each.
 *
 *   TRY(reward_create(&reward, config, tokenizer, prompts));
 *   TRY(reward_fill(reward, batch));      reads tokens, fills reward(N,R)
 *   reward_destroy(reward);
 */
#ifndef REWARD_REWARD_H
#define REWARD_REWARD_H

#include "base/config.h"
#include "data/batch.h"
#include "data/prompts.h"
#include "data/tokenizer.h"

/* What a kind sees of one response. */
struct response {
    const char *text; size_t bytes;     /* decoded without special tokens; ends with a zero byte */
    const int *ids; int count;          /* its tokens, eos included when it was made */
    int finish;
    const char *prompt;                 /* text or NULL */
    const struct json *fields;          /* of the prompt's line, may be NULL */
};

/* A kind is a row of reward_kinds[] (ends with name NULL). */
struct reward_kind {
    const char *name;
    int (*open)(void **state, const struct config_reward *c, const char *where);     /* RL_EINVAL: which key is wrong */
    int (*score)(void *state, const struct response *r, double *score);
    void (*close)(void *state);
};
extern const struct reward_kind reward_kinds[];

struct reward;
/* tokenizer may be NULL only if no kind needs text.  The caller keeps tokenizer and prompts (NULL is fine). */
int reward_create(struct reward **reward, const struct config *config, struct tokenizer *tokenizer);
void reward_destroy(struct reward *reward);
/* prompts: the file the batch's prompts came from, for their fields (training and evaluation differ). */
int reward_fill(struct reward *reward, struct batch *b, const struct prompts *prompts);

#endif
