/* See products.h: cuBLASLt, which is looked for when the first product asks.  RANKWISE_CUBLASLT
 * names it, or is empty: none.  Without it our own kernels multiply. */
#include "compute/cuda/lt.h"

#include <dlfcn.h>
#include <fenv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef LT_LIBRARIES
#define LT_LIBRARIES "libcublasLt.so.13", "libcublasLt.so.12"
#endif
#define FEW_ROWS 64                  /* up to here our kernels read w at the memory's rate */

/* ---- the library */

static void tell(struct lt *lt, const char *format, ...)
{
    size_t n = strlen(lt->about);
    va_list args;

    va_start(args, format);
    vsnprintf(lt->about + n, sizeof lt->about - n, format, args);
    va_end(args);
}

static void *open_library(void)
{
    static const char *const names[] = { LT_LIBRARIES };
    const char *said = getenv("RANKWISE_CUBLASLT");
    void *library = said && *said ? dlopen(said, RTLD_NOW | RTLD_LOCAL) : NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && names[i] && !said && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

static bool find_functions(struct lt *lt)
{
    bool all = true;

#define LT_FIND(name) all &= (*(void **)&lt->name = dlsym(lt->library, "cublasLt" #name)) != NULL;
    LT_FUNCTIONS(LT_FIND)
    return all;
}

static void open_lt(struct lt *lt)
{
    fenv_t numbers;

    fegetenv(&numbers);              /* what it brings along may change how numbers are rounded */
    lt->library = open_library();
    fesetenv(&numbers);
    if (!lt->library)
        tell(lt, "our kernels multiply: no cuBLASLt was found");
    else if (!find_functions(lt))
        tell(lt, "our kernels multiply: this cuBLASLt lacks a function");
    else if (lt->Create(&lt->handle) != CUBLAS_STATUS_SUCCESS) {
        lt->handle = NULL;
        tell(lt, "our kernels multiply: cuBLASLt does not start");
    } else
        tell(lt, "cuBLASLt %zu", lt->GetVersion());
}

/* NULL (and k->error) without memory. */
static struct lt *lt_of(struct compute *k)
{
    struct cuda *cuda = cuda_of(k);

    if (cuda->lt)
        return cuda->lt;
    cuda->lt = calloc(1, sizeof *cuda->lt);
    if (cuda->lt)
        open_lt(cuda->lt);
    else
        cuda_check(k, cudaErrorMemoryAllocation, "cuBLASLt");
    return cuda->lt;
}

void lt_release(struct compute *k)
{
    struct lt *lt = cuda_of(k)->lt;

    if (!lt)
        return;
    if (lt->handle)
        lt->Destroy(lt->handle);
    cudaFree(lt->workspace);
    if (lt->library)
        dlclose(lt->library);
    free(lt->choices);
    free(lt);
    cuda_of(k)->lt = NULL;
}

void lt_version(struct compute *k, char *text, size_t room)
{
    const struct lt *lt = lt_of(k);
    size_t v = lt && lt->handle ? lt->GetVersion() : 0;

    if (v > 0)
        snprintf(text, room, "cuBLASLt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    else
        snprintf(text, room, "no cuBLASLt");
}

const char *lt_about(struct compute *k)
{
    return cuda_of(k)->lt ? cuda_of(k)->lt->about : "";
}

/* ---- a product */

/* Lines of `stride` elements; as columns they are `high`. */
static cublasStatus_t make_layout(const struct lt *lt, cublasLtMatrixLayout_t *layout,
                                  cudaDataType type, int high, int wide, size_t stride)
{
    return lt->MatrixLayoutCreate(layout, type, (uint64_t)high, (uint64_t)wide, (int64_t)stride);
}

cublasStatus_t lt_call_make(const struct lt *lt, struct lt_call *call, const struct product *p)
{
    bool a_across = p->kind == PRODUCT_WEIGHT, b_across = p->kind != PRODUCT_FORWARD;
    cublasOperation_t of_b = b_across ? CUBLAS_OP_N : CUBLAS_OP_T;   /* cuBLASLt's A */
    cublasOperation_t of_a = a_across ? CUBLAS_OP_T : CUBLAS_OP_N;   /* its B */
    cublasStatus_t s;

    memset(call, 0, sizeof *call);
    s = lt->MatmulDescCreate(&call->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->MatmulDescSetAttribute(call->desc, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->MatmulDescSetAttribute(call->desc, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = make_layout(lt, &call->b, CUDA_R_16BF, b_across ? p->columns : p->steps,
                        b_across ? p->steps : p->columns, p->b.stride);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = make_layout(lt, &call->a, CUDA_R_16BF, a_across ? p->rows : p->steps,
                        a_across ? p->steps : p->rows, p->a.stride);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = make_layout(lt, &call->c, CUDA_R_32F, p->columns, p->rows, (size_t)p->columns);
    return s;
}

void lt_call_free(const struct lt *lt, struct lt_call *call)
{
    if (call->desc)
        lt->MatmulDescDestroy(call->desc);
    if (call->a)
        lt->MatrixLayoutDestroy(call->a);
    if (call->b)
        lt->MatrixLayoutDestroy(call->b);
    if (call->c)
        lt->MatrixLayoutDestroy(call->c);
}

cublasStatus_t lt_run(const struct lt *lt, const struct product *p,
                      const cublasLtMatmulAlgo_t *algo, size_t workspace, cudaStream_t stream)
{
    const float one = 1, add = p->add ? 1 : 0;
    struct lt_call call;
    cublasStatus_t s = lt_call_make(lt, &call, p);

    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->Matmul(lt->handle, call.desc, &one, p->b.data, call.b, p->a.data, call.a, &add,
                       p->c, call.c, p->c, call.c, algo, workspace ? lt->workspace : NULL,
                       workspace, stream);
    lt_call_free(lt, &call);
    return s;
}

bool lt_is_able(const struct lt *lt, const struct product *p, const cublasLtMatmulAlgo_t *algo,
                size_t workspace)
{
    cublasLtMatmulHeuristicResult_t found;
    struct lt_call call;
    bool able = lt_call_make(lt, &call, p) == CUBLAS_STATUS_SUCCESS &&
                lt->MatmulAlgoCheck(lt->handle, call.desc, call.b, call.a, call.c, call.c, algo,
                                    &found) == CUBLAS_STATUS_SUCCESS &&
                found.workspaceSize <= workspace;

    lt_call_free(lt, &call);
    return able;
}

/* Bytes that are put off. */
struct job {
    const struct lt *lt;
    struct product p;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
};

static cudaError_t run_job(cudaStream_t stream, const void *with)
{
    const struct job *j = with;

    return lt_run(j->lt, &j->p, &j->algo, j->workspace, stream) == CUBLAS_STATUS_SUCCESS
           ? cudaSuccess : cudaErrorInvalidValue;
}

/* ---- whose it is */

/* Addresses and sizes that every algorithm takes. */
static bool is_aligned(const struct product *p)
{
    return p->columns % 4 == 0 && (uintptr_t)p->c % 16 == 0 && p->steps > 0;
}

static int bits(int n)
{
    int i = 0;

    while (n >> i)
        i++;
    return i;
}

static struct lt_key key_of(const struct compute *k, const struct product *p)
{
    bool weight = p->kind == PRODUCT_WEIGHT;
    struct lt_key key;

    memset(&key, 0, sizeof key);                     /* it is compared as bytes */
    key.kind = p->kind;
    key.add = p->add;
    key.fast = k->fast;
    key.sizes[0] = weight ? p->rows : p->steps;
    key.sizes[1] = p->columns;
    key.tokens = k->fast ? bits(weight ? p->steps : p->rows) : 0;
    return key;
}

static void tell_choice(struct lt *lt, const struct lt_choice *c)
{
    static const char *const kinds[] = { "y", "dx", "dw" };
    int32_t id = 0;
    uint32_t tile = 0;
    size_t written;

    lt->MatmulAlgoConfigGetAttribute(&c->algo, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written);
    lt->MatmulAlgoConfigGetAttribute(&c->algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile, sizeof tile,
                                     &written);
    tell(lt, "; %s %d x %d%s", kinds[c->key.kind], c->key.sizes[0], c->key.sizes[1],
         c->own ? " ours" : "");
    if (!c->own)
        tell(lt, " algorithm %d, tile %u", id, tile);
    if (c->key.fast)
        tell(lt, ", tokens < %d", 1 << (c->key.tokens < 30 ? c->key.tokens : 30));
}

/* NULL (and k->error) if it cannot be made. */
static struct lt_choice *choice_of(struct compute *k, const struct product *p)
{
    struct lt *lt = cuda_of(k)->lt;
    struct lt_key key = key_of(k, p);
    struct lt_choice *more;

    for (int i = 0; i < lt->n; i++)
        if (memcmp(&lt->choices[i].key, &key, sizeof key) == 0)
            return &lt->choices[i];
    more = realloc(lt->choices, ((size_t)lt->n + 1) * sizeof *more);
    if (!more) {
        cuda_check(k, cudaErrorMemoryAllocation, "choices of products");
        return NULL;
    }
    lt->choices = more;
    more[lt->n] = lt_choose(k, p, &key);
    if (k->error != 0)
        return NULL;
    tell_choice(lt, &more[lt->n]);
    return &more[lt->n++];
}

/* A choice is for other numbers of tokens, too: does it take just so many? */
static bool is_able(const struct lt *lt, const struct product *p, struct lt_choice *c)
{
    int tokens = p->kind == PRODUCT_WEIGHT ? p->steps : p->rows;

    if (tokens != c->asked) {
        c->asked = tokens;
        c->able = lt_is_able(lt, p, &c->algo, c->workspace);
    }
    return c->able;
}

static void put_off(struct compute *k, const struct product *p, const struct lt_choice *c)
{
    struct job job;

    memset(&job, 0, sizeof job);
    job.lt = cuda_of(k)->lt;
    memcpy(&job.p, p, sizeof job.p);
    job.algo = c->algo;
    job.workspace = c->workspace;
    cuda_enqueue(k, "a product by cuBLASLt (RANKWISE_CUBLASLT= does without)", run_job, &job,
                 sizeof job);
}

bool lt_multiply(struct compute *k, const struct product *p)
{
    const struct lt *lt = lt_of(k);
    struct lt_choice *choice;

    if (!lt || !lt->handle || !is_aligned(p))
        return false;
    if (!k->fast && p->kind == PRODUCT_WEIGHT)
        return false;                /* it would add a call's sum to dw, not go on with the chain */
    if (!k->fast && p->kind == PRODUCT_FORWARD && p->rows <= FEW_ROWS)
        return false;                /* ours has the same bits, or else has the others, too */
    choice = choice_of(k, p);
    if (!choice || choice->own)
        return false;
    if (!is_able(lt, p, choice)) {
        if (!k->fast && p->kind == PRODUCT_INPUT)    /* whose bits ours need not have */
            cuda_check(k, cudaErrorInvalidValue, "cuBLASLt refuses as many tokens as a product of "
                       "dx has (RANKWISE_CUBLASLT= does without it)");
        return false;
    }
    put_off(k, p, choice);
    return true;
}
