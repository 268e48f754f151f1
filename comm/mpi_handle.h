/* The MPI communicator of a group, for the one library that needs it: HDF5's parallel files. */
#ifndef COMM_MPI_HANDLE_H
#define COMM_MPI_HANDLE_H

#include <mpi.h>
#include <stdbool.h>

#include "comm/comm.h"

bool comm_is_mpi(const struct comm *g);       /* false in a world that never started MPI */
/* Borrowed: the group keeps it.  MPI_COMM_NULL when comm_is_mpi is false. */
MPI_Comm comm_mpi(const struct comm *g);

#endif
