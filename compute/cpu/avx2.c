/* The kernels for AVX2 with FMA.  See cpu.h for how the pages fit together. */
#include "compute/cpu/variant.h"

#if defined(__x86_64__)
#include <immintrin.h>
INSTRUCTIONS_BEGIN("avx2,fma")

#include "compute/cpu/lanes_avx2.h"

#include "compute/cpu/flat.h"
#include "compute/cpu/rows.h"
#include "compute/cpu/lse.h"
#include "compute/cpu/sample.h"
#include "compute/cpu/matmul.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/attention_backward.h"
#include "compute/cpu/peak_loops.h"

void cpu_exp_avx2(float *y, const float *x, size_t n)
{
    each_exp(y, x, n);
}

const struct cpu_peak *cpu_peak_avx2(void)
{
    return &peak_loops;
}

void cpu_fill_avx2(struct compute *k)
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
void cpu_fill_avx2(struct compute *k)
{
    (void)k;                         /* never chosen: cpu_can_avx2 says no */
}

void cpu_exp_avx2(float *y, const float *x, size_t n)
{
    (void)y, (void)x, (void)n;
}

const struct cpu_peak *cpu_peak_avx2(void)
{
    return NULL;
}
#endif
