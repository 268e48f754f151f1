/* The folder on every host for mpirun's own files and the ranks' shared memory. */
#ifndef LAUNCH_SCRATCH_H
#define LAUNCH_SCRATCH_H

#include <stdint.h>

#include "launch/hosts.h"

#define SCRATCH_ROOM 64

/* The same name whenever a run with this run folder is started, so that what one supervisor left
 * the next removes: in /dev/shm, or in /tmp, with a line that says so, when /dev/shm has no room
 * for what `ranks` (on `hosts`, of which there may be none) share: mpirun hangs without. */
void scratch_name(char out[SCRATCH_ROOM], const char *run_folder, const struct hosts *hosts,
                  int64_t ranks);

#endif
