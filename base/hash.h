/* 64-bit checksums (xxHash 3): for files, chunks of weights and lists of hashes. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Elements: the fixed grain of weights hashes, norms and checkpoint checksums. */
#define HASH_CHUNK 65536

uint64_t hash64(const void *data, size_t bytes);

/* Hash of a flat float buffer: one hash per HASH_CHUNK elements, then the hash of that list.  Equal
 * for every sharding. */
uint64_t hash_floats(const float *x, size_t n);

#endif
