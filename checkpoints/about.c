/* What the HDF5 library says of itself. */
#include "checkpoints/about.h"

#include <hdf5.h>

void hdf5_about(struct hdf5_about *about)
{
    about->built[0] = H5_VERS_MAJOR;
    about->built[1] = H5_VERS_MINOR;
    about->built[2] = H5_VERS_RELEASE;
    H5get_libversion(&about->loaded[0], &about->loaded[1], &about->loaded[2]);
#ifdef H5_HAVE_PARALLEL
    about->parallel = true;
#else
    about->parallel = false;
#endif
}
