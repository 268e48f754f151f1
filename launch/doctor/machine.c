/* What a host has: memory and its limits, the processor, GPUs. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "compute/compute.h"
#include "launch/doctor/doctor.h"

#define GB 1e9
#define MB 1e6
#define SHM_OF_A_RANK 16e6              /* bytes; Open MPI's segment of a rank has 4 MiB */

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

/* The smallest limit of a cgroup that we are in, as containers mount it; 0: none. */
static double cgroup_limit(void)
{
    static const char *const files[] = { "/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes" };
    double limit = 0;

    for (int i = 0; i < 2; i++) {
        struct text t = { 0 };
        if (file_exists(files[i]) && file_read(files[i], &t) == RL_OK && t.data) {
            double x = atof(t.data);
            if (x > 0 && (limit == 0 || x < limit))
                limit = x;
        }
        text_free(&t);
    }
    return limit;
}

void doctor_memory(struct exam *e)
{
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    double limit = cgroup_limit(), need = SHM_OF_A_RANK * comm_ranks_on_host(e->world);
    struct statvfs shm;

    address_space(e, memory);
    if (limit > 0 && limit < memory)
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

void doctor_processor(struct exam *e)
{
    struct compute *k = NULL;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (compute_open(&k, "auto", 1) != RL_OK) {
        doctor_says(e, true, "cpu", "no backend opens: %.200s", status_message());
        return;
    }
#if defined(__x86_64__)
    doctor_says(e, false, "cpu", "%ld cores, backend %s (avx2 %s, fma %s, avx512f %s)", cores,
                k->name, __builtin_cpu_supports("avx2") ? "yes" : "no",
                __builtin_cpu_supports("fma") ? "yes" : "no",
                __builtin_cpu_supports("avx512f") ? "yes" : "no");
#else
    doctor_says(e, false, "cpu", "%ld cores, backend %s", cores, k->name);
#endif
    compute_close(k);
}

void doctor_gpus(struct exam *e)
{
    DIR *folder = opendir("/proc/driver/nvidia/gpus");
    void *nccl = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);
    int n = 0;

    for (struct dirent *d; folder && (d = readdir(folder)) != NULL;)
        n += d->d_name[0] != '.';
    if (folder)
        closedir(folder);
    doctor_says(e, false, "gpu", "%d GPUs, %s; runs compute on the CPU", n,
                nccl ? "NCCL is there" : "no NCCL");
    if (nccl)
        dlclose(nccl);
}
