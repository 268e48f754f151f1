/* See cpu.h. */
#include "compute/cpu/cpu.h"

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/status.h"

#define SMALL_WORK (1 << 18)         /* multiply-adds that are not worth waking a thread for */

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

const struct cpu_peak *cpu_best_peak(void)
{
    return cpu_can_avx512() ? cpu_peak_avx512() : cpu_can_avx2() ? cpu_peak_avx2()
                                                                 : cpu_peak_plain();
}

bool cpu_scratch(struct compute *k, size_t floats)
{
    struct cpu *cpu = k->impl;
    size_t size = (floats + 15) / 16 * 16;

    if (size <= cpu->scratch_size)
        return true;
    free(cpu->scratch);
    cpu->scratch = NULL;
    cpu->scratch_size = 0;
    if (size < floats || size > SIZE_MAX / sizeof(float) / (size_t)k->threads
        || !(cpu->scratch = aligned_alloc(64, size * sizeof(float) * (size_t)k->threads))) {
        int code = rl_error(RL_ENOFIT, "no memory for %zu floats of kernel scratch in each of %d "
                            "threads: lower micro_rows or threads", floats, k->threads);

        if (k->error == RL_OK)
            k->error = code;
        return false;
    }
    cpu->scratch_size = size;
    return true;
}

float *cpu_scratch_of(struct compute *k, int thread)
{
    struct cpu *cpu = k->impl;

    return cpu->scratch + (size_t)thread * cpu->scratch_size;
}

void cpu_split(struct compute *k, double work, int items, int grain, void *job,
               void (*body)(void *job, int begin, int end, int thread))
{
    int pieces = items / grain + (items % grain != 0);
    int threads = k->threads < pieces ? k->threads : pieces;

    if (work < SMALL_WORK || threads <= 1) {
        body(job, 0, items, 0);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        int64_t self = omp_get_thread_num(), all = omp_get_num_threads();
        int begin = (int)(pieces * self / all), end = (int)(pieces * (self + 1) / all);

        if (begin < end)
            body(job, begin * grain, end == pieces ? items : end * grain, (int)self);
    }
}

static void set_control_word(void)
{
#if defined(__x86_64__)
    _mm_setcsr(0x1f80);
#endif
}

void cpu_default_control_word(int threads)
{
    set_control_word();
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        set_control_word();
    }
}
