/* What bench.c (the rest) and bench_products.c share. */
#ifndef COMPUTE_BENCH_INTERNAL_H
#define COMPUTE_BENCH_INTERNAL_H

#include "base/figures.h"
#include "base/memory.h"
#include "compute/compute.h"
#include "compute/peak.h"

#define LONGEST 1024           /* tokens */
#define WIDEST 2048            /* channels */
#define HEADS 12
#define HEAD_SIZE 64
#define VOCAB 8192             /* logits of LONGEST / 8 tokens fit where y fits */
#define DECODED ((size_t)1 << 26)       /* floats of packed weights: 256 MB, beyond the caches */

struct bench {
    struct compute *k;
    struct ceiling *ceiling;
    struct memory memory;
    float *x, *y, *w, *packed, *stats;
    void *stored;              /* x */
    float *decoded;            /* (DECODED) */
    struct lse *state;
    int M, N, K;
    size_t next;               /* where the next packed weight begins in decoded */
};

/* Rate (units a second) and share of a ceiling, of rounds in turns with it. */
struct share { struct figures rate, fraction; };

/* ceiling: ceiling_gflops or ceiling_gbytes; NULL: no share.  A call of run is worth `units`. */
void bench_share(struct bench *b, void (*run)(struct bench *b), double units,
                 double (*ceiling)(struct ceiling *c), struct share *share);

void bench_products(struct bench *b);

#endif
