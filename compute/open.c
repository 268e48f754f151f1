/* Choosing a backend, and what all of them share: the sticky error and the rotary table. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/compute.h"
#include "compute/cpu/cpu.h"
#include "compute/cpu/pool.h"
#include "compute/device.h"
#include "compute/math.h"
#include "compute/ref/ref.h"

#define TWO_PI 6.283185307179586

static bool always(void)
{
    return true;
}

/* The best first: "auto" takes the first that this processor can run. */
static const struct backend {
    const char *name;
    bool (*can)(void);
    void (*fill)(struct compute *k);         /* over ref; NULL: ref itself */
} backends[] = {
    { "cpu-avx512-bf16", cpu_can_avx512_bf16, cpu_fill_avx512_bf16 },
    { "cpu-avx512", cpu_can_avx512, cpu_fill_avx512 },
    { "cpu-avx2",   cpu_can_avx2,   cpu_fill_avx2 },
    { "cpu-plain",  always,         cpu_fill_plain },
    { "ref",        always,         NULL },
};
#define BACKENDS (sizeof backends / sizeof *backends)

static const struct backend gpus[] = { { .name = "cuda" }, { .name = "cuda-chain" } };

static bool is_gpu(const struct backend *backend)
{
    return backend == &gpus[0] || backend == &gpus[1];
}

static int find_backend(const struct backend **found, const char *name)
{
    bool any = strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0;

    for (int i = 0; i < 2; i++) {
        *found = &gpus[i];
        if (strcmp(name, gpus[i].name) == 0)
            return RL_OK;
    }
    for (size_t i = 0; i < BACKENDS; i++) {
        *found = &backends[i];
        if (any && backends[i].can())
            return RL_OK;
        if (strcmp(name, backends[i].name) == 0)
            return backends[i].can() ? RL_OK
                   : rl_error(RL_EINVAL, "device = \"%s\": this processor cannot run it; use "
                              "\"auto\"", name);
    }
    return rl_error(RL_EINVAL, "device = \"%s\" is unknown; use one of " COMPUTE_NAMES, name);
}

static int find_dtype(enum compute_dtype *dtype, const char *word)
{
    *dtype = strcmp(word, "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_FP32;
    if (*dtype == COMPUTE_FP32 && strcmp(word, "fp32") != 0)
        return rl_error(RL_EINVAL, "dtype = \"%s\" is unknown; use \"fp32\" or \"bf16\"", word);
    return RL_OK;
}

static int open_named(struct compute **k, const char *name, const char *dtype, int threads,
                      int (*fill_gpu)(struct compute *k))
{
    const struct backend *backend;
    enum compute_dtype found;
    struct compute *made = NULL;
    int rc = RL_OK;

    *k = NULL;
    if (threads < 1)
        return rl_error(RL_EINVAL, "threads = %d: at least one is needed", threads);
    TRY(find_dtype(&found, dtype));
    TRY(find_backend(&backend, name));
    made = calloc(1, sizeof *made);
    if (!made || !(made->impl = calloc(1, sizeof(struct cpu)))) {
        rc = rl_error(RL_ENOFIT, "no memory for the compute backend");
        goto done;
    }
    made->name = backend->name;
    made->threads = threads;
    made->dtype = found;
    ref_fill(made);
    if (found == COMPUTE_BF16)
        ref_fill_matmul_bf16(made);
    if (backend->fill)
        backend->fill(made);
    if (is_gpu(backend))
        TRY(fill_gpu(made));
    cpu_default_control_word();
    if (threads > 1)
        TRY(pool_open(&((struct cpu *)made->impl)->pool, threads));
    *k = made;
    made = NULL;
done:
    compute_close(made);
    return rc;
}

int compute_open(struct compute **k, const char *name, const char *dtype, int threads)
{
    return open_named(k, name, dtype, threads, device_fill);
}

int compute_open_sizes(struct compute **k, const char *name, const char *dtype)
{
    return open_named(k, name, dtype, 1, device_fill_sizes);
}

void compute_close(struct compute *k)
{
    if (!k)
        return;
    if (k->release)
        k->release(k);
    if (k->impl) {
        struct cpu *cpu = k->impl;

        pool_close(cpu->pool);
        free(cpu->scratch);
        free(cpu->shared);
        free(cpu->places);
        free(cpu);
    }
    free(k);
}

int compute_sync(struct compute *k)
{
    int rc;

    if (k->wait)
        k->wait(k);
    rc = k->error;
    k->error = RL_OK;
    return rc;
}

static double scale(double frequency, const struct rope_scaling *s)
{
    double turns = frequency * s->original / TWO_PI, slow = frequency / s->factor, fast;

    if (s->kind == ROPE_PLAIN || (s->kind == ROPE_LLAMA3 && turns > s->high))
        return frequency;
    if (s->kind == ROPE_LINEAR || turns < s->low)
        return slow;
    fast = (turns - s->low) / (s->high - s->low);
    return (1 - fast) * slow + fast * frequency;
}

void rotary_table(float *table, int positions, int D, double theta,
                  const struct rope_scaling *scaling)
{
    int half = D / 2;

    for (int i = 0; i < half; i++) {
        double frequency = scale(rw_pow(theta, -2.0 * i / D), scaling);

        for (int p = 0; p < positions; p++) {
            float *turn = table + ((size_t)p * (size_t)half + (size_t)i) * 2;
            double sine, cosine;

            rw_sincos(frequency * p, &sine, &cosine);
            turn[0] = (float)cosine;
            turn[1] = (float)sine;
        }
    }
}
