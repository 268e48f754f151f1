/* See cuda_runtime.h: the stream, its graphs and events, the device, and its memory.
 *
 *   cudaLaunchKernel -> queue ... cudaStreamSynchronize -> block.cc
 */
#include "tests/cuda/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <set>
#include <string>

#define SHARED (48 << 10)            /* bytes that every kernel may have */

/* ---- the queue */

using jobs = std::deque<std::function<bool()>>;      /* false: it waits for another process */
static jobs queue;
static struct emulated_graph *captured;          /* what the stream captures into */
struct emulated_graph { jobs steps; bool spoilt; };

/* What waits, takes memory or looks at an event may not be called while this thread captures (mode
 * ThreadLocal): the capture is lost by it. */
static bool spoils_capture(void)
{
    if (captured)
        captured->spoilt = true;
    return captured != NULL;
}

/* EMULATED_CALLS: a file, to which the names of what was called are added. */
static void called(const char *name)
{
    const char *path = getenv("EMULATED_CALLS");
    FILE *f = path ? fopen(path, "a") : NULL;

    if (f) {
        fprintf(f, "%s\n", name);
        fclose(f);
    }
}

/* Runs jobs in order, as far as it goes. */
static bool advance(void)
{
    for (; !queue.empty(); queue.pop_front())
        if (!queue.front()())
            return false;
    return true;
}

void emulated_keep_try(std::function<bool()> job)
{
    (captured ? captured->steps : queue).push_back(std::move(job));
}

static void keep(std::function<void()> job)
{
    emulated_keep_try([=] { return job(), true; });
}

static int shared_most(void)
{
    const char *said = getenv("EMULATED_SHARED");

    return said ? atoi(said) : SHARED_MOST;
}

/* Bytes of shared memory that kernels have asked for. */
static std::map<const void *, size_t> allowed;

cudaError_t emulated_allow_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || bytes > shared_most())
        return cudaErrorInvalidValue;
    allowed[kernel] = (size_t)bytes;
    return cudaSuccess;
}

cudaError_t emulated_launch(const void *kernel, dim3 grid, dim3 threads, size_t shared,
                            std::function<void()> call)
{
    unsigned count = threads.x * threads.y * threads.z;
    auto more = allowed.find(kernel);

    if (count < 1 || count > THREADS_MOST || grid.x < 1 || grid.y < 1 || grid.z < 1 ||
        grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffffu ||
        shared > (more == allowed.end() ? SHARED : more->second))
        return cudaErrorInvalidConfiguration;
    called("cudaLaunchKernel");
    keep([=] { emulated_run(grid, threads, shared, call); });
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    static const char *const broken = getenv("EMULATED_BROKEN");
    static int waits;

    called("cudaStreamSynchronize");
    if (broken && ++waits >= atoi(broken))
        return 214;                  /* uncorrectable ECC error */
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    while (!advance())
        usleep(50);
    return cudaSuccess;
}

static std::set<uintptr_t> of_device;            /* not the host's, pinned */

static bool is_reached(const void *p);

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind,
                            cudaStream_t)
{
    called("cudaMemcpyAsync");
    if (bytes > 0 && !(is_reached(to) && is_reached(from)))
        return cudaErrorIllegalAddress;
    keep([=] { memmove(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t)
{
    if (bytes > 0 && !is_reached(to))
        return cudaErrorIllegalAddress;
    keep([=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t, void (*call)(void *with), void *with)
{
    keep([=] { call(with); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    return cudaMemsetAsync(to, value, bytes, NULL);
}

cudaError_t cudaDeviceSynchronize(void)
{
    return cudaStreamSynchronize(NULL);
}

/* ---- events */

struct emulated_event { std::shared_ptr<bool> passed; };

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new struct emulated_event();
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    std::shared_ptr<bool> passed = event->passed = std::make_shared<bool>(queue.empty());

    if (!*passed)
        queue.push_back([=] { return *passed = true; });
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    advance();
    return !event->passed || *event->passed ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    return event->passed && !*event->passed ? cudaStreamSynchronize(NULL) : cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

/* ---- graphs */

cudaError_t cudaStreamBeginCapture(cudaStream_t, enum cudaStreamCaptureMode)
{
    called("cudaStreamBeginCapture");
    captured = new struct emulated_graph();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    bool refused = getenv("EMULATED_NO_CAPTURE") || captured->spoilt;

    called("cudaStreamEndCapture");
    if (refused)
        delete captured;
    *graph = refused ? NULL : captured;
    captured = NULL;
    return refused ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *run, cudaGraph_t graph, unsigned long long)
{
    called("cudaGraphInstantiate");
    *run = new struct emulated_graph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t)
{
    called("cudaGraphLaunch");
    for (auto &step : run->steps)
        emulated_keep_try(step);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t run)
{
    cudaError_t error = cudaStreamSynchronize(NULL);

    if (error == cudaSuccess)
        delete run;
    return error;
}

/* ---- the device */

cudaError_t cudaGetDeviceCount(int *count)
{
    const char *said = getenv("EMULATED_GPUS");

    *count = said ? atoi(said) : 1;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

static int current;

cudaError_t cudaSetDevice(int device)
{
    int count;

    cudaGetDeviceCount(&count);
    if (device < 0 || device >= count)
        return cudaErrorInvalidValue;
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device)
{
    snprintf(text, (size_t)room, "0000:%02x:00.0", device + 1);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int)
{
    const char *said = getenv("EMULATED_PROCESSORS");        /* default 4 */

    *value = attr == cudaDevAttrMultiProcessorCount ? (said ? atoi(said) : 4)
             : attr == cudaDevAttrMaxSharedMemoryPerBlockOptin ? shared_most()
             : getenv("EMULATED_APART") ? 0 : 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    const char *said = getenv("EMULATED_NAME");

    *properties = { "", { "emulated" }, (size_t)1 << 30, 9, 0 };
    properties->uuid.bytes[15] = (char)device;
    snprintf(properties->name, sizeof properties->name, "%s", said ? said : "emulated GPU");
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    const char *said = getenv("EMULATED_PEERS");

    *can = device != peer && (!said || atoi(said));
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = (cudaStream_t)malloc(1);
    return *stream ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

/* ---- memory that a device reaches */

static std::map<uintptr_t, size_t> blocks;           /* address and bytes */

static bool is_reached(const void *p)
{
    auto next = blocks.upper_bound((uintptr_t)p);

    return next != blocks.begin() && (uintptr_t)p - std::prev(next)->first <= std::prev(next)->second;
}

bool emulated_reaches(const volatile void *p)
{
    return !p || is_reached((const void *)p);
}

static cudaError_t take(void **p, size_t bytes)
{
    *p = NULL;
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    *p = bytes ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (*p)
        blocks[(uintptr_t)*p] = bytes;
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *whole)
{
    const char *said = getenv("EMULATED_MEMORY");

    *free = *whole = said ? strtoull(said, NULL, 10) : (size_t)1 << 40;
    return cudaSuccess;
}

/* A device's memory: its bytes are told (EMULATED_CALLS) whenever there were never more. */
static cudaError_t take_of_device(void **p, size_t bytes)
{
    static size_t most;
    size_t all = 0;
    cudaError_t error = take(p, bytes);

    if (error == cudaSuccess)
        of_device.insert((uintptr_t)*p);
    for (const auto &b : blocks)
        all += of_device.count(b.first) ? b.second : 0;
    if (all > most)
        called(("device bytes " + std::to_string(most = all)).c_str());
    return error;
}

cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned)
{
    return take_of_device(p, bytes);
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    return take_of_device(p, bytes);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    return take(p, bytes);
}

cudaError_t cudaMemAdvise(const void *p, size_t, enum cudaMemoryAdvise, struct cudaMemLocation)
{
    return is_reached(p) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemPrefetchAsync(const void *p, size_t, struct cudaMemLocation, unsigned,
                                 cudaStream_t)
{
    return is_reached(p) ? cudaSuccess : cudaErrorInvalidValue;
}

/* The real ones wait for the device. */
cudaError_t cudaFree(void *p)
{
    if (spoils_capture())
        return cudaErrorStreamCaptureUnsupported;
    cudaStreamSynchronize(NULL);
    blocks.erase((uintptr_t)p);
    of_device.erase((uintptr_t)p);
    free(p);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" :
           error == cudaErrorIllegalAddress ? "given memory that no device reaches" :
           "an emulated error";
}
