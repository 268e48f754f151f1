/* 64-bit checksums: XXH3, behind this door only. */
#include "base/hash.h"

#define XXH_STATIC_LINKING_ONLY       /* the state on the stack: nothing to allocate */
#include <xxhash.h>

uint64_t hash64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t hash_floats(const float *x, size_t n)
{
    XXH3_state_t list;

    XXH3_64bits_reset(&list);         /* piece by piece: the same hash as the whole list */
    for (size_t i = 0; i < n; i += HASH_CHUNK) {
        size_t count = n - i < HASH_CHUNK ? n - i : HASH_CHUNK;
        uint64_t chunk = hash64(x + i, count * sizeof *x);
        XXH3_64bits_update(&list, &chunk, sizeof chunk);
    }
    return XXH3_64bits_digest(&list);
}
