/* See interval.h. */
#include "launch/eval/interval.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

#define Z 1.959963984540054             /* a standard normal is within +-Z with 95 % */
#define TAIL 0.025

struct interval interval_share(double p, double n)
{
    double z2 = Z * Z, middle, half;

    if (!(n > 0))
        return (struct interval){ 0, 1 };
    middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    half = Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return (struct interval){ p > 0 ? fmax(0, middle - half) : 0,       /* its ends are exact */
                              p < 1 ? fmin(1, middle + half) : 1 };
}

/* The mean of one resample. */
static double resample(const double *sums, const double *counts, int groups, uint64_t seed,
                       int number)
{
    struct counter c = { .seed = seed, .purpose = PURPOSE_BOOTSTRAP, .step = (uint32_t)number };
    double sum = 0, count = 0;
    uint32_t words[4];

    for (int i = 0; i < groups; i++) {
        int g;
        if (i % 4 == 0) {
            c.position = (uint32_t)i / 4;
            random_words(&c, words);
        }
        g = (int)((uint64_t)words[i % 4] * (uint64_t)groups >> 32);
        sum += sums[g];
        count += counts[g];
    }
    return count > 0 ? sum / count : NAN;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct interval interval_mean(const double *sums, const double *counts, int groups, uint64_t seed,
                              int resamples, double *scratch)
{
    int n = 0, tail;

    for (int r = 0; r < resamples; r++) {
        double mean = resample(sums, counts, groups, seed, r);
        if (isfinite(mean))             /* else every group that was drawn was empty */
            scratch[n++] = mean;
    }
    if (n == 0)
        return (struct interval){ NAN, NAN };
    qsort(scratch, (size_t)n, sizeof *scratch, ascending);
    tail = (int)(TAIL * n);
    return (struct interval){ scratch[tail], scratch[n - 1 - tail] };
}
