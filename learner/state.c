/* What a checkpoint holds of a learner: flat buffers, and short rows of doubles.  A method adds its
 * own values by its `values`. */
#include <stdio.h>

#include "learner/internal.h"

static int add_trainee(const struct trainee *t, const char *const names[3],
                       struct learner_flat *out)
{
    if (!t->model)
        return 0;
    out[0] = (struct learner_flat){ names[0], t->model, model_weights(t->model) };
    out[1] = (struct learner_flat){ names[1], t->model, optimizer_m(t->optimizer) };
    out[2] = (struct learner_flat){ names[2], t->model, optimizer_v(t->optimizer) };
    return 3;
}

int learner_flats(struct learner *ln, struct learner_flat out[LEARNER_FLATS])
{
    static const char *const policy[] = { "weights", "adam_m", "adam_v" };
    static const char *const critic[] = { "critic", "critic_adam_m", "critic_adam_v" };
    int n = add_trainee(&ln->policy, policy, out);

    return n + add_trainee(&ln->critic, critic, out + n);
}

int learner_values(struct learner *ln, struct learner_value out[LEARNER_VALUES])
{
    int n = 0;

    out[n++] = (struct learner_value){ "adam_powers", optimizer_powers(ln->policy.optimizer), 2 };
    if (ln->critic.model)
        out[n++] = (struct learner_value){ "critic_adam_powers",
                                           optimizer_powers(ln->critic.optimizer), 2 };
    out[n++] = (struct learner_value){ "health", &ln->health.state.in_row, HEALTH_VALUES };
    if (ln->rewards.R > 0)
        out[n++] = (struct learner_value){ "rewards", &ln->rewards.kept->count,
                                           3 * (size_t)ln->rewards.R };
    if (ln->method->values)
        n += ln->method->values(ln, out + n);
    return n;
}

void learner_restored(struct learner *ln)
{
    model_changed(ln->policy.model);
    if (ln->critic.model)
        model_changed(ln->critic.model);
}

bool learner_whole(const struct learner *ln)
{
    return !ln->torn;
}

void learner_set_text(struct learner *ln, const struct batch *text)
{
    ln->text.b = text;
}

void learner_set_version(struct learner *ln, int64_t version)
{
    ln->version = version;
}

int64_t learner_tokens(const struct learner *ln)
{
    return ln->tokens;
}

void learner_set_tokens(struct learner *ln, int64_t tokens)
{
    ln->tokens = tokens;
}
