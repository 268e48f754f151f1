/* Kernels of cuda_runtime.h, on the processor: what block.cc does for runtime.cc. */
#ifndef TESTS_CUDA_BLOCK_H
#define TESTS_CUDA_BLOCK_H

#include "tests/cuda/cuda_runtime.h"

#define THREADS_MOST 1024            /* of a block */
#define SHARED_MOST (227 << 10)      /* bytes of shared memory that a kernel may ask for */

/* Returns when all threads of all blocks have ended; `shared` bytes begin as garbage. */
void emulated_run(dim3 grid, dim3 threads, size_t shared, const std::function<void()> &kernel);

#endif
