/* A matrix product of the tensor cores, as products_own.cu (our kernels) and lt.c (cuBLASLt's) take
 * it:
 *
 *   c(rows, columns) = or += a(rows, steps) b(steps, columns)         bf16 factors, fp32 sums
 *
 *   kind     is           a               b                  a row's bits, and so its kernel, are
 *   FORWARD  y = x w^T    x(M,K)          w(N,K)             the same for every M
 *   INPUT    dx += dy w   dy(M,N)         w(N,K)             the same for every M
 *   WEIGHT   dw = dy^T x  dy(M,N)         x(M,K)
 *
 * Each factor lies as the table has it, with lines (rows of that array) of `stride` elements: a
 * multiple of 8, and lines begin at multiples of 16 bytes.  Where a step's number is missing in a
 * line's last 8 there is a zero.
 */
#ifndef COMPUTE_CUDA_PRODUCTS_H
#define COMPUTE_CUDA_PRODUCTS_H

#include "compute/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum product_kind { PRODUCT_FORWARD, PRODUCT_INPUT, PRODUCT_WEIGHT };

struct product_factor { const uint16_t *data; size_t stride; };

struct product {
    enum product_kind kind;
    struct product_factor a, b;
    float *c;                        /* without gaps */
    int rows, columns, steps;
    bool add;
};

/* Our kernels: every element of c is one chain of the tensor cores' steps of 16, ascending, from
 * +0 or from c; the same for every tile. */
void products_own(struct compute *k, const struct product *p);

/* By cuBLASLt, if it is there and does this product as well as k->fast asks for; false: it does
 * not, and nothing was done.  The first product of a shape waits until the choice is made. */
bool lt_multiply(struct compute *k, const struct product *p);
void lt_release(struct compute *k);
/* "cuBLASLt 13.0.2", which is opened by this, or "no cuBLASLt". */
void lt_version(struct compute *k, char *text, size_t room);
/* Who multiplies what, one after the other, for a log; or that it was not found. */
const char *lt_about(struct compute *k);

#ifdef __cplusplus
}
#endif

#endif
