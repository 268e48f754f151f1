/* What the tests of the compute backends share: all of them beside ref, noise, equal bits. */
#ifndef TESTS_BACKENDS_H
#define TESTS_BACKENDS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/compute.h"
#include "tests/support.h"

#define BACKENDS 12
static struct compute *ref, *backend[BACKENDS];      /* NULL: this processor cannot run it */

#define EACH_BACKEND(k)                                                                           \
    for (int b_ = 0; b_ < BACKENDS; b_++)                                                         \
        for (struct compute *k = backend[b_]; k; k = NULL)

/* ref, and the others on one, two and three threads: setup and teardown of a group */
static inline int backends_open(const char *dtype)
{
    static const char *names[] = { "cpu-plain", "cpu-avx2", "cpu-avx512", "cpu-avx512-bf16" };

    if (compute_open(&ref, "ref", dtype, 1) != RL_OK)
        return -1;
    for (int i = 0; i < BACKENDS; i++)
        if (compute_open(&backend[i], names[i / 3], dtype, i % 3 + 1) != RL_OK)
            fprintf(stderr, "not tried here: %s\n", names[i / 3]);
    return 0;
}

static inline int backends_close(void **state)
{
    int rc = compute_sync(ref);

    (void)state;
    compute_close(ref);
    for (int i = 0; i < BACKENDS; i++) {
        rc = backend[i] && rc == RL_OK ? compute_sync(backend[i]) : rc;
        compute_close(backend[i]);
    }
    return rc;
}

static inline uint32_t word(void)
{
    static uint64_t seed = 1;

    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

/* n floats in (-size, size); the caller frees */
static inline float *noise(size_t n, float size)
{
    float *x = malloc((n + 1) * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = size * ((float)(word() >> 8) * 0x1p-23f - 1.0f);
    return x;
}

static inline float *copy_of(const float *x, size_t n)
{
    float *y = malloc((n + 1) * sizeof *y);

    memcpy(y, x, n * sizeof *y);
    return y;
}

/* Exactly equal, or say where not; then free what was made.  A NaN is a NaN. */
static inline void same(const struct compute *k, const char *what, float *got, const float *want,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s, %d threads: %s[%zu of %zu] = %a, ref has %a", k->name, k->threads, what,
                     i, n, (double)got[i], (double)want[i]);
    free(got);
}

#endif
