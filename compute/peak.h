/* What this machine can do at best, measured now: what `rankwise bench` compares with. */
#ifndef COMPUTE_PEAK_H
#define COMPUTE_PEAK_H

#include "compute/compute.h"

struct peak {
    double gflops;        /* fp32 fused multiply-adds, two operations each, all threads together */
    double gbytes;        /* GB/s read from memory, all threads together */
};

/* Takes about half a second and 64 MB a thread.  RL_ENOFIT: no memory for the buffer. */
int peak_measure(struct peak *peak, struct compute *k);

#endif
