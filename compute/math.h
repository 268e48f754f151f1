/* Our own exp, log, sin, cos, pow: the same bits on every processor, compiler and libm.
 *
 *   exp(x):  n = round(x / ln 2),  r = x - n ln 2,  |r| <= 0.35,  exp(x) = 2^n (1 + r P(r))
 *
 * Everything that can reach weights, samples or log-probabilities uses these and never libm's
 * (only sqrt and fma, which IEEE 754 fixes to the bit, come from outside).  The vector forms of
 * rw_expf in cpu/lanes_*.h do the same steps and agree on all 2^32 inputs.  Bounds are asserted by
 * tests/test_compute_math.c:
 *
 *   rw_expf 1 ulp    rw_exp, rw_log, rw_log1p 2 ulp    rw_sincos 2 ulp for |x| <= 2^20
 */
#ifndef COMPUTE_MATH_H
#define COMPUTE_MATH_H

#include <math.h>
#include <stdint.h>

#include "base/bits.h"

/* Adding and subtracting it rounds to an integer (even on ties); it then is in the low bits. */
#define ROUND_F32 0x1.8p23f
#define ROUND_F64 0x1.8p52

/* fp32 exp: below EXP_LOW everything is +0, above EXP_HIGH everything is infinite. */
#define EXP_LOW (-105.0f)
#define EXP_HIGH 89.0f
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e43p-1f            /* n * EXP_LN2_HIGH is exact inside the fma */
#define EXP_LN2_LOW (-0x1.05c61p-29f)
#define EXP_C2 0x1.0p-1f
#define EXP_C3 0x1.5554dcp-3f                 /* Chebyshev fit of (exp(r) - 1 - r) / r^2 */
#define EXP_C4 0x1.55551ap-5f
#define EXP_C5 0x1.120ba2p-7f
#define EXP_C6 0x1.6d113cp-10f

/* a + b rounded to odd, so that rounding it again to fp32 is harmless. */
ON_DEVICE static inline double rw_sum_to_odd(double a, double b)
{
    double s = a + b, back = s - a, lost = (a - (s - back)) + (b - back);
    uint64_t u = bits_of_f64(s);

    if ((lost > 0 || lost < 0) && !(u & 1))
        u += (lost > 0) == (s > 0) ? 1u : UINT64_MAX;
    return f64_of_bits(u);
}

/* a b + c rounded once, for processors without the instruction: the product is exact in double. */
ON_DEVICE static inline float rw_fmaf(float a, float b, float c)
{
    return (float)rw_sum_to_odd((double)a * (double)b, (double)c);
}

/* exp in fp32: at most 1 ulp off, exp(0) = 1 and exp(-inf) = +0 exactly, one NaN for every NaN.
 * 2^n is applied in two halves, so that a denormal result is rounded once. */
ON_DEVICE static inline float rw_expf(float x)
{
    float c = x > EXP_HIGH ? EXP_HIGH : x < EXP_LOW ? EXP_LOW : x;
    float t = fmaf(c, EXP_LOG2E, ROUND_F32);
    float n = t - ROUND_F32;
    float r = fmaf(n, -EXP_LN2_LOW, fmaf(n, -EXP_LN2_HIGH, c));
    float p = fmaf(EXP_C6, r, EXP_C5);
    int32_t e = (int32_t)(bits_of_f32(t) & 0x7fffffu) - 0x400000, half = e >> 1;

    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    p = p * f32_of_bits((uint32_t)(half + 127) << 23);
    p = p * f32_of_bits((uint32_t)(e - half + 127) << 23);
    return x == x ? p : f32_of_bits(0x7fc00000u);
}

/* The tanh form of GELU (Hendrycks and Gimpel 2016) is x (1 + tanh(a x + b x^3)) / 2, which is
 * x / (1 + exp(-2 a x - 2 b x^3)), with a = sqrt(2 / pi), b = 0.044715 a.  So it needs no tanh, and
 * nothing cancels in 1 + tanh. */
#define GELU_C1 0x1.988454p+0f                /* 2 a */
#define GELU_C3 0x1.2444f2p-4f                /* 2 b */

/* ---- double: for log-sum-exp's end, losses, the rotary table and random numbers */

/* 2^e for -1022 <= e <= 1023 */
ON_DEVICE static inline double rw_power_of_two(int e)
{
    return f64_of_bits((uint64_t)(e + 1023) << 52);
}

ON_DEVICE static inline double rw_exp(double x)
{
    if (!(x == x))
        return x;
    if (x > 709.79)
        return HUGE_VAL;
    if (x < -745.14)
        return 0.0;
    double n = (x * 0x1.71547652b82fep+0 + ROUND_F64) - ROUND_F64;
    double high = x - n * 0x1.62e42feep-1;    /* exact: 11 + 32 bits */
    double low = n * 0x1.a39ef35793c76p-33, r = high - low, p = 1.0 / 6227020800.0;
    int e = (int)n, half = e / 2;

    static const double c[] = {               /* 1 / k!, k = 12 .. 3 */
        1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
        1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6,
    };
    for (int i = 0; i < 10; i++)
        p = p * r + c[i];
    p = r * r * (0.5 + r * p) + ((high - r) - low) + r + 1.0;
    return p * rw_power_of_two(half) * rw_power_of_two(e - half);
}

/* log(m 2^e (1 + c)) for sqrt(1/2) <= m < sqrt(2), |c| < 2^-52.  With f = m - 1, s = f / (2 + f):
 * log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + R),  R = 2/3 s^2 + 2/5 s^4 + ... */
ON_DEVICE static inline double rw_log_parts(double m, int e, double c)
{
    static const double odd[] = { 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
                                  2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3 };
    double f = m - 1.0, s = f / (2.0 + f), s2 = s * s, rest = 2.0 / 23, half = 0.5 * f * f;

    for (int i = 0; i < 10; i++)
        rest = rest * s2 + odd[i];
    rest = s * (half + rest * s2) + (e * 0x1.a39ef35793c76p-33 + c);
    return e * 0x1.62e42feep-1 + (f - (half - rest));
}

/* x = m 2^e with sqrt(1/2) <= m < sqrt(2), x positive and finite */
ON_DEVICE static inline double rw_split(double x, int *e)
{
    int shift = 0;

    if (x < 0x1p-1022) {
        x *= 0x1p54;
        shift = -54;
    }
    uint64_t u = bits_of_f64(x);
    double m = f64_of_bits((u & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    int big = m > 0x1.6a09e667f3bcdp+0;

    *e = (int)(u >> 52) - 1023 + shift + big;
    return big ? m * 0.5 : m;
}

ON_DEVICE static inline double rw_log(double x)
{
    int e;

    if (!(x > 0))
        return x == 0 ? -HUGE_VAL : (double)NAN;
    if (x == HUGE_VAL)
        return x;
    double m = rw_split(x, &e);
    return rw_log_parts(m, e, 0.0);
}

/* log(1 + x) without the loss of x's low bits in 1 + x */
ON_DEVICE static inline double rw_log1p(double x)
{
    double u = 1.0 + x, c;
    int e;

    if (u == 1.0)
        return x;
    if (!(u > 0))
        return u == 0 ? -HUGE_VAL : (double)NAN;
    if (u == HUGE_VAL)
        return u;
    c = x > 1.0 ? 1.0 - (u - x) : x - (u - 1.0);     /* what the rounding of 1 + x lost */
    double m = rw_split(u, &e);
    return rw_log_parts(m, e, c / u);
}

/* theta^y for theta > 0, a few ulp for results of ordinary size (|y log theta| < 40: 40 ulp) */
ON_DEVICE static inline double rw_pow(double theta, double y)
{
    return rw_exp(y * rw_log(theta));
}

/* sin and cos together.  x = n pi/2 + r with pi/2 in three pieces of 33 bits, the first two
 * products exact for |n| < 2^20; less true up to |x| = 2^30, and NaN beyond, where no position or
 * random angle gets. */
ON_DEVICE static inline void rw_sincos(double x, double *sine, double *cosine)
{
    if (!(x <= 0x1p30 && x >= -0x1p30)) {
        *sine = *cosine = (double)NAN;
        return;
    }
    double n = (x * 0x1.45f306dc9c883p-1 + ROUND_F64) - ROUND_F64;
    double a = x - n * 0x1.921fb544p+0, w = n * 0x1.0b4611a6p-34, b = a - w;
    double lost = (a - b) - w, tail = n * 0x1.3198a2e037073p-69 - lost;
    double r = b - tail, low = (b - r) - tail, z = r * r;
    double s = 1.0 / 51090942171709440000.0, c = 1.0 / 2432902008176640000.0;

    static const double odd[] = {             /* -1^k / (2k+1)!, k = 9 .. 1 */
        -1.0 / 121645100408832000.0, 1.0 / 355687428096000.0, -1.0 / 1307674368000.0,
        1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0,
        -1.0 / 6.0,
    };
    static const double even[] = {            /* -1^k / (2k)!, k = 9 .. 2 */
        -1.0 / 6402373705728000.0, 1.0 / 20922789888000.0, -1.0 / 87178291200.0,
        1.0 / 479001600.0, -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0,
    };
    for (int i = 0; i < 9; i++)
        s = s * z + odd[i];
    for (int i = 0; i < 8; i++)
        c = c * z + even[i];
    double half = 0.5 * z, top = 1.0 - half;

    s = r + (r * z * s + low * (1.0 - half));
    c = top + (((1.0 - top) - half) + (z * z * c - r * low));
    int quarter = (int)((int64_t)bits_of_f64(n + ROUND_F64) & 3);

    *sine = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
    *cosine = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
}

/* ---- the order of every sum over channels or vocabulary: element i goes to lane i mod 16, then
 * lanes 8, 4, 2, 1 apart are added.  Clobbers lane. */
ON_DEVICE static inline float fold16(float lane[16])
{
    for (int width = 8; width; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

ON_DEVICE static inline double fold16_f64(double lane[16])
{
    for (int width = 8; width; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

#endif
