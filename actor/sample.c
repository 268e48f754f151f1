/* See sample.h.  Filters find a cut: the last token kept in the order, and the least mass kept.
 *
 *   order:   7   2   5   9 | 0   4  ...        found by partitioning, like the k-th of a list:
 *   mass:   40  30  15  10 | 3   1  ...        the vocabulary is never sorted
 *                      cut ^
 */
#include "actor/sample.h"

#include <stdbool.h>

#define MASS_ONE 0x1p40f

void sampler_layout(struct sampler *s, struct memory *m, int V)
{
    s->p = memory_take(m, (size_t)V * sizeof *s->p);
    s->mass = memory_take(m, (size_t)V * sizeof *s->mass);
    s->order = memory_take(m, (size_t)V * sizeof *s->order);
}

/* Does token a come before token b? */
static bool before(const float *z, int a, int b)
{
    return (z[a] > z[b]) | ((z[a] == z[b]) & (a < b));       /* no branch */
}

static int greedy(const float *z, int V)
{
    int best = 0;

    for (int v = 1; v < V; v++)
        if (before(z, v, best))
            best = v;
    return best;
}

/* Masses of all tokens; returns their sum.  A probability that is no number weighs nothing. */
static uint64_t masses(uint64_t *mass, const float *p, int V)
{
    uint64_t total = 0;

    for (int v = 0; v < V; v++) {
        mass[v] = p[v] > 0.0f ? (uint64_t)(int64_t)(p[v] * MASS_ONE) : 0;
        total += mass[v];
    }
    return total;
}

static void swap(int *a, int *b)
{
    int kept = *a;

    *a = *b;
    *b = kept;
}

/* Partition ids around the median of three of them; returns its place.  Those before it are on its
 * left. */
static int partition(int *ids, int n, const float *z)
{
    int *first = ids, *middle = ids + n / 2, *last = ids + n - 1, place = 0;

    if (before(z, *middle, *first))
        swap(middle, first);
    if (before(z, *last, *middle))
        swap(last, middle);
    if (before(z, *middle, *first))
        swap(middle, first);
    swap(middle, last);                 /* the pivot waits at the end */
    for (int i = 0; i < n - 1; i++) {   /* no branch: half of them would be guessed wrong */
        bool left = before(z, ids[i], *last);
        swap(&ids[i], &ids[place]);
        place += left;
    }
    swap(&ids[place], last);
    return place;
}

/* The token at which the running weight, in the order, reaches `need`, which is at most the weight
 * of all.  mass NULL: every token weighs 1.  It and those before it are then in front of the rest.
 * Linear time on average: each round keeps one side. */
static int reach(int *ids, int n, const float *z, const uint64_t *mass, uint64_t need)
{
    while (n > 1) {
        int place = partition(ids, n, z);
        uint64_t sum = 0, own = mass ? mass[ids[place]] : 1;
        for (int i = 0; i < place; i++)
            sum += mass ? mass[ids[i]] : 1;
        if (sum >= need && place > 0) {
            n = place;
            continue;
        }
        if (sum + own >= need)
            return ids[place];
        need -= sum + own;
        ids += place + 1;
        n -= place + 1;
    }
    return *ids;
}

/* The last token that top_k and top_p keep; `total` is the mass of all. */
static int last_kept(struct sampler *s, const float *z, int V, int top_k, float top_p,
                     uint64_t total)
{
    int *ids = s->order, kept = V, last = -1;

    for (int v = 0; v < V; v++)
        ids[v] = v;
    if (top_k > 0 && top_k < V) {
        last = reach(ids, V, z, NULL, (uint64_t)top_k);
        kept = top_k;
        total = 0;
        for (int i = 0; i < kept; i++)
            total += s->mass[ids[i]];
    }
    if (top_p < 1.0f)
        last = reach(ids, kept, z, s->mass, (uint64_t)((double)top_p * (double)total));
    return last;
}

/* Clear the masses that the filters drop; returns the sum of the others. */
static uint64_t filter(struct sampler *s, const float *z, int V, int top_k, float top_p,
                       float min_p, uint64_t total)
{
    int last = -1;
    uint64_t most = 0, least, sum = 0;

    if ((top_k > 0 && top_k < V) || top_p < 1.0f)
        last = last_kept(s, z, V, top_k, top_p, total);
    for (int v = 0; v < V; v++) {
        if (last >= 0 && before(z, last, v))
            s->mass[v] = 0;
        most = s->mass[v] > most ? s->mass[v] : most;
    }
    least = (uint64_t)((double)min_p * (double)most);
    for (int v = 0; v < V; v++) {
        if (s->mass[v] < least)
            s->mass[v] = 0;
        sum += s->mass[v];
    }
    return sum;
}

int sample_token(struct compute *k, struct sampler *s, const float *z, int V, float temperature,
                 int top_k, float top_p, float min_p, uint32_t word)
{
    uint64_t total, target, sum = 0;

    if (temperature == 0.0f)
        return greedy(z, V);
    k->softmax(k, s->p, z, temperature, V);
    total = masses(s->mass, s->p, V);
    if (top_k > 0 || top_p < 1.0f || min_p > 0.0f)
        total = filter(s, z, V, top_k, top_p, min_p, total);
    target = (uint64_t)(((unsigned __int128)total * word) >> 32);
    for (int v = 0; v < V; v++) {
        sum += s->mass[v];
        if (sum > target)
            return v;
    }
    return greedy(z, V);         /* no mass at all: the temperature is too small for the floats */
}
