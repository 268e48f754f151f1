/* See device.h. */
#include "compute/device.h"

#include <dlfcn.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"
#include "compute/compute.h"
#include "compute/cuda/sizes.h"

#define LIBRARY "librankwise_cuda.so"

static const struct device_host host = { rl_error };

/* Beside the program, in ../lib of it, then where the system looks; RANKWISE_CUDA names it. */
static void *open_library(void)
{
    static const char *const near[] = { "%.*s/" LIBRARY, "%.*s/../lib/" LIBRARY };
    const char *said = getenv("RANKWISE_CUDA");
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    void *library = NULL;

    if (said && said[0])
        return dlopen(said, RTLD_NOW | RTLD_LOCAL);
    self[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 2 && n > 0 && !library; i++) {
        snprintf(path, sizeof path, near[i], (int)(strrchr(self, '/') - self), self);
        library = access(path, F_OK) == 0 ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    }
    return library ? library : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static void *opened;                 /* by find_door */

/* The door, looked for once; NULL and *why without it. */
static const struct device_door *find_door(const char **why)
{
    static const struct device_door *door;
    static char reason[512];
    void *library;

    if (!door && !reason[0]) {
        library = opened = open_library();
        door = library ? dlsym(library, "rankwise_cuda") : NULL;
        snprintf(reason, sizeof reason, "%s", door ? "" : dlerror());
        if (door && door->abi != DEVICE_ABI) {
            door = NULL;
            snprintf(reason, sizeof reason, LIBRARY " is of another build of rankwise");
        }
    }
    *why = reason;
    return door;
}

/* Which of its host's ranks this one is, as the launcher says. */
static int rank_on_host(void)
{
    static const char *const said[] = { "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID",
                                        "PMIX_LOCAL_RANK" };

    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        const char *rank = getenv(said[i]);

        if (rank)
            return atoi(rank) > 0 ? atoi(rank) : 0;
    }
    return 0;
}

bool device_about(struct device_about *about, const char **why)
{
    const struct device_door *door = find_door(why);

    if (!door || door->count(why) < 1)
        return false;
    door->about(about);
    return true;
}

void device_tell(struct compute *k, struct device_self *self)
{
    const char *why;

    memset(self, 0, sizeof *self);
    if (k->device)
        find_door(&why)->self(k, self);
}

const void *device_symbol(const char *name)
{
    return opened ? dlsym(opened, name) : NULL;
}

int device_fill(struct compute *k)
{
    const char *why;
    const struct device_door *door = find_door(&why);
    int count = door ? door->count(&why) : 0, rc = RL_OK;

    if (count < 1)
        return rl_error(RL_EINVAL, "device = \"%s\": no GPU can be used (%s)", k->name, why);
    TRY(door->fill(k, &host, rank_on_host() % count));
    memory_use(door->allocate, door->release);
done:
    return rc;
}

int device_fill_sizes(struct compute *k)
{
    k->packed_size = cuda_packed_size;
    k->scratch_bytes = cuda_scratch_bytes;
    k->device = NULL;
    return RL_OK;
}

size_t device_memory(const char *card)
{
    static const struct { const char *name; size_t mib; } cards[] = {     /* as nvidia-smi has it */
        { "A100-40", 40960 }, { "A100-80", 81920 }, { "H100", 81559 }, { "H200", 143771 },
        { "L4", 23034 }, { "L40S", 46068 },
    };

    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++)
        if (strcasecmp(card, cards[i].name) == 0)
            return cards[i].mib << 20;
    return 0;
}
