/* The definition of every operation in plain scalar C; compute.h says what each one is.
 * ref_<operation> has the signature of the entry of struct compute.  The cpu backends start from
 * these and replace what they made faster, with the same bits.
 */
#ifndef COMPUTE_REF_REF_H
#define COMPUTE_REF_REF_H

#include "compute/bf16.h"
#include "compute/compute.h"

/* Element i of a stored array. */
static inline float ref_stored(const void *x, enum compute_dtype dtype, size_t i)
{
    return dtype == COMPUTE_BF16 ? f32_of_bf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static inline void ref_store(void *x, enum compute_dtype dtype, size_t i, float value)
{
    if (dtype == COMPUTE_BF16)
        ((uint16_t *)x)[i] = bf16_of_f32(value);
    else
        ((float *)x)[i] = value;
}

void ref_fill(struct compute *k);            /* every entry of k */

void ref_fill_matmul(struct compute *k);     /* a chapter each */
void ref_fill_matmul_bf16(struct compute *k);
void ref_fill_norm(struct compute *k);
void ref_fill_attention(struct compute *k);
void ref_fill_pages(struct compute *k);
void ref_fill_lse(struct compute *k);
void ref_fill_flat(struct compute *k);
void ref_fill_sample(struct compute *k);

/* One query of attention: o(D), from element `at` on, and stats (max, sum; NULL: not wanted) over
 * keys from .. upto, given a way to find key and value j.  Shared by rows and pages, so that they
 * cannot differ. */
struct key_walk {
    enum compute_dtype dtype;
    const void *keys, *values;   /* the head's, of the first token or of page 0 */
    size_t row;                  /* rows: elements from one key or value to the next; 0: pages */
    const int *table;            /* pages: block b is page table[b], page_size floats each */
    size_t page_size;
    int D;
};
void ref_attend(void *o, size_t at, float *stats, const float *q, const struct key_walk *walk,
                int from, int upto);

#endif
