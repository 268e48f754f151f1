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

#endif
