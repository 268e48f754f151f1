/* See sample.h.  Filters find a cut: the last token kept in the order, and the least mass kept.
 *
 *   order:   7   2   5   9 | 0   4  ...        found by partitioning, like the k-th of a list:
 *   mass:   40  30  15  10 | 3   1  ...        the vocabulary is never sorted
 *                      cut ^
 */
#include "compute/sample.h"

#include <stdbool.h>

static int blocks(int V)
{
    return (V + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK;
}

size_t sampler_size(int V)
{
    return 3 * (size_t)V + 2 * (size_t)blocks(V) + 2;
}

void sampler_place(struct sampler *s, float *scratch, int V)
{
    size_t wide = ((size_t)V + 1) / 2 * 2;

    s->V = V;
    s->p = scratch;
    s->order = (int *)(void *)scratch;
    s->mass = (uint64_t *)(void *)(scratch + wide);
    s->sums = s->mass + V;
}

/* Does token a come before token b? */
static bool before(const float *z, int a, int b)
{
    return (z[a] > z[b]) | ((z[a] == z[b]) & (a < b));       /* no branch */
}

int sample_greedy(const float *z, int V)
{
    int best = 0;

    for (int v = 1; v < V; v++)
        if (before(z, v, best))
            best = v;
    return best;
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

/* The last token that top_k and top_p keep. */
static int last_kept(struct sampler *s, const float *z, const struct sampling *set)
{
    int *ids = s->order, kept = s->V, last = -1;
    uint64_t total = s->total;

    for (int v = 0; v < s->V; v++)
        ids[v] = v;
    if (set->top_k > 0 && set->top_k < s->V) {
        last = reach(ids, s->V, z, NULL, (uint64_t)set->top_k);
        kept = set->top_k;
        total = 0;
        for (int i = 0; i < kept; i++)
            total += s->mass[ids[i]];
    }
    if (set->top_p < 1.0f)
        last = reach(ids, kept, z, s->mass, (uint64_t)((double)set->top_p * (double)total));
    return last;
}

void sampler_filter(struct sampler *s, const float *z, const struct sampling *set)
{
    int last = -1;
    uint64_t most = 0, least;

    if ((set->top_k > 0 && set->top_k < s->V) || set->top_p < 1.0f)
        last = last_kept(s, z, set);
    for (int v = 0; v < s->V; v++) {
        if (last >= 0 && before(z, last, v))
            s->mass[v] = 0;
        most = s->mass[v] > most ? s->mass[v] : most;
    }
    least = (uint64_t)((double)set->min_p * (double)most);
    s->total = 0;
    for (int first = 0, b = 0; first < s->V; first += SAMPLE_BLOCK, b++) {
        s->sums[b] = 0;
        for (int v = first; v < s->V && v < first + SAMPLE_BLOCK; v++) {
            s->mass[v] = s->mass[v] < least ? 0 : s->mass[v];
            s->sums[b] += s->mass[v];
        }
        s->total += s->sums[b];
    }
}

int sampler_draw(const struct sampler *s, const float *z, uint32_t word)
{
    uint64_t target = (uint64_t)(((unsigned __int128)s->total * word) >> 32), sum = 0;
    int b = 0;

    while (b < blocks(s->V) && sum + s->sums[b] <= target)
        sum += s->sums[b++];
    for (int v = b * SAMPLE_BLOCK; v < s->V; v++) {
        sum += s->mass[v];
        if (sum > target)
            return v;
    }
    return sample_greedy(z, s->V);      /* no mass: the temperature is too small for the floats */
}
