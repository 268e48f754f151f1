/* One token from one row of logits.  Probabilities become integer masses floor(p * 2^40), so that
 * the token does not depend on any order of summation (docs/numerics.md, sampling).
 *
 *   mass(v)   = floor(softmax(z / temperature)[v] * 2^40)
 *   order     = logit descending, id ascending on equality
 *   top_k     keeps the first top_k of the order
 *   top_p     keeps the smallest prefix whose mass reaches floor(top_p * mass kept so far)
 *   min_p     keeps mass >= floor(min_p * largest mass)
 *   token     = the first id, ascending, at which the running mass exceeds (kept mass * word) >> 32
 */
#ifndef ACTOR_SAMPLE_H
#define ACTOR_SAMPLE_H

#include <stdint.h>

#include "base/memory.h"
#include "compute/compute.h"

struct sampler {                /* scratch, planned by the actor */
    float *p;                   /* (V) */
    uint64_t *mass;             /* (V) */
    int *order;                 /* (V) */
};

/* Describe and place the scratch (see base/memory.h); runs in a counting pass too. */
void sampler_layout(struct sampler *s, struct memory *m, int V);

/* logits z(V), kept; word: the random word of the counter.  temperature 0: greedy.  top_k 0,
 * top_p 1, min_p 0 are off.  Order of filters: temperature, top_k, top_p, min_p, as the Hugging
 * Face library applies them.  Always an id below V, also for logits that are not numbers: the
 * caller checks those. */
int sample_token(struct compute *k, struct sampler *s, const float *z, int V, float temperature,
                 int top_k, float top_p, float min_p, uint32_t word);

#endif
