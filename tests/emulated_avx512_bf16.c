/* See emulated.h. */
#include "tests/emulated.h"

#include "compute/cpu/avx512_bf16.c"
