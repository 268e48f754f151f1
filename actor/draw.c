/* Tokens drawn from logits: each row's next one, or the first ones of all rows of a prompt.
 *
 *   logits --penalty--> sampled ids --penalty undone--> log-sum-exp --> log-probabilities
 */
#include "actor/internal.h"

#include <math.h>

#include "base/status.h"

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
    const int *tokens = actor_row(a, row);
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
    const int *tokens = actor_row(a, row);

    for (int i = a->length[row] - 1; i >= 0; i--)
        z[tokens[i]] = kept[i];
}

/* Targets of n rows by their words, from logits z(rows, V): row i's of rows[i], or all of one row's
 * (rows[0], same).  The logits are those of the model again. */
static int draw(struct actor *a, const int *rows, float *z, bool same, int n)
{
    const struct actor_settings *s = &a->set;
    const struct sampling set = { s->temperature, s->top_k, s->top_p, s->min_p };
    int different = !actor_penalises(a) ? 0 : same ? 1 : n, rc;

    for (int i = 0; i < different; i++)
        penalise(a, rows[i], z + (size_t)i * (size_t)a->V, a->kept + (size_t)i * (size_t)a->room);
    a->k->sample(a->k, a->target, z, same, &set, a->word, n, a->V);
    rc = compute_sync(a->k);
    for (int i = 0; i < different; i++)
        restore(a, rows[i], z + (size_t)i * (size_t)a->V, a->kept + (size_t)i * (size_t)a->room);
    return rc;
}

static bool is_eos(const struct actor *a, int id)
{
    for (int i = 0; i < a->set.n_eos; i++)
        if (a->set.eos[i] == id)
            return true;
    return false;
}

/* Does the row end with the token that came last? */
static int set_finish(struct actor *a, int row, int id)
{
    int strings = stop_strings_count(a->set.stop), rc = RL_OK;
    bool stopped = false;

    if (is_eos(a, id)) {
        a->finish[row] = FINISH_EOS;
        return RL_OK;
    }
    if (strings > 0)
        TRY(stop_strings_read(a->set.stop, a->matched + (size_t)row * (size_t)strings, id,
                              &stopped));
    if (stopped)
        a->finish[row] = FINISH_STOP;
    else if (a->length[row] == a->limit[row])
        a->finish[row] = FINISH_LENGTH;
done:
    return rc;
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
    actor_row(a, row)[at] = id;
    actor_row_logp(a, row)[at] = a->target_logp[i];
    a->length[row] = at + 1;
    a->made++;
    return set_finish(a, row, id);
}

int draw_first(struct actor *a, int first, float *z)
{
    struct compute *k = a->k;
    int rows = a->batch->k, rc = RL_OK;

    for (int i = 0; i < rows; i++)
        a->word[i] = word_of(a, first + i);
    TRY(draw(a, &first, z, true, rows));
    k->lse_forward(k, a->state, a->target_logit, z, a->target, a->set.loss_temperature, 0, a->V, 1);
    TRY(compute_sync(k));
    for (int i = 1; i < rows; i++) {
        a->state[i] = a->state[0];
        a->target_logit[i] = z[a->target[i]];       /* z is divided by the temperature by now */
    }
    k->lse_finish(k, a->target_logp, NULL, a->state, a->target_logit, rows);
    TRY(compute_sync(k));
    for (int i = 0; i < rows; i++)
        TRY(append(a, first + i, i));
done:
    return rc;
}

int draw_next(struct actor *a, float *z)
{
    struct compute *k = a->k;
    int rc = RL_OK;

    for (int i = 0; i < a->active; i++) {
        a->drawn[i] = a->place[i].row;
        a->word[i] = word_of(a, a->drawn[i]);
    }
    TRY(draw(a, a->drawn, z, false, a->active));
    k->lse_forward(k, a->state, a->target_logit, z, a->target, a->set.loss_temperature, 0, a->V,
                   a->active);
    k->lse_finish(k, a->target_logp, NULL, a->state, a->target_logit, a->active);
    TRY(compute_sync(k));
    for (int i = 0; i < a->active; i++)
        TRY(append(a, a->drawn[i], i));
done:
    return rc;
}
