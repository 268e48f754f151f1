/* The tensor cores' own words, for warps of 32 lanes (PTX ISA: mma.sync m16n8k16, ldmatrix,
 * cp.async; sm_80 and later).  All lanes of a warp call mma and ldmatrix together.
 *
 *   c(16,8) += a(16,16) b(16,8)      bf16 factors, fp32 sums; of lane l, with r = l / 4, q = l % 4:
 *
 *     a[0]: row r,     k 2q, 2q+1      a[2]: row r,     k 2q+8, 2q+9       two to a word, the
 *     a[1]: row r + 8, k 2q, 2q+1      a[3]: row r + 8, k 2q+8, 2q+9       first in its lower half
 *     b[0]: k 2q, 2q+1, column r       b[1]: k 2q+8, 2q+9, column r
 *     c[0], c[1]: row r, columns 2q, 2q+1      c[2], c[3]: row r + 8
 *
 * An element of c depends on its row of a, its column of b, itself, and on nothing else: that is
 * what keeps a row's bits for every M.  How the device rounds inside of the sum is its own affair:
 * its bits are those of one model of GPU, and beside ref/ there is a bound.
 */
#ifndef COMPUTE_CUDA_TENSOR_H
#define COMPUTE_CUDA_TENSOR_H

#include "compute/cuda/launch.h"

#ifdef __CUDACC__

static __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4],
                                           const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* An address of shared memory as ldmatrix and cp.async take it. */
static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Four 8 x 8 matrices of bf16 from shared memory: `row` of lane 8 i + j is row j of matrix i (16
 * bytes, aligned to 16).  x[i] of lane l: row l / 4, elements 2 (l % 4) and the next, of matrix i;
 * transposed: column l / 4, rows 2 (l % 4) and the next. */
static __device__ __forceinline__ void ldmatrix(uint32_t (&x)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared_address(row)) : "memory");
}

static __device__ __forceinline__ void ldmatrix_transposed(uint32_t (&x)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared_address(row)) : "memory");
}

/* Sixteen bytes to shared memory, later: both aligned to 16.  Not `real`: zeros, nothing is read.
 * They are there, for this thread, after copy_wait; for its block after __syncthreads then. */
static __device__ __forceinline__ void copy_async(void *to, const void *from, bool real)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(real ? 16 : 0) : "memory");
}

/* What was begun since the last one is a group. */
static __device__ __forceinline__ void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most LEFT groups are under way. */
template <int LEFT> static __device__ __forceinline__ void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
}

/* Rounded to nearest even; the first in the lower half. */
static __device__ __forceinline__ uint32_t pack_bf16(float first, float second)
{
    uint32_t word;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
}

/* The launch's shared memory, beyond what `__shared__` names: launch_shared says how much. */
#define SHARED_MEMORY(name) extern __shared__ __align__(128) char name[]

#else                                /* without a device: tests/cuda/block.cc */

static inline float emulated_product(uint32_t a, uint32_t b, int half)
{
    return f32_of_bf16((uint16_t)(a >> 16 * half)) * f32_of_bf16((uint16_t)(b >> 16 * half));
}

static inline void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    struct factors { uint32_t a[4], b[2]; } mine = { { a[0], a[1], a[2], a[3] }, { b[0], b[1] } };
    const struct factors *rows[4], *columns[2][4];
    int l = emulated_lane();

    emulated_show(&mine);
    for (int q = 0; q < 4; q++) {
        rows[q] = (const struct factors *)emulated_shown(l / 4 * 4 + q);
        for (int e = 0; e < 2; e++)
            columns[e][q] = (const struct factors *)emulated_shown((l % 4 * 2 + e) * 4 + q);
    }
    for (int i = 0; i < 4; i++) {
        double sum = c[i];

        for (int k = 0; k < 16; k++)
            sum += (double)emulated_product(rows[k % 8 / 2]->a[k / 8 * 2 + i / 2],
                                            columns[i % 2][k % 8 / 2]->b[k / 8], k % 2);
        c[i] = (float)sum;
    }
    emulated_hide();
}

static inline void emulated_matrices(uint32_t (&x)[4], const void *row, bool transposed)
{
    int l = emulated_lane();

    if ((uintptr_t)row % 16)
        emulated_fail("ldmatrix: an address that is not a multiple of 16");
    emulated_show(row);
    for (int i = 0; i < 4; i++) {
        uint16_t pair[2];

        for (int e = 0; e < 2; e++) {
            int r = transposed ? l % 4 * 2 + e : l / 4, c = transposed ? l / 4 : l % 4 * 2 + e;

            pair[e] = ((const uint16_t *)emulated_shown(8 * i + r))[c];
        }
        x[i] = pair[0] | (uint32_t)pair[1] << 16;
    }
    emulated_hide();
}

static inline void ldmatrix(uint32_t (&x)[4], const void *row)
{
    emulated_matrices(x, row, false);
}

static inline void ldmatrix_transposed(uint32_t (&x)[4], const void *row)
{
    emulated_matrices(x, row, true);
}

static inline void copy_async(void *to, const void *from, bool real)
{
    if ((uintptr_t)to % 16 || (real && (uintptr_t)from % 16))
        emulated_fail("cp.async: an address that is not a multiple of 16");
    emulated_copy(to, real ? from : NULL, 16);
}

static inline void copy_commit(void)
{
    emulated_copies_commit();
}

template <int LEFT> static inline void copy_wait(void)
{
    emulated_copies_wait(LEFT);
}

static inline uint32_t pack_bf16(float first, float second)
{
    return bf16_of_f32(first) | (uint32_t)bf16_of_f32(second) << 16;
}

#define SHARED_MEMORY(name) char *name = emulated_shared_memory()

#endif

#endif
