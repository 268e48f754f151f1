/* Stands in for cuBLASLt: writes each call to the file that EMULATED_LT_CALLS names, a line each,
 * and multiplies on the processor when its turn on the emulated stream comes.  EMULATED_LT is what
 * is wrong with it, in words:
 *
 *   rows     a row's bits depend on how many there are
 *   other    they do not, but are not those of our kernels
 *   split    it only knows algorithms that cut chains, or want a workspace
 *   slow     it takes its time
 *   broken   its products fail;   dead: it does not even start
 *
 * Algorithm 0 cuts chains in two, where that was not ruled out; algorithm 1 does not.
 */
#include "tests/cuda/cublasLt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/bf16.h"

struct cublasLtContext { int alive; };
struct cublasLtMatmulDescOpaque { cublasOperation_t of_a, of_b; };
struct cublasLtMatrixLayoutOpaque { cudaDataType type; size_t rows, cols, ld; };
struct cublasLtMatmulPreferenceOpaque { uint64_t workspace; uint32_t schemes, bytes[4]; };

static int made;                     /* descriptions that are alive */

static bool is_wrong(const char *word)
{
    const char *said = getenv("EMULATED_LT");

    return said && strcmp(said, word) == 0;
}

static void note(const char *call, long long n)
{
    const char *path = getenv("EMULATED_LT_CALLS");
    FILE *f = path ? fopen(path, "a") : NULL;

    if (!f)
        return;
    fprintf(f, "%s %lld\n", call, n);
    fclose(f);
}

static cublasStatus_t make(void *at, size_t size)
{
    void *p = calloc(1, size);

    memcpy(at, &p, sizeof p);
    made += p != NULL;
    return p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

static cublasStatus_t unmake(void *p)
{
    free(p);
    made--;
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    note("create", 0);
    return is_wrong("dead") ? CUBLAS_STATUS_NOT_INITIALIZED : make(handle, sizeof **handle);
}

/* Products that were put on the stream: a graph may run them again. */
struct job {
    struct job *next;
    struct cublasLtMatmulDescOpaque desc;
    struct cublasLtMatrixLayoutOpaque a, b, c;
    const uint16_t *A, *B;
    const float *C;
    float *D, beta;
    int parts;
};
static struct job *jobs;

/* Notes how many descriptions were forgotten. */
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    for (struct job *next; jobs; jobs = next) {
        next = jobs->next;
        free(jobs);
    }
    unmake(handle);
    note("destroy", made);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType scale)
{
    return compute == CUBLAS_COMPUTE_32F && scale == CUDA_R_32F ? make(desc, sizeof **desc)
                                                                : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    return unmake(desc);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attr,
                                              const void *value, size_t size)
{
    if (size != sizeof(cublasOperation_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(attr == CUBLASLT_MATMUL_DESC_TRANSA ? &desc->of_a : &desc->of_b, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    cublasStatus_t s = make(layout, sizeof **layout);

    if (s == CUBLAS_STATUS_SUCCESS)
        **layout = (struct cublasLtMatrixLayoutOpaque){ type, rows, cols, (size_t)ld };
    return s;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    return unmake(layout);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref)
{
    cublasStatus_t s = make(pref, sizeof **pref);

    if (s == CUBLAS_STATUS_SUCCESS)
        (*pref)->schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
    return s;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref)
{
    return unmake(pref);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *value, size_t size)
{
    bool workspace = attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    bool schemes = attr == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK;

    if (size != (workspace ? sizeof pref->workspace : sizeof pref->schemes))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(workspace ? (void *)&pref->workspace : schemes ? &pref->schemes
           : &pref->bytes[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, size);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- algorithms: data[0] is which, data[1] in how many parts chains are cut */

static cublasLtMatmulHeuristicResult_t result_of(uint64_t which, uint64_t parts, size_t workspace)
{
    cublasLtMatmulHeuristicResult_t r = { .workspaceSize = workspace };

    r.algo.data[0] = which;
    r.algo.data[1] = parts;
    return r;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
    cublasLtMatmulPreference_t pref, int most, cublasLtMatmulHeuristicResult_t results[],
    int *count)
{
    (void)handle, (void)desc, (void)a, (void)b, (void)d;
    note("heuristic", (long long)c->cols);
    *count = 0;
    for (int i = 0; i < 4; i++)
        if (pref->bytes[i] != 16)            /* what is not said is taken for 256 */
            return CUBLAS_STATUS_INVALID_VALUE;
    if (most < 2)
        return CUBLAS_STATUS_INVALID_VALUE;
    results[(*count)++] = result_of(0, 2, pref->workspace ? 1024 : 0);
    if (!is_wrong("split"))
        results[(*count)++] = result_of(1, 1, 0);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attr,
                                                    void *value, size_t size, size_t *written)
{
    int32_t n = attr == CUBLASLT_ALGO_CONFIG_SPLITK_NUM ? (int32_t)algo->data[1]
                : attr == CUBLASLT_ALGO_CONFIG_ID ? (int32_t)algo->data[0] : 0;

    if (size != sizeof n)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(value, &n, sizeof n);
    *written = sizeof n;
    return CUBLAS_STATUS_SUCCESS;
}

/* op(A) is (m,k), op(B) (k,n), C and D (m,n): what a wrong description would not be. */
static bool fits(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                 cublasLtMatrixLayout_t c)
{
    size_t m = desc->of_a == CUBLAS_OP_T ? a->cols : a->rows;
    size_t k = desc->of_a == CUBLAS_OP_T ? a->rows : a->cols;
    size_t n = desc->of_b == CUBLAS_OP_T ? b->rows : b->cols;

    return m == c->rows && n == c->cols && k == (desc->of_b == CUBLAS_OP_T ? b->cols : b->rows) &&
           a->ld >= a->rows && b->ld >= b->rows && c->ld >= c->rows && a->ld % 8 == 0 &&
           b->ld % 8 == 0 && a->type == CUDA_R_16BF && b->type == CUDA_R_16BF &&
           c->type == CUDA_R_32F;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    (void)handle, (void)d;
    *result = result_of(algo->data[0], algo->data[1], 0);
    return fits(desc, a, b, c) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* ---- products */

static float factor(const uint16_t *x, const struct cublasLtMatrixLayoutOpaque *l,
                    cublasOperation_t op, size_t row, size_t col)
{
    return f32_of_bf16(op == CUBLAS_OP_T ? x[row * l->ld + col] : x[col * l->ld + row]);
}

/* Steps [from, end) as the emulated tensor cores take them; step 16 is the whole of "other". */
static float chain(const struct job *j, size_t row, size_t col, size_t from, size_t end,
                   size_t step)
{
    float sum = 0;

    for (size_t first = from; first < end; first += step) {
        double part = (double)sum;

        for (size_t k = first; k < end && k < first + step; k++)
            part += (double)factor(j->A, &j->a, j->desc.of_a, row, k) *
                    (double)factor(j->B, &j->b, j->desc.of_b, k, col);
        sum = (float)part;
    }
    return sum;
}

static void multiply(void *with)
{
    const struct job *j = with;
    size_t K = j->desc.of_a == CUBLAS_OP_T ? j->a.rows : j->a.cols;
    bool other = is_wrong("other") || (is_wrong("rows") && j->c.cols > 32);
    size_t cut = j->parts == 2 ? K / 2 : K;

    for (size_t col = 0; col < j->c.cols; col++)
        for (size_t row = 0; row < j->c.rows; row++) {
            size_t at = col * j->c.ld + row;
            float sum = chain(j, row, col, 0, cut, other ? 7 : 16) +
                        chain(j, row, col, cut, K, 16);

            j->D[at] = j->beta == 0 ? sum : sum + j->beta * j->C[at];
        }
    if (is_wrong("slow"))
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                              const void *alpha, const void *A, cublasLtMatrixLayout_t a,
                              const void *B, cublasLtMatrixLayout_t b, const void *beta,
                              const void *C, cublasLtMatrixLayout_t c, void *D,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t size, cudaStream_t stream)
{
    struct job *job;

    (void)handle, (void)d;
    note("matmul", (long long)c->cols);
    if (is_wrong("broken") || !fits(desc, a, b, c) || *(const float *)alpha != 1 ||
        (algo->data[1] > 1 && size > 0 && !workspace))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    job = malloc(sizeof *job);
    if (!job)
        return CUBLAS_STATUS_EXECUTION_FAILED;
    *job = (struct job){ jobs, *desc, *a, *b, *c, A, B, C, D, *(const float *)beta,
                         (int)algo->data[1] };
    jobs = job;
    return cudaLaunchHostFunc(stream, multiply, job) == cudaSuccess
           ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
