/* Means over ranks without sums over ranks: gather, then add in global order.  See stats.h. */
#include "learner/stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/status.h"

void stats_layout(struct stats *s, struct memory *memory, int ranks, size_t room)
{
    s->room = room;
    s->shares = memory_take(memory, (size_t)ranks * SHARE * sizeof *s->shares);
    s->counts = memory_take(memory, (size_t)ranks * sizeof *s->counts);
    s->mine = memory_take(memory, room * sizeof *s->mine);
    s->all = memory_take(memory, room * sizeof *s->all);
}

void stats_free(struct stats *s)
{
    free(s->grown);
    s->grown = NULL;
}

int stats_begin(struct stats *s, const struct batch *b, int rc)
{
    int64_t mine[SHARE] = { rc, b->group, b->groups, b->groups > 0 ? b->filled : COL_ALL };
    int64_t next = 0;
    int ranks = comm_size(s->team);
    bool well = true, in_order = true;

    for (int r = 0; r < ranks; r++)
        s->counts[r] = sizeof mine;
    TRY(comm_allgather(s->team, mine, s->shares, s->counts, PHASE_COUNT));
    s->columns = COL_ALL;
    for (int r = 0; r < ranks; r++) {
        const int64_t *share = s->shares + (size_t)r * SHARE;
        well = well && share[SHARE_STATUS] == RL_OK;
        in_order = in_order && (share[SHARE_GROUPS] == 0 || share[SHARE_GROUP] == next);
        next += share[SHARE_GROUPS];
        s->columns &= (unsigned)share[SHARE_COLUMNS];
    }
    s->groups = b->P;
    if (!well)                      /* known to all: now the line of the worst is printed */
        return comm_agree(s->team, (int)mine[SHARE_STATUS]);
    if (!in_order || next != b->P)
        rc = comm_agree(s->team, rl_error(RL_EBUG, "step %lld: the learners hold %lld of %d prompt "
                                          "groups, or not in order", (long long)b->step,
                                          (long long)next, b->P));
done:
    return rc;
}

int stats_room(struct stats *s, size_t per_group)
{
    size_t need = (size_t)s->groups * per_group;
    double *grown;

    if (need <= s->room)            /* the same answer on every rank */
        return RL_OK;
    grown = need <= SIZE_MAX / 2 / sizeof *grown ? malloc(2 * need * sizeof *grown) : NULL;
    if (grown) {
        free(s->grown);
        s->grown = s->mine = grown;
        s->all = grown + need;
        s->room = need;
    }
    return comm_agree(s->team, grown ? RL_OK : rl_error(RL_ENOFIT, "no memory for the scores of "
                                                        "%d prompts", s->groups));
}

int stats_gather(struct stats *s, const double *mine, size_t per_group)
{
    int rc = RL_OK;

    TRY(stats_room(s, per_group));
    for (int r = 0; r < comm_size(s->team); r++)
        s->counts[r] = (size_t)s->shares[(size_t)r * SHARE + SHARE_GROUPS] * per_group *
                       sizeof *mine;
    TRY(comm_allgather(s->team, mine, s->all, s->counts, PHASE_STATS));
done:
    return rc;
}

struct moments stats_moments(const double *table, int rows, int columns, int c)
{
    struct moments m = { 0 };
    double squares = 0;

    for (int r = 0; r < rows; r++) {
        double x = table[(size_t)r * columns + c];
        m.mean += x;
        m.min = r == 0 || x < m.min ? x : m.min;
        m.max = r == 0 || x > m.max ? x : m.max;
    }
    m.mean = rows > 0 ? m.mean / rows : 0;
    for (int r = 0; r < rows; r++) {
        double d = table[(size_t)r * columns + c] - m.mean;
        squares += d * d;
    }
    m.std = rows > 0 ? sqrt(squares / rows) : 0;
    return m;
}

bool stats_correlation(const double *table, int rows, int columns, int a, int b, double *out)
{
    struct moments x = stats_moments(table, rows, columns, a);
    struct moments y = stats_moments(table, rows, columns, b);
    double products = 0;

    if (!(x.std > 0) || !(y.std > 0))
        return false;
    for (int r = 0; r < rows; r++)
        products += (table[(size_t)r * columns + a] - x.mean) *
                    (table[(size_t)r * columns + b] - y.mean);
    *out = products / rows / (x.std * y.std);
    return true;
}
