/* bf16, the upper half of an fp32, as the processors' dot product of pairs (vdpbf16ps) has it:
 *
 *   sum = flush(x.odd * y.odd + sum),   then   sum = flush(x.even * y.even + sum)
 *
 * Each is one fused multiply-add, rounded to nearest even; denormal sums are read as signed 0, and
 * a result that is below 2^-126 after rounding, as if exponents had no bound, is signed 0 (x86:
 * DAZ and FTZ).  Numbers become bf16 likewise: nearest even, denormals to signed 0, NaN kept quiet.
 * docs/numerics.md says how this was tried.
 */
#ifndef COMPUTE_BF16_H
#define COMPUTE_BF16_H

#include <math.h>
#include <stdint.h>

#include "compute/math.h"

ON_DEVICE static inline uint16_t bf16_of_f32(float x)
{
    uint32_t u = bits_of_f32(x), exponent = u & 0x7f800000u;

    if (exponent == 0)
        return (uint16_t)(u >> 16 & 0x8000u);
    if (x != x)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

ON_DEVICE static inline float f32_of_bf16(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

/* x as the nearest bf16 */
ON_DEVICE static inline float bf16_round(float x)
{
    return f32_of_bf16(bf16_of_f32(x));
}

/* a b + c of bf16 a and b, under DAZ and FTZ.  Next to 2^-126 the result is rounded again 2^64
 * higher, where fp32 has all its bits. */
ON_DEVICE static inline float bf16_fma(float a, float b, float c)
{
    float least = 0x1p-126f, sum = fabsf(c) < least ? copysignf(0.0f, c) : c, high;
    float r = rw_fmaf(a, b, sum);

    if (!(fabsf(r) <= least))
        return r;
    high = (float)(rw_sum_to_odd((double)a * (double)b, (double)sum) * 0x1p64);
    return fabsf(high) < 0x1p-62f ? copysignf(0.0f, high) : r;
}

/* Two numbers that meet two others in one step: even in the lower half. */
ON_DEVICE static inline uint32_t bf16_pair(float even, float odd)
{
    return bf16_of_f32(even) | (uint32_t)bf16_of_f32(odd) << 16;
}

ON_DEVICE static inline float bf16_even(uint32_t pair)
{
    return f32_of_bits(pair << 16);
}

ON_DEVICE static inline float bf16_odd(uint32_t pair)
{
    return f32_of_bits(pair & 0xffff0000u);
}

ON_DEVICE static inline float bf16_dot2(uint32_t x, uint32_t y, float sum)
{
    sum = bf16_fma(bf16_odd(x), bf16_odd(y), sum);
    return bf16_fma(bf16_even(x), bf16_even(y), sum);
}

#endif
