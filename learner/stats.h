/* Tables of doubles, one record per prompt group: every rank fills the records of its groups, and
 * stats_gather puts all of them in global order on every rank, where they are added by plain
 * loops.  So a mean has the same bits for any number of ranks.
 *
 *   TRY(stats_begin(&s, batch, rc));               who holds which groups, which columns are there
 *   TRY(stats_gather(&s, mine, per_group));        s.all[group * per_group + i]
 */
#ifndef LEARNER_STATS_H
#define LEARNER_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "comm/comm.h"
#include "data/batch.h"

enum { SHARE_STATUS, SHARE_GROUP, SHARE_GROUPS, SHARE_COLUMNS, SHARE };

struct stats {
    struct comm *team;
    int64_t *shares;            /* (ranks, SHARE): see stats_begin */
    size_t *counts;             /* (ranks) bytes */
    double *mine, *all;         /* room doubles each; mine is scratch for the caller */
    size_t room;
    double *grown;              /* NULL, or what an evaluation larger than a step had to take */
    int groups;                 /* over all ranks, of the batch begun */
    unsigned columns;           /* filled on every rank that holds rows */
};

/* Place the tables for `room` doubles and `ranks` ranks (see base/memory.h). */
void stats_layout(struct stats *s, struct memory *memory, int ranks, size_t room);
void stats_free(struct stats *s);                   /* what layout did not place */

/* Collective.  Who holds which groups; every rank brings the status rc of what it did before, and
 * all get the worst, so this is an agreement too.  RL_EBUG when the shares do not cover the groups
 * of the batch in order. */
int stats_begin(struct stats *s, const struct batch *b, int rc);
/* Collective.  Room for per_group doubles of each group of the batch begun. */
int stats_room(struct stats *s, size_t per_group);
/* Collective.  mine: per_group doubles for each group held here.  Fills all. */
int stats_gather(struct stats *s, const double *mine, size_t per_group);

/* Column c of a table (rows, columns): added in row order, the spread in a second pass. */
struct moments { double mean, std, min, max; int count; };
struct moments stats_moments(const double *table, int rows, int columns, int c);
/* Of the finite elements only; count 0 and the rest 0 without any. */
struct moments stats_finite(const double *table, int rows, int columns, int c);
/* Pearson's correlation of two columns, over rows where both are finite; false when one of them
 * does not vary. */
bool stats_correlation(const double *table, int rows, int columns, int a, int b, double *out);

#endif
