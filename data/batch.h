/* struct batch travels once around the ring: each role reads some columns, fills its own, and
 * passes on.
 *
 * The batch of a step has P prompt groups of k rows each, over all ranks; global row = group * k +
 * sample.  A rank holds the contiguous groups [group, group + groups): N = groups * k rows, packed
 * and ragged: row n is tokens start[n] .. start[n+1], of which the first prompt_len[n] are the
 * prompt.
 *
 *   start    0         5               12       16
 *   tokens   |P P P C C|P P P P C C C C|P P C C |       P: prompt, C: completion; N 3, T 16
 */
#ifndef DATA_BATCH_H
#define DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "base/memory.h"

enum column {
    COL_TOKENS = 1, COL_ACTOR_LOGP = 2, COL_REF_LOGP = 4, COL_REWARD = 8,
    COL_LABEL = 16,             /* what a record of a file says of a row */
    COL_MIX = 32,               /* what an orchestrator says of a row's prompt */
    COL_ROLLOUT = 15,           /* what all rollouts have */
    COL_ALL = 63
};
/* by an eos id, by a stop string, or cut */
enum finish { FINISH_NONE = 0, FINISH_EOS = 1, FINISH_STOP = 2, FINISH_LENGTH = 3 };

struct batch {
    int status;                 /* RL_OK, or what went wrong upstream: roles skip a failed batch
                                 * and pass it on */
    int64_t step;               /* the step it will be trained in */
    int P, k;                   /* groups in the whole step, rows in a group */
    int group, groups;          /* the share held here */
    int N, T;                   /* rows and tokens held */
    int R;                      /* reward columns */
    int max_rows, max_tokens;   /* room */
    unsigned filled;            /* columns that hold values */

    int *start;                 /* (N+1)               } COL_TOKENS */
    int *tokens;                /* (T)                 }            */
    int *prompt_len;            /* (N)                 }            */
    int *finish;                /* (N) enum finish     }            */
    int64_t *prompt;            /* (N) number of the prompt (lm: of the row of text) in its file,
                                 *     from 0: the i of prompts_text(p, i)  } COL_TOKENS */
    int64_t *version;           /* (N) of the weights that sampled it       }            */
    float *actor_logp;          /* (T) 0 on the prompt.  COL_ACTOR_LOGP */
    float *ref_logp;            /* (T) 0 on the prompt.  COL_REF_LOGP */
    double *reward;             /* (N,R).  COL_REWARD: scores, or labels of a file (records.h) */
    double *mix;                /* (N,R) weights of the rewards, of sum 1.  COL_MIX */
    double *weight;             /* (N) 0: the row is there to fill, or a mismatched twin } LABEL */
    double *margin;             /* (N) of the row's pair, 0 when not given               }       */
    int *annotator;             /* (N) who labelled it, from 0                           }       */
    int *objective;             /* (N) the data set of its group; -1: all of them        }       */
};

/* Did the response end by itself, not where its room ended? */
static inline bool row_ended(const struct batch *b, int n)
{
    return b->finish[n] == FINISH_EOS || b->finish[n] == FINISH_STOP;
}

/* One part of a column: where its elements are.  The table batch_parts[] ends with name NULL; links
 * and checkpoints walk it, so a new column is one row.  `start` is not in it: it travels as row
 * lengths, which is what a receiver needs first. */
struct batch_part {
    const char *name;
    enum column column;
    size_t offset;              /* of the pointer in struct batch */
    size_t bytes;               /* of one element */
    enum { PER_ROW, PER_TOKEN, PER_REWARD } extent;
    enum dtype dtype;           /* of one element, as checkpoints store it */
};
extern const struct batch_part batch_parts[];

/* Describe and place the arrays (see base/memory.h); runs in a counting pass too.  Sets the room
 * and R, and leaves the batch empty (batch_clear). */
void batch_layout(struct batch *b, struct memory *m, int max_rows, int max_tokens, int R);
/* N = T = 0, nothing filled, status RL_OK; step, P, k and the share stay. */
void batch_clear(struct batch *b);
/* Append rows [first, first + n) of another batch: these columns.  There is room, and k and R are
 * the same; nothing is said of what `to` holds (filled). */
void batch_append(struct batch *to, const struct batch *from, int first, int n, unsigned columns);
/* Groups [first, first + groups) of those held in b, as a batch of their own: a view, no copy. */
struct batch batch_view(const struct batch *b, int first, int groups);
/* Elements of a part in n rows beginning at `first`, and the address of the first. */
void *batch_part_at(const struct batch *b, const struct batch_part *p, int first, int n,
                    size_t *elements);

#endif
