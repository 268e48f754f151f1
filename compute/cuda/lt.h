/* cuBLASLt behind products.h: what lt.c (the library) and lt_choice.c (who multiplies) share. */
#ifndef COMPUTE_CUDA_LT_H
#define COMPUTE_CUDA_LT_H

#include <cublasLt.h>
#include <stdbool.h>

#include "compute/cuda/products.h"

/* The functions that are looked up. */
#define LT_FUNCTIONS(X)                                                                           \
    X(GetVersion) X(Create) X(Destroy) X(MatmulDescCreate) X(MatmulDescDestroy)                   \
    X(MatmulDescSetAttribute) X(MatrixLayoutCreate) X(MatrixLayoutDestroy)                        \
    X(MatmulPreferenceCreate) X(MatmulPreferenceDestroy) X(MatmulPreferenceSetAttribute)          \
    X(MatmulAlgoGetHeuristic) X(MatmulAlgoConfigGetAttribute) X(MatmulAlgoCheck) X(Matmul)

/* Products that are multiplied alike: of one kind, with one size of w; in fast mode also with about
 * as many tokens. */
struct lt_key { enum product_kind kind; bool add, fast; int sizes[2], tokens; };

struct lt_choice {
    struct lt_key key;
    bool own;                        /* our kernel is as good, or the only one */
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
    int asked;                       /* tokens that it was asked about last, and */
    bool able;
};

struct lt {
#define LT_POINTER(name) __typeof__(cublasLt##name) *name;
    LT_FUNCTIONS(LT_POINTER)
    void *library;                   /* NULL: none */
    cublasLtHandle_t handle;         /* NULL: no library */
    void *workspace;                 /* LT_WORKSPACE bytes from the first product that wants it */
    struct lt_choice *choices;
    int n;
    char about[4096];
};

/* One product as cuBLASLt, which counts columns first, describes it: c^T = b^T a^T. */
struct lt_call {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a;
    cublasLtMatrixLayout_t b;
    cublasLtMatrixLayout_t c;
};

/* lt_call_free after either result. */
cublasStatus_t lt_call_make(const struct lt *lt, struct lt_call *call, const struct product *p);
void lt_call_free(const struct lt *lt, struct lt_call *call);
/* Puts p on the stream, at once. */
cublasStatus_t lt_run(const struct lt *lt, const struct product *p,
                      const cublasLtMatmulAlgo_t *algo, size_t workspace, cudaStream_t stream);
/* Does the algorithm run p with so many bytes? */
bool lt_is_able(const struct lt *lt, const struct product *p, const cublasLtMatmulAlgo_t *algo,
                size_t workspace);
/* Who multiplies products like p, made up now: may run products of its own, and then waits for the
 * stream.  k->error: memory was missing, or a kernel failed. */
struct lt_choice lt_choose(struct compute *k, const struct product *p, const struct lt_key *key);

#endif
