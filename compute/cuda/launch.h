/* How the chapters start kernels, and what their kernels share. */
#ifndef COMPUTE_CUDA_LAUNCH_H
#define COMPUTE_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#include <functional>
#include <string>
#include <tuple>
#include <utility>

#include "compute/bf16.h"
#include "compute/cuda/cuda.h"
#include "compute/math.h"

#define BLOCK 256                    /* threads, where an element is a thread's */
#define SHARED_OF_ALL (48u << 10)    /* bytes of shared memory that a kernel need not ask for */
#define SHARED_LEAST (99u << 10)     /* that it may ask for on any card; or 163, or 227 KiB */
#define ALL_LANES 0xffffffffu
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#define UNROLL_8 _Pragma("unroll 8")     /* so many loads are on their way at once */
#else
#define UNROLL
#define UNROLL_8
#endif

/* ---- what goes to the stream: at once, or when the sequence ends */

using cuda_step = std::function<cudaError_t(cudaStream_t)>;

bool cuda_sequence_is_open(struct compute *k);
/* key: equal for steps that do the same with the same arguments. */
void cuda_put_off(struct compute *k, const char *what, const std::string &key, cuda_step step);

/* The bytes of x, without what its padding happens to hold. */
template <typename T> static inline void add_to_key(std::string *key, T x)
{
    __builtin_clear_padding(&x);
    key->append((const char *)&x, sizeof x);
}

/* `step` enqueues something on the stream it is given; `arguments`, with what it is among them (a
 * kernel, a name), tell it apart from every other step. */
template <typename F, typename... A>
static inline void enqueue(struct compute *k, const char *what, F step, A... arguments)
{
    std::string key;

    if (k->error != 0)
        return;
    if (!cuda_sequence_is_open(k)) {
        cuda_check(k, step(cuda_of(k)->stream), what);
        return;
    }
    (add_to_key(&key, arguments), ...);
    cuda_put_off(k, what, key, step);
}

template <typename... P, size_t... I>
static inline cudaError_t launch_list(cudaStream_t stream, void (*kernel)(P...), unsigned blocks,
                                      unsigned threads, size_t shared, std::tuple<P...> args,
                                      std::index_sequence<I...>)
{
    void *list[] = { (void *)&std::get<I>(args)... };

    if (shared > SHARED_OF_ALL) {
        cudaError_t error = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);

        if (error != cudaSuccess)
            return error;
    }
    return cudaLaunchKernel(kernel, dim3(blocks), dim3(threads), list, shared, stream);
}

template <typename... P, size_t... I>
static inline void launch_args(struct compute *k, const char *what, void (*kernel)(P...),
                               unsigned blocks, unsigned threads, size_t shared,
                               const std::tuple<P...> &args, std::index_sequence<I...> all)
{
    enqueue(k, what, [=](cudaStream_t stream) {
        return launch_list(stream, kernel, blocks, threads, shared, args, all);
    }, kernel, blocks, threads, shared, std::get<I>(args)...);
}

/* kernel<<<blocks, threads, shared>>>(args...) on k's stream; nothing if there is nothing to do or
 * an operation has failed before.  shared: bytes of SHARED_MEMORY (tensor.h). */
template <typename... P, typename... A>
static inline void launch_shared(struct compute *k, const char *what, void (*kernel)(P...),
                                 size_t blocks, unsigned threads, size_t shared, A... given)
{
    if (blocks > 0x7fffffffu)
        cuda_check(k, cudaErrorInvalidConfiguration, what);
    else if (blocks > 0)
        launch_args(k, what, kernel, (unsigned)blocks, threads, shared, std::tuple<P...>(given...),
                    std::index_sequence_for<P...>());
}

template <typename... P, typename... A>
static inline void launch(struct compute *k, const char *what, void (*kernel)(P...), size_t blocks,
                          unsigned threads, A... given)
{
    launch_shared(k, what, kernel, blocks, threads, 0, given...);
}

/* Blocks that give each of n elements a thread. */
static inline size_t blocks_of(size_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

/* A thread's element among all. */
static __device__ __forceinline__ size_t element(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* A stored array: elements of fp32 or bf16. */
template <bool bf16> static __device__ __forceinline__ float stored(const void *x, size_t i)
{
    return bf16 ? f32_of_bf16(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

template <bool bf16> static __device__ __forceinline__ void put_stored(void *x, size_t i, float y)
{
    if (bf16)
        ((uint16_t *)x)[i] = bf16_of_f32(y);
    else
        ((float *)x)[i] = y;
}

/* fold16 (compute/math.h) of the sums that sixteen neighbouring threads hold; all of a warp call
 * it, and each has its sixteen's result. */
static __device__ __forceinline__ float fold_lanes(float sum)
{
    for (int width = 8; width; width /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, width);
    return sum;
}

#endif
