/* Generation by continuous batching.  Every pass decodes one token for each place and, in the room
 * that is left, computes chunks of the next prompts; a place that falls free goes to the next row
 * before the next pass:
 *
 *   rows_begin     prompts -> rows
 *   prefill_open   pages <- the next groups' prompts
 *   rows_pass      one forward pass, one token a place and chunks of prompts; a group's prompt is
 *                  computed once, and the k first tokens of its rows are drawn from the same logits
 *   places_take    free places <- next rows
 *   rows_pack      rows, in their own order -> batch
 */
#include "actor/internal.h"

#include <string.h>

#include "base/status.h"
#include "base/trace.h"

/* ---- rows in */

static int batch_check(const struct actor *a, const struct batch *b)
{
    if (b->k < 1 || b->N < 0 || b->N != b->groups * b->k || b->N > a->set.max_rows)
        return rl_error(RL_EBUG, "actor: a batch of %d groups of %d rows does not fit %d rows",
                        b->groups, b->k, a->set.max_rows);
    return RL_OK;
}

static int rows_begin(struct actor *a, const struct batch *b, enum purpose purpose)
{
    int64_t most = 0;
    int rc = RL_OK;

    a->batch = b;
    a->purpose = purpose;
    a->next = a->opened = 0;
    a->made = a->decoded = a->passes = 0;
    TRY(batch_check(a, b));
    memset(a->matched, 0, (size_t)b->N * (size_t)stop_strings_count(a->set.stop) * sizeof(int));
    for (int row = 0; row < b->N; row++) {
        int n = b->start[row + 1] - b->start[row];
        if (n < 1 || n > a->set.max_prompt)
            return rl_error(RL_EINVAL, "prompt %lld has %d tokens; the actor has room for 1 to %d",
                            (long long)b->prompt[row] + 1, n, a->set.max_prompt);
        memcpy(actor_row(a, row), b->tokens + b->start[row], (size_t)n * sizeof(int));
        memset(actor_row_logp(a, row), 0, (size_t)n * sizeof(float));
        a->length[row] = n;
        a->limit[row] = n > a->context - a->set.max_new ? a->context : n + a->set.max_new;
        a->finish[row] = n < a->limit[row] ? FINISH_NONE : FINISH_LENGTH;
        most += a->limit[row];
    }
    if (most > b->max_tokens)
        return rl_error(RL_EBUG, "actor: %d rows may need %lld tokens, the batch holds %d", b->N,
                        (long long)most, b->max_tokens);
done:
    return rc;
}

/* ---- the passes */

int actor_page(struct actor *a, int *page)
{
    *page = cache_page(a->cache);
    return *page >= 0 ? RL_OK : rl_error(RL_EBUG, "actor: the cache has no free page");
}

void actor_feed(struct actor *a, const int *tokens, int n, int position)
{
    memcpy(a->feed + a->fed, tokens, (size_t)n * sizeof *tokens);
    a->position[a->lines++] = position;
    a->start[a->lines] = a->fed += n;
}

static int rows_pass(struct actor *a)
{
    struct extend rows = { 0, a->start, a->position, a->table, a->stride };
    int decoded = a->active, ended, rc = RL_OK;
    struct trace t;

    a->lines = a->fed = a->start[0] = 0;
    TRY(places_feed(a));
    ended = prefill_feed(a);
    if (a->lines == 0)                              /* every row ended with its first token */
        return RL_OK;
    rows.N = a->lines;
    t = trace_begin(decoded == 0 ? "prefill" : a->fed > decoded ? "decode, prefill" : "decode");
    TRY(model_extend_some(a->cache, a->feed, &rows, decoded + ended, a->logits));
    a->passes += decoded > 0;
    a->decoded += decoded;
    if (decoded > 0)
        TRY(draw_next(a, a->logits));
    TRY(prefill_draw(a, a->logits + (size_t)decoded * (size_t)a->V));
    places_give(a, false);
    trace_end(t, TRACE_TOKENS, a->fed);
done:
    return rc;
}

/* ---- rows out */

static void rows_pack(const struct actor *a, struct batch *b, int64_t version)
{
    int at = 0;

    for (int row = 0; row < b->N; row++) {
        int n = a->length[row];
        b->prompt_len[row] = b->start[row + 1] - b->start[row];
        memcpy(b->tokens + at, actor_row(a, row), (size_t)n * sizeof *b->tokens);
        memcpy(b->actor_logp + at, actor_row_logp(a, row), (size_t)n * sizeof *b->actor_logp);
        b->finish[row] = a->finish[row];
        b->version[row] = version;
        at += n;
    }
    b->start[0] = 0;
    for (int row = 0; row < b->N; row++)
        b->start[row + 1] = b->start[row] + a->length[row];
    b->T = at;
    b->filled = COL_TOKENS | COL_ACTOR_LOGP;
}

int actor_fill(struct actor *a, struct batch *b, enum purpose purpose, int64_t version)
{
    return actor_fill_groups(a, b, purpose, version, NULL);
}

int actor_fill_groups(struct actor *a, struct batch *b, enum purpose purpose, int64_t version,
                      const int *number)
{
    int rc = RL_OK;

    if (b->status != RL_OK)
        return RL_OK;
    a->number = number;
    TRY(rows_begin(a, b, purpose));
    while (a->next < b->N || a->active > 0) {
        TRY(prefill_open(a));
        TRY(rows_pass(a));
        TRY(places_take(a));
    }
    TRY(compute_sync(a->k));
    rows_pack(a, b, version);
done:
    prefill_close(a);                               /* pages go back after a failure, too */
    places_give(a, true);
    if (rc != RL_OK)
        b->status = rc;
    return rc;
}
