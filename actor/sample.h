/* One token from one row of logits (docs/numerics.md, sampling): integer masses floor(p * 2^40), so that the
 * token does not depend on any order of summation. */
#ifndef ACTOR_SAMPLE_H
#define ACTOR_SAMPLE_H

#include <stdint.h>

#include "compute/compute.h"

struct sampler {                /* scratch, planned by the actor */
    float *p;                   /* (V) */
    uint64_t *mass;             /* (V) */
    int *order;                 /* (V) */
};

/* logits z(V); word: the random word of the counter.  temperature 0: greedy.  top_k 0, top_p 1, min_p 0 are off.  Order of filters: temperature, top_k,
 * top_p, min_p, as the Hugging Face library applies them. */
int sample_token(struct compute *k, struct sampler *s, const float *z, int V, float temperature,
                 int top_k, float top_p, float min_p, uint32_t word);

#endif
