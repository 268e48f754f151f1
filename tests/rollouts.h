/* What the tests of the actor share: a small model, prompts of lengths around the ends of pages and
 * of a prefill chunk, and equal rows. */
#ifndef TESTS_ROLLOUTS_H
#define TESTS_ROLLOUTS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "model/model.h"
#include "tests/support.h"

enum { V = 600, C = 16, CONTEXT = 320 };
enum { GROUPS = 7, SAMPLES = 3, ROWS = GROUPS * SAMPLES, ROOM = 8000 };

/* Prompt lengths around the ends of pages and of a prefill chunk. */
static const int lengths[GROUPS] = {1, 31, 32, 33, 65, 128, 200};

static struct compute *k;
static struct model *model;

static int setup(void **state)
{
    const struct model_shape shape = {
        .family = "llama", .V = V, .C = C, .L = 2, .H = 4, .G = 2, .D = 4, .F = 24,
        .context = CONTEXT, .eps = 1e-5f, .theta = 10000, .tied = false, .lm = true,
    };

    (void)state;
    if (compute_open(&k, "auto", "fp32", 1) != RL_OK ||
        model_create(&model, &shape, k) != RL_OK)
        return -1;
    model_randomize(model, 3, 0.4);
    model_changed(model);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_destroy(model);
    compute_close(k);
    return 0;
}

static struct actor_settings settings(void)
{
    /* An id in eight ends a row: lengths differ. */
    static int eos[V / 8];

    for (int i = 0; i < V / 8; i++)
        eos[i] = i * 8 + 3;
    return (struct actor_settings){
        .temperature = 1, .loss_temperature = 1, .top_p = 1, .max_new = 40, .eos = eos,
        .n_eos = V / 8, .seed = 11, .max_prompt = 200, .rows_at_once = 8, .max_rows = ROWS,
    };
}

/* ---- batches of prompts */

struct held { struct batch b; struct memory memory; };

static inline void prompts_make(struct held *h, int group, int groups, int samples)
{
    struct batch *b = &h->b;

    memset(h, 0, sizeof *h);
    memory_count(&h->memory);
    batch_layout(b, &h->memory, ROWS, ROOM, 1);
    assert_ok(memory_open(&h->memory));
    batch_layout(b, &h->memory, ROWS, ROOM, 1);
    b->step = 5, b->P = GROUPS, b->k = samples, b->group = group, b->groups = groups;
    b->N = groups * samples;
    for (int row = 0; row < b->N; row++) {
        int g = group + row / samples;
        for (int t = 0; t < lengths[g]; t++)
            b->tokens[b->T++] = (g * 131 + t * 17) % V;
        b->prompt_len[row] = lengths[g];
        b->prompt[row] = g;
        b->start[row + 1] = b->T;
    }
    b->filled = COL_TOKENS;
}

static inline void fill_with(struct held *h, const struct actor_settings *set, int group,
                             int groups)
{
    struct actor *actor;

    prompts_make(h, group, groups, SAMPLES);
    assert_ok(actor_create(&actor, model, set));
    assert_ok(actor_fill(actor, &h->b, PURPOSE_SAMPLE, 42));
    actor_destroy(actor);
}

static void drop(struct held *h)
{
    memory_close(&h->memory);
}

/* Rows of a equal the rows of b from `first` on: tokens, ends and log-probabilities. */
static inline void assert_same_rows(const struct batch *a, const struct batch *b, int first)
{
    for (int row = 0; row < a->N; row++) {
        int n = a->start[row + 1] - a->start[row], other = first + row;
        assert_int_equal(n, b->start[other + 1] - b->start[other]);
        assert_memory_equal(a->tokens + a->start[row], b->tokens + b->start[other],
                            n * sizeof(int));
        assert_memory_equal(a->actor_logp + a->start[row], b->actor_logp + b->start[other],
                            n * sizeof(float));
        assert_int_equal(a->finish[row], b->finish[other]);
        assert_int_equal(a->prompt_len[row], b->prompt_len[other]);
    }
}

static inline bool ends_row(const struct actor_settings *set, int id)
{
    for (int i = 0; i < set->n_eos; i++)
        if (set->eos[i] == id)
            return true;
    return false;
}

#endif
