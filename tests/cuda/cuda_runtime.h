/* CUDA without a device: what compute/cuda/ uses of the runtime, on the processor, so that kernels
 * can be held to ref/ on any machine.
 *
 * - The threads of a block are fibers: one runs until it ends or waits (__syncthreads, a shuffle);
 *   blocks come one after the other, so that `static` memory is a block's shared memory.
 * - A launch is kept and runs at the next wait, as late as it may: who reads a result, or changes
 *   an operand, without compute_sync() before it sees wrong numbers here too.
 * - A pointer that a kernel is given, by itself or in a struct, leads to a block that a device
 *   reaches, or the launch fails: cudaMallocManaged's, cudaHostAlloc's, no other memory.
 *
 * - A call that may not be made while a stream captures fails, and spoils the graph.
 *
 * No races between threads are found, and no timing: for those there is compute-sanitizer.
 */
#ifndef TESTS_CUDA_RUNTIME_H
#define TESTS_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#include <functional>               /* before names of theirs become ours */
#include <memory>
#include <tuple>
#include <utility>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define cudaError_t int
enum {
    cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9, cudaErrorNoDevice = 100, cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorStreamCaptureUnsupported = 900, cudaErrorStreamCaptureInvalidated = 901,
};
struct emulated_stream;
#define cudaStream_t struct emulated_stream *
enum cudaMemcpyKind { cudaMemcpyDefault = 4 };
enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16, cudaDevAttrConcurrentManagedAccess = 89,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaMemoryAdvise { cudaMemAdviseSetPreferredLocation = 3, cudaMemAdviseSetAccessedBy = 5 };
enum cudaMemLocationType { cudaMemLocationTypeDevice = 1, cudaMemLocationTypeHost = 2 };
struct cudaMemLocation { enum cudaMemLocationType type; int id; };
#define CUDART_VERSION 13000
#define cudaMemAttachGlobal 1
#define cudaHostAllocDefault 0
#define cudaStreamNonBlocking 1
#define cudaEventDisableTiming 2
struct emulated_graph;
struct emulated_event;
#define cudaGraph_t struct emulated_graph *
#define cudaGraphExec_t struct emulated_graph *
#define cudaEvent_t struct emulated_event *
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t cudaGetDeviceCount(int *count);              /* EMULATED_GPUS, default 1 */
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
struct cudaDeviceProp {
    char name[256];
    struct { char bytes[16]; } uuid;
    size_t totalGlobalMem;
    int major, minor;
};
/* EMULATED_NAME: its name */
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
/* EMULATED_PEERS=0: none reaches another */
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer);
cudaError_t cudaDeviceGetPCIBusId(char *text, int room, int device);
/* EMULATED_SHARED: bytes of shared memory that a block may ask for, default 227 KiB */
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
/* EMULATED_BROKEN=n: the n-th wait and those behind it find a broken device */
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaMemGetInfo(size_t *free, size_t *whole);    /* EMULATED_MEMORY, default 1 << 40 */
cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned flags);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);           /* runs what it can of what was kept */
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
/* EMULATED_NO_CAPTURE: it fails */
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *run, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t run);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaMemAdvise(const void *p, size_t bytes, enum cudaMemoryAdvise advice,
                          struct cudaMemLocation where);
cudaError_t cudaMemPrefetchAsync(const void *p, size_t bytes, struct cudaMemLocation where,
                                 unsigned flags, cudaStream_t stream);
cudaError_t cudaFree(void *p);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemset(void *to, int value, size_t bytes);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, void (*call)(void *with), void *with);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);

#ifdef __cplusplus
}

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return { x, y, z, w }; }

extern struct emulated_place { uint3 thread, block; dim3 threads, blocks; } emulated_here;
#define threadIdx (emulated_here.thread)
#define blockIdx (emulated_here.block)
#define blockDim (emulated_here.threads)
#define gridDim (emulated_here.blocks)
#define warpSize 32

void __syncthreads(void);
void __syncwarp(unsigned mask = 0xffffffffu);
/* A thread's word, and the word of its warp's lane `from`: every lane of the warp calls it. */
uint64_t emulated_exchange(uint64_t word, int from);
int emulated_lane(void);
/* A lane shows something, sees what its warp's others show, and hides it again: all lanes of a warp
 * call show, then hide. */
void emulated_show(const void *p);
const void *emulated_shown(int lane);
void emulated_hide(void);
/* cp.async: a copy (from NULL: zeros) is made when its thread waits for its group, not before. */
void emulated_copy(void *to, const void *from, size_t bytes);
void emulated_copies_commit(void);
void emulated_copies_wait(size_t left);
char *emulated_shared_memory(void);
[[noreturn]] void emulated_fail(const char *why);

template <typename T> T emulated_shuffle(T x, int from)
{
    uint64_t word = 0;

    static_assert(sizeof x <= sizeof word, "a shuffle takes at most eight bytes");
    memcpy(&word, &x, sizeof x);
    word = emulated_exchange(word, from);
    memcpy(&x, &word, sizeof x);
    return x;
}
template <typename T> T __shfl_sync(unsigned, T x, int from)
{
    return emulated_shuffle(x, from);
}
template <typename T> T __shfl_xor_sync(unsigned, T x, int mask)
{
    return emulated_shuffle(x, emulated_lane() ^ mask);
}
template <typename T> T __shfl_down_sync(unsigned, T x, unsigned by)
{
    int to = emulated_lane() + (int)by;

    return emulated_shuffle(x, to < 32 ? to : emulated_lane());
}

template <typename T> T atomicAdd(T *at, T x)
{
    T old = *at;

    *at += x;
    return old;
}
template <typename T> T atomicMax(T *at, T x)
{
    T old = *at;

    *at = x > old ? x : old;
    return old;
}
static inline uint64_t __umul64hi(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

/* Keeps a job that may wait for another process: false is to be asked again. */
void emulated_keep_try(std::function<bool()> job);
/* Keeps the launch, as far as it is a possible one. */
cudaError_t emulated_allow_shared(const void *kernel, int bytes);
static inline cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute,
                                               int bytes)
{
    return emulated_allow_shared(kernel, bytes);
}
cudaError_t emulated_launch(const void *kernel, dim3 grid, dim3 block, size_t shared,
                            std::function<void()> call);
template <typename... P> using emulated_kernel = void (*)(P...);

/* Is it NULL, inside of a block that a device reaches, or one past its end? */
bool emulated_reaches(const volatile void *p);

/* How many members an aggregate has: as many as it takes initializers. */
struct emulated_any { template <typename T> operator T() const; };
template <typename T, size_t... I>
constexpr auto emulated_takes(std::index_sequence<I...>)
    -> decltype(T{ ((void)I, emulated_any{})... }, true)
{
    return true;
}
template <typename T> constexpr bool emulated_takes(...) { return false; }
template <typename T, size_t N = 24> constexpr size_t emulated_members(void)
{
    if constexpr (N == 0 || emulated_takes<T>(std::make_index_sequence<N>{}))
        return N;
    else
        return emulated_members<T, N - 1>();
}

/* Does a device reach what an argument, or each member of it, points to? */
template <typename T> bool emulated_checked(const T &x)
{
    if constexpr (std::is_pointer<T>::value) {
        return emulated_reaches(x);
    } else if constexpr (std::is_class<T>::value && std::is_aggregate<T>::value) {
        auto all = [](const auto &...member) { return (emulated_checked(member) && ... && true); };
        constexpr size_t n = emulated_members<T>();
#define EMULATED_MEMBERS(count, ...)                                                               \
        if constexpr (n == count) {                                                                \
            const auto &[__VA_ARGS__] = x;                                                         \
            return all(__VA_ARGS__);                                                               \
        }
        EMULATED_MEMBERS(1, a)
        EMULATED_MEMBERS(2, a, b)
        EMULATED_MEMBERS(3, a, b, c)
        EMULATED_MEMBERS(4, a, b, c, d)
        EMULATED_MEMBERS(5, a, b, c, d, e)
        EMULATED_MEMBERS(6, a, b, c, d, e, f)
        EMULATED_MEMBERS(7, a, b, c, d, e, f, g)
        EMULATED_MEMBERS(8, a, b, c, d, e, f, g, h)
        EMULATED_MEMBERS(9, a, b, c, d, e, f, g, h, i)
        EMULATED_MEMBERS(10, a, b, c, d, e, f, g, h, i, j)
        EMULATED_MEMBERS(11, a, b, c, d, e, f, g, h, i, j, k)
        EMULATED_MEMBERS(12, a, b, c, d, e, f, g, h, i, j, k, l)
        EMULATED_MEMBERS(13, a, b, c, d, e, f, g, h, i, j, k, l, m)
        EMULATED_MEMBERS(14, a, b, c, d, e, f, g, h, i, j, k, l, m, n)
        EMULATED_MEMBERS(15, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
        EMULATED_MEMBERS(16, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
        EMULATED_MEMBERS(17, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
        EMULATED_MEMBERS(18, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
        EMULATED_MEMBERS(19, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
        EMULATED_MEMBERS(20, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
        EMULATED_MEMBERS(21, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u)
        EMULATED_MEMBERS(22, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)
        EMULATED_MEMBERS(23, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w)
        EMULATED_MEMBERS(24, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)
#undef EMULATED_MEMBERS
    }
    return true;
}

template <typename... P, size_t... I>
cudaError_t emulated_keep(void (*kernel)(P...), dim3 grid, dim3 block, void **list, size_t shared,
                          std::index_sequence<I...>)
{
    std::tuple<P...> kept(*static_cast<P *>(list[I])...);

    if (!(emulated_checked(std::get<I>(kept)) && ... && true))
        return cudaErrorIllegalAddress;
    return emulated_launch((const void *)kernel, grid, block, shared,
                           [=] { std::apply(kernel, kept); });
}
template <typename... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void **list,
                             size_t shared, cudaStream_t)
{
    return emulated_keep(kernel, grid, block, list, shared, std::index_sequence_for<P...>());
}
#endif

#endif
