/* 64-bit checksums (xxHash 3): for files, chunks of weights and lists of hashes. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* Elements: the fixed grain of weights hashes, norms and checkpoint checksums. */
#define HASH_CHUNK 65536

uint64_t hash64(const void *data, size_t bytes);

/* The same hash piece by piece: hash64_begin, hash64_add of each, hash64_end. */
struct hash64_state { alignas(64) unsigned char state[576]; };

void hash64_begin(struct hash64_state *h);
void hash64_add(struct hash64_state *h, const void *data, size_t bytes);
uint64_t hash64_end(const struct hash64_state *h);

/* Hash of a flat float buffer: one hash per HASH_CHUNK elements, then the hash of that list.  Equal
 * for every sharding. */
uint64_t hash_floats(const float *x, size_t n);

#endif
