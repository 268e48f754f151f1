/* struct lanes in two AVX2 registers.  See lanes_plain.h, which says what each function means. */
#ifndef COMPUTE_CPU_LANES_AVX2_H
#define COMPUTE_CPU_LANES_AVX2_H

#include <immintrin.h>

#include "compute/math.h"

#define TILE_M 6               /* a tile of a matrix product: 6 rows, 2 registers: 12 sums */
#define TILE_V 1
#define QUERIES 4

struct lanes { __m256 a, b; };

/* All ones in the first n of eight lanes from lane `from`. */
static inline __m256i first_lanes(int n, int from)
{
    __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                    _mm256_set1_epi32(from));

    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}

static inline struct lanes lanes_set(float x)
{
    return (struct lanes){ _mm256_set1_ps(x), _mm256_set1_ps(x) };
}

static inline struct lanes lanes_load(const float *p)
{
    return (struct lanes){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}

static inline struct lanes lanes_load_part(const float *p, int n)
{
    return (struct lanes){ _mm256_maskload_ps(p, first_lanes(n, 0)),
                           n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n, 8))
                                 : _mm256_setzero_ps() };
}

static inline void lanes_store(float *p, struct lanes x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

static inline void lanes_store_part(float *p, struct lanes x, int n)
{
    _mm256_maskstore_ps(p, first_lanes(n, 0), x.a);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, first_lanes(n, 8), x.b);
}

static inline struct lanes lanes_select(int n, struct lanes x, struct lanes y)
{
    return (struct lanes){
        _mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(first_lanes(n, 0))),
        _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(first_lanes(n, 8))),
    };
}

static inline struct lanes lanes_add(struct lanes x, struct lanes y)
{
    return (struct lanes){ _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b) };
}

static inline struct lanes lanes_sub(struct lanes x, struct lanes y)
{
    return (struct lanes){ _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b) };
}

static inline struct lanes lanes_mul(struct lanes x, struct lanes y)
{
    return (struct lanes){ _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b) };
}

static inline struct lanes lanes_div(struct lanes x, struct lanes y)
{
    return (struct lanes){ _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b) };
}

static inline struct lanes lanes_sqrt(struct lanes x)
{
    return (struct lanes){ _mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b) };
}

static inline struct lanes lanes_fma(struct lanes x, struct lanes y, struct lanes z)
{
    return (struct lanes){ _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b) };
}

static inline struct lanes lanes_negfma(struct lanes x, struct lanes y, struct lanes z)
{
    return (struct lanes){ _mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b) };
}

static inline struct lanes lanes_max(struct lanes x, struct lanes y)
{
    return (struct lanes){ _mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b) };
}

static inline float lanes_largest(struct lanes x)
{
    __m256 e = _mm256_max_ps(x.a, x.b);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

static inline float lanes_fold(struct lanes x)
{
    __m256 e = _mm256_add_ps(x.a, x.b);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static inline __m256 power_of_two(__m256i e)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
}

static inline __m256 exp_half(__m256 x)
{
    __m256 magic = _mm256_set1_ps(ROUND_F32), one = _mm256_set1_ps(1.0f);
    __m256 c = _mm256_max_ps(_mm256_set1_ps(EXP_LOW), _mm256_min_ps(_mm256_set1_ps(EXP_HIGH), x));
    __m256 t = _mm256_fmadd_ps(c, _mm256_set1_ps(EXP_LOG2E), magic), n = _mm256_sub_ps(t, magic);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_HIGH), c);
    __m256 p = _mm256_set1_ps(EXP_C6);
    __m256i e = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_castps_si256(magic));
    __m256i half = _mm256_srai_epi32(e, 1);

    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_LOW), r);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_mul_ps(p, power_of_two(half));
    p = _mm256_mul_ps(p, power_of_two(_mm256_sub_epi32(e, half)));
    return _mm256_blendv_ps(p, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                            _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

static inline struct lanes lanes_exp(struct lanes x)
{
    return (struct lanes){ exp_half(x.a), exp_half(x.b) };
}

INLINE void transpose8(__m256 t[8])
{
    __m256 u[8];

    UNROLL for (int i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(t[i], t[i + 1]), b = _mm256_unpackhi_ps(t[i], t[i + 1]);
        __m256 c = _mm256_unpacklo_ps(t[i + 2], t[i + 3]);
        __m256 d = _mm256_unpackhi_ps(t[i + 2], t[i + 3]);

        u[i] = _mm256_shuffle_ps(a, c, 0x44);
        u[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        u[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        u[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

INLINE void lanes_transpose(struct lanes t[16], const int rows)
{
    __m256 u[4][8];                  /* quarters: above left, right, below left, right */

    UNROLL for (int i = 0; i < 8; i++) {
        u[0][i] = t[i].a;
        u[1][i] = t[i].b;
        u[2][i] = t[i + 8].a;
        u[3][i] = t[i + 8].b;
    }
    UNROLL for (int q = 0; q < 4; q++)
        if (q < 2 || rows > 8)
            transpose8(u[q]);
    UNROLL for (int i = 0; i < 8; i++) {
        t[i] = (struct lanes){ u[0][i], u[2][i] };
        t[i + 8] = (struct lanes){ u[1][i], u[3][i] };
    }
}

/* Eight of [0, 2^41), cut off: 20 bits at a time, which the subtraction leaves exact. */
static inline void store_u64_half(uint64_t *p, __m256 x)
{
    __m256i high = _mm256_cvttps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(0x1p-20f)));
    __m256i low = _mm256_cvttps_epi32(_mm256_fnmadd_ps(_mm256_cvtepi32_ps(high),
                                                       _mm256_set1_ps(0x1p20f), x));

    for (int i = 0; i < 2; i++) {
        __m256i h = _mm256_cvtepu32_epi64(i ? _mm256_extracti128_si256(high, 1)
                                            : _mm256_castsi256_si128(high));
        __m256i l = _mm256_cvtepu32_epi64(i ? _mm256_extracti128_si256(low, 1)
                                            : _mm256_castsi256_si128(low));

        _mm256_storeu_si256((__m256i *)(void *)(p + 4 * i),
                            _mm256_add_epi64(_mm256_slli_epi64(h, 20), l));
    }
}

static inline void lanes_store_u64(uint64_t *p, struct lanes x)
{
    store_u64_half(p, x.a);
    store_u64_half(p + 8, x.b);
}

/* ---- pairs of bf16 */

/* In the lower half of each lane. */
static inline __m256i bf16_of(__m256 x)
{
    __m256i u = _mm256_castps_si256(x), upper = _mm256_srli_epi32(u, 16);
    __m256i even = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), even);
    __m256i exponent = _mm256_and_si256(u, _mm256_set1_epi32(0x7f800000));
    __m256i denormal = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    __m256i unordered = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));

    r = _mm256_srli_epi32(r, 16);
    r = _mm256_blendv_epi8(r, _mm256_and_si256(upper, _mm256_set1_epi32(0x8000)), denormal);
    return _mm256_blendv_epi8(r, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), unordered);
}

static inline __m256 pairs_half(__m256 even, __m256 odd)
{
    return _mm256_castsi256_ps(
        _mm256_or_si256(bf16_of(even), _mm256_slli_epi32(bf16_of(odd), 16)));
}

static inline struct lanes lanes_pairs(struct lanes even, struct lanes odd)
{
    return (struct lanes){ pairs_half(even.a, odd.a), pairs_half(even.b, odd.b) };
}

static inline __m256 neighbours(struct lanes x)
{
    __m256i mixed = _mm256_packus_epi32(bf16_of(x.a), bf16_of(x.b));

    return _mm256_castsi256_ps(_mm256_permute4x64_epi64(mixed, 0xd8));
}

static inline struct lanes lanes_pairs_part(const float *p, int n)
{
    if (n == 32)
        return (struct lanes){ neighbours(lanes_load(p)), neighbours(lanes_load(p + 16)) };
    return (struct lanes){ neighbours(lanes_load_part(p, n < 16 ? n : 16)),
                           neighbours(n > 16 ? lanes_load_part(p + 16, n - 16)
                                             : lanes_set(0.0f)) };
}

static inline struct lanes lanes_words(const uint16_t *p)
{
    const __m256i *from = (const void *)p;

    return (struct lanes){ _mm256_castsi256_ps(_mm256_loadu_si256(from)),
                           _mm256_castsi256_ps(_mm256_loadu_si256(from + 1)) };
}

static inline __m256 weave_half(const uint16_t *even, const uint16_t *odd)
{
    __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)even));
    __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)odd));

    return _mm256_castsi256_ps(_mm256_or_si256(low, _mm256_slli_epi32(high, 16)));
}

static inline struct lanes lanes_weave(const uint16_t *even, const uint16_t *odd)
{
    return (struct lanes){ weave_half(even, odd), weave_half(even + 8, odd + 8) };
}

static inline struct lanes lanes_widen(const uint16_t *p)
{
    const __m128i *from = (const void *)p;
    __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(from));
    __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128(from + 1));

    return (struct lanes){ _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)),
                           _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)) };
}

static inline void lanes_narrow(uint16_t *p, struct lanes x)
{
    _mm256_storeu_si256((void *)p, _mm256_castps_si256(neighbours(x)));
}

#define SPLIT_PAIRS
#define TILE_M_PAIRS 4

static inline struct lanes lanes_odd(struct lanes x)
{
    __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u));

    return (struct lanes){ _mm256_and_ps(x.a, upper), _mm256_and_ps(x.b, upper) };
}

static inline struct lanes lanes_even(struct lanes x)
{
    return (struct lanes){
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.a), 16)),
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x.b), 16)),
    };
}

static inline void flush_begin(void)
{
    _mm_setcsr(0x1f80 | 0x8040);     /* FTZ, DAZ */
}

static inline void flush_end(void)
{
    _mm_setcsr(0x1f80);
}

#endif
