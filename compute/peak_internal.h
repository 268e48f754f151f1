/* What peak.c asks of peak_device.c, and how buffers for timing are filled. */
#ifndef COMPUTE_PEAK_INTERNAL_H
#define COMPUTE_PEAK_INTERNAL_H

#include "compute/peak.h"

/* The ceilings of a GPU, measured through its own operations. */
struct device_ceiling;
int device_ceiling_open(struct device_ceiling **c, struct compute *k);      /* RL_ENOFIT */
void device_ceiling_close(struct device_ceiling *c);                        /* NULL is fine */
/* The best rate of some rounds that take so many seconds. */
double device_gflops(struct device_ceiling *c, double seconds);
double device_gbytes(struct device_ceiling *c, double seconds);

/* x(n) = small numbers of both signs that repeat: zeros would cost a GPU less power. */
void fill_pattern(struct compute *k, float *x, size_t n);

#endif
