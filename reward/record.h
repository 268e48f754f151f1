/* Scores from outside on record: lines of JSON, one a training step, in global row order.
 *
 *   {"step":12,"rewards":["mine"],"replaced":[[1,"c0ffee254729296a",0],...]}
 *   {"step":12,"rewards":["mine"],"rows":[["9f86d081884c7d65",0.5],["60303ae22b998861",null]]}
 *
 * step: updates done when this one is; rewards: the names of those from outside, in the order of
 * the configuration; a row: the hash of its tokens, then its scores, null for one that did not
 * come.  replaced: rows whose prompts were sampled again, with their numbers: that of row i in
 * round n of a step of N rows is i + n N.
 */
#ifndef REWARD_RECORD_H
#define REWARD_RECORD_H

#include "base/config.h"
#include "base/text.h"
#include "data/batch.h"

/* Rewards of the configuration whose scores come from outside. */
int record_columns(const struct config *c);

/* The rows of a batch's share as text, "," between them.  Shares in order, with "," between those
 * that have rows, inside record_line, are a line. */
void record_rows(const struct config *c, const struct batch *b, struct text *out);
/* The rows of group g of the batch held here, with their numbers, "," behind each. */
void record_replaced(const struct config *c, const struct batch *b, int g, int round,
                     struct text *out);
/* A line, '\n' included, of the rows of step `step` (from 0); name: "rows" or "replaced". */
void record_line(const struct config *c, int64_t step, const char *name, const char *rows,
                 size_t bytes, struct text *out);

struct record;                          /* lines that were read */
/* Lines of other rewards than c's are left out; of two lines of a step that have a row the
 * later counts.  RL_EINVAL: a line is none. */
int record_read(struct record **record, const struct config *c, const char *lines, size_t bytes);
void record_free(struct record *record);                /* NULL is fine */

/* The score on record of the row of this number (global; see above) of step `step` (from 0), of the
 * i-th reward of the configuration.  false: there is none, or of another response. */
bool record_find(const struct record *record, int64_t step, int64_t number, uint64_t hash, int i,
                 double *score);
uint64_t record_hash(const struct batch *b, int n);     /* of the tokens of row n */

#endif
