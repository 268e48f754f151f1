/* 64-bit checksums: XXH3, behind this door only. */
#include "base/hash.h"

#define XXH_STATIC_LINKING_ONLY       /* the state on the stack: nothing to allocate */
#include <xxhash.h>
#if defined __x86_64__ && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>          /* the same hashes by what the processor has */
#endif

uint64_t hash64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash64_state), "a state fits");

void hash64_begin(struct hash64_state *h)
{
    XXH3_64bits_reset((XXH3_state_t *)h->state);
}

void hash64_add(struct hash64_state *h, const void *data, size_t bytes)
{
    XXH3_64bits_update((XXH3_state_t *)h->state, data, bytes);
}

uint64_t hash64_end(const struct hash64_state *h)
{
    return XXH3_64bits_digest((const XXH3_state_t *)h->state);
}

uint64_t hash_floats(const float *x, size_t n)
{
    struct hash64_state list;

    hash64_begin(&list);              /* piece by piece: the same hash as the whole list */
    for (size_t i = 0; i < n; i += HASH_CHUNK) {
        size_t count = n - i < HASH_CHUNK ? n - i : HASH_CHUNK;
        uint64_t chunk = hash64(x + i, count * sizeof *x);
        hash64_add(&list, &chunk, sizeof chunk);
    }
    return hash64_end(&list);
}
