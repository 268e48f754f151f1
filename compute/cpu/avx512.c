/* The kernels for AVX-512.  See cpu.h for how the pages fit together. */
#include "compute/cpu/variant.h"

#if defined(__x86_64__)
#include <immintrin.h>
INSTRUCTIONS_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")

#include "compute/cpu/lanes_avx512.h"

#include "compute/cpu/flat.h"
#include "compute/cpu/rows.h"
#include "compute/cpu/lse.h"
#include "compute/cpu/sample.h"
#include "compute/cpu/matmul.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/attention_backward.h"
#include "compute/cpu/peak_loops.h"

void cpu_exp_avx512(float *y, const float *x, size_t n)
{
    each_exp(y, x, n);
}

const struct cpu_peak *cpu_peak_avx512(void)
{
    return &peak_loops;
}

void cpu_fill_avx512(struct compute *k)
{
    fill_flat(k);
    fill_rows(k);
    fill_lse(k);
    fill_sample(k);
    fill_matmul(k);
    fill_attention(k);
}

INSTRUCTIONS_END

#else
void cpu_fill_avx512(struct compute *k)
{
    (void)k;                         /* never chosen: cpu_can_avx512 says no */
}

void cpu_exp_avx512(float *y, const float *x, size_t n)
{
    (void)y, (void)x, (void)n;
}

const struct cpu_peak *cpu_peak_avx512(void)
{
    return NULL;
}
#endif
