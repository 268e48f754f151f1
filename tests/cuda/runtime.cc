/* See cuda_runtime.h.
 *
 *   cudaLaunchKernel -> queue ... cudaStreamSynchronize -> block by block -> fiber by fiber
 *
 * A fiber gives way where it has to wait for its warp or its block, and goes on when all of them
 * that have not ended wait for the same thing.
 */
#include "tests/cuda/cuda_runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#define STACK (64 << 10)
#define THREADS_MOST 1024
#define WARP 32
#define SHARED (48 << 10)            /* bytes that every kernel may have */
#define SHARED_MOST (227 << 10)      /* that a kernel may ask for */

struct emulated_place emulated_here;

/* ---- switching stacks: swapcontext, which asks the system each time, is twenty times slower */

#ifdef __x86_64__
struct context { void *stack; };

extern "C" void emulated_switch(struct context *from, const struct context *to);
__asm__(".text\n.globl emulated_switch\n.hidden emulated_switch\nemulated_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov (%rsi), %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

/* The next switch to it calls `entry`, which never returns. */
static void begin_context(struct context *c, char *stack, void (*entry)(void))
{
    void **top = (void **)(stack + STACK);

    *--top = NULL;                   /* the stack is 8 off a multiple of 16, as after a call */
    *--top = (void *)entry;
    c->stack = top - 6;
}
#else
#include <ucontext.h>
struct context { ucontext_t u; };

static void emulated_switch(struct context *from, const struct context *to)
{
    swapcontext(&from->u, &to->u);
}

static void begin_context(struct context *c, char *stack, void (*entry)(void))
{
    getcontext(&c->u);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = STACK;
    makecontext(&c->u, entry, 0);
}
#endif

enum state { READY, AT_WARP, AT_BLOCK, ENDED };

struct copy { void *to; const void *from; size_t bytes; };

struct fiber {
    struct context context;
    enum state state;
    uint64_t word;                   /* what a shuffle shows to the others */
    std::deque<std::vector<struct copy>> copies;     /* groups of cp.async; the last one is open */
};

static struct {
    struct fiber fibers[THREADS_MOST];
    struct context outside;
    char *stacks;
    int threads, running;
    const std::function<void()> *kernel;
} block;

static struct uint3 place_of(int thread)
{
    dim3 n = emulated_here.threads;
    unsigned t = (unsigned)thread;

    return { t % n.x, t / n.x % n.y, t / n.x / n.y };
}

/* ---- inside a fiber */

static void give_way(enum state state)
{
    struct fiber *f = &block.fibers[block.running];

    f->state = state;
    emulated_switch(&f->context, &block.outside);
}

void __syncthreads(void)
{
    give_way(AT_BLOCK);
}

void __syncwarp(unsigned)
{
    give_way(AT_WARP);
}

int emulated_lane(void)
{
    return block.running % WARP;
}

uint64_t emulated_exchange(uint64_t word, int from)
{
    int first = block.running / WARP * WARP;

    block.fibers[block.running].word = word;
    give_way(AT_WARP);
    word = block.fibers[first + from % WARP].word;
    give_way(AT_WARP);               /* nobody shows the next word before all have seen this one */
    return word;
}

void emulated_show(const void *p)
{
    block.fibers[block.running].word = (uint64_t)(uintptr_t)p;
    give_way(AT_WARP);
}

const void *emulated_shown(int lane)
{
    return (const void *)(uintptr_t)block.fibers[block.running / WARP * WARP + lane].word;
}

void emulated_hide(void)
{
    give_way(AT_WARP);
}

void emulated_copy(void *to, const void *from, size_t bytes)
{
    auto &copies = block.fibers[block.running].copies;

    if (copies.empty())
        copies.emplace_back();
    copies.back().push_back({ to, from, bytes });
}

void emulated_copies_commit(void)
{
    auto &copies = block.fibers[block.running].copies;

    if (copies.empty())
        copies.emplace_back();
    copies.emplace_back();
}

void emulated_copies_wait(size_t left)
{
    auto &copies = block.fibers[block.running].copies;

    for (; copies.size() > left + 1; copies.pop_front())
        for (const struct copy &c : copies.front())
            c.from ? (void)memcpy(c.to, c.from, c.bytes) : (void)memset(c.to, 0, c.bytes);
}

char *emulated_shared_memory(void)
{
    static __align__(128) char memory[SHARED_MOST];

    return memory;
}

void emulated_fail(const char *why)
{
    fprintf(stderr, "emulated CUDA: %s\n", why);
    abort();
}

static void run_kernel(void)
{
    (*block.kernel)();
    give_way(ENDED);
}

/* ---- the block */

static void begin_fiber(int i)
{
    struct fiber *f = &block.fibers[i];

    begin_context(&f->context, block.stacks + (size_t)i * STACK, run_kernel);
    f->state = READY;
    f->copies.clear();
}

/* If all of [first, end) that have not ended wait in `state`, they go on.  True if any does. */
static bool release(int first, int end, enum state state)
{
    bool any = false;

    for (int i = first; i < end; i++) {
        if (block.fibers[i].state != state && block.fibers[i].state != ENDED)
            return false;
        any |= block.fibers[i].state == state;
    }
    for (int i = first; i < end && any; i++)
        if (block.fibers[i].state == state)
            block.fibers[i].state = READY;
    return any;
}

static bool run_ready(void)
{
    bool any = false;

    for (int i = 0; i < block.threads; i++)
        if (block.fibers[i].state == READY) {
            any = true;
            block.running = i;
            emulated_here.thread = place_of(i);
            emulated_switch(&block.outside, &block.fibers[i].context);
        }
    return any;
}

static void run_block(void)
{
    bool going = true;

    for (int i = 0; i < block.threads; i++)
        begin_fiber(i);
    while (going) {
        going = run_ready();
        for (int i = 0; i < block.threads; i += WARP)
            going |= release(i, i + WARP < block.threads ? i + WARP : block.threads, AT_WARP);
        going |= release(0, block.threads, AT_BLOCK);
    }
    for (int i = 0; i < block.threads; i++)
        if (block.fibers[i].state != ENDED) {
            fprintf(stderr, "emulated CUDA: thread %d of block %u waits for ever: some of its "
                    "block ended or wait elsewhere\n", i, emulated_here.block.x);
            abort();
        }
}

/* ---- the queue */

using jobs = std::deque<std::function<bool()>>;      /* false: it waits for another process */
static jobs queue;
static struct emulated_graph *captured;          /* what the stream captures into */
struct emulated_graph { jobs steps; };

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

/* Garbage where a block finds shared memory that nobody has written. */
static void run_grid(dim3 grid, dim3 threads, size_t shared, const std::function<void()> &kernel)
{
    emulated_here.blocks = grid;
    emulated_here.threads = threads;
    block.threads = (int)(threads.x * threads.y * threads.z);
    block.kernel = &kernel;
    if (!block.stacks)
        block.stacks = (char *)mmap(NULL, (size_t)THREADS_MOST * STACK, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                emulated_here.block = { x, y, z };
                memset(emulated_shared_memory(), 0xff, shared);
                run_block();
            }
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
    keep([=] { run_grid(grid, threads, shared, call); });
    return cudaSuccess;
}

/* As the real one, it cannot be waited for while it captures. */
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    static const char *const broken = getenv("EMULATED_BROKEN");
    static int waits;

    called("cudaStreamSynchronize");
    if (broken && ++waits >= atoi(broken))
        return 214;                  /* uncorrectable ECC error */
    if (captured)
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
    advance();
    return !event->passed || *event->passed ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->passed && !*event->passed)
        cudaStreamSynchronize(NULL);
    return cudaSuccess;
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
    bool refused = getenv("EMULATED_NO_CAPTURE") != NULL;

    called("cudaStreamEndCapture");
    if (refused)
        delete captured;
    *graph = refused ? NULL : captured;
    captured = NULL;
    return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
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
    cudaStreamSynchronize(NULL);
    delete run;
    return cudaSuccess;
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
