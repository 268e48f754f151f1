/* struct lanes in one AVX-512 register.  See lanes_plain.h, which says what each function means. */
#ifndef COMPUTE_CPU_LANES_AVX512_H
#define COMPUTE_CPU_LANES_AVX512_H

#include <immintrin.h>

#include "compute/math.h"

#define TILE_M 12              /* a tile of a matrix product: 12 rows, 2 registers: 24 sums */
#define TILE_V 2
#define QUERIES 8              /* queries of attention that walk the keys together */

struct lanes { __m512 v; };

static inline __mmask16 first_lanes(int n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline struct lanes lanes_set(float x)
{
    return (struct lanes){ _mm512_set1_ps(x) };
}

static inline struct lanes lanes_load(const float *p)
{
    return (struct lanes){ _mm512_loadu_ps(p) };
}

static inline struct lanes lanes_load_part(const float *p, int n)
{
    return (struct lanes){ _mm512_maskz_loadu_ps(first_lanes(n), p) };
}

static inline void lanes_store(float *p, struct lanes a)
{
    _mm512_storeu_ps(p, a.v);
}

static inline void lanes_store_part(float *p, struct lanes a, int n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}

static inline struct lanes lanes_select(int n, struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_mask_blend_ps(first_lanes(n), b.v, a.v) };
}

static inline struct lanes lanes_add(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_add_ps(a.v, b.v) };
}

static inline struct lanes lanes_sub(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_sub_ps(a.v, b.v) };
}

static inline struct lanes lanes_mul(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_mul_ps(a.v, b.v) };
}

static inline struct lanes lanes_div(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_div_ps(a.v, b.v) };
}

static inline struct lanes lanes_sqrt(struct lanes a)
{
    return (struct lanes){ _mm512_sqrt_ps(a.v) };
}

static inline struct lanes lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
    return (struct lanes){ _mm512_fmadd_ps(a.v, b.v, c.v) };
}

static inline struct lanes lanes_negfma(struct lanes a, struct lanes b, struct lanes c)
{
    return (struct lanes){ _mm512_fnmadd_ps(a.v, b.v, c.v) };
}

static inline struct lanes lanes_max(struct lanes a, struct lanes b)
{
    return (struct lanes){ _mm512_max_ps(a.v, b.v) };
}

static inline float lanes_largest(struct lanes a)
{
    return _mm512_reduce_max_ps(a.v);
}

static inline float lanes_fold(struct lanes a)
{
    __m256 e = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));

    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

static inline struct lanes lanes_exp(struct lanes a)
{
    __m512 x = a.v, magic = _mm512_set1_ps(ROUND_F32);
    __m512 c = _mm512_max_ps(_mm512_set1_ps(EXP_LOW), _mm512_min_ps(_mm512_set1_ps(EXP_HIGH), x));
    __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(c, _mm512_set1_ps(EXP_LOG2E), magic), magic);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_HIGH), c);
    __m512 p = _mm512_set1_ps(EXP_C6), one = _mm512_set1_ps(1.0f);

    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_LOW), r);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_scalef_ps(_mm512_fmadd_ps(p, r, one), n);         /* rounds once, as the halves do */
    __mmask16 unordered = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    __m512i not_a_number = _mm512_set1_epi32(0x7fc00000);

    return (struct lanes){ _mm512_mask_mov_ps(p, unordered, _mm512_castsi512_ps(not_a_number)) };
}

/* Lane q of 128 bits of fours[4 g + j] gets rows 4 g .. 4 g + 3 of column 4 q + j, and then meets
 * the others of its column. */
INLINE void lanes_transpose(struct lanes t[16], const int rows)
{
    __m512 fours[16];

    (void)rows;
    UNROLL for (int g = 0; g < 16; g += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(t[g].v, t[g + 1].v));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(t[g].v, t[g + 1].v));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(t[g + 2].v, t[g + 3].v));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(t[g + 2].v, t[g + 3].v));

        fours[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        fours[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        fours[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        fours[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    UNROLL for (int j = 0; j < 4; j++) {
        __m512 even_above = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);
        __m512 even_below = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
        __m512 odd_above = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);
        __m512 odd_below = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);

        t[j].v = _mm512_shuffle_f32x4(even_above, even_below, 0x88);
        t[4 + j].v = _mm512_shuffle_f32x4(odd_above, odd_below, 0x88);
        t[8 + j].v = _mm512_shuffle_f32x4(even_above, even_below, 0xdd);
        t[12 + j].v = _mm512_shuffle_f32x4(odd_above, odd_below, 0xdd);
    }
}

static inline void lanes_store_u64(uint64_t *p, struct lanes a)
{
    _mm512_storeu_si512(p, _mm512_cvttps_epu64(_mm512_castps512_ps256(a.v)));
    _mm512_storeu_si512(p + 8, _mm512_cvttps_epu64(_mm512_extractf32x8_ps(a.v, 1)));
}

/* ---- pairs of bf16.  With the instruction for them where BF16_INSTRUCTION says so. */

static inline struct lanes lanes_odd(struct lanes x)
{
    return (struct lanes){ _mm512_castsi512_ps(_mm512_and_si512(
        _mm512_castps_si512(x.v), _mm512_set1_epi32((int)0xffff0000u))) };
}

static inline struct lanes lanes_even(struct lanes x)
{
    return (struct lanes){ _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_castps_si512(x.v), 16)) };
}

static inline struct lanes lanes_words(const uint16_t *p)
{
    return (struct lanes){ _mm512_castsi512_ps(_mm512_loadu_si512(p)) };
}

static inline struct lanes lanes_weave(const uint16_t *even, const uint16_t *odd)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)even));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)odd));

    return (struct lanes){ _mm512_castsi512_ps(_mm512_or_si512(low,
                                                               _mm512_slli_epi32(high, 16))) };
}

static inline struct lanes lanes_widen(const uint16_t *p)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));

    return (struct lanes){ _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)) };
}

#if defined(BF16_INSTRUCTION)

static inline void lanes_narrow(uint16_t *p, struct lanes a)
{
    _mm256_storeu_si256((void *)p, (__m256i)_mm512_cvtneps_pbh(a.v));
}

static inline struct lanes lanes_pairs(struct lanes even, struct lanes odd)
{
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even.v));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd.v));

    return (struct lanes){ _mm512_castsi512_ps(_mm512_or_si512(low,
                                                               _mm512_slli_epi32(high, 16))) };
}

static inline struct lanes lanes_pairs_part(const float *p, int n)
{
    struct lanes low = lanes_load_part(p, n < 16 ? n : 16);
    struct lanes high = lanes_load_part(p + 16, n > 16 ? n - 16 : 0);

    return (struct lanes){ _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high.v, low.v)) };
}

static inline struct lanes lanes_dot2(struct lanes a, struct lanes b, struct lanes c)
{
    return (struct lanes){ _mm512_dpbf16_ps(c.v, (__m512bh)_mm512_castps_si512(a.v),
                                            (__m512bh)_mm512_castps_si512(b.v)) };
}

static inline void flush_begin(void)
{
}

static inline void flush_end(void)
{
}

#else

/* In the lower half of each lane. */
static inline __m512i bf16_of(__m512 x)
{
    __m512i u = _mm512_castps_si512(x), upper = _mm512_srli_epi32(u, 16);
    __m512i even = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), even);
    __mmask16 denormal = _mm512_testn_epi32_mask(u, _mm512_set1_epi32(0x7f800000));
    __mmask16 unordered = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);

    r = _mm512_srli_epi32(r, 16);
    r = _mm512_mask_and_epi32(r, denormal, upper, _mm512_set1_epi32(0x8000));
    return _mm512_mask_or_epi32(r, unordered, upper, _mm512_set1_epi32(0x40));
}

static inline void lanes_narrow(uint16_t *p, struct lanes a)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(bf16_of(a.v)));
}

static inline struct lanes lanes_pairs(struct lanes even, struct lanes odd)
{
    __m512i high = _mm512_slli_epi32(bf16_of(odd.v), 16);

    return (struct lanes){ _mm512_castsi512_ps(_mm512_or_si512(bf16_of(even.v), high)) };
}

static inline struct lanes lanes_pairs_part(const float *p, int n)
{
    struct lanes low = lanes_load_part(p, n < 16 ? n : 16);
    struct lanes high = lanes_load_part(p + 16, n > 16 ? n - 16 : 0);
    __m512i r = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(bf16_of(low.v)));

    r = _mm512_inserti64x4(r, _mm512_cvtepi32_epi16(bf16_of(high.v)), 1);
    return (struct lanes){ _mm512_castsi512_ps(r) };
}

#define SPLIT_PAIRS
#define TILE_M_PAIRS 12

static inline void flush_begin(void)
{
    _mm_setcsr(0x1f80 | 0x8040);     /* FTZ, DAZ */
}

static inline void flush_end(void)
{
    _mm_setcsr(0x1f80);
}

#endif

#endif
