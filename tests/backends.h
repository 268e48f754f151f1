/* What the tests of the compute backends share: all of them beside ref, noise, equal bits. */
#ifndef TESTS_BACKENDS_H
#define TESTS_BACKENDS_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "compute/bf16.h"
#include "compute/compute.h"
#include "tests/support.h"

/* tests/emulated.h: what runs where the processor lacks the instructions. */
void emulated_fill_avx512(struct compute *k);
void emulated_fill_avx512_bf16(struct compute *k);
bool emulated_can_run(void);

static const struct variant {
    const char *name, *emulated;
    void (*fill)(struct compute *k);                 /* the emulated one, over ref */
} variants[] = {
    { "cpu-plain", NULL, NULL },
    { "cpu-avx2", NULL, NULL },
    { "cpu-avx512", "emulated avx512", emulated_fill_avx512 },
    { "cpu-avx512-bf16", "emulated avx512-bf16", emulated_fill_avx512_bf16 },
    { "cuda-chain", NULL, NULL },
};

#define ROOM_HEAD 64                 /* bytes of a struct memory, in lines */
#define BACKENDS 13                  /* each variant on one, two and three threads; cuda on one */
static struct compute *ref, *backend[BACKENDS];      /* NULL: not here */

#define EACH_BACKEND(k)                                                                           \
    for (int b_ = 0; b_ < BACKENDS; b_++)                                                         \
        for (struct compute *k = backend[b_]; k; k = NULL)

static inline bool is_wanted(const struct variant *v)
{
    return !support_gpu_only() || strncmp(v->name, "cuda", 4) == 0;
}

static inline int backend_open(struct compute **k, const struct variant *v, const char *dtype,
                               int threads)
{
    int rc;

    if (!is_wanted(v))
        return RL_EINVAL;
    rc = compute_open(k, v->name, dtype, threads);
    if (rc == RL_OK || !v->fill || !emulated_can_run())
        return rc;
    rc = compute_open(k, "ref", dtype, threads);
    if (rc == RL_OK) {
        v->fill(*k);
        (*k)->name = v->emulated;
    }
    return rc;
}

/* ref and the others: setup and teardown of a group, open_fp32 or open_bf16 and backends_close */
static inline int backends_open(const char *dtype)
{
    if (compute_open(&ref, "ref", dtype, 1) != RL_OK)
        return -1;
    support_gpu();
    for (int i = 0; i < BACKENDS; i++)
        backend_open(&backend[i], &variants[i / 3], dtype, i % 3 + 1);
    return 0;
}

static inline int open_fp32(void **state)
{
    (void)state;
    return backends_open("fp32");
}

static inline int open_bf16(void **state)
{
    (void)state;
    return backends_open("bf16");
}

/* A test of its own: counted as skipped where AVX-512 is neither real nor emulated. */
static inline void test_every_variant_is_tried(void **state)
{
    (void)state;
    for (int i = 0; i < BACKENDS; i++) {
        if (!is_wanted(&variants[i / 3]))
            continue;
        if (!backend[i] && getenv("CI"))
            fail_msg("%s cannot be tried: it needs AVX2 and libsimde-dev", variants[i / 3].name);
        if (!backend[i])
            skip();
    }
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

_Static_assert(sizeof(struct memory) <= ROOM_HEAD, "a block's head");

static inline uint32_t word(void)
{
    static uint64_t seed = 1;

    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

/* Zeroed bytes that every backend reaches, for `drop`: a block of planned memory, which begins with
 * what closes it. */
static inline void *room(size_t bytes)
{
    struct memory m;
    void *at = NULL;

    memory_count(&m);
    for (int pass = 0; pass < 2; pass++) {
        if (pass && memory_open(&m) != RL_OK)
            fail_msg("no memory for %zu bytes", bytes);
        memory_take(&m, sizeof m);
        at = memory_take(&m, bytes);
    }
    memcpy(m.base, &m, sizeof m);
    return at;
}

/* As free(); operations that were begun with it are waited for. */
static inline void drop(void *at)
{
    struct memory m;

    EACH_BACKEND(k)
        compute_wait(k);
    if (at) {
        memcpy(&m, (char *)at - ROOM_HEAD, sizeof m);
        memory_close(&m);
    }
}

/* n floats in (-size, size), for drop */
static inline float *noise(size_t n, float size)
{
    float *x = room((n + 1) * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = size * ((float)(word() >> 8) * 0x1p-23f - 1.0f);
    return x;
}

static inline float *copy_of(const float *x, size_t n)
{
    float *y = room((n + 1) * sizeof *y);

    memcpy(y, x, n * sizeof *y);
    return y;
}

/* x(n) as ref's dtype stores it, for drop */
static inline void *stored(const float *x, size_t n)
{
    void *y = room((n + 1) * stored_bytes(ref->dtype));

    ref->store(ref, y, x, n);
    return y;
}

static inline void *noise_stored(size_t n, float size)
{
    float *x = noise(n, size);
    void *y = stored(x, n);

    drop(x);
    return y;
}

static inline const void *element(const void *x, size_t i)
{
    return stored_at(ref->dtype, x, i);
}

/* Once it is made: exactly equal, or say where not; then drop it.  A NaN is a NaN. */
static inline void same(struct compute *k, const char *what, float *got, const float *want,
                        size_t n)
{
    compute_wait(k);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s, %d threads: %s[%zu of %zu] = %a, ref has %a", k->name, k->threads, what,
                     i, n, (double)got[i], (double)want[i]);
    drop(got);
}

/* The same of stored elements. */
static inline void same_stored(struct compute *k, const char *what, void *got, const void *want,
                               size_t n)
{
    float *x = room((n + 1) * sizeof *x), *y = room((n + 1) * sizeof *y);

    compute_wait(k);
    for (size_t i = 0; i < n; i++) {
        bool bf16 = ref->dtype == COMPUTE_BF16;

        x[i] = bf16 ? f32_of_bf16(((uint16_t *)got)[i]) : ((float *)got)[i];
        y[i] = bf16 ? f32_of_bf16(((const uint16_t *)want)[i]) : ((const float *)want)[i];
    }
    same(k, what, x, y, n);
    drop(y), drop(got);
}

#endif
