/* A file of held-out records or text, read block by block by the models of an evaluation: each rank
 * its share.
 *
 *   struct reading r = { .e = e, .k = .., .columns = .. };
 *   ... open r.records or r.corpus ...
 *   TRY(reading_begin(&r, path, groups there, longest row, reward columns));
 *   for (int at = 0; at < r.count; at += EVAL_GROUPS)
 *       TRY(reading_block(&r, at));            r.batch, r.policy_logp, batch.ref_logp -> r.rows
 *   reading_end(&r);
 */
#ifndef LAUNCH_EVAL_READING_H
#define LAUNCH_EVAL_READING_H

#include "data/prompts.h"
#include "data/records.h"
#include "launch/eval/eval.h"

struct reading {
    struct eval *e;
    struct records *records;            /* one of the two */
    struct corpus *corpus;
    struct refmodel *policy, *reference;        /* of records both; NULL: not asked */
    struct batch batch;
    struct memory memory;
    float *policy_logp;                 /* (tokens) of the batch */
    int P, k, columns, scores;          /* scores: columns of records */
    int first, count;
    struct duels *duels;                /* NULL: no judge */
    double *rows;                       /* (count, k, columns) */
    char prefix[320];
};

/* Not collective, as all of them. */
int reading_begin(struct reading *r, const char *path, int64_t there, int row_tokens, int R);
void reading_end(struct reading *r);            /* fine when it has not begun */
/* The rows of the share from group `at` on, and their log-probabilities. */
int reading_block(struct reading *r, int at);
/* Of row n of the batch: the sum over its response. */
double reading_sum(const float *logp, const struct batch *b, int n);
/* Open r->records with a file of pairs. */
int reading_pairs(struct reading *r, const struct strings *path);

#endif
