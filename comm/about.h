/* What the MPI library is and what it gave us, for those who look after a cluster. */
#ifndef COMM_ABOUT_H
#define COMM_ABOUT_H

#include <stdbool.h>

struct comm_about {
    char name[64];          /* "Open MPI v4.1.4" */
    bool started;           /* mpirun or srun started us; else threads is false and says nothing */
    bool threads;           /* MPI_THREAD_FUNNELED or more was given: what we need */
};
/* Not collective; after comm_start. */
void comm_about(struct comm_about *about);

#endif
