/* What a GPU can do at best, measured now on the same card: a square product as large as its memory
 * is wide, and a copy within its memory, of bytes read and bytes written.  Both double until a call
 * takes so long that starting it costs nothing, or there is no sense in more. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "compute/peak_internal.h"

#define SIDE_LEAST 64
#define SIDE_MOST 8192                        /* 1.1e12 operations */
#define COPY_LEAST ((size_t)1 << 16)          /* bytes */
#define COPY_MOST ((size_t)1 << 29)           /* beyond the largest L2 */
#define LONG_ENOUGH 2e-3                      /* seconds of a call */
#define PERIOD 1144                           /* floats: 8 * 11 * 13 */

struct device_ceiling {
    struct compute *k;
    struct memory product, copy;
    void *x;                                  /* (side, side) stored */
    float *w, *packed, *y;                    /* (side, side) */
    int side;
    void *from, *to;                          /* (bytes) */
    size_t bytes;
};

void fill_pattern(struct compute *k, float *x, size_t n)
{
    size_t done = n < PERIOD ? n : PERIOD, more;

    for (size_t i = 0; i < done; i++)
        x[i] = 0.01f * (float)(i % 13) - 0.06f + 1e-3f * (float)(i % 11);
    for (; done < n; done += more) {
        more = done < n - done ? done : n - done;
        k->copy(k, x + done, x, more * sizeof *x);
        compute_wait(k);
    }
}

/* ---- what is timed */

/* By the backend's fastest product, a library's where it has one. */
static void multiply(struct device_ceiling *c)
{
    struct compute *k = c->k;
    bool fast = k->fast;

    k->fast = true;
    k->matmul_forward(k, c->y, c->x, c->w, c->packed, c->side, c->side, c->side);
    k->fast = fast;
}

static void copy(struct device_ceiling *c)
{
    c->k->copy(c->k, c->to, c->from, c->bytes);
}

static double seconds_of(struct device_ceiling *c, void (*run)(struct device_ceiling *c))
{
    double begin = clock_now();

    run(c);
    compute_wait(c->k);
    return clock_now() - begin;
}

static double best_seconds(struct device_ceiling *c, void (*run)(struct device_ceiling *c),
                           double seconds)
{
    double begin = clock_now(), best = seconds_of(c, run);

    while (clock_now() - begin < seconds) {
        double took = seconds_of(c, run);
        best = took < best ? took : best;
    }
    return best;
}

double device_gflops(struct device_ceiling *c, double seconds)
{
    return 2e-9 * c->side * c->side * c->side / best_seconds(c, multiply, seconds);
}

double device_gbytes(struct device_ceiling *c, double seconds)
{
    return 2e-9 * (double)c->bytes / best_seconds(c, copy, seconds);
}

/* ---- sizes */

static void layout_product(struct device_ceiling *c, struct memory *m)
{
    size_t n = (size_t)c->side * (size_t)c->side;
    size_t packed = c->k->packed_size(c->k, c->side, c->side);

    c->x = memory_take(m, n * stored_bytes(c->k->dtype));
    c->w = memory_take(m, n * sizeof(float));
    c->y = memory_take(m, n * sizeof(float));
    c->packed = packed ? memory_take(m, packed * sizeof(float)) : NULL;
}

static int open_product(struct device_ceiling *c, int side)
{
    struct compute *k = c->k;
    size_t n = (size_t)side * (size_t)side;
    int rc = RL_OK;

    memory_close(&c->product);
    c->side = side;
    memory_count(&c->product);
    layout_product(c, &c->product);
    TRY(memory_open(&c->product));
    layout_product(c, &c->product);
    fill_pattern(k, c->w, n);
    k->store(k, c->x, c->w, n);
    if (c->packed)
        k->pack(k, c->packed, c->w, side, side);
    rc = compute_sync(k);
done:
    return rc;
}

static int open_copy(struct device_ceiling *c, size_t bytes)
{
    int rc = RL_OK;

    memory_close(&c->copy);
    c->bytes = bytes;
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            memory_count(&c->copy);
        else
            TRY(memory_open(&c->copy));
        c->from = memory_take(&c->copy, bytes);
        c->to = memory_take(&c->copy, bytes);
    }
    fill_pattern(c->k, c->from, bytes / sizeof(float));
done:
    return rc;
}

int device_ceiling_open(struct device_ceiling **out, struct compute *k)
{
    struct device_ceiling *c = calloc(1, sizeof *c);
    int rc = RL_OK;

    *out = c;
    if (!c)
        return rl_error(RL_ENOFIT, "no memory to measure the GPU");
    c->k = k;
    for (int side = SIDE_LEAST;; side *= 2) {
        TRY(open_product(c, side));
        seconds_of(c, multiply);              /* the first of a size is not counted */
        if (side == SIDE_MOST || seconds_of(c, multiply) >= LONG_ENOUGH)
            break;
    }
    for (size_t bytes = COPY_LEAST;; bytes *= 2) {
        TRY(open_copy(c, bytes));
        seconds_of(c, copy);
        if (bytes == COPY_MOST || seconds_of(c, copy) >= LONG_ENOUGH)
            break;
    }
    rc = compute_sync(k);
done:
    if (rc != RL_OK) {
        device_ceiling_close(c);
        *out = NULL;
    }
    return rc;
}

void device_ceiling_close(struct device_ceiling *c)
{
    if (!c)
        return;
    memory_close(&c->product);
    memory_close(&c->copy);
    free(c);
}
