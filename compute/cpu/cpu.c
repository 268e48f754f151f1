/* See cpu.h. */
#include "compute/cpu/cpu.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/status.h"
#include "compute/cpu/pool.h"

#define SMALL_WORK (1 << 18)         /* multiply-adds that are not worth waking a thread for */
#define PARTS 4                      /* for each thread, of a job */
#define FEW_PARTS 2                  /* where every part packs operands for itself */

bool cpu_can_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

bool cpu_can_avx512(void)
{
#if defined(__x86_64__)
    return cpu_can_avx2() && __builtin_cpu_supports("avx512f")
           && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

bool cpu_can_avx512_bf16(void)
{
#if defined(__x86_64__)
    return cpu_can_avx512() && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

const struct cpu_peak *cpu_best_peak(enum compute_dtype dtype)
{
    if (dtype == COMPUTE_BF16 && cpu_can_avx512_bf16())
        return cpu_peak_avx512_bf16();
    return cpu_can_avx512() ? cpu_peak_avx512() : cpu_can_avx2() ? cpu_peak_avx2()
                                                                 : cpu_peak_plain();
}

/* Room for `count` times `floats`, 64-byte aligned each; what it held is lost when it grows. */
static bool grow(struct compute *k, float **room, size_t *has, size_t floats, size_t count)
{
    size_t size = (floats + 15) / 16 * 16;

    if (size <= *has)
        return true;
    free(*room);
    *room = NULL;
    *has = 0;
    if (size < floats || size > SIZE_MAX / sizeof(float) / count
        || !(*room = aligned_alloc(64, size * sizeof(float) * count))) {
        int code = rl_error(RL_ENOFIT, "no memory for %zu floats of kernel scratch, %zu times: "
                            "lower micro_rows or threads", floats, count);

        if (k->error == RL_OK)
            k->error = code;
        return false;
    }
    *has = size;
    return true;
}

bool cpu_scratch(struct compute *k, size_t floats)
{
    struct cpu *cpu = k->impl;

    return grow(k, &cpu->scratch, &cpu->scratch_size, floats, (size_t)k->threads);
}

bool cpu_shared(struct compute *k, size_t floats)
{
    struct cpu *cpu = k->impl;

    return grow(k, &cpu->shared, &cpu->shared_size, floats, 1);
}

float *cpu_shared_of(struct compute *k)
{
    return ((struct cpu *)k->impl)->shared;
}

float *cpu_scratch_of(struct compute *k, int thread)
{
    struct cpu *cpu = k->impl;

    return cpu->scratch + (size_t)thread * cpu->scratch_size;
}

static bool places_room(struct compute *k, size_t n)
{
    struct cpu *cpu = k->impl;
    int *more;

    if (n <= cpu->places_size)
        return true;
    more = realloc(cpu->places, n * sizeof *more);
    if (!more) {
        int code = rl_error(RL_ENOFIT, "no memory for the places of %zu tokens", n / 2);
        if (k->error == RL_OK)
            k->error = code;
        return false;
    }
    cpu->places = more;
    cpu->places_size = n;
    return true;
}

bool cpu_places(struct compute *k, const int *slot, int M, int **places, int *steps)
{
    int n = 0;

    if (!places_room(k, 2 * (size_t)M))
        return false;
    *places = ((struct cpu *)k->impl)->places;
    for (int m = 0; m < M; n += 2) {
        bool odd = slot[m] % 2 != 0;
        (*places)[n] = odd ? -1 : m++;
        (*places)[n + 1] = odd || (m < M && slot[m] == slot[m - 1] + 1) ? m++ : -1;
    }
    *steps = n;
    return true;
}

/* A job cut into parts of whole grains. */
struct split {
    int items, grain, pieces, parts;
    void *job;
    void (*body)(void *job, int begin, int end, int thread);
};

static void run_part(void *arg, int part, int thread)
{
    const struct split *s = arg;
    int begin = (int)((int64_t)s->pieces * part / s->parts);
    int end = (int)((int64_t)s->pieces * (part + 1) / s->parts);

    s->body(s->job, begin * s->grain, end == s->pieces ? s->items : end * s->grain, thread);
}

static void split(struct compute *k, int parts, double work, int items, int grain, void *job,
                  void (*body)(void *job, int begin, int end, int thread))
{
    struct pool *pool = ((struct cpu *)k->impl)->pool;
    struct split s = { .items = items, .grain = grain, .job = job, .body = body,
                       .pieces = items / grain + (items % grain != 0) };

    if (!pool || work < SMALL_WORK || s.pieces <= 1) {
        body(job, 0, items, 0);
        return;
    }
    s.parts = k->threads * parts < s.pieces ? k->threads * parts : s.pieces;
    pool_run(pool, s.parts, &s, run_part);
}

void cpu_split(struct compute *k, double work, int items, int grain, void *job,
               void (*body)(void *job, int begin, int end, int thread))
{
    split(k, PARTS, work, items, grain, job, body);
}

void cpu_split_few(struct compute *k, double work, int items, int grain, void *job,
                   void (*body)(void *job, int begin, int end, int thread))
{
    split(k, FEW_PARTS, work, items, grain, job, body);
}

void cpu_default_control_word(void)
{
#if defined(__x86_64__)
    _mm_setcsr(0x1f80);
#endif
}
