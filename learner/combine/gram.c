/* Inner products of K gradients: partial sums over fixed chunks of the flat buffer, added in order,
 * so that neither ranks nor shards can change a bit. */
#include "learner/combine/combine.h"

#include <string.h>

#include "base/hash.h"

size_t gram_piece_end(size_t from, size_t to)
{
    size_t end = (from / HASH_CHUNK + 1) * HASH_CHUNK;

    return end < to ? end : to;
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
