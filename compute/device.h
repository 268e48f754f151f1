/* The door to librankwise_cuda.so, which is looked for when the program runs: one build serves
 * machines with and without a GPU. */
#ifndef COMPUTE_DEVICE_H
#define COMPUTE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

struct compute;

/* What the shared object has from the program. */
struct device_host {
    int (*error)(int code, const char *format, ...);     /* rl_error */
};

/* What is told of the GPUs. */
#define DEVICES_MOST 16              /* others are not told of */
struct device_card {
    char name[64];
    int major, minor;                /* compute capability */
    size_t bytes;                    /* of memory */
    bool shares;                     /* memory with the processor, while both work: needed */
    unsigned reaches;                /* bit i: the memory of card i, without the host's */
};
struct device_about {
    int driver, runtime;             /* 1000 major + 10 minor */
    int cards;
    struct device_card card[DEVICES_MOST];
};

/* What is told of the one that a rank has; all zeros: none. */
struct device_self {
    char uuid[16];                   /* no other GPU's, wherever */
    /* What decides results beside the program: the GPU's model, its multiprocessors, cuBLASLt,
     * which is opened to know it.  "": they are the processor's. */
    char bits[192];
};

/* What it gives: the one symbol that is looked up is `const struct device_door rankwise_cuda`. */
struct device_door {
    unsigned abi;                    /* DEVICE_ABI of its build */
    /* GPUs that can be used; below 1: `why` says why there is none. */
    int (*count)(const char **why);
    /* Make every operation of k the GPU's, on device number `index`; 0 or a code, one line. */
    int (*fill)(struct compute *k, const struct device_host *host, int index);
    int (*allocate)(void **block, size_t bytes);     /* zeroed, for kernels and the processor */
    void (*release)(void *p);
    void (*about)(struct device_about *about);
    void (*self)(struct compute *k, struct device_self *self);
};
#define DEVICE_ABI 7u

/* See device_door.fill; memory_open's blocks are the GPU's from then on.  The ranks of a host take
 * the GPUs that they see in turn.  A launcher that gives each rank a CUDA_VISIBLE_DEVICES of its
 * own leaves it one, which has number 0 then, whatever the rank: it is the one that is taken.
 * RL_EINVAL if there is none. */
int device_fill(struct compute *k);
/* Another symbol of the object that device_fill has opened; NULL: it has none. */
const void *device_symbol(const char *name);
/* Only what compute_open_sizes promises, without a GPU; RL_OK. */
int device_fill_sizes(struct compute *k);

/* Bytes of memory of a card of DEVICE_CARDS, in any case; 0: unknown. */
#define DEVICE_CARDS "A100-40, A100-80, H100, H200, L4, L40S"
size_t device_memory(const char *card);

/* Told of k's. */
void device_tell(struct compute *k, struct device_self *self);

/* Told of the GPUs, without taking one; false: none can be used, *why says why, no line. */
bool device_about(struct device_about *about, const char **why);

#endif
