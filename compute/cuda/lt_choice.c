/* Who multiplies, cuBLASLt or we, by what rule:
 *
 *   reproducible   its first algorithm that needs no workspace and splits no chain, if a row then
 *                  has the same bits among 1, 8, 64 and 4,096, wherever it is; forward also ours,
 *                  whose kernels for few rows it shares a run with.  This depends on the GPU's
 *                  model and the library alone.
 *   fast           what takes the least time, ours included
 *
 * Without a workspace there is no stream-K either, which keeps its parts there.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compute/cuda/lt.h"
#include "compute/cuda/sizes.h"

#define CANDIDATES 16
#define ROWS ((int)LT_ROWS)          /* rows of the check, */
#define COLUMNS ((int)LT_COLUMNS)    /* of at most so many columns, */
#define MOST ((int)LT_ALONE)         /* and of so many rows by themselves */
#define TIMES 5                      /* a candidate's turns that are timed */

static const struct probe { int at, rows; } probes[] = {
    { 0, 1 }, { 1, 1 }, { 777, 1 }, { ROWS - 1, 1 }, { 0, 8 }, { 3, 8 }, { ROWS - 8, 8 },
    { 0, 64 }, { 5, 64 }, { 2001, 64 }, { ROWS - 64, 64 }, { 9, 2 }, { 31, 17 }, { 70, 100 },
    { 129, 256 }, { 1025, MOST },
};
#define PROBES (sizeof probes / sizeof *probes)

/* ---- candidates */

struct candidates { cublasLtMatmulHeuristicResult_t of[CANDIDATES]; int n; };

/* What may be asked for, and that addresses are multiples of 16 bytes only. */
static cublasStatus_t prefer(const struct lt *lt, cublasLtMatmulPreference_t *pref, bool fast)
{
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    };
    uint64_t workspace = fast ? LT_WORKSPACE : 0;
    uint32_t scheme = fast ? CUBLASLT_REDUCTION_SCHEME_MASK : CUBLASLT_REDUCTION_SCHEME_NONE;
    uint32_t bytes = 16;
    cublasStatus_t s = lt->MatmulPreferenceCreate(pref);

    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->MatmulPreferenceSetAttribute(*pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                             &workspace, sizeof workspace);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = lt->MatmulPreferenceSetAttribute(*pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &scheme, sizeof scheme);
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned && s == CUBLAS_STATUS_SUCCESS; i++)
        s = lt->MatmulPreferenceSetAttribute(*pref, aligned[i], &bytes, sizeof bytes);
    return s;
}

static void find_candidates(const struct lt *lt, const struct product *p, bool fast,
                            struct candidates *c)
{
    cublasLtMatmulPreference_t pref = NULL;
    struct lt_call call;
    cublasStatus_t s = lt_call_make(lt, &call, p);

    c->n = 0;
    if (s == CUBLAS_STATUS_SUCCESS)
        s = prefer(lt, &pref, fast);
    if (s == CUBLAS_STATUS_SUCCESS &&
        lt->MatmulAlgoGetHeuristic(lt->handle, call.desc, call.b, call.a, call.c, call.c, pref,
                                   CANDIDATES, c->of, &c->n) != CUBLAS_STATUS_SUCCESS)
        c->n = 0;
    if (pref)
        lt->MatmulPreferenceDestroy(pref);
    lt_call_free(lt, &call);
}

/* Neither parts of a chain nor memory to keep them in. */
static bool is_one_chain(const struct lt *lt, const cublasLtMatmulHeuristicResult_t *r)
{
    int32_t split = 0;
    uint32_t scheme = 0;
    size_t n;

    return r->state == CUBLAS_STATUS_SUCCESS && r->workspaceSize == 0 &&
           lt->MatmulAlgoConfigGetAttribute(&r->algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split,
                                            sizeof split, &n) == CUBLAS_STATUS_SUCCESS &&
           lt->MatmulAlgoConfigGetAttribute(&r->algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                            &scheme, sizeof scheme, &n) == CUBLAS_STATUS_SUCCESS &&
           split <= 1 && scheme == CUBLASLT_REDUCTION_SCHEME_NONE;
}

/* ---- the check of rows */

/* A product of ROWS rows like the one that asks, of made-up numbers. */
struct scene {
    struct product all;
    uint16_t *a, *b;
    float *first, *c, *part;         /* first: what c begins with */
};

/* The next bytes of *at, from which it moves on. */
static void *take(char **at, size_t bytes)
{
    void *here = *at;

    *at += (bytes + CUDA_SLACK - 1) / CUDA_SLACK * CUDA_SLACK;
    return here;
}

/* Of both signs and sixteen binary orders. */
static uint16_t made_up(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint16_t)((*state >> 16 & 0x807fu) | (112u + (*state >> 28)) << 7);
}

static void fill_factor(uint16_t *x, size_t lines, size_t stride, int width, uint32_t seed)
{
    for (size_t i = 0; i < lines; i++)
        for (size_t j = 0; j < stride; j++)
            x[i * stride + j] = j < (size_t)width ? made_up(&seed) : 0;
}

/* false (and k->error): no memory.  a's lines are rows. */
static bool scene_make(struct compute *k, const struct product *p, struct scene *s)
{
    bool across = p->kind != PRODUCT_FORWARD;
    int columns = p->columns < COLUMNS ? p->columns : COLUMNS;
    size_t lines = (size_t)(across ? p->steps : columns), n = ROWS * (size_t)columns;
    size_t a = ROWS * p->a.stride * sizeof *s->a, b = lines * p->b.stride * sizeof *s->b;
    size_t c = n * sizeof *s->c, part = MOST * (size_t)columns * sizeof *s->part;
    char *at = cuda_trial(k, a + b + 2 * c + part + 5 * CUDA_SLACK);
    uint32_t seed = 3;

    *s = (struct scene){ .all = *p };
    s->all.rows = ROWS;
    s->all.columns = columns;
    if (!at)
        return false;
    s->all.a.data = s->a = take(&at, a);
    s->all.b.data = s->b = take(&at, b);
    s->first = take(&at, c);
    s->all.c = s->c = take(&at, c);
    s->part = take(&at, part);
    fill_factor(s->a, ROWS, p->a.stride, p->steps, 1);
    fill_factor(s->b, lines, p->b.stride, across ? columns : p->steps, 2);
    for (size_t i = 0; i < n; i++)
        s->first[i] = (float)(int16_t)made_up(&seed) * 0x1p-12f;
    return true;
}

/* Rows of the scene by themselves. */
static struct product part_of(const struct scene *s, const struct probe *probe)
{
    struct product p = s->all;

    p.rows = probe->rows;
    p.a.data += (size_t)probe->at * p.a.stride;
    p.c = s->part;
    return p;
}

static const float *first_of(const struct scene *s, const struct probe *probe)
{
    return s->first + (size_t)probe->at * (size_t)s->all.columns;
}

/* c = first, then the product by that algorithm, or (NULL) by our kernel; waits. */
static bool run(struct compute *k, const struct product *p, const float *first,
                const cublasLtMatmulAlgo_t *algo)
{
    size_t bytes = (size_t)p->rows * (size_t)p->columns * sizeof *first;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

    memcpy(p->c, first, bytes);      /* the stream is empty */
    if (algo)
        status = lt_run(cuda_of(k)->lt, p, algo, 0, cuda_of(k)->stream);
    else
        products_own(k, p);
    compute_wait(k);
    return status == CUBLAS_STATUS_SUCCESS && k->error == 0;
}

/* Do these rows have the bits that they have among all? */
static bool is_same(struct compute *k, const struct scene *s, const struct probe *probe,
                    const cublasLtMatmulAlgo_t *algo)
{
    struct product p = part_of(s, probe);
    size_t columns = (size_t)p.columns, bytes = (size_t)p.rows * columns * sizeof *p.c;

    return (!algo || lt_is_able(cuda_of(k)->lt, &p, algo, 0)) &&
           run(k, &p, first_of(s, probe), algo) &&
           memcmp(p.c, s->c + (size_t)probe->at * columns, bytes) == 0;
}

static bool keeps_rows(struct compute *k, const struct scene *s, const cublasLtMatmulAlgo_t *algo)
{
    bool same = lt_is_able(cuda_of(k)->lt, &s->all, algo, 0) && run(k, &s->all, s->first, algo);

    for (size_t i = 0; same && i < PROBES; i++)
        same = is_same(k, s, &probes[i], algo);
    if (s->all.kind == PRODUCT_FORWARD)              /* ours, of few rows and of more */
        for (size_t i = 0; same && i < PROBES; i++)
            same = is_same(k, s, &probes[i], NULL);
    return same;
}

static struct lt_choice choose_same(struct compute *k, const struct product *p,
                                    const struct lt_key *key)
{
    const struct lt *lt = cuda_of(k)->lt;
    struct lt_choice choice = { .key = *key, .own = true };
    struct product whole = *p;
    struct candidates c;
    struct scene s;

    compute_wait(k);                 /* a sequence that is open ends here */
    whole.rows = ROWS;
    if (scene_make(k, p, &s)) {
        find_candidates(lt, &whole, false, &c);
        for (int i = 0; i < c.n && choice.own && k->error == 0; i++)
            if (is_one_chain(lt, &c.of[i]) && keeps_rows(k, &s, &c.of[i].algo)) {
                choice.own = false;
                choice.algo = c.of[i].algo;
            }
    }
    return choice;
}

/* ---- the fastest */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of TIMES products, after one more; below 0: it cannot. */
static double time_of(struct compute *k, const struct product *p,
                      const cublasLtMatmulHeuristicResult_t *r)
{
    double begin = 0;

    for (int i = 0; i <= TIMES; i++) {
        if (!r)
            products_own(k, p);
        else if (lt_run(cuda_of(k)->lt, p, &r->algo, r->workspaceSize, cuda_of(k)->stream) !=
                 CUBLAS_STATUS_SUCCESS)
            return -1;
        if (i == 0) {
            compute_wait(k);
            begin = seconds();
        }
    }
    compute_wait(k);
    return seconds() - begin;
}

static struct lt_choice choose_fastest(struct compute *k, const struct product *p,
                                       const struct lt_key *key)
{
    struct lt *lt = cuda_of(k)->lt;
    struct lt_choice choice = { .key = *key, .own = true };
    struct product trial = *p;
    struct candidates c;
    double least, t;

    compute_wait(k);                 /* a sequence that is open ends here */
    trial.rows = p->rows < ROWS ? p->rows : ROWS;
    trial.columns = p->columns < COLUMNS ? p->columns : COLUMNS;
    trial.c = cuda_trial(k, (size_t)trial.rows * (size_t)trial.columns * sizeof *p->c);
    if (!lt->workspace)
        cuda_check(k, cudaMallocManaged(&lt->workspace, LT_WORKSPACE, cudaMemAttachGlobal),
                   "a workspace for products");
    find_candidates(lt, &trial, true, &c);
    least = time_of(k, &trial, NULL);
    for (int i = 0; i < c.n && k->error == 0; i++) {
        if (c.of[i].state != CUBLAS_STATUS_SUCCESS ||
            !lt_is_able(lt, p, &c.of[i].algo, LT_WORKSPACE))
            continue;
        t = time_of(k, &trial, &c.of[i]);
        if (t < 0 || t >= least)
            continue;
        least = t;
        choice.own = false;
        choice.algo = c.of[i].algo;
        choice.workspace = LT_WORKSPACE;
    }
    return choice;
}

struct lt_choice lt_choose(struct compute *k, const struct product *p, const struct lt_key *key)
{
    return key->fast ? choose_fastest(k, p, key) : choose_same(k, p, key);
}
