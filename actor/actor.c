/* Generation by continuous batching.  Every pass decodes one token for each place; a place that
 * falls free goes to the next row before the next pass:
 *
 *   rows_begin     prompts -> rows
 *   rows_admit     free places <- next rows; a group's prompt is computed once, and the k first
 *                  tokens of its rows are drawn from the same logits
 *   rows_decode    one forward pass, one token a place
 *   rows_pack      rows, in their own order -> batch
 */
#include "actor/internal.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"

static int *row_tokens(const struct actor *a, int row)
{
    return a->tokens + (size_t)row * (size_t)a->room;
}

static float *row_logp(const struct actor *a, int row)
{
    return a->logp + (size_t)row * (size_t)a->room;
}

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
    a->next = 0;
    a->made = a->decoded = a->passes = 0;
    TRY(batch_check(a, b));
    for (int row = 0; row < b->N; row++) {
        int n = b->start[row + 1] - b->start[row];
        if (n < 1 || n > a->set.max_prompt)
            return rl_error(RL_EINVAL, "prompt %lld has %d tokens; the actor has room for 1 to %d",
                            (long long)b->prompt[row] + 1, n, a->set.max_prompt);
        memcpy(row_tokens(a, row), b->tokens + b->start[row], (size_t)n * sizeof(int));
        memset(row_logp(a, row), 0, (size_t)n * sizeof(float));
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

/* ---- draws */

/* The random word of a row's next token, by the counter of (step, group, sample, position). */
static uint32_t word_of(const struct actor *a, int row)
{
    const struct batch *b = a->batch;
    int group = row / b->k;
    struct counter c = {
        .seed = a->set.seed,
        .purpose = a->purpose,
        .step = (uint32_t)b->step,
        .prompt = (uint32_t)(a->number ? a->number[group] : b->group + group),
        .sample = (uint32_t)(row % b->k),
        .position = (uint32_t)(a->length[row] - (b->start[row + 1] - b->start[row])),
    };
    uint32_t words[4];

    random_words(&c, words);
    return words[0];
}

/* Lower the logits z(V) of the row's tokens, each id once, and keep what they were. */
static void penalise(struct actor *a, int row, float *z, float *kept)
{
    const int *tokens = row_tokens(a, row);
    float penalty = a->set.repetition_penalty;

    a->calls++;
    for (int i = 0; i < a->length[row]; i++) {
        int id = tokens[i];
        kept[i] = z[id];
        if (a->seen[id] == a->calls)
            continue;
        a->seen[id] = a->calls;
        z[id] = z[id] > 0.0f ? z[id] / penalty : z[id] * penalty;
    }
}

static void restore(const struct actor *a, int row, float *z, const float *kept)
{
    const int *tokens = row_tokens(a, row);

    for (int i = a->length[row] - 1; i >= 0; i--)
        z[tokens[i]] = kept[i];
}

/* Targets of n rows by their words, from logits z(rows, V): row i's of rows[i], or all of one row's
 * (rows[0], same).  The logits are those of the model again. */
static void draw(struct actor *a, const int *rows, float *z, bool same, int n)
{
    const struct actor_settings *s = &a->set;
    const struct sampling set = { s->temperature, s->top_k, s->top_p, s->min_p };
    int different = !actor_penalises(a) ? 0 : same ? 1 : n;

    for (int i = 0; i < different; i++)
        penalise(a, rows[i], z + (size_t)i * (size_t)a->V, a->kept + (size_t)i * (size_t)a->room);
    a->k->sample(a->k, a->target, z, same, &set, a->word, n, a->V);
    for (int i = 0; i < different; i++)
        restore(a, rows[i], z + (size_t)i * (size_t)a->V, a->kept + (size_t)i * (size_t)a->room);
}

static bool is_eos(const struct actor *a, int id)
{
    for (int i = 0; i < a->set.n_eos; i++)
        if (a->set.eos[i] == id)
            return true;
    return false;
}

/* Put the i-th drawn token at the end of its row. */
static int append(struct actor *a, int row, int i)
{
    const struct batch *b = a->batch;
    int at = a->length[row], id = a->target[i];

    if (!isfinite(a->target_logp[i]))
        return rl_error(RL_ENAN, "step %lld, row %d: the logits of token %d are not finite "
                        "numbers; %s", (long long)b->step + 1, b->group * b->k + row, at,
                        model_why(a->model).text);
    row_tokens(a, row)[at] = id;
    row_logp(a, row)[at] = a->target_logp[i];
    a->length[row] = at + 1;
    a->made++;
    if (is_eos(a, id))
        a->finish[row] = FINISH_EOS;
    else if (at + 1 == a->limit[row])
        a->finish[row] = FINISH_LENGTH;
    return RL_OK;
}

/* First tokens of the k rows of a group, all from the prompt's last logits: one log-sum-exp serves
 * all of them. */
static int draw_first(struct actor *a, int first)
{
    struct compute *k = a->k;
    float *z = a->logits;
    int rows = a->batch->k, rc = RL_OK;

    for (int i = 0; i < rows; i++)
        a->word[i] = word_of(a, first + i);
    draw(a, &first, z, true, rows);
    k->lse_forward(k, a->state, a->target_logit, z, a->target, a->set.loss_temperature, 0, a->V, 1);
    for (int i = 1; i < rows; i++) {
        a->state[i] = a->state[0];
        a->target_logit[i] = z[a->target[i]];       /* z is divided by the temperature by now */
    }
    k->lse_finish(k, a->target_logp, NULL, a->state, a->target_logit, rows);
    for (int i = 0; i < rows; i++)
        TRY(append(a, first + i, i));
done:
    return rc;
}

/* ---- pages and places */

static int page_take(struct actor *a, int *page)
{
    *page = cache_page(a->cache);
    return *page >= 0 ? RL_OK : rl_error(RL_EBUG, "actor: the cache has no free page");
}

static void prompt_close(struct actor *a)
{
    for (int i = 0; i < a->prompt_pages; i++)
        cache_release(a->cache, a->prompt_table[i]);
    a->prompt_pages = 0;
}

/* Compute the prompt of a group, chunk by chunk, and draw the first token of each of its rows. */
static int prompt_open(struct actor *a, int first)
{
    int n = a->length[first], rc = RL_OK;
    struct trace t;

    if (a->finish[first] != FINISH_NONE)            /* no room for a single token */
        return RL_OK;
    t = trace_begin("prefill");
    while (a->prompt_pages * KEY_BLOCK < n) {
        TRY(page_take(a, &a->prompt_table[a->prompt_pages]));
        a->prompt_pages++;
    }
    for (int at = 0, end; at < n; at = end) {
        end = n - at > a->chunk ? at + a->chunk : n;
        int start[2] = {0, end - at};
        struct extend rows = {1, start, &at, a->prompt_table, a->stride};
        TRY(model_extend(a->cache, row_tokens(a, first) + at, &rows, end == n ? a->logits : NULL));
    }
    TRY(draw_first(a, first));
done:
    trace_end(t, TRACE_TOKENS, n);
    return rc;
}

/* Give the next free place to a row: its prompt's whole pages are shared, the last is copied. */
static int place_take(struct actor *a, int row)
{
    struct place *place = &a->place[a->active];
    int *table = a->table + (size_t)a->active * (size_t)a->stride;
    int prompt = a->length[row] - 1, rc = RL_OK;    /* one token has been drawn */

    place->row = row;
    place->pages = 0;
    a->active++;
    while ((place->pages + 1) * KEY_BLOCK <= prompt) {
        table[place->pages] = a->prompt_table[place->pages];
        cache_share(a->cache, table[place->pages++]);
    }
    if (prompt % KEY_BLOCK != 0) {
        TRY(page_take(a, &table[place->pages]));
        cache_copy(a->cache, table[place->pages], a->prompt_table[place->pages]);
        place->pages++;
    }
done:
    return rc;
}

/* The row of place i is done; the last place moves into the gap. */
static void place_give(struct actor *a, int i)
{
    size_t stride = (size_t)a->stride;
    int *table = a->table + (size_t)i * stride;
    int last = --a->active;

    for (int page = 0; page < a->place[i].pages; page++)
        cache_release(a->cache, table[page]);
    if (i == last)
        return;
    a->place[i] = a->place[last];
    memcpy(table, a->table + (size_t)last * stride, stride * sizeof *table);
}

/* ---- the passes */

static int rows_admit(struct actor *a)
{
    int k = a->batch->k, rc = RL_OK;

    while (a->active < a->set.rows_at_once && a->next < a->batch->N) {
        int row = a->next;
        if (row % k == 0)
            TRY(prompt_open(a, row));
        if (a->finish[row] == FINISH_NONE)
            TRY(place_take(a, row));
        a->next++;
        if (a->next % k == 0)
            prompt_close(a);
    }
done:
    return rc;
}

static int rows_decode(struct actor *a)
{
    struct compute *k = a->k;
    struct extend rows = {a->active, a->start, a->position, a->table, a->stride};
    struct trace t;
    int rc = RL_OK;

    if (a->active == 0)                             /* every row ended with its first token */
        return RL_OK;
    t = trace_begin("decode");
    for (int i = 0; i < a->active; i++) {
        struct place *place = &a->place[i];
        int at = a->length[place->row] - 1;
        a->feed[i] = row_tokens(a, place->row)[at];
        a->position[i] = at;
        if (at == place->pages * KEY_BLOCK) {
            TRY(page_take(a, &a->table[(size_t)i * (size_t)a->stride + (size_t)place->pages]));
            place->pages++;
        }
    }
    TRY(model_extend(a->cache, a->feed, &rows, a->logits));
    a->passes++;
    a->decoded += a->active;

    for (int i = 0; i < a->active; i++) {
        a->drawn[i] = a->place[i].row;
        a->word[i] = word_of(a, a->drawn[i]);
    }
    draw(a, a->drawn, a->logits, false, a->active);
    k->lse_forward(k, a->state, a->target_logit, a->logits, a->target, a->set.loss_temperature, 0,
                   a->V, a->active);
    k->lse_finish(k, a->target_logp, NULL, a->state, a->target_logit, a->active);
    for (int i = 0; i < a->active; i++)
        TRY(append(a, a->place[i].row, i));
    for (int i = a->active - 1; i >= 0; i--)
        if (a->finish[a->place[i].row] != FINISH_NONE)
            place_give(a, i);
done:
    trace_end(t, TRACE_ROWS, rows.N);
    return rc;
}

/* ---- rows out */

static void rows_pack(const struct actor *a, struct batch *b, int64_t version)
{
    int at = 0;

    for (int row = 0; row < b->N; row++) {
        int n = a->length[row];
        b->prompt_len[row] = b->start[row + 1] - b->start[row];
        memcpy(b->tokens + at, row_tokens(a, row), (size_t)n * sizeof *b->tokens);
        memcpy(b->actor_logp + at, row_logp(a, row), (size_t)n * sizeof *b->actor_logp);
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
        TRY(rows_admit(a));
        TRY(rows_decode(a));
    }
    TRY(compute_sync(a->k));
    rows_pack(a, b, version);
done:
    prompt_close(a);                                /* pages go back after a failure, too */
    while (a->active > 0)
        place_give(a, a->active - 1);
    if (rc != RL_OK)
        b->status = rc;
    return rc;
}
