/* What the MPI library says of itself. */
#include "comm/about.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

void comm_about(struct comm_about *about)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length, started = 0, level = MPI_THREAD_SINGLE;

    MPI_Get_library_version(version, &length);
    version[strcspn(version, ",\n")] = 0;
    snprintf(about->name, sizeof about->name, "%.63s", version);
    MPI_Initialized(&started);
    if (started)
        MPI_Query_thread(&level);
    about->started = started;
    about->threads = level >= MPI_THREAD_FUNNELED;
}
