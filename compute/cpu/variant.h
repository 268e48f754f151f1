/* What a variant's file includes before it switches its instruction set on, how it does so, and two
 * words for the compiler.  The kernels only reach full speed when short loops over a tile are
 * unrolled, so that a tile lives in registers. */
#ifndef COMPUTE_CPU_VARIANT_H
#define COMPUTE_CPU_VARIANT_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "compute/cpu/cpu.h"
#include "compute/math.h"

#define ALIGNED __attribute__((aligned(64)))
#if defined(SANITIZED) || defined(EMULATED)     /* slow anyway, and takes minutes to compile */
#define INLINE static inline
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Functions between the two are compiled for these instructions; EMULATED (tests/emulated.h): for
 * those that the compiler was told, the intrinsics are functions. */
#define PRAGMA(words) _Pragma(#words)
#if defined(EMULATED)
#define INSTRUCTIONS_BEGIN(set)
#define INSTRUCTIONS_END
#elif defined(__clang__)
#define INSTRUCTIONS_BEGIN(set)                                                                   \
    PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define INSTRUCTIONS_END PRAGMA(clang attribute pop)
#else
#define INSTRUCTIONS_BEGIN(set) PRAGMA(GCC push_options) PRAGMA(GCC target(set))
#define INSTRUCTIONS_END PRAGMA(GCC pop_options)
#endif

#endif
