/* Philox4x32-10: ten rounds of two 32 x 32 -> 64 bit products, keys bumped by Weyl constants
 * (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011, section 3).
 *
 * Normals use the logarithm and cosine below and not libm's, whose last bit depends on its version:
 * initial weights are part of the bit contract.  Sums and products are rounded one by one
 * (-ffp-contract=off), so every machine gives the same bits.
 */
#include "base/random.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"

#define BLOCK 64                /* counters at once */

/* Loops that are vectorised for the processor they run on: every lane does what one number does. */
#ifdef __x86_64__
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

static inline void philox(const struct counter *c, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)c->seed, k1 = (uint32_t)(c->seed >> 32);
    uint32_t x0 = c->position, x1 = c->prompt, x2 = c->step;
    uint32_t x3 = c->purpose << 24 | (c->sample & 0xffffff);

    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53 * x0, q = (uint64_t)0xCD9E8D57 * x2;
        x0 = (uint32_t)(q >> 32) ^ x1 ^ k0;
        x2 = (uint32_t)(p >> 32) ^ x3 ^ k1;
        x1 = (uint32_t)q;
        x3 = (uint32_t)p;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}

void random_words(const struct counter *c, uint32_t out[4])
{
    philox(c, out);
}

/* log u for 0 < u <= 1: u = m 2^e with m in [sqrt 1/2, sqrt 2), s = (m - 1) / (m + 1),
 * log m = 2 (s + s^3/3 + s^5/5 + ...); s^2 < 0.0295, so 12 terms reach the last bit. */
static inline double natural_log(double u)
{
    uint64_t bits = bits_of_f64(u), fraction = bits & 0xfffffffffffff;
    uint64_t low = fraction < 0x6a09e667f3bcd;          /* below sqrt 1/2, which is 0x3fe6a09e... */
    double m = f64_of_bits(fraction | (1022 + low) << 52), e, s, z, sum = 0;

    e = (double)((int)(bits >> 52) - 1022 - (int)low);
    s = (m - 1) / (m + 1);
    z = s * s;
    for (int n = 23; n >= 1; n -= 2)
        sum = sum * z + 1.0 / n;
    return e * 0.69314718055994530942 + 2 * s * sum;
}

/* cos(2 pi t) for 0 <= t < 1: the nearest quarter turn, and a Taylor series for the rest,
 * |x| <= pi/4. */
static inline double cosine_of_turn(double t)
{
    int quarter = (int)(4 * t + 0.5);
    double x = (4 * t - quarter) * 1.57079632679489661923, z = x * x;
    double even = 1, odd = 1;
    uint64_t mask;

    for (int n = 18; n >= 2; n -= 2) {
        even = 1 - even * z / (n * (n - 1));        /* cos x */
        odd = 1 - odd * z / ((n + 1) * n);          /* sin x / x */
    }
    mask = -(uint64_t)(quarter & 1);
    return f64_of_bits(((bits_of_f64(x * odd) & mask) | (bits_of_f64(even) & ~mask)) ^
                     (uint64_t)((quarter + 1) & 2) << 62);
}

/* No branch, so that a loop of it is vectorised. */
static inline double normal(uint32_t a, uint32_t b)
{
    double u = ((double)a + 1) * 0x1p-32;           /* in (0, 1]: its logarithm is finite */

    return sqrt(-2 * natural_log(u)) * cosine_of_turn((double)b * 0x1p-32);
}

double random_normal(uint32_t a, uint32_t b)
{
    return normal(a, b);
}

/* The numbers of BLOCK counters from `first` on. */
WIDE static void normals(const struct counter *first, double scale, float out[2 * BLOCK])
{
    uint32_t words[4 * BLOCK];

    for (uint32_t i = 0; i < BLOCK; i++) {
        struct counter c = *first;
        c.position += i;
        philox(&c, words + 4 * i);
    }
    for (int i = 0; i < 2 * BLOCK; i++)
        out[i] = (float)(scale * normal(words[2 * i], words[2 * i + 1]));
}

void random_normals(const struct counter *first, double scale, float *out, size_t n)
{
    struct counter c = *first;
    float block[2 * BLOCK];

    for (size_t i = 0; i < n; i += 2 * BLOCK, c.position += BLOCK) {
        normals(&c, scale, block);
        memcpy(out + i, block, (n - i < 2 * BLOCK ? n - i : 2 * BLOCK) * sizeof *out);
    }
}
