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

/* ---- fewer ranks than were asked for */

static int64_t ranks_asked(const struct config_ranks *g, int n)
{
    int64_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += g[i].count;
    return sum;
}

/* The two smallest groups, the later ones of equals, become one in the place of the first. */
static void merge_smallest(struct config_ranks *g, int n)
{
    int a = 0, b = -1;

    for (int i = 1; i < n; i++)
        if (g[i].count <= g[a].count)
            a = i;
    for (int i = 0; i < n; i++)
        if (i != a && (b < 0 || g[i].count <= g[b].count))
            b = i;
    if (b < a) {
        int first = b;
        b = a;
        a = first;
    }
    g[a].count += g[b].count;
    g[a].roles |= g[b].roles;
    memmove(&g[b], &g[b + 1], (size_t)(n - b - 1) * sizeof *g);
}

/* counts that sum to `ranks`, by largest remainders; want[i]: what group i asked for. */
static void share_out(struct config_ranks *g, const int64_t *want, int n, int64_t ranks)
{
    int64_t sum = 0, given = 0;

    for (int i = 0; i < n; i++)
        sum += want[i];
    for (int i = 0; i < n; i++) {
        int64_t part = want[i] * ranks / sum;
        g[i].count = part > 1 ? part : 1;
        given += g[i].count;
    }
    for (; given != ranks; given += given < ranks ? 1 : -1) {
        int64_t way = given < ranks ? 1 : -1;
        int best = -1;
        for (int i = 0; i < n; i++) {
            bool can = way > 0 || g[i].count > 1;
            if (can && (best < 0 || way * (want[i] * ranks - g[i].count * sum) >
                                    way * (want[best] * ranks - g[best].count * sum)))
                best = i;
        }
        g[best].count += way;
    }
}

static void groups_text(const struct config_ranks *g, int n, struct text *out)
{
    text_adds(out, "ranks=(");
    for (int i = 0; i < n; i++) {
        const char *comma = "";
        text_addf(out, "%s{count=%lld;roles=[", i ? "," : "", (long long)g[i].count);
        for (int role = 0; role < ROLES; role++)
            if (g[i].roles & 1u << role) {
                text_addf(out, "%s\"%s\"", comma, role_name(1 << role));
                comma = ",";
            }
        text_adds(out, "];}");
    }
    text_adds(out, ")");
}

void placement_scale(const struct config *c, int ranks, struct text *out)
{
    struct config_ranks *g = calloc((size_t)c->n_ranks + 1, sizeof *g);
    int64_t *want = calloc((size_t)c->n_ranks + 1, sizeof *want);
    int n = 0;

    for (int i = 0; g && want && i < c->n_ranks; i++) {
        g[n] = c->ranks[i];
        g[n].roles &= used(c);
        n += g[n].count > 0 && g[n].roles != 0;         /* ranks without a role may go first */
    }
    if (n > 0 && ranks_asked(c->ranks, c->n_ranks) > ranks) {
        for (; n > ranks; n--)
            merge_smallest(g, n);
        for (int i = 0; i < n; i++)
            want[i] = g[i].count;
        if (ranks_asked(g, n) > ranks)
            share_out(g, want, n, ranks);
        groups_text(g, n, out);
    }
    free(g);
    free(want);
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
