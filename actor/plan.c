/* The actor's memory, planned before anything runs: settings -> sizes -> one allocation.
 *
 *   pages of the cache = rows_at_once * pages(longest row) + pages(longest prompt)
 *
 * Every row in its worst case and one open prompt beside them: a row never waits for a page
 * half-way (prefill.c).
 *
 *   tokens of a pass = rows_at_once + chunks of prompts, twice as many at most
 */
#include "actor/internal.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static int pages_of(int tokens)
{
    return (tokens - 1) / KEY_BLOCK + 1;
}

static int settings_check(const struct actor_settings *s)
{
    const char *wrong = NULL;

    if (!isfinite(s->temperature) || s->temperature < 0)
        wrong = "temperature: must be 0 (greedy) or more";
    else if (!isfinite(s->loss_temperature) || s->loss_temperature <= 0)
        wrong = "loss temperature: must be above 0";
    else if (s->top_k < 0)
        wrong = "top_k: must be 0 (off) or more";
    else if (!(s->top_p > 0 && s->top_p <= 1))
        wrong = "top_p: must be above 0 and at most 1 (off)";
    else if (!(s->min_p >= 0 && s->min_p <= 1))
        wrong = "min_p: must be from 0 (off) to 1";
    else if (!isfinite(s->repetition_penalty) || s->repetition_penalty < 0)
        wrong = "repetition penalty: must be above 0; 1 is off";
    else if (s->max_new < 0 || s->max_new > INT_MAX / 2)
        wrong = "max_new: out of range";
    else if (s->n_eos < 0 || (s->n_eos > 0 && !s->eos))
        wrong = "eos: no list of ids";
    else if (s->n_stop_tokens < 0 || (s->n_stop_tokens > 0 && !s->stop_tokens))
        wrong = "stop tokens: no list of ids";
    else if (s->max_prompt < 1 || s->max_prompt > INT_MAX / 2)
        wrong = "longest prompt: out of range";
    else if (s->rows_at_once < 1 || s->max_rows < 1 || s->max_rows > INT_MAX / 8)
        wrong = "rows: at least one is needed";
    return wrong ? rl_error(RL_EINVAL, "%s", wrong) : RL_OK;
}

/* Sizes that follow from the shape and the settings. */
static void sizes(struct actor *a, const struct model_shape *shape, const struct compute *k,
                  const struct actor_settings *s)
{
    int prompts, least = compute_is_gpu(k) ? PROMPT_LEAST_GPU : PROMPT_LEAST;

    a->set = *s;
    if (a->set.rows_at_once > s->max_rows)
        a->set.rows_at_once = s->max_rows;
    a->set.n_eos += s->n_stop_tokens;
    a->V = shape->V;
    a->context = shape->context;
    a->room = s->max_prompt + s->max_new;
    if (a->room > a->context)
        a->room = a->context;
    if (a->set.max_prompt > a->room)
        a->set.max_prompt = a->room;
    a->stride = pages_of(a->room);
    a->prompts = a->set.rows_at_once + 1;
    prompts = PROMPT_TOKENS * a->set.rows_at_once;
    if (prompts < least)
        prompts = least;
    if (a->set.max_prompt < prompts / a->prompts)
        prompts = a->set.max_prompt * a->prompts;
    a->pass_tokens = a->set.rows_at_once + prompts;
}

static size_t cache_pages(const struct actor *a)
{
    return (size_t)a->set.rows_at_once * (size_t)a->stride + (size_t)pages_of(a->set.max_prompt);
}

static void layout(struct actor *a, struct memory *m)
{
    size_t rows = (size_t)a->set.max_rows, room = (size_t)a->room;
    size_t places = (size_t)a->set.rows_at_once, lines = places + 1, stride = (size_t)a->stride;

    a->tokens = memory_take(m, rows * room * sizeof *a->tokens);
    a->logp = memory_take(m, rows * room * sizeof *a->logp);
    a->length = memory_take(m, rows * sizeof *a->length);
    a->limit = memory_take(m, rows * sizeof *a->limit);
    a->finish = memory_take(m, rows * sizeof *a->finish);
    a->matched = memory_take(m, rows * (size_t)stop_strings_count(a->set.stop) * sizeof(int));

    a->place = memory_take(m, places * sizeof *a->place);
    a->prompt = memory_take(m, lines * sizeof *a->prompt);
    a->prompt_table = memory_take(m, lines * stride * sizeof *a->prompt_table);

    a->table = memory_take(m, lines * stride * sizeof *a->table);
    a->start = memory_take(m, (lines + 1) * sizeof *a->start);
    a->position = memory_take(m, lines * sizeof *a->position);
    a->feed = memory_take(m, (size_t)a->pass_tokens * sizeof *a->feed);

    a->drawn = memory_take(m, places * sizeof *a->drawn);
    a->word = memory_take(m, rows * sizeof *a->word);
    if (actor_penalises(a)) {
        a->kept = memory_take(m, places * room * sizeof *a->kept);
        a->seen = memory_take(m, (size_t)a->V * sizeof *a->seen);
    }
    a->eos = memory_take(m, (size_t)a->set.n_eos * sizeof *a->eos);
}

static void scores_layout(struct actor *a, struct memory *m)
{
    size_t rows = (size_t)a->set.max_rows, lines = (size_t)a->set.rows_at_once + 1;

    a->logits = memory_take(m, lines * (size_t)a->V * sizeof *a->logits);
    a->target = memory_take(m, rows * sizeof *a->target);
    a->state = memory_take(m, rows * sizeof *a->state);
    a->target_logit = memory_take(m, rows * sizeof *a->target_logit);
    a->target_logp = memory_take(m, rows * sizeof *a->target_logp);
}

size_t actor_bytes(const struct model_shape *shape, struct compute *k,
                   const struct actor_settings *settings)
{
    struct actor a = {0};
    size_t bytes = sizeof a;

    sizes(&a, shape, k, settings);
    memory_count(&a.memory);
    layout(&a, &a.memory);
    memory_count(&a.scores.memory);
    scores_layout(&a, &a.scores.memory);
    workspace_together(k->workspace, true);
    bytes += a.memory.peak + workspace_count(k->workspace, a.scores.memory.peak);
    bytes += cache_bytes(shape, k, (int)cache_pages(&a), a.prompts, a.pass_tokens);
    workspace_together(k->workspace, false);
    if (k->load) {
        k->load->rows = a.set.rows_at_once;
        k->load->vocabulary = a.V;
    }
    return bytes;
}

/* The logits that draws are made from, and the cache that they come of. */
static int open_passes(struct actor *a)
{
    struct workspace *w = a->k->workspace;
    int rc = RL_OK;

    memory_count(&a->scores.memory);
    scores_layout(a, &a->scores.memory);
    a->scores.memory.lower = "samples_per_prompt";
    workspace_together(w, true);
    TRY(workspace_part_open(&a->scores, w));
    scores_layout(a, &a->scores.memory);
    TRY(cache_create(&a->cache, a->model, (int)cache_pages(a), a->prompts, a->pass_tokens));
done:
    workspace_together(w, false);
    return rc;
}

int actor_create(struct actor **out, struct model *model, const struct actor_settings *settings)
{
    struct actor *a = NULL;
    int rc = RL_OK;

    *out = NULL;
    TRY(settings_check(settings));
    a = calloc(1, sizeof *a);
    if (!a)
        return rl_error(RL_ENOFIT, "no memory for the actor");
    a->model = model;
    a->k = model_compute(model);
    sizes(a, model_shape(model), a->k, settings);
    if (cache_pages(a) > INT_MAX / KEY_BLOCK)
        TRY(rl_error(RL_ENOFIT, "the cache of %d rows of %d tokens has too many pages: decode "
                     "fewer rows at once", a->set.rows_at_once, a->room));

    memory_count(&a->memory);
    layout(a, &a->memory);
    a->memory.lower = "samples_per_prompt or max_new";
    TRY(memory_open_host(&a->memory));
    layout(a, &a->memory);
    TRY(open_passes(a));

    for (int i = 0; i < a->prompts; i++)
        a->prompt[i].table = a->prompt_table + (size_t)i * (size_t)a->stride;
    for (int i = 0; i < a->set.n_eos; i++)
        a->eos[i] = i < settings->n_eos ? settings->eos[i]
                                        : settings->stop_tokens[i - settings->n_eos];
    a->set.eos = a->eos;
    *out = a;
    a = NULL;
done:
    actor_destroy(a);
    return rc;
}

void actor_destroy(struct actor *a)
{
    if (!a)
        return;
    cache_destroy(a->cache);
    workspace_part_close(&a->scores);
    memory_close(&a->memory);
    free(a);
}

void actor_set_temperature(struct actor *a, float temperature)
{
    a->set.temperature = temperature;
}

void actor_stats(const struct actor *a, int64_t *tokens, double *mean_rows)
{
    *tokens = a->made;
    *mean_rows = a->passes ? (double)a->decoded / (double)a->passes : 0;
}
