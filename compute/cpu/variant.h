/* What a variant's file includes before it switches its instruction set on, and two words for the
 * compiler.  The kernels only reach full speed when short loops over a tile are unrolled, so that a
 * tile lives in registers. */
#ifndef COMPUTE_CPU_VARIANT_H
#define COMPUTE_CPU_VARIANT_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "compute/cpu/cpu.h"
#include "compute/math.h"

#define ALIGNED __attribute__((aligned(64)))
#if defined(SANITIZED)               /* slow anyway, and unrolled checks take minutes to compile */
#define INLINE static inline
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#endif

#endif
