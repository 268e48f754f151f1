/* See ref.h. */
#include "compute/ref/ref.h"

void ref_fill(struct compute *k)
{
    ref_fill_matmul(k);
    ref_fill_norm(k);
    ref_fill_attention(k);
    ref_fill_pages(k);
    ref_fill_lse(k);
    ref_fill_flat(k);
    ref_fill_sample(k);
}
