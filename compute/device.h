/* The door to librankwise_cuda.so, which is looked for when the program runs: one build serves
 * machines with and without a GPU. */
#ifndef COMPUTE_DEVICE_H
#define COMPUTE_DEVICE_H

#include <stddef.h>

struct compute;

/* What the shared object has from the program. */
struct device_host {
    int (*error)(int code, const char *format, ...);     /* rl_error */
};

/* What it gives: the one symbol that is looked up is `const struct device_door rankwise_cuda`. */
struct device_door {
    unsigned abi;                    /* DEVICE_ABI of its build */
    /* GPUs that can be used; below 1: `why` says why there is none. */
    int (*count)(const char **why);
    /* Make every operation of k the GPU's, on device number `index`; 0 or a code, one line. */
    int (*fill)(struct compute *k, const struct device_host *host, int index);
    void *(*allocate)(size_t bytes); /* zeroed, for kernels and the processor; or NULL */
    void (*release)(void *p);
};
#define DEVICE_ABI 2u

/* See device_door.fill; the ranks of a host take its GPUs in turn.  RL_EINVAL if there is none. */
int device_fill(struct compute *k);
/* Another symbol of the object that device_fill has opened; NULL: it has none. */
const void *device_symbol(const char *name);
/* Only what compute_open_sizes promises, without a GPU; RL_OK. */
int device_fill_sizes(struct compute *k);

/* Bytes of memory of a card of DEVICE_CARDS, in any case; 0: unknown. */
#define DEVICE_CARDS "A100-40, A100-80, H100, H200, L4, L40S"
size_t device_memory(const char *card);

#endif
