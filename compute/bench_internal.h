/* What bench.c (the rest), bench_products.c and bench_head.c share. */
#ifndef COMPUTE_BENCH_INTERNAL_H
#define COMPUTE_BENCH_INTERNAL_H

#include "base/figures.h"
#include "base/memory.h"
#include "compute/bench.h"
#include "compute/peak.h"

#define ELEMENT_ROWS 128       /* of what is bound by exp: as many tokens */
#define ELEMENT_VOCAB 8192     /* of as many logits */
#define DECODED ((size_t)1 << 26)       /* floats of weights: 256 MB, beyond the caches */

struct bench {
    struct compute *k;
    const struct bench_shapes *shapes;
    struct ceiling *ceiling;
    struct memory memory;
    size_t activations, weights, packed_floats;     /* floats in x, stored, y; in w; in packed */
    float *x, *y, *w, *packed, *stats;
    void *stored;              /* x */
    float *decoded;            /* (DECODED) */
    struct lse *state;
    float *logp;
    int M, N, K;
    size_t next;               /* where the next weight begins in decoded */
    int at_once;               /* calls until they are waited for: a GPU's overlap */
};

/* Rate (units a second) and share of a ceiling, of rounds in turns with it. */
struct share { struct figures rate, fraction; };

/* ceiling: ceiling_gflops or ceiling_gbytes; NULL: no share.  A call of run is worth `units`. */
void bench_share(struct bench *b, void (*run)(struct bench *b), double units,
                 double (*ceiling)(struct ceiling *c), struct share *share);

void bench_products(struct bench *b);
void bench_head(struct bench *b);

#endif
