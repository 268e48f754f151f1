/* See sample.h.  Filters find a cut: the last token kept in the order, and the least mass kept.
 *
 *   order:   7   2   5   9 | 0   4  ...        a heap gives the order one token at a time, so a
 *   mass:   40  30  15  10 | 3   1  ...        short prefix of a large vocabulary costs no sort
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
    return z[a] > z[b] || (z[a] == z[b] && a < b);
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

/* ---- a heap of ids, the first of the order on top */

static void heap_sink(int *heap, int n, int i, const float *z)
{
    for (;;) {
        int child = 2 * i + 1, id = heap[i];
        if (child >= n)
            return;
        if (child + 1 < n && before(z, heap[child + 1], heap[child]))
            child++;
        if (!before(z, heap[child], id))
            return;
        heap[i] = heap[child];
        heap[child] = id;
        i = child;
    }
}

static void heap_build(int *heap, int n, const float *z)
{
    for (int v = 0; v < n; v++)
        heap[v] = v;
    for (int i = n / 2 - 1; i >= 0; i--)
        heap_sink(heap, n, i, z);
}

/* Moves the top behind the end of the heap: order[V-1] is the first, order[V-2] the second, ... */
static int heap_pop(int *heap, int n, const float *z)
{
    int top = heap[0];

    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    heap_sink(heap, n - 1, 0, z);
    return top;
}

/* The last token that top_k and top_p keep; `total` is the mass of all. */
static int last_kept(struct sampler *s, const float *z, int V, int top_k, float top_p,
                     uint64_t total)
{
    int *order = s->order, kept = V, popped = 0;
    uint64_t sum = 0, enough;

    heap_build(order, V, z);
    if (top_k > 0 && top_k < V) {
        kept = top_k;
        total = 0;
        while (popped < kept) {
            total += s->mass[heap_pop(order, V - popped, z)];
            popped++;
        }
    }
    if (top_p >= 1.0f)
        return order[V - kept];
    enough = (uint64_t)((double)top_p * (double)total);
    for (int i = 0; i < kept; i++) {
        if (i == popped)
            heap_pop(order, V - popped++, z);
        sum += s->mass[order[V - 1 - i]];
        if (sum >= enough)
            return order[V - 1 - i];
    }
    return order[V - kept];
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
