/* AVX-512 with the instruction for pairs of bf16: the products of avx512.c compiled once more, the
 * rest is avx512.c's.  See cpu.h for how the pages fit together. */
#include "compute/cpu/variant.h"

#if defined(__x86_64__)
#include <immintrin.h>
INSTRUCTIONS_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512bf16,avx2,fma")

#define BF16_INSTRUCTION
#include "compute/cpu/lanes_avx512.h"

#include "compute/cpu/matmul.h"
#include "compute/cpu/peak_loops.h"

const struct cpu_peak *cpu_peak_avx512_bf16(void)
{
    return &peak_loops;
}

void cpu_fill_avx512_bf16(struct compute *k)
{
    cpu_fill_avx512(k);
    fill_matmul(k);
}

INSTRUCTIONS_END

#else
void cpu_fill_avx512_bf16(struct compute *k)
{
    (void)k;                         /* never chosen: cpu_can_avx512_bf16 says no */
}

const struct cpu_peak *cpu_peak_avx512_bf16(void)
{
    return NULL;
}
#endif
