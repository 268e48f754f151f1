/* AVX-512 on a processor with AVX2 alone: the files of compute/cpu compiled once more, with every
 * intrinsic a function.  Most are SIMDe's; those that SIMDe 0.7.4 lacks, or that round differently
 * there, are below, lane by lane as Intel's manual has them.  An intrinsic that is missing does not
 * compile.  EMULATED: defined where SIMDe is there. */
#ifndef TESTS_EMULATED_H
#define TESTS_EMULATED_H

/* Beside the real ones. */
#define cpu_fill_avx512 emulated_fill_avx512
#define cpu_fill_avx512_bf16 emulated_fill_avx512_bf16
#define cpu_exp_avx512 emulated_exp_avx512
#define cpu_peak_avx512 emulated_peak_avx512
#define cpu_peak_avx512_bf16 emulated_peak_avx512_bf16

#if defined(__AVX2__) && defined(__FMA__) && __has_include(<simde/x86/avx512.h>)
#define EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <math.h>
#include <stdint.h>

#include "compute/bf16.h"

#define LANES(i) for (int i = 0; i < 16; i++)

/* ---- memory: lanes outside of the mask are not touched */

static inline __m512 emulated_maskz_loadu_ps(__mmask16 mask, const float *p)
{
    float x[16] = {0};

    LANES(i) if (mask >> i & 1) x[i] = p[i];
    return _mm512_loadu_ps(x);
}

static inline void emulated_mask_storeu_ps(float *p, __mmask16 mask, __m512 a)
{
    float x[16];

    _mm512_storeu_ps(x, a);
    LANES(i) if (mask >> i & 1) p[i] = x[i];
}

/* ---- floats */

static inline __m256 emulated_extractf32x8_ps(__m512 a, int half)
{
    float x[16];

    _mm512_storeu_ps(x, a);
    return _mm256_loadu_ps(x + 8 * half);
}

static inline float emulated_reduce_max_ps(__m512 a)
{
    float x[16];

    _mm512_storeu_ps(x, a);
    LANES(i) x[0] = x[0] > x[i] ? x[0] : x[i];
    return x[0];
}

/* a 2^floor(b), rounded once: exact in double */
static inline __m512 emulated_scalef_ps(__m512 a, __m512 b)
{
    float x[16], n[16];

    _mm512_storeu_ps(x, a);
    _mm512_storeu_ps(n, b);
    LANES(i) x[i] = isnan(n[i]) ? n[i] : (float)ldexp((double)x[i], (int)floorf(n[i]));
    return _mm512_loadu_ps(x);
}

/* Cut off; all ones where 64 bits cannot hold it. */
static inline __m512i emulated_cvttps_epu64(__m256 a)
{
    uint64_t r[8];
    float x[8];

    _mm256_storeu_ps(x, a);
    for (int i = 0; i < 8; i++)
        r[i] = x[i] > -1 && x[i] < 0x1p64f ? (uint64_t)x[i] : UINT64_MAX;
    return _mm512_loadu_si512(r);
}

/* ---- integers */

static inline __mmask16 emulated_testn_epi32_mask(__m512i a, __m512i b)
{
    uint32_t x[16], y[16], mask = 0;

    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    LANES(i) mask |= (uint32_t)((x[i] & y[i]) == 0) << i;
    return (__mmask16)mask;
}

static inline __m512i emulated_cvtepu16_epi32(__m256i a)
{
    uint16_t x[16];
    uint32_t r[16];

    _mm256_storeu_si256((__m256i *)(void *)x, a);
    LANES(i) r[i] = x[i];
    return _mm512_loadu_si512(r);
}

static inline __m256i emulated_cvtepi32_epi16(__m512i a)
{
    uint32_t x[16];
    uint16_t r[16];

    _mm512_storeu_si512(x, a);
    LANES(i) r[i] = (uint16_t)x[i];
    return _mm256_loadu_si256((const __m256i *)(const void *)r);
}

/* ---- bf16 */

static inline __m256i emulated_cvtneps_pbh(__m512 a)
{
    uint16_t r[16];
    float x[16];

    _mm512_storeu_ps(x, a);
    LANES(i) r[i] = bf16_of_f32(x[i]);
    return _mm256_loadu_si256((const __m256i *)(const void *)r);
}

static inline __m512i emulated_cvtne2ps_pbh(__m512 high, __m512 low)
{
    __m256i halves[2] = { emulated_cvtneps_pbh(low), emulated_cvtneps_pbh(high) };

    return _mm512_loadu_si512(halves);
}

/* The halves of x and y in one step each; not inlined: the control word is another one inside. */
__attribute__((noinline))
static void emulated_fma_of_halves(float sum[16], const uint32_t x[16], const uint32_t y[16])
{
    for (int half = 16; half >= 0; half -= 16)       /* odd: above; even */
        LANES(i)
            _mm_store_ss(sum + i, _mm_fmadd_ss(_mm_set_ss(f32_of_bits(x[i] >> half << 16)),
                                               _mm_set_ss(f32_of_bits(y[i] >> half << 16)),
                                               _mm_load_ss(sum + i)));
}

/* Whatever the control word is: to nearest, denormals are 0 before and after. */
static inline __m512 emulated_dpbf16_ps(__m512 c, __m512i a, __m512i b)
{
    unsigned before = _mm_getcsr();
    uint32_t x[16], y[16];
    float sum[16];

    _mm512_storeu_ps(sum, c);
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    _mm_setcsr(0x1f80 | 0x8040);
    emulated_fma_of_halves(sum, x, y);
    _mm_setcsr(before);
    return _mm512_loadu_ps(sum);
}

#undef LANES

#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtne2ps_pbh
#undef _mm512_cvtneps_pbh
#undef _mm512_cvttps_epu64
#undef _mm512_dpbf16_ps
#undef _mm512_extractf32x8_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_maskz_loadu_ps
#undef _mm512_reduce_max_ps
#undef _mm512_scalef_ps
#undef _mm512_shuffle_f32x4
#undef _mm512_testn_epi32_mask
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtne2ps_pbh emulated_cvtne2ps_pbh
#define _mm512_cvtneps_pbh emulated_cvtneps_pbh
#define _mm512_cvttps_epu64 emulated_cvttps_epu64
#define _mm512_dpbf16_ps(c, a, b) emulated_dpbf16_ps(c, (__m512i)(a), (__m512i)(b))
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
#define _mm512_scalef_ps emulated_scalef_ps
#define _mm512_shuffle_f32x4 simde_mm512_shuffle_f32x4
#define _mm512_testn_epi32_mask emulated_testn_epi32_mask
#endif

#endif
