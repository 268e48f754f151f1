/* A made-up step for tests of the learner: P prompts, k responses each, scores that have nothing to
 * do with the model; actor and reference are the model as it is. */
#ifndef TESTS_TINY_BATCH_H
#define TESTS_TINY_BATCH_H

#include "data/batch.h"
#include "tests/tiny_model.h"

#define TINY_P 6
#define TINY_K 4
#define TINY_ROW 16             /* tokens in the longest row */
#define TINY_USERS 3            /* annotators of records */
#define TINY_OBJECTIVES 2       /* data sets of records */

struct tiny_batch { struct batch b; struct memory memory; };

/* The share [group, group + groups) of P prompts of k rows with R scores; k = 1 is text (prompt_len
 * 1, no scores). */
static inline struct batch *tiny_batch_open(struct tiny_batch *t, struct model *model, int P, int k,
                                            int R, int group, int groups)
{
    struct batch *b = &t->b;
    struct trainer *trainer;

    memset(t, 0, sizeof *t);
    memory_count(&t->memory);
    batch_layout(b, &t->memory, groups * k + 1, (groups * k + 1) * TINY_ROW, R);
    assert_ok(memory_open(&t->memory));
    batch_layout(b, &t->memory, groups * k + 1, (groups * k + 1) * TINY_ROW, R);
    batch_clear(b);
    b->P = P, b->k = k, b->group = group, b->groups = groups, b->N = groups * k;
    b->filled = k == 1 ? COL_TOKENS : COL_ROLLOUT;
    for (int n = 0; n < b->N; n++) {
        uint32_t row = (uint32_t)(group * k + n), prompt = row / (uint32_t)k;
        int prompt_len = k == 1 ? 1 : 2 + (int)(prompt % 3);
        int length = k == 1 ? TINY_ROW : prompt_len + 3 + (int)(tiny_word(row) % 8);
        for (int i = 0; i < length; i++)
            b->tokens[b->T + i] = (int)(tiny_word(i < prompt_len ? prompt * 50 + (uint32_t)i
                                                                 : 9000 + row * 50 + (uint32_t)i) %
                                        (uint32_t)model_shape(model)->V);
        b->T += length;
        b->start[n + 1] = b->T;
        b->prompt_len[n] = prompt_len;
        b->finish[n] = row % 5 ? FINISH_EOS : FINISH_LENGTH;
        b->prompt[n] = prompt;
        b->version[n] = 0;
        for (int r = 0; r < R; r++)
            b->reward[n * R + r] = (double)(tiny_word(row + 77 + 1000 * (uint32_t)r) % 7);
        b->weight[n] = 1;
        b->margin[n] = prompt % 2 * 0.25;
        b->annotator[n] = (int)(prompt % TINY_USERS);
        b->objective[n] = (int)(prompt % TINY_OBJECTIVES);
    }
    if (!model_shape(model)->lm) {              /* records for a reward model */
        b->filled = COL_TOKENS | COL_REWARD | COL_LABEL;
        return b;
    }
    assert_ok(trainer_create(&trainer, model, b->N + 1, b->T + 1, false));
    if (b->N > 0)
        assert_ok(model_logprobs(trainer, b->tokens, b->start, b->N, 1.0f, false, b->actor_logp,
                                 NULL));
    for (int n = 0; n < b->N; n++)
        for (int i = b->start[n]; i < b->start[n] + b->prompt_len[n]; i++)
            b->actor_logp[i] = 0;
    memcpy(b->ref_logp, b->actor_logp, (size_t)b->T * sizeof *b->ref_logp);
    trainer_destroy(trainer);
    return b;
}

static inline void tiny_batch_close(struct tiny_batch *t)
{
    memory_close(&t->memory);
}

#endif
