/* The reference model: frozen weights that say how likely each token was before training.
 *
 *   TRY(refmodel_create(&ref, model, micro_rows, max_row_tokens, temperature));
 *   TRY(refmodel_fill(ref, batch));       reads tokens, fills ref_logp
 *   refmodel_destroy(ref);
 */
#ifndef REFMODEL_REFMODEL_H
#define REFMODEL_REFMODEL_H

#include "data/batch.h"
#include "model/model.h"

struct refmodel;                                        /* defined in refmodel.c */

/* Use the frozen weights handed in; the caller keeps the model and destroys it after the reference
 * model.  A forward pass has room for micro_rows rows of max_row_tokens tokens, and shorter
 * rows share it.
 * temperature: that of the loss.  *ref is NULL on error. */
int refmodel_create(struct refmodel **ref, struct model *model, int micro_rows, int max_row_tokens,
                    float temperature);
void refmodel_destroy(struct refmodel *ref);            /* NULL is fine */

/* What refmodel_create takes, in bytes. */
size_t refmodel_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                      int max_row_tokens);

/* Fill batch->ref_logp (T) from batch->tokens (T); 0 on the prompt.  A batch that failed upstream
 * is left as it is; on failure b gets the code as its status.  RL_ENAN: the line names the row and
 * the position.  Not collective. */
int refmodel_fill(struct refmodel *ref, struct batch *b);

#endif
