/* The part of it that C may include. */
#include "tests/cuda/cuda_runtime.h"
