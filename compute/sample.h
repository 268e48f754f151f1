/* The draw of one token from integer masses: what the backends' `sample` (compute.h) share. */
#ifndef COMPUTE_SAMPLE_H
#define COMPUTE_SAMPLE_H

#include "compute/compute.h"

#define MASS_ONE 0x1p40f
#define SAMPLE_BLOCK VOCAB_BLOCK        /* ids whose masses are summed, so that few are walked */

/* One row: a thread's scratch. */
struct sampler {
    float *p;                   /* (V) probabilities, then */
    int *order;                 /* (V) in their place */
    uint64_t *mass;             /* (V) */
    uint64_t *sums;             /* (blocks) of mass */
    uint64_t total;
    int V;
};

/* Floats of scratch that a row of V takes, and where things lie in it. */
size_t sampler_size(int V);
void sampler_place(struct sampler *s, float *scratch, int V);

/* Clear the masses that the filters drop; sums and total follow. */
void sampler_filter(struct sampler *s, const float *z, const struct sampling *set);
/* The first id at which the running mass exceeds (total * word) >> 32; greedy when there is no
 * mass. */
int sampler_draw(const struct sampler *s, const float *z, uint32_t word);
/* Highest logit, lowest id on equality. */
int sample_greedy(const float *z, int V);

#endif
