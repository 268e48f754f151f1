/* CountSketch (Charikar, Chen, Farach-Colton 2002): a vector folded into m buckets with random
 * signs.  Bucket and sign are a function of (seed, global index), so that sketches of pieces, of
 * leaves and of ranks add up to the sketch of the sum. */
#include "learner/combine/combine.h"

static uint64_t splitmix64(uint64_t x)
{
    uint64_t z = x + 0x9E3779B97F4A7C15;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

size_t sketch_place(uint64_t seed, uint64_t index, size_t m, double *sign)
{
    uint64_t h = splitmix64(seed + index);

    *sign = h >> 63 ? -1 : 1;
    return (size_t)((h & INT64_MAX) % m);
}

void sketch_add(double *sketch, size_t m, uint64_t seed, size_t first, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double sign;
        size_t bucket = sketch_place(seed, first + i, m, &sign);

        sketch[bucket] += sign * (double)v[i];
    }
}

void sketch_gram(const double *sketches, int K, size_t m, double *H)
{
    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++) {
            const double *x = sketches + (size_t)i * m, *y = sketches + (size_t)j * m;
            double sum = 0;

            for (size_t b = 0; b < m; b++)
                sum += x[b] * y[b];
            H[i * K + j] = H[j * K + i] = sum;
        }
}
