/* Scores from outside on record: lines of JSON, one a training step, in global row order.
 *
 *   {"step":12,"rewards":["mine"],"replaced":[[1,"c0ffee254729296a",0],...]}
 *   {"step":12,"rewards":["mine"],"rows":[["9f86d081884c7d65",0.5],["60303ae22b998861",null]]}
 *   {"step":1,"rewards":["mine"],"observed":[[0,"2c26b46b68ffc68f",0.25],...]}
 *
 * step: updates done when this one is; rewards: the names of those from outside, in the order of
 * the configuration; a row: the hash of its tokens, then its scores, null for one that did not
 * come.  replaced: rows whose prompts were sampled again, with their numbers: that of row i in
 * round n of a step of N rows is i + n N.  observed: responses before the first step, which no
 * step trains on; that of row i in batch n is i + n N.
 */
#ifndef REWARD_RECORD_H
#define REWARD_RECORD_H

#include "base/config.h"
#include "base/text.h"
#include "data/batch.h"

/* Rewards of the configuration whose scores come from outside. */
int record_columns(const struct config *c);

enum record_of { RECORD_ROWS, RECORD_REPLACED, RECORD_OBSERVED };

/* The rows of group g of the batch held here as text, "," behind each; but for RECORD_ROWS with
 * their numbers in round or batch n. */
void record_group(const struct config *c, const struct batch *b, int g, enum record_of of,
                  int64_t n, struct text *out);
/* A line, '\n' included, of step `step` (from 0); rows: those of groups, in order. */
void record_line(const struct config *c, int64_t step, enum record_of of, const struct text *rows,
                 struct text *out);

struct record;                          /* lines that were read */
/* Lines of other rewards than c's are left out, and batches in which no row has all its scores: the
 * run ended of that, and what scores may have been mended since.  Of two lines of a step that have
 * a row the later counts.  RL_EINVAL: a line is none. */
int record_read(struct record **record, const struct config *c, const char *lines, size_t bytes);
void record_free(struct record *record);                /* NULL is fine */

/* The score on record of the row of this number (global; see above) of step `step` (from 0), of the
 * i-th reward of the configuration.  of: RECORD_OBSERVED, or else a row of a step, replaced or not.
 * false: there is none, or of another response. */
bool record_find(const struct record *record, enum record_of of, int64_t step, int64_t number,
                 uint64_t hash, int i, double *score);
uint64_t record_hash(const struct batch *b, int n);     /* of the tokens of row n */

#endif
