/* See peak.h.  The kernels themselves are in cpu/peak_loops.h, one per instruction set: independent
 * chains of fused multiply-adds in registers, and a sum over a buffer larger than the caches. */
#include "compute/peak.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/status.h"
#include "compute/cpu/cpu.h"

#define SECONDS 0.2
#define BUFFER ((size_t)1 << 24)              /* floats a thread: 64 MB */

struct loops {
    const struct cpu_peak *kernel;
    float *buffer;
    float kept;                               /* so that no loop is thought useless */
};

static void multiply_add(void *job, int begin, int end, int thread)
{
    struct loops *l = job;
    float sum = 0;

    (void)thread;
    for (int i = begin; i < end; i++)
        sum += l->kernel->multiply_add(1 << 12);
    if (sum == 1.0f)
        l->kept = sum;
}

static void fill(void *job, int begin, int end, int thread)
{
    struct loops *l = job;

    (void)thread;
    for (size_t i = (size_t)begin * BUFFER; i < (size_t)end * BUFFER; i++)
        l->buffer[i] = 1e-3f * (float)(i % 7);
}

static void read(void *job, int begin, int end, int thread)
{
    struct loops *l = job;
    float sum = 0;

    (void)thread;
    for (int i = begin; i < end; i++)
        sum += l->kernel->read(l->buffer + (size_t)i * BUFFER, BUFFER);
    if (sum == 1.0f)
        l->kept = sum;
}

/* The best rate of several rounds (others use the machine); an item is worth `unit`. */
static double best_rate(struct compute *k, struct loops *l, int items, double unit,
                        void (*body)(void *job, int begin, int end, int thread))
{
    double begin = clock_now(), before = begin, now, best = 0;

    do {
        cpu_split(k, 1e18, items, 1, l, body);
        now = clock_now();
        if (now > before && items * unit / (now - before) > best)
            best = items * unit / (now - before);
        before = now;
    } while (now - begin < SECONDS);
    return best;
}

int peak_measure(struct peak *peak, struct compute *k)
{
    struct loops l = { .kernel = cpu_best_peak() };

    l.buffer = aligned_alloc(64, BUFFER * sizeof(float) * (size_t)k->threads);
    if (!l.buffer)
        return rl_error(RL_ENOFIT, "no memory to measure memory: %d threads of 64 MB", k->threads);
    cpu_split(k, 1e18, k->threads, 1, &l, fill);
    peak->gflops = best_rate(k, &l, 64 * k->threads, 2e-9 * (1 << 12) * l.kernel->fmas,
                             multiply_add);
    peak->gbytes = best_rate(k, &l, k->threads, 1e-9 * BUFFER * sizeof(float), read);
    free(l.buffer);
    return RL_OK;
}
