/* Questions that are answered by one token: the logits of a few ids behind each row, nothing is
 * generated.  Rows go through a paged cache of their own, a few at a time; how they are cut changes
 * no bit.
 *
 *   TRY(asker_create(&a, model, rows, max_row_tokens));
 *   TRY(asker_run(a, tokens, start, N, ids, n, out));      out(N, n)
 *   asker_destroy(a);
 */
#ifndef MODEL_ASK_H
#define MODEL_ASK_H

#include "model/model.h"

struct asker;

/* At most `rows` rows of max_row_tokens tokens in one forward pass.  The caller keeps the model and
 * destroys it after the asker.  RL_ENOFIT. */
int asker_create(struct asker **a, struct model *model, int rows, int max_row_tokens);
void asker_destroy(struct asker *a);                    /* NULL is fine */
size_t asker_bytes(const struct model_shape *shape, struct compute *k, int rows,
                   int max_row_tokens);
/* Row n is tokens start[n] .. start[n+1].  RL_EBUG: a row is longer than max_row_tokens.
 * RL_ENAN: a logit is not a finite number; the line names the row.  Not collective. */
int asker_run(struct asker *a, const int *tokens, const int *start, int N, const int *ids, int n,
              float *out);

#endif
