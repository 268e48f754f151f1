/* The memory of a host, and what limits a process: ulimit, cgroups, /dev/shm, locked pages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "launch/doctor/doctor.h"

#define GB 1e9
#define MB 1e6
#define SHM_OF_A_RANK 16e6              /* bytes; Open MPI's segment of a rank has 4 MiB */
#define LOCKED_FOR_RDMA 64e6            /* bytes of a rank's buffers that an adapter reads */
#define FILES_OF_A_RANK 128             /* its own, those of MPI and of HDF5 */
#define THREADS_OF_A_RANK 16

static void address_space(struct exam *e, double memory)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_AS, &r) != 0)
        return;
    if (r.rlim_cur != RLIM_INFINITY && (double)r.rlim_cur < memory)
        doctor_says(e, true, "memory", "ulimit -v is %.0f MB: raise it, best to unlimited",
                    (double)r.rlim_cur / MB);
    else
        doctor_says(e, false, "memory", "%.1f GB, no smaller ulimit -v", memory / GB);
}

/* RDMA adapters read from pages that stay where they are. */
static void locked_pages(struct exam *e)
{
    bool adapter = folder_exists("/sys/class/infiniband");
    struct rlimit r;

    if (getrlimit(RLIMIT_MEMLOCK, &r) != 0)
        return;
    if (r.rlim_cur == RLIM_INFINITY)
        doctor_says(e, false, "memlock", "ulimit -l is unlimited");
    else if (adapter && (double)r.rlim_cur < LOCKED_FOR_RDMA)
        doctor_says(e, true, "memlock", "ulimit -l is %.3g MB, and here is an RDMA adapter: set it "
                    "to unlimited (limits.conf; Slurm: PropagateResourceLimitsExcept=MEMLOCK)",
                    (double)r.rlim_cur / MB);
    else
        doctor_says(e, false, "memlock", "ulimit -l is %.3g MB%s", (double)r.rlim_cur / MB,
                    adapter ? "" : ", and no RDMA adapter needs more");
}

/* Files, processes and the length of a file: what ends a rank in mid-run, not at its start. */
static void other_limits(struct exam *e)
{
    double ranks = comm_size(e->world), here = comm_ranks_on_host(e->world);
    const struct { int which; const char *name, *what; double need; } limits[] = {
        { RLIMIT_NOFILE, "-n", "a rank has a connection to every other", ranks + FILES_OF_A_RANK },
        { RLIMIT_NPROC, "-u", "every rank has threads", here * THREADS_OF_A_RANK },
        { RLIMIT_FSIZE, "-f", "a longer checkpoint ends its rank", INFINITY },
    };
    bool enough = true;

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit r;
        if (getrlimit(limits[i].which, &r) != 0 || r.rlim_cur == RLIM_INFINITY ||
            (double)r.rlim_cur >= limits[i].need)
            continue;
        doctor_says(e, true, "limits", "ulimit %s is %.0f: raise it, best to unlimited: %s",
                    limits[i].name, (double)r.rlim_cur, limits[i].what);
        enough = false;
    }
    if (enough)
        doctor_says(e, false, "limits", "ulimit -n, -u and -f are large enough");
}

/* The smallest number in `file` of a cgroup and of those above it; `least` when there is none. */
static double limit_upwards(const char *root, char *group, const char *file, double least)
{
    for (;;) {
        char path[1024], *slash = strrchr(group, '/');
        struct text t = { 0 };
        snprintf(path, sizeof path, "%s%s/%s", root, group, file);
        if (file_exists(path) && file_read(path, &t) == RL_OK && t.data) {
            double x = atof(t.data);    /* "max" is 0 */
            if (x > 0 && x < least)
                least = x;
        }
        text_free(&t);
        if (!slash)
            return least;
        *slash = 0;
    }
}

/* The memory that this process's cgroups leave it, `least` when they do not limit it. */
static double cgroup_limit(double least)
{
    struct text groups = { 0 };

    if (file_read("/proc/self/cgroup", &groups) == RL_OK && groups.data)
        for (char *rest, *line = strtok_r(groups.data, "\n", &rest); line;
             line = strtok_r(NULL, "\n", &rest)) {
            char *path = strchr(line, '/');
            if (path && strncmp(line, "0::", 3) == 0)
                least = limit_upwards("/sys/fs/cgroup", path, "memory.max", least);
            else if (path && strstr(line, ":memory:"))
                least = limit_upwards("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes",
                                      least);
        }
    text_free(&groups);
    return least;
}

void doctor_memory(struct exam *e)
{
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    double limit = cgroup_limit(memory), need = SHM_OF_A_RANK * comm_ranks_on_host(e->world);
    struct statvfs shm;

    address_space(e, memory);
    locked_pages(e);
    other_limits(e);
    if (limit < memory)
        doctor_says(e, false, "cgroup", "its limit is %.1f GB: plan with that", limit / GB);
    else
        doctor_says(e, false, "cgroup", "no limit below the memory");
    if (statvfs("/dev/shm", &shm) != 0)
        doctor_says(e, true, "shm", "no /dev/shm: mount a tmpfs there");
    else if ((double)shm.f_bavail * (double)shm.f_frsize < need)
        doctor_says(e, true, "shm", "/dev/shm has less than %.0f MB free: clear it or mount it "
                    "larger (docker: --shm-size)", need / MB);
    else
        doctor_figure(doctor_says(e, false, "shm", "/dev/shm has room"),
                      (double)shm.f_bavail * (double)shm.f_frsize / GB, "GB");
}
