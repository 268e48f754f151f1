/* Rank -> roles; see placement.h. */
#include "launch/placement.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "learner/learner.h"

static int role_slot(enum role role)
{
    int slot = 0;

    while (role >> (slot + 1))
        slot++;
    return slot;
}

unsigned roles_to_train(const struct config *c)
{
    const struct algorithm *a = algorithm_find(c->algorithm);
    unsigned roles = ROLE_LEARNER;

    if (!a)
        return roles;
    if (algorithm_columns(a, c) & COL_REF_LOGP)
        roles |= ROLE_REFMODEL;
    if (algorithm_source(a, c) == SOURCE_PROMPTS)
        roles |= ROLE_ACTOR | (c->n_rewards > 0 ? ROLE_REWARD : 0);
    return roles;
}

unsigned roles_to_evaluate(const struct config *c)
{
    if (c->eval_every == 0 || !c->eval_prompts)
        return 0;
    return ROLE_LEARNER | ROLE_ACTOR | ROLE_REFMODEL | (c->n_rewards > 0 ? ROLE_REWARD : 0);
}

/* The roles that a run of this configuration makes use of, and those it cannot do without. */
static unsigned used(const struct config *c)
{
    return roles_to_train(c) | roles_to_evaluate(c);
}

static unsigned needed(const struct config *c)
{
    return roles_to_train(c) | (roles_to_evaluate(c) & ~(unsigned)ROLE_REFMODEL);
}

static int assign(struct placement *p, const struct config *c)
{
    int next = 0;

    if (c->n_ranks == 0)
        for (int r = 0; r < p->ranks; r++)
            p->roles[r] = used(c);
    for (int g = 0; g < c->n_ranks; g++)
        for (int64_t i = 0; i < c->ranks[g].count; i++, next++) {
            if (next >= p->ranks)
                return rl_error(RL_EINVAL,
                                "%s: ranks asks for more ranks than the %d that were started; "
                                "start more or lower a count",
                                config_where(c, "ranks"), p->ranks);
            p->roles[next] = c->ranks[g].roles & used(c);
        }
    return RL_OK;
}

static int check(const struct placement *p, const struct config *c)
{
    unsigned held = 0;

    for (int r = 0; r < p->ranks; r++)
        held |= p->roles[r];
    for (int i = 0; i < ROLES; i++)
        if ((needed(c) & ~held) & 1u << i)
            return rl_error(RL_EINVAL,
                            "%s: no rank holds the role \"%s\", which %s needs; add it to a "
                            "group of ranks",
                            config_where(c, "ranks"), role_name(1 << i), c->algorithm);
    if (placement_of(p, ROLE_LEARNER)->count > c->reduction_leaves)
        return rl_error(RL_EINVAL,
                        "%s: %d learner ranks but reduction_leaves = %d; raise reduction_leaves "
                        "(a power of two) or use fewer learners",
                        config_where(c, "reduction_leaves"), placement_of(p, ROLE_LEARNER)->count,
                        (int)c->reduction_leaves);
    return RL_OK;
}

int placement_make(struct placement *p, const struct config *c, int ranks)
{
    int rc = RL_OK;

    memset(p, 0, sizeof *p);
    p->ranks = ranks;
    p->roles = calloc((size_t)ranks, sizeof *p->roles);
    if (!p->roles)
        return rl_error(RL_ENOFIT, "no memory for the placement of %d ranks", ranks);
    TRY(assign(p, c));
    for (int i = 0; i < ROLES; i++) {
        p->of[i].rank = calloc((size_t)ranks, sizeof(int));
        if (!p->of[i].rank)
            return rl_error(RL_ENOFIT, "no memory for the placement of %d ranks", ranks);
        for (int r = 0; r < ranks; r++)
            if (p->roles[r] & 1u << i)
                p->of[i].rank[p->of[i].count++] = r;
    }
    TRY(check(p, c));
done:
    return rc;
}

void placement_free(struct placement *p)
{
    free(p->roles);
    for (int i = 0; i < ROLES; i++)
        free(p->of[i].rank);
    memset(p, 0, sizeof *p);
}

const struct ranklist *placement_of(const struct placement *p, enum role role)
{
    return &p->of[role_slot(role)];
}

int placement_index(const struct placement *p, enum role role, int rank)
{
    const struct ranklist *list = placement_of(p, role);

    for (int i = 0; i < list->count; i++)
        if (list->rank[i] == rank)
            return i;
    return -1;
}

void placement_text(const struct placement *p, int rank, struct text *out)
{
    const char *plus = "";

    for (int i = 0; i < ROLES; i++)
        if (p->roles[rank] & 1u << i) {
            text_addf(out, "%s%s", plus, role_name(1 << i));
            plus = "+";
        }
    if (!*plus)
        text_adds(out, "idle");
}
