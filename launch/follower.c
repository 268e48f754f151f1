/* See follower.h. */
#include "launch/follower.h"

#include <string.h>

#include "base/status.h"

static bool rule_is_on(const struct follower_rule *rule)
{
    return strcmp(rule->update, "every") == 0 || strcmp(rule->update, "ema") == 0;
}

bool follower_is_here(const struct follower_rule *rule, unsigned roles)
{
    return rule_is_on(rule) && roles & (ROLE_LEARNER | rule->role);
}

int follower_open(struct follower *f, const struct follower_rule *rule, struct comm *world,
                  const struct placement *p, const struct source *source, struct compute *compute)
{
    const struct ranklist *from = placement_of(p, ROLE_LEARNER), *to = placement_of(p, rule->role);
    bool apart = false;
    int rc = RL_OK;

    memset(f, 0, sizeof *f);
    if (!rule_is_on(rule))
        return RL_OK;
    f->is_on = true;
    f->folder = rule->folder;
    f->role = rule->role;
    f->every = strcmp(rule->update, "every") == 0 ? rule->every : 0;
    f->decay = (float)rule->decay;
    if (follower_is_here(rule, p->roles[comm_rank(world)]))
        TRY(source_model(&f->model, source, compute));
    for (int i = 0; i < to->count; i++)
        apart |= placement_index(p, ROLE_LEARNER, to->rank[i]) < 0;
    if (apart)
        TRY(feed_open(&f->feed, world, from->rank, from->count, to->rank, to->count,
                      model_size(&source->shape)));
done:
    return rc;
}

void follower_close(struct follower *f)
{
    feed_close(f->feed);
    model_destroy(f->model);
    memset(f, 0, sizeof *f);
}

bool follower_moves(const struct follower *f, int64_t step)
{
    return f->is_on && (f->every == 0 || step % f->every == 0);
}

void follower_update(struct follower *f, const struct model *policy, int64_t step)
{
    const float *w = model_weights((struct model *)policy);
    size_t n;
    float *own, rest = 1 - f->decay;

    if (!follower_moves(f, step))
        return;
    own = model_weights(f->model);
    n = model_size(model_shape(f->model));
    if (f->every > 0)
        memcpy(own, w, n * sizeof *own);
    for (size_t i = 0; f->every == 0 && i < n; i++)
        own[i] = f->decay * own[i] + rest * w[i];
    model_changed(f->model);
}

int follower_exchange(struct follower *f, const struct placement *p, int rank, int64_t step)
{
    bool learns = placement_index(p, ROLE_LEARNER, rank) >= 0;
    int rc = RL_OK;

    if (!f->feed)
        return RL_OK;
    if (learns)
        return weights_publish(f->feed, model_weights(f->model), step);
    if (placement_index(p, f->role, rank) < 0)
        return RL_OK;
    TRY(weights_receive(f->feed, model_weights(f->model), step));
    model_changed(f->model);
done:
    return rc;
}
