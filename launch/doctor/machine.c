/* What computes on a host: the processor, GPUs. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include "base/status.h"
#include "compute/compute.h"
#include "launch/doctor/doctor.h"

void doctor_processor(struct exam *e)
{
    struct compute *k = NULL;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (compute_open(&k, "auto", "fp32", 1) != RL_OK) {
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
