/* The libraries between the hosts: MPI, HDF5, and the clocks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoints/about.h"
#include "comm/about.h"
#include "launch/doctor/doctor.h"

#define SILENT_AT_MOST 60           /* seconds until a silent host ends the job */
#define CLOCK_ROUNDS 5
#define SKEW_AT_MOST 1.0            /* seconds */

/* A process that is not our parent's debugger reads its memory, as ranks of a host do. */
static bool copies_between_processes(void)
{
    volatile long theirs = 42;
    pid_t parent = getpid(), child = fork();
    int status = 1;

    if (child == 0) {
        long mine = 0;
        struct iovec to = { &mine, sizeof mine }, from = { (void *)&theirs, sizeof theirs };
        _exit(process_vm_readv(parent, &to, 1, &from, 1, 0) != sizeof mine);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static int setting(const char *name, int otherwise)
{
    const char *text = getenv(name);

    return text ? atoi(text) : otherwise;
}

static void keep_alive(struct exam *e)
{
    int seconds = setting("OMPI_MCA_oob_tcp_keepalive_time", 300) +
                  setting("OMPI_MCA_oob_tcp_keepalive_intvl", 20) *
                  setting("OMPI_MCA_oob_tcp_keepalive_probes", 9);

    if (!e->several_hosts)
        doctor_says(e, false, "keepalive", "one host: TCP keep-alive is not needed");
    else if (seconds > SILENT_AT_MOST)
        doctor_says(e, true, "keepalive", "mpirun gives a silent host up after %d s; set "
                    "OMPI_MCA_oob_tcp_keepalive_time=1, ..._intvl=1, ..._probes=2 (rankwise run "
                    "does)", seconds);
    else
        doctor_says(e, false, "keepalive", "mpirun gives a silent host up after %d s", seconds);
}

void doctor_mpi(struct exam *e)
{
    const char *copy = getenv("OMPI_MCA_btl_vader_single_copy_mechanism");
    struct comm_about about;

    comm_about(&about);
    if (!about.started)
        doctor_says(e, false, "mpi", "%s; its threads are looked at under mpirun", about.name);
    else if (about.threads)
        doctor_says(e, false, "mpi", "%s, MPI_THREAD_FUNNELED or more", about.name);
    else
        doctor_says(e, true, "mpi", "%s gives no MPI_THREAD_FUNNELED: use one that was built with "
                    "it", about.name);
    if (copies_between_processes())
        doctor_says(e, false, "cma", "ranks of a host read each other's memory");
    else if (copy && strcmp(copy, "none") == 0)
        doctor_says(e, false, "cma", "refused here, and switched off in Open MPI");
    else
        doctor_says(e, true, "cma", "process_vm_readv is refused: set kernel.yama.ptrace_scope=0, "
                    "or OMPI_MCA_btl_vader_single_copy_mechanism=none");
    keep_alive(e);
}

/* How many different files of an MPI library this process has mapped. */
static int mpi_libraries(void)
{
    struct text maps = { 0 };
    char seen[256] = "";
    int n = 0;

    if (file_read("/proc/self/maps", &maps) == RL_OK && maps.data)
        for (char *rest, *line = strtok_r(maps.data, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest)) {
            const char *path = strchr(line, '/');
            if (!path || !(strstr(path, "/libmpi.so") || strstr(path, "/libmpich.so")) ||
                strcmp(path, seen) == 0)
                continue;
            snprintf(seen, sizeof seen, "%s", path);
            n++;
        }
    text_free(&maps);
    return n;
}

void doctor_hdf5(struct exam *e)
{
    struct hdf5_about h;
    int libraries = mpi_libraries();

    hdf5_about(&h);
    if (memcmp(h.built, h.loaded, sizeof h.built) != 0)
        doctor_says(e, true, "hdf5", "built with %u.%u.%u, runs with %u.%u.%u: build again here",
                    h.built[0], h.built[1], h.built[2], h.loaded[0], h.loaded[1], h.loaded[2]);
    else if (!h.parallel)
        doctor_says(e, true, "hdf5", "not parallel: install libhdf5-openmpi-dev, build again");
    else if (libraries > 1)
        doctor_says(e, true, "hdf5", "%d MPI libraries are loaded: build HDF5 and rankwise with "
                    "the same one", libraries);
    else
        doctor_says(e, false, "hdf5", "%u.%u.%u, parallel, over the same MPI", h.loaded[0],
                    h.loaded[1], h.loaded[2]);
}

int doctor_clock(struct exam *e)
{
    double skew = INFINITY;
    struct finding *f;
    int rc = RL_OK;

    for (int i = 0; i < CLOCK_ROUNDS; i++) {        /* the best round: the others waited */
        double mine, first;
        TRY(comm_barrier(e->world, PHASE_START));
        mine = first = clock_of_day();
        TRY(comm_broadcast(e->world, &first, sizeof first, 0, PHASE_START));
        skew = fabs(mine - first) < skew ? fabs(mine - first) : skew;
    }
    if (!e->several_hosts)
        doctor_says(e, false, "clock", "one host, one clock");
    else if (skew > SKEW_AT_MOST) {
        f = doctor_says(e, true, "clock", "differs from rank 0's: run chrony on every host");
        doctor_figure(f, skew, "s");
    } else {
        f = doctor_says(e, false, "clock", "near rank 0's");
        doctor_figure(f, skew, "s");
    }
done:
    return rc;
}
