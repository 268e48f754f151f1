/* What this machine can do at best, measured now: what `rankwise bench` compares with. */
#ifndef COMPUTE_PEAK_H
#define COMPUTE_PEAK_H

#include "compute/compute.h"

struct peak {
    double gflops;        /* fused multiply-adds of fp32, or of pairs of bf16 where the dtype is and
                           * the processor has the instruction; two operations each, all threads */
    double gbytes;        /* GB/s read from memory, all threads together */
};

/* Takes about half a second and 64 MB a thread.  RL_ENOFIT: no memory for the buffer. */
int peak_measure(struct peak *peak, struct compute *k);

/* The same a few milliseconds at a time, to be taken in turns with what is compared: a machine that
 * others use has another ceiling every second. */
struct ceiling;
int ceiling_open(struct ceiling **c, struct compute *k);        /* RL_ENOFIT; 64 MB a thread */
void ceiling_close(struct ceiling *c);                          /* NULL is fine */
double ceiling_gflops(struct ceiling *c);
double ceiling_gbytes(struct ceiling *c);

#endif
