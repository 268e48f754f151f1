/* rankwise bench decode: rows that all have --context tokens get --new more each, one a pass, drawn
 * as an actor draws them; the passes that fill the cache before are timed
 * apart, once.  The ceiling is of
 * memory: in a pass every weight is read once, and every key and value of every row.
 *
 *   row    |<------- context ------->|<-- new -->|
 *            prefill, once             decode, in each repeat again
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/stop.h"
#include "launch/commands/bench.h"

#define PASS_TOKENS 4096                /* of a pass that fills the cache */

struct decode {
    const struct bench_options *o;
    struct compute *k;
    struct model *model;
    struct cache *cache;
    struct memory memory;
    struct peak peak;
    int rows, context, fresh, V;
    int stride;                         /* pages of a row */
    int *table;                         /* (rows, stride) */
    int *start, *position;              /* (rows + 1), (rows) */
    int *tokens;                        /* (rows) drawn last */
    int *prompt;                        /* (pass_tokens) */
    float *logits;                      /* (rows, V) */
    struct lse *state;                  /* (rows) */
    float *target_logit, *logp;         /* (rows) */
    uint32_t *word;                     /* (rows) */
    double filled;                      /* seconds of the prefill */
    struct figures seconds;
};

/* ---- memory */

static int pass_tokens(const struct decode *d)
{
    return d->rows * (int64_t)d->context < PASS_TOKENS ? d->rows * d->context
           : d->rows > PASS_TOKENS ? d->rows : PASS_TOKENS;
}

static void layout(struct decode *d, struct memory *m)
{
    size_t rows = (size_t)d->rows;

    d->table = memory_take(m, rows * (size_t)d->stride * sizeof(int));
    d->start = memory_take(m, (rows + 1) * sizeof(int));
    d->position = memory_take(m, rows * sizeof(int));
    d->tokens = memory_take(m, rows * sizeof(int));
    d->prompt = memory_take(m, (size_t)pass_tokens(d) * sizeof(int));
    d->logits = memory_take(m, rows * (size_t)d->V * sizeof(float));
    d->state = memory_take(m, rows * sizeof *d->state);
    d->target_logit = memory_take(m, rows * sizeof(float));
    d->logp = memory_take(m, rows * sizeof(float));
    d->word = memory_take(m, rows * sizeof *d->word);
}

static int open_cache(struct decode *d)
{
    int pages = d->rows * d->stride, rc = RL_OK;

    TRY(cache_create(&d->cache, d->model, pages, d->rows, pass_tokens(d)));
    TRY(memory_open(&d->memory));
    layout(d, &d->memory);
    for (int i = 0; i < pages; i++)
        d->table[i] = cache_page(d->cache);
done:
    return rc;
}

static int open_decode(struct decode *d)
{
    const struct bench_options *o = d->o;
    struct model_shape shape;
    int rc = RL_OK;

    d->rows = (int)o->rows, d->context = (int)o->context, d->fresh = (int)o->fresh;
    d->stride = (d->context + d->fresh + KEY_BLOCK - 1) / KEY_BLOCK;
    TRY(bench_shape_of(&shape, o->model));
    TRY(bench_fits(&shape, "--context + --new", o->context + o->fresh));
    TRY(compute_open(&d->k, o->device, o->dtype, (int)o->threads));
    d->k->fast = o->fast;
    d->V = shape.V;
    memory_count(&d->memory);
    layout(d, &d->memory);
    TRY(bench_has_room(d->k, o->model, model_bytes(&shape, d->k) + d->memory.peak +
                       cache_bytes(&shape, d->k, d->rows * d->stride, d->rows, pass_tokens(d))));
    TRY(bench_model(&d->model, o->model, d->k));
    TRY(peak_measure(&d->peak, d->k));
    rc = open_cache(d);
done:
    return rc;
}

/* ---- passes */

/* Tokens [at, at + n) of rows [row, row + R). */
static int fill_pass(struct decode *d, int row, int R, int at, int n)
{
    struct extend rows = { R, d->start, d->position, d->table + (size_t)row * (size_t)d->stride,
                           d->stride };
    bool last = at + n == d->context;

    d->start[0] = 0;
    for (int r = 0; r < R; r++) {
        d->start[r + 1] = d->start[r] + n;
        d->position[r] = at;
        for (int t = 0; t < n; t++)
            d->prompt[r * n + t] = bench_token((int64_t)(row + r) * d->context + at + t, d->V);
    }
    return model_extend(d->cache, d->prompt, &rows, last ? d->logits : NULL);
}

static int fill_cache(struct decode *d)
{
    int room = pass_tokens(d), piece = d->context < room ? d->context : room;
    int together = room / piece, rc = RL_OK;
    double begin = clock_now();

    for (int at = 0; at < d->context; at += piece)
        for (int row = 0; row < d->rows; row += together) {
            int n = d->context - at < piece ? d->context - at : piece;
            int R = d->rows - row < together ? d->rows - row : together;
            TRY(stop_asked() ? RL_ESTOP : RL_OK);
            TRY(fill_pass(d, row, R, at, n));
        }
    compute_wait(d->k);
    d->filled = clock_now() - begin;
done:
    return rc;
}

/* Every row's next token, with its log-probability. */
static int step(struct decode *d, int i)
{
    const struct sampling set = { .temperature = 1, .top_p = 1 };
    struct extend rows = { d->rows, d->start, d->position, d->table, d->stride };
    struct compute *k = d->k;
    int rc = RL_OK;

    for (int r = 0; r < d->rows; r++) {
        d->position[r] = d->context + i;
        d->start[r + 1] = r + 1;
        d->word[r] = (uint32_t)(r * d->fresh + i) * 0x9e3779b9u;
    }
    TRY(model_extend(d->cache, d->tokens, &rows, d->logits));
    k->sample(k, d->tokens, d->logits, false, &set, d->word, d->rows, d->V);
    compute_wait(k);
    k->lse_forward(k, d->state, d->target_logit, d->logits, d->tokens, 1.0f, 0, d->V, d->rows);
    k->lse_finish(k, d->logp, NULL, d->state, d->target_logit, d->rows);
    rc = compute_sync(k);
done:
    return rc;
}

/* What was made before is written over.  The first is not counted. */
static int repeat(struct decode *d, bool counts)
{
    double begin = clock_now();
    int rc = RL_OK;

    for (int r = 0; r < d->rows; r++)
        d->tokens[r] = bench_token(r, d->V);
    for (int i = 0; i < d->fresh; i++) {
        TRY(stop_asked() ? RL_ESTOP : RL_OK);
        TRY(step(d, i));
    }
    if (counts)
        figures_add(&d->seconds, clock_now() - begin);
done:
    return rc;
}

/* ---- the line */

/* That a pass reads in the middle of a repeat: weights as the products have them, keys and values
 * of the tokens that are there. */
static double bytes_of(const struct decode *d)
{
    const struct model_shape *s = model_shape(d->model);
    double stored = (double)stored_bytes(d->k->dtype);
    double tokens = d->rows * (d->context + (d->fresh + 1) / 2.0);

    return stored * (bench_weights_per_token(s) + 2.0 * tokens * s->L * s->G * s->D);
}

static void print(const struct decode *d)
{
    const struct bench_options *o = d->o;
    double pass = figures_median(&d->seconds) / d->fresh, gbytes = 1e-9 * bytes_of(d) / pass;
    double prompts = (double)d->rows * d->context;
    double prefill = bench_forward_operations(model_shape(d->model), prompts, d->context);
    struct text line = { 0 };

    text_adds(&line, "{\"bench\":\"decode\"");
    word_line(&line, "model", o->model);
    word_line(&line, "device", d->k->name);
    word_line(&line, "dtype", o->dtype);
    word_line(&line, "reduction", o->fast ? "fast" : "reproducible");
    number_line(&line, "rows", d->rows);
    number_line(&line, "context", d->context);
    number_line(&line, "new", d->fresh);
    number_line(&line, "threads", (double)o->threads);
    number_line(&line, "repeats", d->seconds.n);
    figures_line(&line, "seconds", &d->seconds);
    number_line(&line, "tok_s", d->rows / pass);
    number_line(&line, "pass_ms", 1e3 * pass);
    number_line(&line, "pass_mbytes", 1e-6 * bytes_of(d));
    number_line(&line, "gbytes", gbytes);
    peak_line(&line, &d->peak, d->k);
    number_line(&line, "bound_fraction", gbytes / d->peak.gbytes);
    number_line(&line, "prefill_seconds", d->filled);
    number_line(&line, "prefill_tok_s", prompts / d->filled);
    number_line(&line, "prefill_fraction", 1e-9 * prefill / d->filled / d->peak.gflops);
    print_line(&line);
}

int bench_decode(const struct bench_options *o)
{
    struct decode d = { .o = o };
    int rc = RL_OK;

    stop_watch();
    TRY(open_decode(&d));
    TRY(fill_pass(&d, 0, 1, 0, d.context < pass_tokens(&d) ? d.context : pass_tokens(&d)));
    TRY(fill_cache(&d));
    for (int64_t i = -1; i < o->repeats; i++)
        TRY(repeat(&d, i >= 0));
    print(&d);
done:
    memory_close(&d.memory);
    cache_destroy(d.cache);
    model_destroy(d.model);
    compute_close(d.k);
    return rc;
}
