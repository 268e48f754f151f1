/* See cuda.h.  What the host hands over goes to one of two rings:
 *
 *   | staged, perhaps not yet copied | free ...  |      when it is full the stream is waited for,
 *   0                                ^ used             and the other one has its turn
 *
 * so that what one operation staged before is still there.
 */
#include "compute/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "compute/cuda/products.h"
#include "compute/cuda/sizes.h"

/* A GPU that is broken or gone is a loss: the run may start again, on what is left. */
static int code_of(cudaError_t error)
{
    switch ((int)error) {
    case 2:                              /* memory allocation */
        return RL_ENOFIT;
    case 46:                             /* unavailable: another process has it for itself */
    case 214: case 220:                  /* uncorrectable: ECC, NVLink */
    case 702: case 714: case 721:        /* launch timeout, hardware stack, contained */
    case 999:                            /* unknown, which a GPU off its bus is */
        return RL_ELOST;
    default:
        return RL_EBUG;
    }
}

static const struct device_host *host_of_memory;         /* who opened the GPU */

static int say(const struct device_host *host, cudaError_t error, const char *what)
{
    char gpu[32] = "";
    int device = 0;

    if (code_of(error) == RL_ELOST && cudaGetDevice(&device) == cudaSuccess)
        cudaDeviceGetPCIBusId(gpu, sizeof gpu, device);
    return host->error(code_of(error), "GPU%s%s: %s: %s", gpu[0] ? " " : "", gpu, what,
                       cudaGetErrorString(error));
}

void cuda_check(struct compute *k, cudaError_t error, const char *what)
{
    if (error != cudaSuccess && k->error == RL_OK)
        k->error = say(cuda_of(k)->host, error, what);
}

void cuda_drain(struct compute *k)
{
    cuda_sequence_flush(k);
    cuda_check(k, cudaStreamSynchronize(cuda_of(k)->stream), "waiting for the kernels");
}

static void wait(struct compute *k)
{
    cuda_drain(k);
    cuda_of(k)->ring[cuda_of(k)->turn].used = 0;
}

void cuda_area_free(struct cuda_area *area)
{
    cudaFreeHost(area->at);
    cudaFree(area->there);
    *area = (struct cuda_area){ 0 };
}

bool cuda_area_grow(struct compute *k, struct cuda_area *area, size_t bytes)
{
    void *at = NULL, *there = NULL;

    area->used = 0;
    if (bytes <= area->size)
        return true;
    cuda_area_free(area);
    cuda_check(k, cudaHostAlloc(&at, bytes, cudaHostAllocDefault), "pinned memory");
    cuda_check(k, cudaMalloc(&there, bytes), "memory for what the host hands over");
    *area = (struct cuda_area){ .at = at, .there = there };
    area->size = at && there ? bytes : 0;
    return area->size > 0;
}

/* The other ring, empty and with room for bytes; NULL: no memory. */
static struct cuda_area *turn_rings(struct compute *k, size_t bytes)
{
    struct cuda *cuda = cuda_of(k);
    struct cuda_area *ring = &cuda->ring[cuda->turn ^= 1];

    cuda_drain(k);
    return cuda_area_grow(k, ring, 8 * bytes > CUDA_RING ? 8 * bytes : CUDA_RING) ? ring : NULL;
}

static const void *stage_in_ring(struct compute *k, const void *from, size_t bytes)
{
    size_t room = (bytes + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
    struct cuda *cuda = cuda_of(k);
    struct cuda_area *ring = &cuda->ring[cuda->turn];
    size_t at;

    if (ring->size - ring->used < room && !(ring = turn_rings(k, room)))
        return NULL;
    at = ring->used;
    memcpy(ring->at + at, from, bytes);
    cuda_check(k, cudaMemcpyAsync(ring->there + at, ring->at + at, bytes, cudaMemcpyDefault,
                                  cuda->stream), "what the host hands over");
    ring->used += room;
    return ring->there + at;
}

const void *cuda_stage(struct compute *k, const void *from, size_t bytes)
{
    const void *there = bytes > 0 ? cuda_sequence_stage(k, from, bytes) : NULL;

    return there || bytes == 0 ? there : stage_in_ring(k, from, bytes);
}

static void *grow(struct compute *k, void **at, size_t *size, size_t bytes, const char *what)
{
    if (bytes > *size) {
        cuda_drain(k);
        cudaFree(*at);
        *at = NULL;
        cuda_check(k, cudaMallocManaged(at, bytes, cudaMemAttachGlobal), what);
        *size = *at ? bytes : 0;
    }
    return *at;
}

void *cuda_scratch(struct compute *k, size_t bytes)
{
    struct cuda *cuda = cuda_of(k);

    return grow(k, &cuda->scratch, &cuda->scratch_size, bytes, "scratch");
}

void *cuda_trial(struct compute *k, size_t bytes)
{
    struct cuda *cuda = cuda_of(k);

    return grow(k, &cuda->trial, &cuda->trial_size, bytes, "a check of products");
}

static void reserve(struct compute *k, const struct compute_load *load)
{
    cuda_scratch(k, cuda_taken_bytes(k, load));
    cuda_trial(k, cuda_trial_bytes(k, load));
    for (int i = 0; i < 2; i++)
        cuda_area_grow(k, &cuda_of(k)->ring[i], CUDA_RING);
    compute_begin(k);                /* takes the area of sequences */
    compute_end(k);
}

static void release(struct compute *k)
{
    struct cuda *cuda = cuda_of(k);

    cuda_sequence_close(k);
    cuda_area_free(&cuda->ring[0]);
    cuda_area_free(&cuda->ring[1]);
    lt_release(k);
    cudaFree(cuda->scratch);
    cudaFree(cuda->trial);
    if (cuda->stream)
        cudaStreamDestroy(cuda->stream);
    free(cuda);
    k->device = NULL;
}

static int count(const char **why)
{
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);

    *why = error != cudaSuccess ? cudaGetErrorString(error) : "no GPU";
    return error == cudaSuccess ? n : 0;
}

static bool shares_memory(int index)
{
    int shares = 0;

    return cudaDeviceGetAttribute(&shares, cudaDevAttrConcurrentManagedAccess, index) ==
           cudaSuccess && shares;
}

static void about_card(struct device_card *card, int index, int cards)
{
    struct cudaDeviceProp p;

    *card = (struct device_card){ .name = "unknown", .shares = shares_memory(index) };
    if (cudaGetDeviceProperties(&p, index) == cudaSuccess) {
        memcpy(card->name, p.name, sizeof card->name - 1);
        card->major = p.major;
        card->minor = p.minor;
        card->bytes = p.totalGlobalMem;
    }
    for (int i = 0, can = 0; i < cards; i++)
        if (i != index && cudaDeviceCanAccessPeer(&can, index, i) == cudaSuccess && can)
            card->reaches |= 1u << i;
}

static void about(struct device_about *a)
{
    const char *why;
    int n = count(&why);

    *a = (struct device_about){ .cards = n < DEVICES_MOST ? n : DEVICES_MOST };
    cudaDriverGetVersion(&a->driver);
    cudaRuntimeGetVersion(&a->runtime);
    for (int i = 0; i < a->cards; i++)
        about_card(&a->card[i], i, a->cards);
}

static void about_self(struct compute *k, struct device_self *self)
{
    struct cudaDeviceProp p = { .name = "unknown" };
    size_t n;
    int device = 0;

    if (cudaGetDevice(&device) == cudaSuccess)
        cudaGetDeviceProperties(&p, device);
    memcpy(self->uuid, &p.uuid, sizeof self->uuid);
    if (!cuda_tensor(k))
        return;
    snprintf(self->bits, sizeof self->bits, "%.80s with %d multiprocessors and ", p.name,
             cuda_of(k)->processors);
    n = strlen(self->bits);
    lt_version(k, self->bits + n, sizeof self->bits - n);
}

static int fill(struct compute *k, const struct device_host *host, int index)
{
    struct cuda *cuda;
    size_t whole;

    if (!shares_memory(index))
        return host->error(RL_EINVAL, "device = \"cuda\": GPU %d cannot share memory with the "
                           "processor while it runs; use another, or device = \"cpu\"", index);
    cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return host->error(RL_ENOFIT, "no memory for the GPU's backend");
    cuda->host = host_of_memory = host;
    k->device = cuda;
    k->wait = wait;
    k->scratch_bytes = cuda_scratch_bytes;
    k->reserve = reserve;
    k->release = release;
    cuda_check(k, cudaSetDevice(index), "opening the GPU");
    cuda_check(k, cudaDeviceGetAttribute(&cuda->processors, cudaDevAttrMultiProcessorCount, index),
               "its multiprocessors");
    cuda_check(k, cudaDeviceGetAttribute(&cuda->shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                         index), "its shared memory");
    cuda_check(k, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking), "its stream");
    cuda_sequence_open(k);
    cuda_check(k, cudaMemGetInfo(&k->device_room, &whole), "its memory");
    cuda_fill_flat(k);
    cuda_fill_rows(k);
    cuda_fill_norm(k);
    cuda_fill_matmul(k);
    cuda_fill_attention(k);
    cuda_fill_attention_backward(k);
    if (cuda_tensor(k)) {
        cuda_fill_products(k);
        cuda_fill_flash(k);
        cuda_fill_flash_backward(k);
    }
    cuda_fill_lse(k);
    cuda_fill_sample(k);
    return k->error;
}

#if CUDART_VERSION >= 13000
static cudaError_t advise(void *p, size_t bytes, enum cudaMemoryAdvise advice, int device)
{
    struct cudaMemLocation at = { device < 0 ? cudaMemLocationTypeHost : cudaMemLocationTypeDevice,
                                  device < 0 ? 0 : device };

    return cudaMemAdvise(p, bytes, advice, at);
}

static cudaError_t prefetch(void *p, size_t bytes, int device)
{
    struct cudaMemLocation at = { cudaMemLocationTypeDevice, device };

    return cudaMemPrefetchAsync(p, bytes, at, 0, NULL);
}
#else
static cudaError_t advise(void *p, size_t bytes, enum cudaMemoryAdvise advice, int device)
{
    return cudaMemAdvise(p, bytes, advice, device < 0 ? cudaCpuDeviceId : device);
}

static cudaError_t prefetch(void *p, size_t bytes, int device)
{
    return cudaMemPrefetchAsync(p, bytes, device, NULL);
}
#endif

/* Lives on the GPU: pages come there now, and come back there after the processor touched them,
 * which maps them where the machine can. */
static cudaError_t settle(void *p, size_t bytes)
{
    int device;
    cudaError_t error = cudaGetDevice(&device);

    if (error == cudaSuccess)
        error = advise(p, bytes, cudaMemAdviseSetPreferredLocation, device);
    if (error == cudaSuccess)
        error = advise(p, bytes, cudaMemAdviseSetAccessedBy, -1);
    if (error == cudaSuccess)
        error = prefetch(p, bytes, device);
    if (error == cudaSuccess)
        error = cudaMemset(p, 0, bytes);
    return error == cudaSuccess ? cudaDeviceSynchronize() : error;
}

/* Managed memory would not run short: it would go to and fro. */
static int allocate(void **block, size_t bytes)
{
    size_t room, whole;
    cudaError_t error = cudaMemGetInfo(&room, &whole);

    *block = NULL;
    if (error == cudaSuccess && bytes > room)
        return RL_ENOFIT;
    if (error == cudaSuccess)
        error = cudaMallocManaged(block, bytes, cudaMemAttachGlobal);
    if (error == cudaSuccess)
        error = settle(*block, bytes);
    if (error == cudaSuccess)
        return RL_OK;
    cudaFree(*block);
    *block = NULL;
    return code_of(error) == RL_ENOFIT ? RL_ENOFIT : say(host_of_memory, error, "memory");
}

static void give_back(void *p)
{
    cudaFree(p);
}

__attribute__((visibility("default")))
const struct device_door rankwise_cuda = { DEVICE_ABI, count, fill, allocate, give_back,
                                         about, about_self };
