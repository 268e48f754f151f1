/* Inner products of K gradients: partial sums over fixed chunks of the flat buffer, added in order,
 * so that neither ranks nor shards can change a bit. */
#include "learner/combine/combine.h"

#include <string.h>

#include "base/hash.h"

size_t gram_pieces(size_t from, size_t to)
{
    return from < to ? (to - 1) / HASH_CHUNK - from / HASH_CHUNK + 1 : 0;
}

void gram_range(struct compute *k, const float *const *g, int K, size_t from, size_t to,
                double *pieces)
{
    for (size_t at = from, end; at < to; at = end) {
        end = (at / HASH_CHUNK + 1) * HASH_CHUNK;
        end = end < to ? end : to;
        for (int i = 0; i < K; i++)
            for (int j = i; j < K; j++)
                *pieces++ = k->dot(k, g[i] + (at - from), g[j] + (at - from), end - at);
    }
}

void gram_sum(const double *pieces, size_t n, int K, double *H)
{
    memset(H, 0, (size_t)K * (size_t)K * sizeof *H);
    for (size_t piece = 0; piece < n; piece++)
        for (int i = 0; i < K; i++)
            for (int j = i; j < K; j++)
                H[i * K + j] += *pieces++;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < i; j++)
            H[i * K + j] = H[j * K + i];
}
