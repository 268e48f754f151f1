/* Does a product of bf16 have the bits of its definition (compute/bf16.h) on this processor?
 * Asked by `rankwise doctor`: the definition was tried on the instruction for pairs (vdpbf16ps) of
 * one maker, and another's may differ. */
#ifndef COMPUTE_CHECK_H
#define COMPUTE_CHECK_H

#include <stdint.h>

#include "compute/compute.h"

/* One step of a chain: sum and two products, the odd one's first. */
struct pair_case { float x[2], y[2], sum, got, want; };      /* x, y, before they are bf16 */

struct pairs_check {
    int64_t cases, wrong;
    struct pair_case first;          /* that is wrong */
};

/* k's product (bf16) against ref's over at least `cases` cases, the same ones every time: ordinary
 * numbers, all bit patterns, results beside 2^-126, and zeros, denormals, infinities and NaNs; the
 * sum is like them or nearly cancels the products.  A NaN is a NaN.  RL_ENOFIT: no memory. */
int compute_check_pairs(struct compute *k, int64_t cases, struct pairs_check *c);

#endif
