/* The cpu backends: plain, AVX2 with FMA, and AVX-512, chosen at run time, all with ref's bits.
 *
 *   lanes_plain.h  lanes_avx2.h  lanes_avx512.h     struct lanes: 16 floats, what one does to them
 *        \              |             /
 *   matmul.h  attention.h  rows.h  flat.h           every operation once, in terms of lanes
 *        |              |             |
 *   plain.c         avx2.c        avx512.c          the operations compiled for one instruction set
 *                                 avx512_bf16.c     products with the instruction for pairs of bf16
 *
 * Tests compile the files for AVX-512 once more, with functions for intrinsics, and so run them on
 * any processor with AVX2 (tests/emulated.h).
 *
 * This page is what the variants share: threads and scratch memory.
 */
#ifndef COMPUTE_CPU_CPU_H
#define COMPUTE_CPU_CPU_H

#include <stdbool.h>

#include "compute/compute.h"

struct pool;

struct cpu {                         /* k->impl */
    struct pool *pool;               /* NULL: one thread */
    float *scratch;                  /* threads * scratch_size floats, 64-byte aligned */
    size_t scratch_size;             /* floats of one thread, a multiple of 16 */
    float *shared;                   /* shared_size floats that threads fill together */
    size_t shared_size;
    int *places;                     /* of cpu_places */
    size_t places_size;
};

/* Can this processor run it? */
bool cpu_can_avx2(void);
bool cpu_can_avx512(void);
bool cpu_can_avx512_bf16(void);

/* Put a variant's operations over ref's. */
void cpu_fill_plain(struct compute *k);
void cpu_fill_avx2(struct compute *k);
void cpu_fill_avx512(struct compute *k);
void cpu_fill_avx512_bf16(struct compute *k);       /* with the instruction for pairs */

/* y(n) = exp(x): the vector forms of rw_expf alone, for tests. */
void cpu_exp_plain(float *y, const float *x, size_t n);
void cpu_exp_avx2(float *y, const float *x, size_t n);
void cpu_exp_avx512(float *y, const float *x, size_t n);

/* Loops that show what the processor can do at best. */
struct cpu_peak {
    float (*multiply_add)(int steps);
    int fmas;                                 /* in a step */
    float (*read)(const float *x, size_t n);
};
const struct cpu_peak *cpu_peak_plain(void);
const struct cpu_peak *cpu_peak_avx2(void);
const struct cpu_peak *cpu_peak_avx512(void);
const struct cpu_peak *cpu_peak_avx512_bf16(void);
/* Of this processor, for products of these operands. */
const struct cpu_peak *cpu_best_peak(enum compute_dtype dtype);

/* Give every thread at least `floats` floats of scratch.  Grown on first use, kept after; false: no
 * memory, k->error is set and the operation is to return. */
bool cpu_scratch(struct compute *k, size_t floats);
float *cpu_scratch_of(struct compute *k, int thread);
/* The same of one room for all threads. */
bool cpu_shared(struct compute *k, size_t floats);
float *cpu_shared_of(struct compute *k);

/* The steps of a chain over M tokens in pairs by their slots (compute.h): places[2 i], [2 i + 1]
 * are the tokens of pair i, -1: there is none.  Kept until the next call; false: as cpu_scratch. */
bool cpu_places(struct compute *k, const int *slot, int M, int **places, int *steps);

/* Call body(job, begin, end, thread) so that the calls cover 0 .. items, cut at multiples of grain.
 * `work` is the whole cost in multiply-adds: small jobs stay on the calling thread, others are cut
 * into more parts than threads, and a thread that is late gets fewer of them. */
void cpu_split(struct compute *k, double work, int items, int grain, void *job,
               void (*body)(void *job, int begin, int end, int thread));
/* The same in fewer parts, for a body that does something for each part as a whole. */
void cpu_split_few(struct compute *k, double work, int items, int grain, void *job,
                   void (*body)(void *job, int begin, int end, int thread));

/* The default MXCSR (no flush to zero, round to nearest, nothing trapped) in this thread. */
void cpu_default_control_word(void);

#endif
