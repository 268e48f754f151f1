/* ref_logp[t] = log p_ref(tokens[t] | the row's tokens before it), 0 on the prompt.
 *
 * The rows go through the frozen model a few at a time.  How they are cut does not matter to a
 * single bit, so at equal weights ref_logp is the actor's actor_logp.
 */
#include "refmodel/refmodel.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "model/passes.h"

struct refmodel {
    const struct model *model;
    struct trainer *trainer;     /* forward passes only */
    int room;                    /* tokens of a pass */
    float temperature;
};

size_t refmodel_bytes(const struct model_shape *shape, struct compute *k, int micro_rows,
                      int max_row_tokens)
{
    int64_t tokens = (int64_t)micro_rows * max_row_tokens;
    int room = tokens < INT_MAX ? (int)tokens : INT_MAX;

    return sizeof(struct refmodel) + trainer_bytes_scoring(shape, k, room, room);
}

int refmodel_create(struct refmodel **out, struct model *model, int micro_rows, int max_row_tokens,
                    float temperature)
{
    struct refmodel *ref = NULL;
    int rc = RL_OK;

    *out = NULL;
    if (micro_rows < 1 || max_row_tokens < 1 || micro_rows > INT_MAX / max_row_tokens)
        return rl_error(RL_EINVAL, "micro_rows: %d rows of %d tokens are not one forward pass",
                        micro_rows, max_row_tokens);
    if (!isfinite(temperature) || temperature <= 0)
        return rl_error(RL_EINVAL, "temperature: that of the loss must be above 0");
    ref = calloc(1, sizeof *ref);
    if (!ref)
        return rl_error(RL_ENOFIT, "no memory for the reference model");
    ref->model = model;
    ref->room = micro_rows * max_row_tokens;
    ref->temperature = temperature;
    TRY(trainer_create_scoring(&ref->trainer, model, ref->room, ref->room));
    *out = ref;
    ref = NULL;
done:
    refmodel_destroy(ref);
    return rc;
}

void refmodel_destroy(struct refmodel *ref)
{
    if (!ref)
        return;
    trainer_destroy(ref->trainer);
    free(ref);
}

/* The prompt is given, not chosen: it weighs nothing.  Responses must be finite. */
static int finish_row(const struct refmodel *ref, const struct batch *b, int row)
{
    int prompt = b->prompt_len[row], length = b->start[row + 1] - b->start[row];
    float *logp = b->ref_logp + b->start[row];

    memset(logp, 0, (size_t)prompt * sizeof *logp);
    for (int t = prompt; t < length; t++)
        if (!isfinite(logp[t]))
            return rl_error(RL_ENAN, "step %lld, row %d: the reference model's log-probability of "
                            "token %d is not a finite number; %s", (long long)b->step + 1,
                            b->group * b->k + row, t, model_why(ref->model).text);
    return RL_OK;
}

static int tokens_of_row(const void *of, int row)
{
    const struct batch *b = of;

    return b->start[row + 1] - b->start[row];
}

int refmodel_fill(struct refmodel *ref, struct batch *b)
{
    struct passes passes = { b->N, ref->room, tokens_of_row, b };
    int rc = RL_OK;

    if (b->status != RL_OK)
        return RL_OK;
    for (int first = 0, end; first < b->N; first = end) {
        end = pass_end(&passes, first, b->N);
        TRY(model_logprobs(ref->trainer, b->tokens, b->start + first, end - first,
                           ref->temperature, false, b->ref_logp, NULL));
    }
    for (int row = 0; row < b->N; row++)
        TRY(finish_row(ref, b, row));
    b->filled |= COL_REF_LOGP;
done:
    if (rc != RL_OK)
        b->status = rc;
    return rc;
}
