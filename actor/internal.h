/* What the actor's own files share: the rows of the batch being made, the places in the decode
 * batch, and the prompt that waits for places.
 *
 *   rows   0 1 2 3 | 4 5 6 7 | 8 ...      k to a group; rows before `next` have had their place
 *              \  \    |  \
 *   places   [ 2 | 3 | 4 | 5 ]            the first `active` of them are decoded together
 *
 *   pages    prompt p p p'                whole pages p are shared by the rows of the group,
 *            row    p p q  q  ...         the last, partly filled page p' is copied for each row
 */
#ifndef ACTOR_INTERNAL_H
#define ACTOR_INTERNAL_H

#include "actor/actor.h"

#define PREFILL_CHUNK 128        /* prompt tokens in one forward pass, at most */

struct place {
    int row;                     /* of the batch */
    int pages;                   /* held, in the place's line of the table */
};

struct actor {
    struct model *model;
    struct compute *k;
    struct cache *cache;
    struct memory memory;
    struct actor_settings set;   /* eos is our copy, rows_at_once at most max_rows */
    int V, context;
    int room;                    /* tokens in the longest row */
    int stride;                  /* pages in the longest row */
    int chunk;                   /* prompt tokens in one forward pass */

    /* The batch being made. */
    const struct batch *batch;
    enum purpose purpose;
    const int *number;           /* (groups) in the counter; NULL: where they are in the step */
    int next;                    /* the first row that has not had its place */
    int *tokens;                 /* (max_rows, room) */
    float *logp;                 /* (max_rows, room) */
    int *length;                 /* (max_rows) tokens so far */
    int *limit;                  /* (max_rows) the row ends at this length */
    int *finish;                 /* (max_rows) */

    /* Rows being decoded. */
    int active;
    struct place *place;         /* (rows_at_once) */
    int *table;                  /* (rows_at_once, stride) */
    int *start;                  /* (rows_at_once + 1): 0, 1, 2, ... */
    int *position;               /* (rows_at_once) */
    int *feed;                   /* (rows_at_once) the token fed at that position */

    /* The open prompt: the rows of its group share its pages until the last has its place. */
    int prompt_pages;
    int *prompt_table;           /* (stride) */

    /* Draws: from (rows_at_once, V) logits, or k times from the last logits of a prompt. */
    float *logits;
    int *drawn;                  /* (rows_at_once) the rows whose tokens are drawn */
    int *target;                 /* (max_rows) */
    struct lse *state;           /* (max_rows) */
    float *target_logit;         /* (max_rows) */
    float *target_logp;          /* (max_rows) */
    uint32_t *word;              /* (max_rows) */
    float *kept;                 /* (rows_at_once, room) logits before a repetition penalty */
    int64_t *seen;               /* (V) the last call of penalise that met this id */
    int64_t calls;               /* of penalise */
    int *eos;                    /* (n_eos) */

    /* Figures of the last fill. */
    int64_t made, decoded, passes;
};

static inline bool actor_penalises(const struct actor *a)
{
    return a->set.repetition_penalty != 0.0f && a->set.repetition_penalty != 1.0f;
}

#endif
