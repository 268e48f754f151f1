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

/* all: NaN and the infinities too. */
static struct moments moments(const double *table, int rows, int columns, int c, bool all)
{
    struct moments m = { 0 };
    double squares = 0;

    for (int r = 0; r < rows; r++) {
        double x = table[(size_t)r * columns + c];
        if (!all && !isfinite(x))
            continue;
        m.mean += x;
        m.min = m.count == 0 || x < m.min ? x : m.min;
        m.max = m.count == 0 || x > m.max ? x : m.max;
        m.count++;
    }
    m.mean = m.count > 0 ? m.mean / m.count : 0;
    for (int r = 0; r < rows; r++) {
        double d = table[(size_t)r * columns + c] - m.mean;
        if (all || isfinite(d))
            squares += d * d;
    }
    m.std = m.count > 0 ? sqrt(squares / m.count) : 0;
    return m;
}

struct moments stats_moments(const double *table, int rows, int columns, int c)
{
    return moments(table, rows, columns, c, true);
}

struct moments stats_finite(const double *table, int rows, int columns, int c)
{
    return moments(table, rows, columns, c, false);
}

bool stats_correlation(const double *table, int rows, int columns, int a, int b, double *out)
{
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    int n = 0;

    for (int r = 0; r < rows; r++) {
        const double *t = table + (size_t)r * columns;
        if (!isfinite(t[a]) || !isfinite(t[b]))
            continue;
        x += t[a];
        y += t[b];
        n++;
    }
    for (int r = 0; r < rows; r++) {
        double dx = table[(size_t)r * columns + a] - x / n;
        double dy = table[(size_t)r * columns + b] - y / n;
        if (!isfinite(dx) || !isfinite(dy))
            continue;
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    if (!(xx > 0) || !(yy > 0))
        return false;
    *out = xy / (sqrt(xx) * sqrt(yy));
    return true;
}
