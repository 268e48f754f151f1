/* What the actor's own files share: the rows of the batch being made, the places in the decode
 * batch, and the prompts that wait for places.
 *
 *   rows   0 1 2 3 | 4 5 6 7 | 8 ...      k to a group; rows before `next` have had their place,
 *              \  \    |  \                the prompts of those before `opened` have pages
 *   places   [ 2 | 3 | 4 | 5 ]            the first `active` of them are decoded together
 *
 *   pages    prompt p p p'                whole pages p are shared by the rows of the group,
 *            row    p p q  q  ...         the last, partly filled page p' is copied for each row
 */
#ifndef ACTOR_INTERNAL_H
#define ACTOR_INTERNAL_H

#include "actor/actor.h"
#include "base/workspace.h"

#define PROMPT_TOKENS 2          /* for each of a pass's places it has room for so many more, */
#define PROMPT_LEAST 128         /* of prompts: for so many at least, */
#define PROMPT_LEAST_GPU 1024    /* which reads the weights again for every pass */

struct place {
    int row;                     /* of the batch */
    int pages;                   /* held, in the place's line of the table */
};

struct prompt {                  /* of a group that is open */
    int done;                    /* tokens computed */
    int fed;                     /* tokens in the pass being made */
    int pages;
    int *table;                  /* (stride) */
};

struct actor {
    struct model *model;
    struct compute *k;
    struct cache *cache;
    struct memory memory;        /* the processor's */
    struct workspace_part scores;        /* what draws are made from */
    struct actor_settings set;   /* rows_at_once at most max_rows; eos is our copy */
    int V, context;
    int room;                    /* tokens in the longest row */
    int stride;                  /* pages in the longest row */
    int prompts;                 /* open at once */
    int pass_tokens;             /* in one forward pass, at most */

    /* The batch being made. */
    const struct batch *batch;
    enum purpose purpose;
    const int *number;           /* (groups) in the counter; NULL: where they are in the step */
    int next;                    /* the first row that has not had its place */
    int opened;                  /* the first row whose prompt is not open yet */
    int *tokens;                 /* (max_rows, room) */
    float *logp;                 /* (max_rows, room) */
    int *length;                 /* (max_rows) tokens so far */
    int *limit;                  /* (max_rows) the row ends at this length */
    int *finish;                 /* (max_rows) */
    int *matched;                /* (max_rows, stop strings): see data/stop_strings.h */

    /* Rows being decoded, and prompts being computed: that of group g is g % prompts. */
    int active;
    struct place *place;         /* (rows_at_once) */
    struct prompt *prompt;       /* (prompts) */
    int *prompt_table;           /* (prompts, stride) */

    /* The pass being made: its first lines are the places. */
    int lines, fed;              /* lines and tokens so far */
    int *table;                  /* (rows_at_once + 1, stride) */
    int *start;                  /* (rows_at_once + 2) */
    int *position;               /* (rows_at_once + 1) */
    int *feed;                   /* (pass_tokens) */

    /* Draws: from (rows_at_once + 1, V) logits, or k times from the last logits of a prompt. */
    float *logits;
    int *target;                 /* (max_rows) */
    struct lse *state;           /* (max_rows) */
    float *target_logit;         /* (max_rows) */
    float *target_logp;          /* (max_rows) */
    int *drawn;                  /* (rows_at_once) the rows whose tokens are drawn */
    uint32_t *word;              /* (max_rows) */
    float *kept;                 /* (rows_at_once, room) logits before a repetition penalty */
    int64_t *seen;               /* (V) the last call of penalise that met this id */
    int64_t calls;               /* of penalise */
    int *eos;                    /* (set.n_eos) eos ids and stop tokens */

    /* Figures of the last fill. */
    int64_t made, decoded, passes;
};

static inline bool actor_penalises(const struct actor *a)
{
    return a->set.repetition_penalty != 0.0f && a->set.repetition_penalty != 1.0f;
}

static inline int *actor_row(const struct actor *a, int row)
{
    return a->tokens + (size_t)row * (size_t)a->room;
}

static inline float *actor_row_logp(const struct actor *a, int row)
{
    return a->logp + (size_t)row * (size_t)a->room;
}

static inline int prompt_length(const struct actor *a, int row)
{
    return a->batch->start[row + 1] - a->batch->start[row];
}

static inline struct prompt *prompt_of(const struct actor *a, int group)
{
    return &a->prompt[group % a->prompts];
}

/* actor.c: take a page of the cache (there is one); add n tokens of a row, the first of them at
 * `position`, to the pass: its next line. */
int actor_page(struct actor *a, int *page);
void actor_feed(struct actor *a, const int *tokens, int n, int position);

/* prefill.c: pages for the prompts of the next groups; chunks of open prompts into the pass, the
 * oldest first, in the room behind the places: the number of prompts that end in it, and those come
 * first; the first tokens of their rows, from logits z(ended, V); back with the pages. */
int prefill_open(struct actor *a);
int prefill_feed(struct actor *a);
int prefill_draw(struct actor *a, float *z);
void prompt_close(struct actor *a, int group);
void prefill_close(struct actor *a);

/* places.c: free places for the next rows whose prompts are computed; every place's last token into
 * the pass; back with the places of rows that are done, or with all. */
int places_take(struct actor *a);
int places_feed(struct actor *a);
void places_give(struct actor *a, bool all);

/* draw.c: the first tokens of the rows of a group, all from the prompt's last logits z(V) (one
 * log-sum-exp serves all of them); the next token of every place, from z(active, V). */
int draw_first(struct actor *a, int first, float *z);
int draw_next(struct actor *a, float *z);

#endif
