/* See scratch.h. */
#include "launch/scratch.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "launch/folder.h"

#define OF_A_JOB 8e6            /* bytes on a host: PMIx, the board; */
#define OF_A_RANK 6e6           /* Open MPI's segment of 4 MiB, and more */

static int64_t most_on_a_host(const struct hosts *hosts, int64_t ranks)
{
    int64_t most = hosts->n ? 1 : ranks;

    for (int i = 0; i < hosts->n; i++)
        most = hosts->list[i].slots > most ? hosts->list[i].slots : most;
    return most < ranks ? most : ranks;
}

static bool has_room(int64_t ranks)
{
    struct statvfs shm;
    double free;

    if (access("/dev/shm", W_OK) != 0 || statvfs("/dev/shm", &shm) != 0)
        return false;
    free = (double)shm.f_bavail * (double)shm.f_frsize;
    if (free >= OF_A_JOB + OF_A_RANK * (double)ranks)
        return true;
    log_info("/dev/shm has %.0f MB free, too little for %" PRId64 " ranks: they share memory in "
             "/tmp; rankwise doctor says more", free / 1e6, ranks);
    return false;
}

void scratch_name(char out[SCRATCH_ROOM], const char *run_folder, const struct hosts *hosts,
                  int64_t ranks)
{
    const char *base = has_room(most_on_a_host(hosts, ranks)) ? "/dev/shm" : "/tmp";

    snprintf(out, SCRATCH_ROOM, "%s/rankwise-%u-%016" PRIx64, base, (unsigned)geteuid(),
             folder_hash(run_folder));
}
