/* See mix.h. */
#include "reward/mix.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "model/mixture.h"
#include "model/passes.h"

struct mix {
    struct trainer *trainer;     /* forward passes only */
    int room, max_prompt, R;     /* room: tokens of a pass */
    struct memory memory;        /* of these, for one pass: */
    int *tokens, *start;         /* (room) */
    float *logits;               /* (room, R) */
};

static void layout(struct mix *mix, struct memory *m)
{
    size_t tokens = (size_t)mix->room;

    mix->tokens = memory_take(m, tokens * sizeof *mix->tokens);
    mix->start = memory_take(m, (tokens + 1) * sizeof *mix->start);
    mix->logits = memory_take(m, tokens * (size_t)mix->R * sizeof *mix->logits);
}

size_t mix_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                 int max_prompt)
{
    struct mix mix = { .room = micro_rows * max_prompt, .max_prompt = max_prompt,
                       .R = shape->scores };
    struct memory memory;

    memory_count(&memory);
    layout(&mix, &memory);
    return sizeof mix + memory.peak +
           trainer_bytes_scoring(shape, k, mix.room, mix.room);
}

int mix_create(struct mix **out, struct model *model, int micro_rows, int max_prompt)
{
    struct mix *mix;
    int rc = RL_OK;

    *out = NULL;
    if (micro_rows < 1 || max_prompt < 1 || micro_rows > INT_MAX / max_prompt)
        return rl_error(RL_EINVAL, "micro_rows: %d prompts of %d tokens are not one forward pass",
                        micro_rows, max_prompt);
    mix = calloc(1, sizeof *mix);
    if (!mix)
        return rl_error(RL_ENOFIT, "no memory for an orchestrator");
    *mix = (struct mix){ .room = micro_rows * max_prompt, .max_prompt = max_prompt,
                         .R = model_shape(model)->scores };
    memory_count(&mix->memory);
    layout(mix, &mix->memory);
    mix->memory.lower = "micro_rows";
    TRY(memory_open(&mix->memory));
    layout(mix, &mix->memory);
    TRY(trainer_create_scoring(&mix->trainer, model, mix->room, mix->room));
    *out = mix;
    mix = NULL;
done:
    mix_destroy(mix);
    return rc;
}

void mix_destroy(struct mix *mix)
{
    if (!mix)
        return;
    trainer_destroy(mix->trainer);
    memory_close(&mix->memory);
    free(mix);
}

static int check(const struct mix *mix, const struct batch *b)
{
    if (b->R != mix->R || mix->R > MIXTURE_MOST)
        return rl_error(RL_EBUG, "an orchestrator of %d weights for %d rewards", mix->R, b->R);
    for (int n = 0; n < b->N; n += b->k)
        if (b->prompt_len[n] < 1 || b->prompt_len[n] > mix->max_prompt)
            return rl_error(RL_EBUG, "a prompt of %d tokens; the orchestrator has room for %d",
                            b->prompt_len[n], mix->max_prompt);
    return RL_OK;
}

/* The weights of group g, of the logits at its prompt's last token. */
static int weigh(const struct mix *mix, struct batch *b, int g, const float *logits)
{
    double *first = b->mix + (size_t)g * (size_t)b->k * (size_t)b->R, x[MIXTURE_MOST];

    for (int r = 0; r < b->R; r++)
        x[r] = logits[r];
    mixture_softmax(first, x, mix->R, 1);
    for (int r = 0; r < b->R; r++)
        if (!isfinite(first[r]))
            return rl_error(RL_ENAN, "step %lld: orchestrator.model gives prompt %lld no finite "
                            "weights", (long long)b->step + 1, (long long)b->prompt[g * b->k] + 1);
    for (int s = 1; s < b->k; s++)
        memcpy(first + s * b->R, first, (size_t)b->R * sizeof *first);
    return RL_OK;
}

/* Groups [first, first + n) in one pass. */
static int run(struct mix *mix, struct batch *b, int first, int n)
{
    struct model_outputs out = { .score = mix->logits };
    int rc = RL_OK;

    mix->start[0] = 0;
    for (int i = 0; i < n; i++) {
        int row = (first + i) * b->k, length = b->prompt_len[row];
        memcpy(mix->tokens + mix->start[i], b->tokens + b->start[row],
               (size_t)length * sizeof *mix->tokens);
        mix->start[i + 1] = mix->start[i] + length;
    }
    TRY(model_run(mix->trainer, mix->tokens, mix->start, n, 1, false, &out));
    for (int i = 0; i < n; i++)
        TRY(weigh(mix, b, first + i, mix->logits + (size_t)(mix->start[i + 1] - 1) * mix->R));
done:
    return rc;
}

static int tokens_of_prompt(const void *of, int group)
{
    const struct batch *b = of;

    return b->prompt_len[group * b->k];
}

int mix_fill(struct mix *mix, struct batch *b)
{
    struct passes passes = { b->groups, mix->room, tokens_of_prompt, b };
    int rc = RL_OK;

    TRY(check(mix, b));
    for (int first = 0, end; first < b->groups; first = end) {
        end = pass_end(&passes, first, b->groups);
        TRY(run(mix, b, first, end - first));
    }
    b->filled |= COL_MIX;
done:
    return rc;
}
