/* struct lanes: 16 floats, and what the kernels do to them; here in plain C for any processor.
 * lanes_avx2.h and lanes_avx512.h are the same in registers, with the same bits. */
#ifndef COMPUTE_CPU_LANES_PLAIN_H
#define COMPUTE_CPU_LANES_PLAIN_H

#include <math.h>

#include "compute/bf16.h"
#include "compute/math.h"

#define TILE_M 4               /* rows and registers of a tile of a matrix product */
#define TILE_V 1
#define QUERIES 2              /* queries of attention that walk the keys together */

struct lanes { float v[16]; };

#define EACH(i) for (int i = 0; i < 16; i++)

static inline struct lanes lanes_set(float x)
{
    struct lanes r;

    EACH(i) r.v[i] = x;
    return r;
}

static inline struct lanes lanes_load(const float *p)
{
    struct lanes r;

    EACH(i) r.v[i] = p[i];
    return r;
}

/* The first n from memory, 0 in the rest; nothing behind them is touched. */
static inline struct lanes lanes_load_part(const float *p, int n)
{
    struct lanes r = {{0}};

    for (int i = 0; i < n; i++)
        r.v[i] = p[i];
    return r;
}

static inline void lanes_store(float *p, struct lanes a)
{
    EACH(i) p[i] = a.v[i];
}

static inline void lanes_store_part(float *p, struct lanes a, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = a.v[i];
}

/* The first n lanes of a, the rest of b. */
static inline struct lanes lanes_select(int n, struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] = i < n ? a.v[i] : b.v[i];
    return a;
}

static inline struct lanes lanes_add(struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] += b.v[i];
    return a;
}

static inline struct lanes lanes_sub(struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] -= b.v[i];
    return a;
}

static inline struct lanes lanes_mul(struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] *= b.v[i];
    return a;
}

static inline struct lanes lanes_div(struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] /= b.v[i];
    return a;
}

static inline struct lanes lanes_sqrt(struct lanes a)
{
    EACH(i) a.v[i] = sqrtf(a.v[i]);
    return a;
}

/* a b + c, rounded once */
static inline struct lanes lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
    EACH(i) c.v[i] = rw_fmaf(a.v[i], b.v[i], c.v[i]);
    return c;
}

/* -a b + c, rounded once */
static inline struct lanes lanes_negfma(struct lanes a, struct lanes b, struct lanes c)
{
    EACH(i) c.v[i] = rw_fmaf(-a.v[i], b.v[i], c.v[i]);
    return c;
}

/* b where a is not larger, a NaN included */
static inline struct lanes lanes_max(struct lanes a, struct lanes b)
{
    EACH(i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}

/* The largest of lanes without a NaN. */
static inline float lanes_largest(struct lanes a)
{
    float largest = a.v[0];

    EACH(i) largest = a.v[i] > largest ? a.v[i] : largest;
    return largest;
}

static inline float lanes_fold(struct lanes a)
{
    return fold16(a.v);
}

static inline struct lanes lanes_exp(struct lanes a)
{
    EACH(i) a.v[i] = rw_expf(a.v[i]);
    return a;
}

/* t[i] lane j becomes t[j] lane i; the first `rows` of t hold something, the others zeros. */
static inline void lanes_transpose(struct lanes t[16], const int rows)
{
    (void)rows;
    EACH(i) for (int j = 0; j < i; j++) {
        float other = t[i].v[j];

        t[i].v[j] = t[j].v[i];
        t[j].v[i] = other;
    }
}

/* As integers, cut off; all of [0, 2^41). */
static inline void lanes_store_u64(uint64_t *p, struct lanes a)
{
    EACH(i) p[i] = (uint64_t)(int64_t)a.v[i];
}

/* ---- a lane holds a pair of bf16 (compute/bf16.h), as bits; dots are taken between flush_begin
 * and flush_end */

static inline struct lanes lanes_pairs(struct lanes even, struct lanes odd)
{
    EACH(i) even.v[i] = f32_of_bits(bf16_pair(even.v[i], odd.v[i]));
    return even;
}

/* Pairs of neighbours, of the first n of 32 floats in memory; 0 behind them. */
static inline struct lanes lanes_pairs_part(const float *p, int n)
{
    struct lanes r;

    EACH(i) r.v[i] = f32_of_bits(bf16_pair(2 * i < n ? p[2 * i] : 0.0f,
                                           2 * i + 1 < n ? p[2 * i + 1] : 0.0f));
    return r;
}

/* The numbers of pairs, as fp32. */
static inline struct lanes lanes_even(struct lanes a)
{
    EACH(i) a.v[i] = bf16_even(bits_of_f32(a.v[i]));
    return a;
}

static inline struct lanes lanes_odd(struct lanes a)
{
    EACH(i) a.v[i] = bf16_odd(bits_of_f32(a.v[i]));
    return a;
}

/* 16 bf16 from memory, as fp32; and into it, rounded. */
static inline struct lanes lanes_widen(const uint16_t *p)
{
    struct lanes r;

    EACH(i) r.v[i] = f32_of_bf16(p[i]);
    return r;
}

static inline void lanes_narrow(uint16_t *p, struct lanes a)
{
    EACH(i) p[i] = bf16_of_f32(a.v[i]);
}

/* 16 pairs as they lie in memory. */
static inline struct lanes lanes_words(const uint16_t *p)
{
    struct lanes r;

    EACH(i) r.v[i] = f32_of_bits(p[2 * i] | (uint32_t)p[2 * i + 1] << 16);
    return r;
}

/* Pairs of 16 of one row and 16 of another. */
static inline struct lanes lanes_weave(const uint16_t *even, const uint16_t *odd)
{
    struct lanes r;

    EACH(i) r.v[i] = f32_of_bits(even[i] | (uint32_t)odd[i] << 16);
    return r;
}

/* Both steps of a pair.  A backend without an instruction for them may define SPLIT_PAIRS and
 * TILE_M_PAIRS in its place. */
static inline struct lanes lanes_dot2(struct lanes a, struct lanes b, struct lanes c)
{
    EACH(i) c.v[i] = bf16_dot2(bits_of_f32(a.v[i]), bits_of_f32(b.v[i]), c.v[i]);
    return c;
}

static inline void flush_begin(void)
{
}

static inline void flush_end(void)
{
}

#undef EACH
#endif
