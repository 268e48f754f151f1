/* See nccl.h.  Part of librankwise_cuda.so: no MPI here, and NCCL is opened when it is asked for,
 * so that a machine without it has its GPU all the same. */
#include "comm/nccl.h"

#include <dlfcn.h>
#include <fenv.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/cuda/cuda.h"

#ifndef NCCL_LIBRARY
#define NCCL_LIBRARY "libnccl.so.2"
#endif
#define OLDEST 21400                      /* the first with communicators that do not block */

_Static_assert(NCCL_ID_BYTES == NCCL_UNIQUE_ID_BYTES, "an id travels as bytes");

struct nccl_group {
    struct compute *k;
    ncclComm_t comm;
    cudaEvent_t event;
    bool marked;                          /* the event is in the stream, behind the last call */
};

/* The library's functions by their names. */
#define CALLS(call)                                                                              \
    call(GetVersion) call(GetUniqueId) call(CommInitRankConfig) call(CommGetAsyncError)          \
    call(CommFinalize) call(CommDestroy) call(CommAbort) call(GetErrorString)                    \
    call(GetLastError) call(GroupStart) call(GroupEnd) call(Send) call(Recv) call(Broadcast)     \
    call(AllReduce) call(ReduceScatter)
#define DECLARE(name) __typeof__(nccl##name) *name;
#define FIND(name) *(void **)&nccl.name = dlsym(library, "nccl" #name);
#define MISSING(name) || !nccl.name

static struct {
    CALLS(DECLARE)
    bool open;                            /* between GroupStart and GroupEnd: of this thread */
} nccl;

/* Beside the toolkit, if the system does not know it. */
static void *open_library(void)
{
    const char *said = getenv("RANKWISE_NCCL");
    void *library = dlopen(said ? said : NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (!library && !said)
        library = dlopen("/usr/local/cuda/lib64/" NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    return library;
}

static bool load(const char **why)
{
    static char reason[512];
    static void *library;
    fenv_t numbers;
    int version = 0;

    *why = reason;
    if (library || reason[0])
        return library;
    fegetenv(&numbers);              /* what it brings along may change how numbers are rounded */
    library = open_library();
    fesetenv(&numbers);
    if (!library) {
        snprintf(reason, sizeof reason, "%s", dlerror());
        return false;
    }
    CALLS(FIND)
    if (nccl.GetVersion)
        nccl.GetVersion(&version);
    if (version < OLDEST)
        snprintf(reason, sizeof reason, "it is version %d, before %d", version, OLDEST);
    else if (false CALLS(MISSING))
        snprintf(reason, sizeof reason, "version %d lacks a function", version);
    if (reason[0])
        library = NULL;
    return library;
}

static void gpu_name(char name[GPU_NAME_BYTES])
{
    int device = 0;

    memset(name, 0, GPU_NAME_BYTES);
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetPCIBusId(name, GPU_NAME_BYTES, device) != cudaSuccess)
        snprintf(name, GPU_NAME_BYTES, "%d", device);
}

/* One of our codes; comm may be NULL. */
static int status(struct compute *k, ncclComm_t comm, ncclResult_t result, const char *what)
{
    bool mistake = result == ncclInvalidArgument || result == ncclInvalidUsage;

    if (result == ncclSuccess || result == ncclInProgress)
        return RL_OK;
    return cuda_of(k)->host->error(mistake ? RL_EBUG : RL_ELOST, "NCCL: %s: %s (%s)", what,
                                   nccl.GetErrorString(result), nccl.GetLastError(comm));
}

static int called(struct nccl_group *g, ncclResult_t result, const char *what)
{
    g->marked = false;
    return status(g->k, g->comm, result, what);
}

static int make_id(struct compute *k, char id[NCCL_ID_BYTES])
{
    ncclUniqueId made;
    fenv_t numbers;
    int rc;

    fegetenv(&numbers);              /* it loads plugins for the network */
    rc = status(k, NULL, nccl.GetUniqueId(&made), "an id for a group");
    fesetenv(&numbers);
    memcpy(id, made.internal, NCCL_ID_BYTES);
    return rc;
}

static void close_group(struct nccl_group *g)
{
    if (!g)
        return;
    if (g->event)
        cudaEventDestroy(g->event);
    if (g->comm)
        (void)nccl.CommDestroy(g->comm);
    free(g);
}

static int create(struct nccl_group **group, struct compute *k, const char id[NCCL_ID_BYTES],
                  int ranks, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    struct nccl_group *g = calloc(1, sizeof *g);
    ncclUniqueId made;
    int rc;

    *group = g;
    if (!g)
        return cuda_of(k)->host->error(RL_ENOFIT, "no memory for a group of GPUs");
    g->k = k;
    config.blocking = 0;
    memcpy(made.internal, id, NCCL_ID_BYTES);
    cuda_check(k, cudaEventCreateWithFlags(&g->event, cudaEventDisableTiming), "an event");
    rc = called(g, nccl.CommInitRankConfig(&g->comm, ranks, made, rank, &config), "a group");
    return rc != RL_OK ? rc : k->error;
}

static int placed(struct nccl_group *g)
{
    ncclResult_t state = ncclSuccess, asked = nccl.CommGetAsyncError(g->comm, &state);

    if (asked == ncclSuccess && state == ncclInProgress)
        return NCCL_BUSY;
    return status(g->k, g->comm, asked == ncclSuccess ? state : asked, "a transfer");
}

static int done(struct nccl_group *g)
{
    struct cuda *cuda = cuda_of(g->k);
    cudaError_t error;
    int rc = placed(g);

    if (rc != RL_OK)
        return rc;
    if (!g->marked)
        cuda_check(g->k, cudaEventRecord(g->event, cuda->stream), "an event");
    g->marked = true;
    error = cudaEventQuery(g->event);
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError();             /* it would be the next operation's */
        return NCCL_BUSY;
    }
    g->marked = false;
    cuda_check(g->k, error, "a transfer");
    return g->k->error;
}

/* What is to be sent may have been put off. */
static int begin(struct nccl_group *g)
{
    cuda_sequence_flush(g->k);
    nccl.open = true;
    return called(g, nccl.GroupStart(), "messages");
}

static int end(struct nccl_group *g)
{
    nccl.open = false;
    return called(g, nccl.GroupEnd(), "messages");
}

static int send(struct nccl_group *g, const void *data, size_t bytes, int to)
{
    return called(g, nccl.Send(data, bytes, ncclUint8, to, g->comm, cuda_of(g->k)->stream),
                  "sending");
}

static int receive(struct nccl_group *g, void *data, size_t bytes, int from)
{
    return called(g, nccl.Recv(data, bytes, ncclUint8, from, g->comm, cuda_of(g->k)->stream),
                  "receiving");
}

static int broadcast(struct nccl_group *g, const void *from, void *to, size_t bytes, int root)
{
    return called(g, nccl.Broadcast(from, to, bytes, ncclUint8, root, g->comm,
                                    cuda_of(g->k)->stream), "a broadcast");
}

static int all_reduce(struct nccl_group *g, float *x, size_t n)
{
    return called(g, nccl.AllReduce(x, x, n, ncclFloat, ncclSum, g->comm, cuda_of(g->k)->stream),
                  "a sum");
}

static int reduce_scatter(struct nccl_group *g, const float *x, float *mine, size_t n)
{
    return called(g, nccl.ReduceScatter(x, mine, n, ncclFloat, ncclSum, g->comm,
                                        cuda_of(g->k)->stream), "a sum of parts");
}

static int finish(struct nccl_group *g)
{
    return called(g, nccl.CommFinalize(g->comm), "the end of a group");
}

/* NCCL frees the communicator itself.  It may not be asked to between calls that belong together,
 * of this group or of another. */
static void abort_group(struct nccl_group *g)
{
    if (!g)
        return;
    if (nccl.open)
        (void)nccl.GroupEnd();
    nccl.open = false;
    if (g->comm)
        (void)nccl.CommAbort(g->comm);
    g->comm = NULL;
}

__attribute__((visibility("default")))
const struct nccl_door rankwise_nccl = {
    load, gpu_name, make_id, create, placed, done, begin, end, send, receive, broadcast,
    all_reduce, reduce_scatter, finish, close_group, abort_group,
};
