/* A judge at work in the reward role (OSP, section 2.2 and 2.3): every response of a prompt is
 * compared with one baseline in both orders, by a model that reads a judge prompt.
 *
 *   TRY(verdicts_create(&v, &parts));
 *   verdicts_begin(v, prompts);                    a batch
 *   TRY(verdicts_run(v, b));                       once, however many columns ask
 *   verdicts_of(v, n).lam, .bias                   of row n
 *   verdicts_destroy(v);
 *
 * The baseline is the first response of the prompt, whose own verdict is 0, or a text in a field of
 * the prompt's line.  A batch of one response a prompt needs no questions when it is the first.
 */
#ifndef REWARD_VERDICTS_H
#define REWARD_VERDICTS_H

#include "data/batch.h"
#include "data/judge.h"
#include "data/prompts.h"
#include "data/verdict.h"
#include "model/model.h"

struct verdicts;

/* The caller keeps all of it and destroys it after. */
struct verdicts_parts {
    struct model *model;                /* that judges */
    const struct judge *judge;          /* the template */
    struct tokenizer *tokenizer;        /* of baselines that come as text */
    const char *field;                  /* of the prompt's line; NULL: the first response */
    int rows, row_tokens;               /* of a batch: questions in a pass, the longest row */
};
/* RL_ENOFIT, RL_EINVAL: a question may be longer than the model's context. */
int verdicts_create(struct verdicts **v, const struct verdicts_parts *parts);
void verdicts_destroy(struct verdicts *v);              /* NULL is fine */
size_t verdicts_bytes(const struct model_shape *shape, struct compute *k, int rows);

void verdicts_begin(struct verdicts *v, const struct prompts *prompts);
/* RL_EINVAL: a prompt's line lacks the field, or a question is too long; the line says which. */
int verdicts_run(struct verdicts *v, const struct batch *b);
struct said verdicts_of(const struct verdicts *v, int n);

#endif
