/* What this machine can do at best, measured now: what `rankwise bench` compares with. */
#ifndef COMPUTE_PEAK_H
#define COMPUTE_PEAK_H

#include "base/text.h"
#include "compute/compute.h"

struct peak {
    double gflops;        /* fused multiply-adds of fp32, or of pairs of bf16 where the dtype is and
                           * the processor has the instruction; two operations each, all threads.
                           * A GPU's: a large matrix product in that dtype, by the backend */
    double gbytes;        /* GB/s read from memory, all threads together.  A GPU's: read and written
                           * by a copy within its memory */
};

/* Takes about half a second and 64 MB a thread, or 2 GB of a GPU.  RL_ENOFIT: no memory for the
 * buffer. */
int peak_measure(struct peak *peak, struct compute *k);
/* ,"peak_gflops":...,"read_gbytes":...; a GPU's second is "copy_gbytes" */
void peak_line(struct text *line, const struct peak *peak, const struct compute *k);

/* The same a few milliseconds at a time, to be taken in turns with what is compared: a machine that
 * others use has another ceiling every second. */
struct ceiling;
int ceiling_open(struct ceiling **c, struct compute *k);        /* RL_ENOFIT; as peak_measure */
void ceiling_close(struct ceiling *c);                          /* NULL is fine */
double ceiling_gflops(struct ceiling *c);
double ceiling_gbytes(struct ceiling *c);

#endif
