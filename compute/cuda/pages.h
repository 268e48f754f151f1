/* New tokens of the cache, for the kernels that put them into its pages. */
#ifndef COMPUTE_CUDA_PAGES_H
#define COMPUTE_CUDA_PAGES_H

#include <vector>

#include "compute/cuda/launch.h"

/* A new token: its page and its place there. */
struct place { int page, slot; };

/* All new tokens of rows, staged; *count of them. */
static inline const struct place *stage_places(struct compute *k, const struct extend *rows,
                                               size_t *count)
{
    std::vector<struct place> places;

    for (int n = 0; n < rows->N; n++)
        for (int t = rows->start[n]; t < rows->start[n + 1]; t++) {
            int position = rows->position[n] + t - rows->start[n];
            const int *table = rows->table + (size_t)n * (size_t)rows->table_stride;

            places.push_back({ table[position / KEY_BLOCK], position % KEY_BLOCK });
        }
    *count = places.size();
    return (const struct place *)cuda_stage(k, places.data(), places.size() * sizeof places[0]);
}

#endif
