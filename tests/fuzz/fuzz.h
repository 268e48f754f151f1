/* What the fuzz targets share.  A target is a file with one function, which libFuzzer calls with
 * inputs that it makes up, and replay.c with those of seeds/ and found/:
 *
 *   int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
 *   {
 *       rc = thing_open(&thing, fuzz_file(data, size));
 *       fuzz_said(rc);                  a refusal has its one line
 *       thing_close(thing);
 *       return 0;
 *   }
 *
 * A crash, a leak, undefined behaviour, a hang or memory out of proportion is a finding.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The path of a file in memory with these bytes, until the next call. */
const char *fuzz_file(const void *data, size_t size);
/* Ends the process, as a crash does, unless rc is RL_OK, or a refusal with one line that says why
 * (RL_EBUG is none).  The line is dropped. */
void fuzz_said(int rc);
/* The same with a condition that must hold. */
void fuzz_holds(bool condition, const char *what);

/* The input cut at its first zero byte: two parts, each a copy that ends with a zero byte. */
struct parts { char *first, *second; size_t n_first, n_second; };
struct parts fuzz_parts(const uint8_t *data, size_t size);
void fuzz_parts_free(struct parts *p);

/* A tokenizer of some letters, made at the first call and kept. */
struct tokenizer *fuzz_tokenizer(void);

#endif
