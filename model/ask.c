/* See ask.h. */
#include "model/ask.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/status.h"
#include "base/workspace.h"

struct asker {
    struct model *model;
    struct cache *cache;
    struct memory memory;                   /* the processor's */
    struct workspace_part answers;
    int rows, max_row_tokens, V, stride;    /* stride: pages of a row */
    int *start, *position, *table;
    float *logits;                          /* (rows, V) */
};

static int pages_of(int tokens)
{
    return (tokens - 1) / KEY_BLOCK + 1;
}

static void size_up(struct asker *a, const struct model_shape *shape, int rows, int max_row_tokens)
{
    a->rows = rows;
    a->max_row_tokens = max_row_tokens;
    a->V = shape->V;
    a->stride = pages_of(max_row_tokens);
}

static void layout(struct asker *a, struct memory *m)
{
    a->start = memory_take(m, ((size_t)a->rows + 1) * sizeof(int));
    a->position = memory_take(m, (size_t)a->rows * sizeof(int));
    a->table = memory_take(m, (size_t)a->rows * (size_t)a->stride * sizeof(int));
}

static void answers_layout(struct asker *a, struct memory *m)
{
    a->logits = memory_take(m, (size_t)a->rows * (size_t)a->V * sizeof(float));
}

/* The logits, and the cache that they come of. */
static int open_passes(struct asker *a)
{
    struct workspace *w = model_compute(a->model)->workspace;
    int rc = RL_OK;

    memory_count(&a->answers.memory);
    answers_layout(a, &a->answers.memory);
    a->answers.memory.lower = "micro_rows";
    workspace_together(w, true);
    TRY(workspace_part_open(&a->answers, w));
    answers_layout(a, &a->answers.memory);
    TRY(cache_create(&a->cache, a->model, a->rows * a->stride, a->rows,
                     a->rows * a->max_row_tokens));
done:
    workspace_together(w, false);
    return rc;
}

int asker_create(struct asker **out, struct model *model, int rows, int max_row_tokens)
{
    struct asker *a = NULL;
    int rc = RL_OK;

    *out = NULL;
    if (rows < 1 || max_row_tokens < 1 || rows > INT_MAX / max_row_tokens)
        return rl_error(RL_EINVAL, "micro_rows: %d questions of %d tokens are not one pass", rows,
                        max_row_tokens);
    a = calloc(1, sizeof *a);
    if (!a)
        return rl_error(RL_ENOFIT, "no memory for questions");
    a->model = model;
    size_up(a, model_shape(model), rows, max_row_tokens);
    memory_count(&a->memory);
    layout(a, &a->memory);
    a->memory.lower = "micro_rows";
    TRY(memory_open_host(&a->memory));
    layout(a, &a->memory);
    TRY(open_passes(a));
    *out = a;
    a = NULL;
done:
    asker_destroy(a);
    return rc;
}

void asker_destroy(struct asker *a)
{
    if (!a)
        return;
    cache_destroy(a->cache);
    workspace_part_close(&a->answers);
    memory_close(&a->memory);
    free(a);
}

size_t asker_bytes(const struct model_shape *shape, struct compute *k, int rows,
                   int max_row_tokens)
{
    struct asker a = { 0 };
    size_t bytes = sizeof a;

    size_up(&a, shape, rows, max_row_tokens);
    memory_count(&a.memory);
    layout(&a, &a.memory);
    memory_count(&a.answers.memory);
    answers_layout(&a, &a.answers.memory);
    workspace_together(k->workspace, true);
    bytes += a.memory.peak + workspace_count(k->workspace, a.answers.memory.peak);
    bytes += cache_bytes(shape, k, rows * a.stride, rows, rows * max_row_tokens);
    workspace_together(k->workspace, false);
    return bytes;
}

/* Pages for rows 0 .. n of the table; each row's are its own. */
static int take_pages(struct asker *a, int n)
{
    for (int i = 0; i < n; i++)
        for (int p = 0; p < pages_of(a->start[i + 1] - a->start[i]); p++) {
            int page = cache_page(a->cache);
            if (page < 0)
                return rl_error(RL_EBUG, "questions: the cache has no free page");
            a->table[i * a->stride + p] = page;
        }
    return RL_OK;
}

static void give_pages(struct asker *a, int n)
{
    for (int i = 0; i < n; i++)
        for (int p = 0; p < pages_of(a->start[i + 1] - a->start[i]); p++)
            cache_release(a->cache, a->table[i * a->stride + p]);
}

static int ask(struct asker *a, const int *tokens, const int *start, int first, int n,
               const int *ids, int n_ids, float *out)
{
    struct extend rows = { n, a->start, a->position, a->table, a->stride };
    int rc = RL_OK;

    for (int i = 0; i <= n; i++)
        a->start[i] = start[first + i] - start[first];
    for (int i = 0; i < n; i++) {
        int length = a->start[i + 1] - a->start[i];
        a->position[i] = 0;
        if (length < 1 || length > a->max_row_tokens)
            return rl_error(RL_EBUG, "question %d has %d tokens; there is room for 1 to %d",
                            first + i, length, a->max_row_tokens);
    }
    TRY(take_pages(a, n));
    rc = model_extend(a->cache, tokens + start[first], &rows, a->logits);
    give_pages(a, n);
    TRY(rc);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n_ids; k++) {
            float z = a->logits[(size_t)i * (size_t)a->V + (size_t)ids[k]];
            if (!isfinite(z))
                return rl_error(RL_ENAN, "question %d: the logit of its answer is not a finite "
                                "number", first + i);
            out[(size_t)(first + i) * (size_t)n_ids + (size_t)k] = z;
        }
done:
    return rc;
}

int asker_run(struct asker *a, const int *tokens, const int *start, int N, const int *ids, int n,
              float *out)
{
    int rc = RL_OK;

    for (int first = 0; first < N; first += a->rows)
        TRY(ask(a, tokens, start, first, N - first < a->rows ? N - first : a->rows, ids, n, out));
done:
    return rc;
}
