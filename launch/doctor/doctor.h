/* rankwise doctor: the checks, and the findings that they leave.
 *
 * The first rank of each host examines it; findings of all hosts meet on rank 0, which prints equal
 * ones once and names the hosts where they differ. */
#ifndef LAUNCH_DOCTOR_DOCTOR_H
#define LAUNCH_DOCTOR_DOCTOR_H

#include <stdbool.h>

#include "comm/comm.h"

#define FINDINGS 40                     /* at most, of a host */

struct finding {
    bool change;                        /* something must change; the text says what */
    bool measured;                      /* figure counts; printed as a range over the hosts */
    char topic[12], unit[12], text[512];
    double figure;
};

struct exam {
    struct comm *world;
    const char *dir;                    /* the run folder */
    bool several_hosts;
    int n;
    struct finding found[FINDINGS];
};

/* One more finding, which the format says; NULL when there are FINDINGS already. */
struct finding *doctor_says(struct exam *e, bool change, const char *topic, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void doctor_figure(struct finding *f, double figure, const char *unit);     /* f may be NULL */

/* Collective over the world: how far this rank's clock is from rank 0's. */
int doctor_clock(struct exam *e);
/* Of this host alone. */
void doctor_mpi(struct exam *e);
void doctor_hdf5(struct exam *e);
void doctor_disk(struct exam *e);
void doctor_memory(struct exam *e);
void doctor_processor(struct exam *e);
void doctor_bf16(struct exam *e);
void doctor_gpus(struct exam *e);

/* Collective.  Rank 0 prints; *changes on every rank: the lines that ask for a change. */
int doctor_report(struct exam *e, int64_t *changes);

#endif
