/* Element types of arrays and the conversions between fp32 and the 16-bit ones.
 *
 *   fp32  s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm     bias 127
 *   bf16  s eeeeeeee mmmmmmm                     the upper half of fp32
 *   fp16  s eeeee mmmmmmmmmm                     bias 15
 *
 * Done on the bits, so that denormals survive whatever the processor's flush-to-zero flags say.
 */
#include "base/array.h"

#include <stdint.h>
#include <string.h>

static const struct { const char *name; size_t size; } types[] = {
    [DTYPE_F32] = { "F32", 4 }, [DTYPE_BF16] = { "BF16", 2 }, [DTYPE_F16] = { "F16", 2 },
    [DTYPE_F64] = { "F64", 8 }, [DTYPE_I32] = { "I32", 4 },   [DTYPE_I64] = { "I64", 8 },
    [DTYPE_U64] = { "U64", 8 }, [DTYPE_U8] = { "U8", 1 },
};

static int is_known(enum dtype type)
{
    return (unsigned)type < sizeof types / sizeof types[0];
}

size_t dtype_size(enum dtype type)
{
    return is_known(type) ? types[type].size : 0;
}

const char *dtype_name(enum dtype type)
{
    return is_known(type) ? types[type].name : "unknown";
}

static uint32_t bits_of(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* u / 2^shift, to nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_round(uint32_t u, int shift)
{
    uint32_t half = 1u << (shift - 1), rest = u & ((half << 1) - 1), q = u >> shift;

    return q + (rest > half || (rest == half && (q & 1)));
}

float f32_from_bf16(unsigned short x)
{
    return float_of((uint32_t)x << 16);
}

unsigned short bf16_from_f32(float x)
{
    uint32_t u = bits_of(x);

    if ((u & 0x7fffffff) > 0x7f800000)
        return (unsigned short)(u >> 16 | 0x40);       /* NaN stays NaN, quiet */
    return (unsigned short)shift_round(u, 16);         /* a carry into the exponent is right */
}

float f32_from_f16(unsigned short x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, m = x & 0x3ff;

    if (exponent == 31)
        return float_of(sign | 0x7f800000 | m << 13);
    if (exponent == 0 && m == 0)
        return float_of(sign);
    if (exponent == 0) {                               /* denormal: every one is normal in fp32 */
        exponent = 1;
        while (!(m & 0x400)) {
            m <<= 1;
            exponent--;                                /* wraps below 0; the sum below wraps back */
        }
        m &= 0x3ff;
    }
    return float_of(sign | (exponent + 112) << 23 | m << 13);
}

unsigned short f16_from_f32(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff, m;
    int exponent = (int)(a >> 23) - 112;               /* as fp16 counts it */

    if (a > 0x7f800000)
        return (unsigned short)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (exponent >= 31)
        return (unsigned short)(sign | 0x7c00);
    if (exponent > 0) {                                /* a carry may reach infinity: right too */
        return (unsigned short)(sign | shift_round(a - (112u << 23), 13));
    }
    if (exponent < -10)                                /* below half the smallest denormal */
        return (unsigned short)sign;
    m = (a & 0x7fffff) | 0x800000;
    return (unsigned short)(sign | shift_round(m, 14 - exponent));
}
