/* Scored samples of a prompt become records: pairs, a list, or labelled singles, as lines of JSON
 * (data/records.h reads them).  Answers stay token ids, so that nothing is lost by decoding and
 * tokenizing again.
 *
 *   samples of a prompt     3   0   1   0   2        scores
 *   best_worst              3 > 0
 *   matched                 3 > 0,  2 > 0            best with worst, then the next two
 *   all                     every two that differ
 *
 *   struct labels l = { .R = R, .pairing = LABELS_MATCHED, .most = -1 };
 *   ... l.prompt, l.text; labels_add for each sample, its score ...
 *   labels_write(&l, stdout);                        the prompt is done
 *   labels_free(&l);
 */
#ifndef LAUNCH_LABELS_H
#define LAUNCH_LABELS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "data/tokenizer.h"

enum labels_kind { LABELS_PAIRS, LABELS_LISTS, LABELS_SINGLES };
enum labels_pairing { LABELS_BEST_WORST, LABELS_MATCHED, LABELS_ALL };

struct sample {
    struct ids ids;
    int finish;
    double score;               /* NaN: it has none and is left out */
};

struct labels {
    enum labels_kind kind;
    enum labels_pairing pairing;
    double gap;                 /* pairs: scores differ by more than this */
    double above;               /* singles: a score above it is desirable */
    bool signs;                 /* pairs: which answer each reward prefers, */
    const char *const *names;   /* (R) by the rewards' names */
    int R;
    int64_t most;               /* records, below 0: all */

    /* the prompt at hand */
    struct text text;
    struct ids prompt;
    struct sample *samples;     /* (count) */
    int count, room;
    double *scores;             /* (count, R) of each reward */
    int *order;                 /* (room) scratch: samples, best first */

    int64_t written;
    double gaps;                /* sum over the pairs */
    struct text line;
};

/* One more sample of the prompt, zeroed but for the room of its ids; NULL: no memory (rl_error was
 * called). */
struct sample *labels_add(struct labels *l);
/* The records of the prompt; it has no samples then. */
void labels_write(struct labels *l, FILE *out);
bool labels_full(const struct labels *l);               /* are there enough records? */
void labels_free(struct labels *l);

#endif
