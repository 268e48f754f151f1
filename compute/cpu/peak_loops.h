/* The two loops behind compute/peak.c.  Included by plain.c, avx2.c, avx512.c,
 * avx512_bf16.c. */
#ifndef COMPUTE_CPU_PEAK_LOOPS_H
#define COMPUTE_CPU_PEAK_LOOPS_H

#define CHAINS (TILE_M * TILE_V)         /* as many as a tile has: enough to hide the latency */

#if defined(BF16_INSTRUCTION)
#define PEAK_STEP lanes_dot2
#define PEAK_FMAS (32 * CHAINS)          /* pairs of bf16 */
#else
#define PEAK_STEP lanes_fma
#define PEAK_FMAS (16 * CHAINS)
#endif

/* `steps` steps of CHAINS independent chains of 16 lanes.  No two lanes hold the same number:
 * registers that did would be one to the compiler. */
static float peak_multiply_add(int steps)
{
    struct lanes sum[CHAINS], x = lanes_set(0.999f), y = lanes_set(1e-3f);
    float begin[16 * CHAINS];

    for (int i = 0; i < 16 * CHAINS; i++)
        begin[i] = (float)i;
    UNROLL for (int i = 0; i < CHAINS; i++)
        sum[i] = lanes_load(begin + 16 * i);
    for (int s = 0; s < steps; s++)
        UNROLL for (int i = 0; i < CHAINS; i++)
            sum[i] = PEAK_STEP(x, y, sum[i]);
    UNROLL for (int i = 1; i < CHAINS; i++)
        sum[0] = lanes_add(sum[0], sum[i]);
    return lanes_fold(sum[0]);
}

/* A sum over n floats, n a multiple of 128. */
static float peak_read(const float *x, size_t n)
{
    struct lanes sum[8];

    UNROLL for (int i = 0; i < 8; i++)
        sum[i] = lanes_set(0.0f);
    for (size_t at = 0; at < n; at += 128)
        UNROLL for (int i = 0; i < 8; i++)
            sum[i] = lanes_add(sum[i], lanes_load(x + at + 16 * i));
    UNROLL for (int i = 1; i < 8; i++)
        sum[0] = lanes_add(sum[0], sum[i]);
    return lanes_fold(sum[0]);
}

static const struct cpu_peak peak_loops = { peak_multiply_add, PEAK_FMAS, peak_read };

#endif
