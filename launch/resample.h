/* Dynamic sampling (DAPO, Yu et al. 2025): prompts whose responses all score the same teach
 * nothing; their slots are filled again, with the next prompts, for some rounds.
 *
 *   round 0   | g0 | g1 | g2 | g3 |     draws s D .. s D + P - 1        D = P (1 + rounds)
 *   flags          x         x          by the rewards of the rank that has the group, to all
 *   round 1   |    | g1 |    | g3 |     draws s D + P + 1, s D + P + 3
 *
 * A slot stays on its ranks; its random numbers are those of group g + round P; so what is kept
 * depends on no rank and no time.  Groups that still say nothing after the last round are left out
 * by the learner.
 */
#ifndef LAUNCH_RESAMPLE_H
#define LAUNCH_RESAMPLE_H

#include "base/memory.h"
#include "data/batch.h"
#include "launch/placement.h"
#include "launch/ring.h"

struct run;

struct resample {
    int rounds;                 /* after the first, at most; 0: none */
    struct memory memory;
    int64_t *flags;             /* (P) */
    struct batch old, retry;    /* actors: the rows before, and those of the flagged groups */
    int64_t *draws;             /* (P) */
    int *number;                /* (P) */
};

/* Room for a rank; rounds 0 takes none. */
int resample_open(struct resample *s, int rounds, const struct ring_size *size,
                  const struct placement *p, int rank, int leaves);
void resample_close(struct resample *s);
size_t resample_bytes(int rounds, const struct ring_size *size, const struct placement *p, int rank,
                      int leaves);

/* Draws of prompts that a step of P groups moves the cursor by. */
int64_t resample_stride(int rounds, int P);

/* The rounds after the first, when actors have sent their tokens to the rewards and those have
 * scored them.  Actors send again to the rewards, to nobody else.  Collective over the world, also
 * for ranks that hold neither role. */
int resample_rounds(struct run *r, struct ring *ring, int64_t step);

#endif
