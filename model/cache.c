/* The paged cache of keys and values, and the pass that extends rows by a few tokens each.
 *
 *   table of row n:   [ 7 | 2 | 9 | . ]        a page is KEY_BLOCK positions of every layer
 *   page 7: positions 0..31, shared by the rows of one prompt; page 9: this row's own
 *
 * The pass is that of forward.c; a query meets the same blocks of keys as in training, so decode
 * repeats what prefill does, bit for bit.
 */
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

struct cache {
    struct model *model;         /* NULL in cache_bytes */
    struct model_shape shape;
    enum compute_dtype dtype;
    int n_pages, max_rows, max_tokens;

    struct memory tables;        /* the processor's: */
    int *shares;                 /* (n_pages) rows that hold the page; 0: free */
    int *free;                   /* stack of free pages */
    int n_free;
    int *start, *position;       /* (N+1), (T) */
    int *chosen;                 /* (N) each row's last token */

    struct workspace_part room;  /* from the first page that is held until all are free: */
    struct pages *pages;         /* (L), each n_pages pages */

    float *x[2];                 /* (T,C) input and output of a layer */
    struct activations inside;
    float *last, *rstd;          /* (N,C), (N) */
    void *hidden;                /* (N,C) stored */
};

static void tables_layout(struct cache *c, struct memory *m)
{
    c->shares = memory_take(m, (size_t)c->n_pages * sizeof(int));
    c->free = memory_take(m, (size_t)c->n_pages * sizeof(int));
    c->start = memory_take(m, ((size_t)c->max_rows + 1) * sizeof(int));
    c->position = memory_take(m, (size_t)c->max_tokens * sizeof(int));
    c->chosen = memory_take(m, (size_t)c->max_rows * sizeof(int));
}

static void layout(struct cache *c, struct memory *m)
{
    const struct model_shape *s = &c->shape;
    size_t one = page_floats(c->dtype, s->G, s->D) * c->n_pages * sizeof(float);
    size_t rows = (size_t)c->max_rows, tokens = (size_t)c->max_tokens;

    for (int l = 0; l < s->L; l++) {
        c->pages[l].keys = memory_take(m, one);
        c->pages[l].values = memory_take(m, one);
    }
    c->x[0] = memory_take(m, tokens * s->C * sizeof(float));
    c->x[1] = memory_take(m, tokens * s->C * sizeof(float));
    c->last = memory_take(m, rows * s->C * sizeof(float));
    c->hidden = memory_take(m, rows * s->C * stored_bytes(c->dtype));
    c->rstd = memory_take(m, rows * sizeof(float));
    activations_layout(&c->inside, m, s, c->dtype, c->max_tokens, false);
    c->inside.room = room_layout(m, s, c->dtype, c->max_tokens);
}

static int plan(struct cache **out, const struct model_shape *s, struct model *m,
                enum compute_dtype dtype, int pages, int max_rows, int max_tokens)
{
    struct cache *c;

    *out = NULL;
    if (pages < 1 || max_rows < 1 || max_tokens < 1)
        return rl_error(RL_EBUG, "a cache needs room for at least one page, row and token");
    c = calloc(1, sizeof *c);
    if (!c)
        return rl_error(RL_ENOFIT, "no memory for a cache");
    *c = (struct cache){.model = m, .shape = *s, .dtype = dtype, .n_pages = pages,
                        .max_rows = max_rows, .max_tokens = max_tokens, .n_free = pages};
    c->pages = calloc((size_t)s->L, sizeof *c->pages);
    if (!c->pages) {
        free(c);
        return rl_error(RL_ENOFIT, "no memory for a cache");
    }
    *out = c;
    return RL_OK;
}

int cache_create(struct cache **out, struct model *m, int pages, int max_rows, int max_tokens)
{
    struct cache *c;
    int rc = RL_OK;

    TRY(plan(out, &m->shape, m, m->compute->dtype, pages, max_rows, max_tokens));
    c = *out;
    memory_count(&c->tables);
    tables_layout(c, &c->tables);
    TRY(memory_open_host(&c->tables));
    tables_layout(c, &c->tables);
    memory_count(&c->room.memory);
    layout(c, &c->room.memory);
    c->room.memory.lower = "samples_per_prompt, max_new or micro_rows";
    TRY(workspace_part_open(&c->room, m->compute->workspace));
    layout(c, &c->room.memory);
    for (int i = 0; i < pages; i++)
        c->free[i] = pages - 1 - i;             /* page 0 is handed out first */
done:
    if (rc != RL_OK) {
        cache_destroy(*out);
        *out = NULL;
    }
    return rc;
}

size_t cache_bytes(const struct model_shape *shape, struct compute *k, int pages, int max_rows,
                   int max_tokens)
{
    struct memory tables, room;
    struct cache *c;

    if (plan(&c, shape, NULL, k->dtype, pages, max_rows, max_tokens) != RL_OK)
        return 0;
    memory_count(&tables);
    tables_layout(c, &tables);
    memory_count(&room);
    layout(c, &room);
    cache_destroy(c);
    head_count(k, shape, max_tokens, false);
    return tables.peak + workspace_count(k->workspace, room.peak);
}

void cache_destroy(struct cache *c)
{
    if (!c)
        return;
    workspace_part_close(&c->room);
    memory_close(&c->tables);
    free(c->pages);
    free(c);
}

int cache_page(struct cache *c)
{
    int page;

    if (c->n_free == 0)
        return -1;
    if (c->n_free == c->n_pages)
        workspace_part_begin(&c->room);
    page = c->free[--c->n_free];
    c->shares[page] = 1;
    return page;
}

void cache_share(struct cache *c, int page)
{
    c->shares[page]++;
}

void cache_release(struct cache *c, int page)
{
    if (--c->shares[page] == 0)
        c->free[c->n_free++] = page;
}

void cache_copy(struct cache *c, int to, int from)
{
    size_t n = page_floats(c->dtype, c->shape.G, c->shape.D);

    struct compute *k = c->model->compute;

    for (int l = 0; l < c->shape.L; l++) {
        k->copy(k, c->pages[l].keys + to * n, c->pages[l].keys + from * n, n * sizeof(float));
        k->copy(k, c->pages[l].values + to * n, c->pages[l].values + from * n, n * sizeof(float));
    }
}

/* Every position of a row that exists after this pass needs a page that is held. */
static int pages_check(const struct cache *c, const struct extend *rows)
{
    if (!workspace_part_holds(&c->room))
        return rl_error(RL_EBUG, "the cache's pages went to others while rows held them");
    for (int n = 0; n < rows->N; n++) {
        int length = rows->position[n] + rows->start[n + 1] - rows->start[n];
        int needed = (length + KEY_BLOCK - 1) / KEY_BLOCK;

        if (rows->start[n + 1] == rows->start[n])
            return rl_error(RL_EBUG, "row %d is to be extended by no token", n);
        if (needed > rows->table_stride)
            return rl_error(RL_EBUG, "row %d needs %d pages, its table has room for %d", n, needed,
                            rows->table_stride);
        for (int i = 0; i < needed; i++) {
            int page = rows->table[(size_t)n * rows->table_stride + i];

            if (page < 0 || page >= c->n_pages || c->shares[page] == 0)
                return rl_error(RL_EBUG, "row %d: entry %d of its table, %d, is no held page", n, i,
                                page);
        }
    }
    return RL_OK;
}

/* Rows from 0 in arrays of our own, whatever start[0] is. */
static void begin(struct cache *c, const struct extend *rows)
{
    c->start[0] = 0;
    for (int n = 0; n < rows->N; n++) {
        c->start[n + 1] = rows->start[n + 1] - rows->start[0];
        for (int t = c->start[n]; t < c->start[n + 1]; t++)
            c->position[t] = rows->position[n] + t - c->start[n];
        c->chosen[n] = c->start[n + 1] - 1;
    }
}

int model_extend(struct cache *c, const int *tokens, const struct extend *rows, float *logits)
{
    return model_extend_some(c, tokens, rows, logits ? rows->N : 0, logits);
}

int model_extend_some(struct cache *c, const int *tokens, const struct extend *given, int wanted,
                      float *logits)
{
    struct extend rows = *given;
    struct pass p;
    int rc = RL_OK;

    if (wanted < 0 || wanted > given->N)
        return rl_error(RL_EBUG, "logits of %d rows of %d", wanted, given->N);
    if (wanted > 0 && !c->shape.lm)
        return rl_error(RL_EBUG, "logits of a model without a vocabulary head");
    TRY(rows_check(c->model, tokens, given->start, given->position, given->N, c->max_rows,
                   c->max_tokens));
    TRY(pages_check(c, given));
    begin(c, given);
    rows.start = c->start;
    p = (struct pass){.model = c->model, .N = rows.N, .T = c->start[rows.N],
                      .tokens = tokens + given->start[0], .start = c->start,
                      .position = c->position, .rows = &rows, .pages = c->pages};

    compute_begin(c->model->compute);
    embed_forward(&p, c->x[0]);
    for (int l = 0; l < c->shape.L; l++) {
        layer_inside(&p, l, &c->inside, c->x[l % 2]);
        layer_close(&p, l, &c->inside, c->x[(l + 1) % 2]);
    }
    if (wanted > 0)
        head_logits(c->model, logits, c->x[c->shape.L % 2], c->chosen, wanted, c->last, c->hidden,
                    c->rstd);
    compute_end(c->model->compute);
    TRY(compute_sync(c->model->compute));
done:
    return rc;
}
