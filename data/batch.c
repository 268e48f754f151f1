/* See batch.h. */
#include "data/batch.h"

#include <string.h>

#include "base/status.h"

#define PART(field, column, extent, dtype)                                \
    { #field, column, offsetof(struct batch, field),                      \
      sizeof *((struct batch *)0)->field, extent, dtype }

const struct batch_part batch_parts[] = {
    PART(tokens,     COL_TOKENS,     PER_TOKEN,  DTYPE_I32),
    PART(prompt_len, COL_TOKENS,     PER_ROW,    DTYPE_I32),
    PART(finish,     COL_TOKENS,     PER_ROW,    DTYPE_I32),
    PART(prompt,     COL_TOKENS,     PER_ROW,    DTYPE_I64),
    PART(version,    COL_TOKENS,     PER_ROW,    DTYPE_I64),
    PART(actor_logp, COL_ACTOR_LOGP, PER_TOKEN,  DTYPE_F32),
    PART(ref_logp,   COL_REF_LOGP,   PER_TOKEN,  DTYPE_F32),
    PART(reward,     COL_REWARD,     PER_REWARD, DTYPE_F64),
    PART(mix,        COL_MIX,        PER_REWARD, DTYPE_F64),
    PART(weight,     COL_LABEL,      PER_ROW,    DTYPE_F64),
    PART(margin,     COL_LABEL,      PER_ROW,    DTYPE_F64),
    PART(annotator,  COL_LABEL,      PER_ROW,    DTYPE_I32),
    PART(objective,  COL_LABEL,      PER_ROW,    DTYPE_I32),
    { .name = NULL },
};

/* The pointer of a part, wherever it is in the struct: read and written as bytes, because the
 * parts have different types. */
static char *part_pointer(const struct batch *b, const struct batch_part *p)
{
    char *pointer;

    memcpy(&pointer, (const char *)b + p->offset, sizeof pointer);
    return pointer;
}

static void part_set(struct batch *b, const struct batch_part *p, char *pointer)
{
    memcpy((char *)b + p->offset, &pointer, sizeof pointer);
}

/* Elements of a part that lie before row n. */
static size_t elements_before(const struct batch *b, const struct batch_part *p, int n)
{
    switch (p->extent) {
    case PER_ROW:    return (size_t)n;
    case PER_REWARD: return (size_t)n * (size_t)b->R;
    case PER_TOKEN:  break;
    }
    return b->N > 0 ? (size_t)b->start[n] : 0;
}

void batch_layout(struct batch *b, struct memory *m, int max_rows, int max_tokens, int R)
{
    b->max_rows = max_rows;
    b->max_tokens = max_tokens;
    b->R = R;
    b->start = memory_take(m, ((size_t)max_rows + 1) * sizeof *b->start);
    for (const struct batch_part *p = batch_parts; p->name; p++) {
        size_t room = p->extent == PER_TOKEN ? (size_t)max_tokens
                    : p->extent == PER_ROW ? (size_t)max_rows : (size_t)max_rows * (size_t)R;
        part_set(b, p, memory_take(m, room * p->bytes));
    }
    batch_clear(b);
}

void batch_clear(struct batch *b)
{
    b->status = RL_OK;
    b->N = b->T = 0;
    b->filled = 0;
    if (b->start)
        b->start[0] = 0;
}

void *batch_part_at(const struct batch *b, const struct batch_part *p, int first, int n,
                    size_t *elements)
{
    size_t begin = elements_before(b, p, first);
    char *pointer = part_pointer(b, p);

    *elements = elements_before(b, p, first + n) - begin;
    return pointer ? pointer + begin * p->bytes : NULL;
}

void batch_append(struct batch *to, const struct batch *from, int first, int n, unsigned columns)
{
    int row = to->N;

    for (int i = 0; i < n; i++)
        to->start[row + i + 1] = to->start[row + i] + from->start[first + i + 1] -
                                 from->start[first + i];
    to->N += n;
    to->T = to->start[to->N];
    for (const struct batch_part *p = batch_parts; p->name; p++) {
        size_t elements;
        const void *source = batch_part_at(from, p, first, n, &elements);
        if (p->column & columns && elements > 0)
            memcpy(batch_part_at(to, p, row, n, &elements), source, elements * p->bytes);
    }
}

/* Tokens stay where they are: start[0] of a view may be above 0. */
struct batch batch_view(const struct batch *b, int first, int groups)
{
    struct batch view = *b;
    int row = first * b->k;

    view.group += first;
    view.groups = groups;
    view.N = groups * b->k;
    view.start += row;
    view.T = view.start[view.N] - view.start[0];
    for (const struct batch_part *p = batch_parts; p->name; p++)
        if (p->extent != PER_TOKEN && part_pointer(b, p))
            part_set(&view, p, part_pointer(b, p) + (size_t)row * p->bytes *
                     (p->extent == PER_REWARD ? (size_t)b->R : 1));
    return view;
}
