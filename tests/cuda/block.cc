/* A grid of blocks, one after the other, fiber by fiber; see block.h.
 *
 * A fiber gives way where it has to wait for its warp or its block, and goes on when all of them
 * that have not ended wait for the same thing.
 */
#include "tests/cuda/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <deque>
#include <vector>

#define STACK (64 << 10)
#define WARP 32

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

/* Garbage where a block finds shared memory that nobody has written. */
void emulated_run(dim3 grid, dim3 threads, size_t shared, const std::function<void()> &kernel)
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
