/* The GPUs of a host, and the libraries that go with them. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/device.h"
#include "launch/doctor/doctor.h"

static void say_card(struct exam *e, const struct device_card *card, int index)
{
    doctor_says(e, false, "gpu", "GPU %d: %s, compute capability %d.%d, %.1f GiB%s", index,
                card->name, card->major, card->minor, (double)card->bytes / (1 << 30),
                card->shares ? "" : "; it cannot be used, as it shares no memory with the "
                                    "processor while it runs");
}

/* The first pair of which one does not reach the other. */
static bool find_apart(const struct device_about *a, int *from, int *to)
{
    for (*from = 0; *from < a->cards; ++*from)
        for (*to = 0; *to < a->cards; ++*to)
            if (*to != *from && !(a->card[*from].reaches >> *to & 1))
                return true;
    return false;
}

static void say_together(struct exam *e, const struct device_about *a)
{
    char peers[128] = "";
    int from, to;

    if (find_apart(a, &from, &to))
        snprintf(peers, sizeof peers, "; GPU %d does not reach the memory of GPU %d: what they "
                 "exchange goes over the host", from, to);
    else if (a->cards > 1)
        snprintf(peers, sizeof peers, "; they reach each other's memory");
    doctor_says(e, false, "gpu", "CUDA driver %d.%d, runtime %d.%d%s", a->driver / 1000,
                a->driver % 1000 / 10, a->runtime / 1000, a->runtime % 1000 / 10, peers);
}

static int nccl_version(void *function)
{
    int version = 0;

    return (*(int (**)(int *))&function)(&version) == 0 ? version : 0;
}

static int cublaslt_version(void *function)
{
    return (int)(*(size_t (**)(void))&function)();
}

/* What is looked for when it is needed, by these names (comm/nccl.c, compute/cuda/lt.c); versions
 * are 10000 major + 100 minor + patch. */
static const struct library {
    const char *name, *said, *symbol, *without;      /* said: a variable that names the file */
    const char *files[2];
    int (*version)(void *function);
} libraries[] = {
    { "cuBLASLt", "RANKWISE_CUBLASLT", "cublasLtGetVersion", "own kernels make all products",
      { "libcublasLt.so.13", "libcublasLt.so.12" }, cublaslt_version },
    { "NCCL", "RANKWISE_NCCL", "ncclGetVersion", "ranks exchange over MPI",
      { "libnccl.so.2", "/usr/local/cuda/lib64/libnccl.so.2" }, nccl_version },
};

static void say_library(struct exam *e, const struct library *l)
{
    const char *said = getenv(l->said);
    void *handle = said ? dlopen(said, RTLD_LAZY | RTLD_LOCAL) : NULL, *function;
    int v;

    for (int i = 0; i < 2 && !handle && !said; i++)
        handle = dlopen(l->files[i], RTLD_LAZY | RTLD_LOCAL);
    function = handle ? dlsym(handle, l->symbol) : NULL;
    v = function ? l->version(function) : 0;
    if (v > 0)
        doctor_says(e, false, "gpu", "%s %d.%d.%d", l->name, v / 10000, v / 100 % 100, v % 100);
    else
        doctor_says(e, false, "gpu", "no %s: %s", l->name, l->without);
    if (handle)
        dlclose(handle);
}

void doctor_gpus(struct exam *e)
{
    struct device_about about;
    const char *why;

    if (!device_about(&about, &why)) {
        doctor_says(e, false, "gpu", "none can be used (%.300s); runs compute on the CPU", why);
        return;
    }
    for (int i = 0; i < about.cards; i++)
        say_card(e, &about.card[i], i);
    say_together(e, &about);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        say_library(e, &libraries[i]);
}
