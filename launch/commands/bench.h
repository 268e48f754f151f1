/* Parts of `rankwise bench` in files of their own. */
#ifndef LAUNCH_COMMANDS_BENCH_H
#define LAUNCH_COMMANDS_BENCH_H

#include <stdint.h>

/* Prints JSON lines, two a repeat; starts and ends MPI when mpirun started us. */
int bench_checkpoint(const char *folder, int64_t mb, int64_t repeats);

#endif
