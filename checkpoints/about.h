/* What the HDF5 library is, for those who look after a cluster. */
#ifndef CHECKPOINTS_ABOUT_H
#define CHECKPOINTS_ABOUT_H

#include <stdbool.h>

struct hdf5_about {
    unsigned built[3], loaded[3];       /* version of the header, of the library that runs */
    bool parallel;                      /* built over MPI */
};
/* Not collective. */
void hdf5_about(struct hdf5_about *about);

#endif
