/* See peak.h.  The kernels themselves are in cpu/peak_loops.h, one per instruction set: independent
 * chains of fused multiply-adds in registers, and a sum over a buffer larger than the caches.  A
 * GPU's ceilings are peak_device.c's. */
#include "compute/peak.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/figures.h"
#include "base/status.h"
#include "compute/cpu/cpu.h"
#include "compute/peak_internal.h"

#define SECONDS 0.2
#define TURN 5e-3
#define STEPS (1 << 12)                       /* of an item of multiply-adds */
#define ITEMS 64                              /* for each thread */
#define BUFFER ((size_t)1 << 24)              /* floats a thread: 64 MB */

struct ceiling {
    struct compute *k;
    struct device_ceiling *device;            /* a GPU's; else NULL, and */
    const struct cpu_peak *kernel;
    float *buffer;
    float kept;                               /* so that no loop is thought useless */
};

static void multiply_add(void *job, int begin, int end, int thread)
{
    struct ceiling *c = job;
    float sum = 0;

    (void)thread;
    for (int i = begin; i < end; i++)
        sum += c->kernel->multiply_add(STEPS);
    if (sum == 1.0f)
        c->kept = sum;
}

static void fill(void *job, int begin, int end, int thread)
{
    struct ceiling *c = job;

    (void)thread;
    for (size_t i = (size_t)begin * BUFFER; i < (size_t)end * BUFFER; i++)
        c->buffer[i] = 1e-3f * (float)(i % 7);
}

static void read(void *job, int begin, int end, int thread)
{
    struct ceiling *c = job;
    float sum = 0;

    (void)thread;
    for (int i = begin; i < end; i++)
        sum += c->kernel->read(c->buffer + (size_t)i * BUFFER, BUFFER);
    if (sum == 1.0f)
        c->kept = sum;
}

static int open_processor(struct ceiling *c)
{
    struct compute *k = c->k;

    c->buffer = aligned_alloc(64, BUFFER * sizeof(float) * (size_t)k->threads);
    if (!c->buffer)
        return rl_error(RL_ENOFIT, "no memory to measure memory: %d threads of 64 MB", k->threads);
    c->kernel = cpu_best_peak(k->dtype);
    cpu_split(k, 1e18, k->threads, 1, c, fill);
    return RL_OK;
}

int ceiling_open(struct ceiling **c, struct compute *k)
{
    int rc = RL_OK;

    *c = calloc(1, sizeof **c);
    if (!*c)
        return rl_error(RL_ENOFIT, "no memory to measure memory");
    (*c)->k = k;
    rc = k->device ? device_ceiling_open(&(*c)->device, k) : open_processor(*c);
    if (rc != RL_OK) {
        ceiling_close(*c);
        *c = NULL;
    }
    return rc;
}

void ceiling_close(struct ceiling *c)
{
    if (!c)
        return;
    device_ceiling_close(c->device);
    free(c->buffer);
    free(c);
}

/* The best rate of several rounds (others use the machine); an item is worth `unit`. */
static double best_rate(struct ceiling *c, double seconds, int items, double unit,
                        void (*body)(void *job, int begin, int end, int thread))
{
    double begin = clock_now(), before = begin, now, best = 0;

    do {
        cpu_split(c->k, 1e18, items, 1, c, body);
        now = clock_now();
        if (now > before && items * unit / (now - before) > best)
            best = items * unit / (now - before);
        before = now;
    } while (now - begin < seconds);
    return best;
}

static double gflops(struct ceiling *c, double seconds)
{
    if (c->device)
        return device_gflops(c->device, seconds);
    return best_rate(c, seconds, ITEMS * c->k->threads, 2e-9 * STEPS * c->kernel->fmas,
                     multiply_add);
}

static double gbytes(struct ceiling *c, double seconds)
{
    if (c->device)
        return device_gbytes(c->device, seconds);
    return best_rate(c, seconds, c->k->threads, 1e-9 * BUFFER * sizeof(float), read);
}

double ceiling_gflops(struct ceiling *c)
{
    return gflops(c, TURN);
}

double ceiling_gbytes(struct ceiling *c)
{
    return gbytes(c, TURN);
}

int peak_measure(struct peak *peak, struct compute *k)
{
    struct ceiling *c = NULL;
    int rc = RL_OK;

    TRY(ceiling_open(&c, k));
    peak->gflops = gflops(c, SECONDS);
    peak->gbytes = gbytes(c, SECONDS);
done:
    ceiling_close(c);
    return rc;
}

void peak_line(struct text *line, const struct peak *peak, const struct compute *k)
{
    number_line(line, "peak_gflops", peak->gflops);
    number_line(line, k->device ? "copy_gbytes" : "read_gbytes", peak->gbytes);
}
