/* Random numbers by counter: Philox4x32-10 (Salmon et al., SC 2011).  A number is a function of
 * (seed, purpose, step, prompt, sample, position) and of nothing else: never of rank, thread or
 * arrival order. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum purpose {          /* numbers are part of the bit contract: append, never renumber */
    PURPOSE_SAMPLE = 1, /* a token of a training rollout */
    PURPOSE_EVAL = 2,   /* a token of an evaluation rollout */
    PURPOSE_SHUFFLE = 3,/* order of prompts or rows in an epoch */
    PURPOSE_INIT = 4,   /* initial weights */
    PURPOSE_TEST = 5,
    PURPOSE_COMBINE = 6,/* order in which objectives are projected */
    PURPOSE_JUDGE = 7,  /* which answer a judge prompt shows as A */
    PURPOSE_MINIBATCH = 8, /* which rows of a step are trained on together */
    PURPOSE_REFERENCE = 9, /* a token of a response that is observed before training */
    PURPOSE_ALPHA = 10, /* how objectives weigh on a pair (amopo) */
    PURPOSE_BOOTSTRAP = 11, /* which prompts a resample of an evaluation has */
    PURPOSE_DIRECTION = 12, /* a direction near a target in the space of rewards (rps) */
};

struct counter {
    uint64_t seed;
    uint32_t purpose;   /* < 256 */
    uint32_t step;      /* or epoch */
    uint32_t prompt;    /* index in the step's global batch, or in the file */
    uint32_t sample;    /* < 2^24 */
    uint32_t position;  /* token, round or element / 4 */
};

/* Four 32-bit words of the counter. */
void random_words(const struct counter *c, uint32_t out[4]);

/* A standard normal by Box-Muller on two words, with compute-independent own log, sin, cos. */
double random_normal(uint32_t a, uint32_t b);

/* The n normals of counter `first` and those behind it, whose position is one more each, times
 * `scale`: two of a counter, words 0 and 1, then 2 and 3.  As random_normal gives them, in blocks,
 * so faster.  The position must not wrap. */
void random_normals(const struct counter *first, double scale, float *out, size_t n);

#endif
