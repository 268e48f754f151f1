/* The kernels for plain C: any processor.  See cpu.h for how the pages fit together. */
#include "compute/cpu/variant.h"

#include "compute/cpu/lanes_plain.h"

#include "compute/cpu/flat.h"
#include "compute/cpu/rows.h"
#include "compute/cpu/lse.h"
#include "compute/cpu/sample.h"
#include "compute/cpu/matmul.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/attention_backward.h"
#include "compute/cpu/peak_loops.h"

void cpu_exp_plain(float *y, const float *x, size_t n)
{
    each_exp(y, x, n);
}

const struct cpu_peak *cpu_peak_plain(void)
{
    return &peak_loops;
}

void cpu_fill_plain(struct compute *k)
{
    fill_flat(k);
    fill_rows(k);
    fill_lse(k);
    fill_sample(k);
    fill_matmul(k);
    fill_attention(k);
}
