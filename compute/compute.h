/* The arithmetic of the transformer, forward and backward side by side.  THIS HEADER IS THE
 * DEFINITION OF THE NUMERICS: ref/ is the same in plain C, every CPU variant gives ref's bits.
 *
 *   struct compute *k;
 *   TRY(compute_open(&k, "cpu", threads));
 *   k->matmul_forward(k, y, x, w, NULL, M, N, K);
 *   TRY(compute_sync(k));           -- kernels return nothing; the first failure sticks
 *   compute_close(k);
 *
 * Rules behind all of it (docs/numerics.md):
 * - Every output of a matrix product is one chain of fused multiply-adds over k ascending, starting
 *   from +0 or, where the line says +=, from what is there.  No split of k; threads divide outputs.
 * - With COMPUTE_BF16 the operands of these products are rounded to bf16 first, and the chain goes
 *   by pairs of steps 2i and 2i + 1, the odd one first: compute/bf16.h.  What a pair lacks is +0.
 *   The tensor cores of "cuda" have bits of their own instead (docs/numerics.md, "GPU"): chains of
 *   steps of 16, whose bits, too, are those of a row of x or dy and a column of w or x alone.
 * - An activation of type void * is as the dtype stores it: fp32, or (COMPUTE_BF16) bf16, rounded
 *   once where it is made.  Everything else is fp32.
 * - A sum over channels or vocabulary puts element i into lane i mod 16, ascending, then folds
 *   lanes 8, 4, 2, 1 (lane i += lane i + 8, then + 4, ...).  `fold16` in math.h.
 * - exp, log, sin, cos are those of compute/math.h, never libm's.
 * - Rows are ragged and packed: row n is tokens start[n] .. start[n+1]; positions count from the
 *   row's start.  N rows, T tokens, C channels, V vocabulary, H query heads, G key/value heads
 *   (H = G * group), D head size.
 * - The gradient of x is dx and is added to (+=).
 * - On a GPU operations return before they are done.  Arrays of int, the words of `sample`, dlogp
 *   and dentropy of lse_backward are the processor's memory, read when the operation is called;
 *   all others are planned memory (base/memory.h), which both reach.
 * - One struct compute serves one calling thread at a time; its scratch memory grows on first use.
 */
#ifndef COMPUTE_COMPUTE_H
#define COMPUTE_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"

#define KEY_BLOCK 32       /* keys in a block of attention, positions in a page of the cache */
#define VOCAB_BLOCK 512    /* vocabulary ids in one block of log-sum-exp */
#define PACK_ROWS 32       /* rows of w in one packed panel */
#define SLOT_STEP 16       /* slots of tokens in one step of the tensor cores */

/* Running log-sum-exp of one row of logits: max, sum of exp(z - max), sum of exp(z - max) * z. */
struct lse { float max, sum, weighted; };

/* The key/value cache of one layer: pages of KEY_BLOCK positions.  Keys of a page:
 * [G][D][KEY_BLOCK] (positions are the lanes); values of a page: [G][KEY_BLOCK][D].
 * COMPUTE_BF16: two positions share a word, the first in its lower half, so that one load brings
 * the lanes of both; keys [G][D][KEY_BLOCK / 2] of positions i and i + KEY_BLOCK / 2, values
 * [G][KEY_BLOCK / 2][D] of positions 2i and 2i + 1. */
struct pages {
    float *keys, *values;          /* page p begins at p * page_floats() */
};

/* Rows that are being extended: row n adds tokens start[n] .. start[n+1] at positions
 * position[n], position[n]+1, ...; its pages are table[n * table_stride + i], with
 * i = position / KEY_BLOCK. */
struct extend {
    int N;
    const int *start;              /* (N+1) */
    const int *position;           /* (N) tokens already in the cache */
    const int *table;
    int table_stride;
};

/* What attends: H query heads of D channels over G key/value heads, and the window: a query at
 * position p sees keys p - window + 1 .. p of its row; 0: all up to itself. */
struct attention_shape { int H, G, D, window; };

/* The first key that a query with `upto` keys up to itself sees. */
ON_DEVICE static inline int first_seen(int window, int upto)
{
    return window > 0 && upto > window ? upto - window : 0;
}

/* What a gate goes through in glu_forward. */
enum activation { ACT_SILU, ACT_GELU_TANH };

struct adamw {
    float lr, beta1, beta2, eps, weight_decay;
    float correction1, correction2;    /* 1 - beta^t, from repeated multiplication in double */
    int eps_inside;                    /* torch: sqrt(v / correction2) + eps; tf: eps outside the
                                        * bias correction */
    float scale;                       /* factor on the gradient (clipping) */
};

/* temperature 0: greedy.  top_k 0, top_p 1, min_p 0 are off.  Filters apply in the order of the
 * Hugging Face library: temperature, top_k, top_p, min_p. */
struct sampling { float temperature; int top_k; float top_p, min_p; };
static inline bool sampling_filters(const struct sampling *s)
{
    return s->top_k > 0 || s->top_p < 1.0f || s->min_p > 0.0f;
}

/* A rank's largest calls, by which the scratch memory of a GPU's kernels is planned. */
struct compute_load {
    int tokens, pass_rows;         /* T of a pass with gradients, and its rows, at most */
    int heads, D;                  /* of its attention */
    int features;                  /* of the widest dy(T, features) */
    int tile_rows, tile_ids;       /* of logits and their gradient */
    int forward, odd;              /* T of any pass; the widest x of no multiple of 8 features */
    int channels, widest;          /* of any product: the model's, and the most */
    int ids;                       /* of any logits at one time */
    bool fast;                     /* as below */
    int rows, vocabulary;          /* of sample */
};

/* Of the operands of matrix products and of stored activations; everything else is fp32. */
enum compute_dtype { COMPUTE_FP32, COMPUTE_BF16 };

/* Bytes of a stored element. */
static inline size_t stored_bytes(enum compute_dtype dtype)
{
    return dtype == COMPUTE_BF16 ? 2 : 4;
}

/* Element i of a stored array. */
static inline const void *stored_at(enum compute_dtype dtype, const void *x, size_t i)
{
    return (const char *)x + i * stored_bytes(dtype);
}

/* Floats of a page's keys, and of its values. */
static inline size_t page_floats(enum compute_dtype dtype, int G, int D)
{
    return (size_t)G * (size_t)D * KEY_BLOCK * stored_bytes(dtype) / sizeof(float);
}

struct compute {
    const char *name;              /* "ref", "cpu-plain", "cpu-avx2", "cpu-avx512", ... */
    enum compute_dtype dtype;
    int threads;
    bool fast;                     /* products may take the fastest way, in which M changes bits */
    int error;                     /* first failure since the last compute_sync */
    void *impl;
    void *device;                  /* a GPU's, else NULL; and of it: */
    size_t device_room;            /* bytes of its memory that were free when it was open */
    struct workspace *workspace;   /* of all passes, base/workspace.h; NULL: each has its own */
    struct compute_load *load;     /* while memory is counted: of all passes so far; else NULL */
    void (*wait)(struct compute *k);             /* until every operation is done */
    void (*release)(struct compute *k);
    size_t (*scratch_bytes)(struct compute *k, const struct compute_load *load);
    void (*reserve)(struct compute *k, const struct compute_load *load);
    void (*begin)(struct compute *k);            /* compute_begin, compute_end */
    void (*end)(struct compute *k);
    const char *(*about)(struct compute *k);     /* what it chose, in words for a log; or NULL */

    /* ---- matrix products: w is (N,K) as Hugging Face stores it; packed is its packed form or
     * NULL.  Rows n0 (a multiple of PACK_ROWS) onwards of a packed w begin at
     * packed + packed_size(k, n0, K).  packed_size is in floats; 0: this backend needs none. */
    size_t (*packed_size)(struct compute *k, int N, int K);
    void (*pack)(struct compute *k, float *packed, const float *w, int N, int K);
    /* y(M,N) = x(M,K) w^T */
    void (*matmul_forward)(struct compute *k, float *y, const void *x, const float *w,
                           const float *packed, int M, int N, int K);
    /* dx(M,K) += dy(M,N) w: chain over n ascending */
    void (*matmul_backward_input)(struct compute *k, float *dx, const float *dy, const float *w,
                                  const float *packed, int M, int N, int K);
    /* dw(N,K) = dy^T x, or += (add): chain over the M tokens ascending, from 0 or from dw.
     * slot(M), ascending, bf16: tokens of slots 2i and 2i + 1 are a pair, a token without its
     * neighbour meets a zero.  NULL: slots 0 .. M.  A row's slots begin at a multiple of SLOT_STEP,
     * and no call ends within a step, so that what is summed together does not depend on what else
     * is in the batch. */
    void (*matmul_backward_weight)(struct compute *k, float *dw, const float *dy, const void *x,
                                   const int *slot, int M, int N, int K, bool add);

    /* ---- dw[token] += dy(T,C), tokens in order.  Forward it is a gather. */
    void (*embedding_backward)(struct compute *k, float *dw, const float *dy, const int *tokens,
                               int T, int C);

    /* ---- y(T,C) = x * rstd * w with rstd(T) = 1 / sqrt(mean(x^2) + eps): x * rstd is rounded,
     * then * w.  Backward, with h = x * rstd and g = dy * w both rounded:
     * dx += rstd * (g - h * mean(g * h)); dw += dy * h, tokens in order. */
    void (*rmsnorm_forward)(struct compute *k, void *y, float *rstd, const float *x,
                            const float *w, float eps, int T, int C);
    void (*rmsnorm_backward)(struct compute *k, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int T, int C);

    /* ---- rotary, half split, in place: x(T,heads,D); table(positions, D/2, {cos, sin}).
     * (a, b) -> (a cos - b sin, b cos + a sin), a = x[i], b = x[i + D/2]: the second product is
     * rounded, the first is fused.  Backward is the transpose. */
    void (*rotary_forward)(struct compute *k, float *x, const float *table, const int *position,
                           int T, int heads, int D);
    void (*rotary_backward)(struct compute *k, float *dx, const float *table, const int *position,
                            int T, int heads, int D);

    /* y(n) = x, as it is stored */
    void (*store)(struct compute *k, void *y, const float *x, size_t n);

    /* ---- causal attention on ragged rows: q(T,H,D), key and value (T,G,D), o(T,H,D),
     * stats(T,H,2) = final (max, sum).  Per query and block of KEY_BLOCK keys, cut from key 0 of
     * the row whatever the window: s = chain over d, then * 1/sqrt(D); block max over visible keys;
     * m' = max(m, block); a = exp(m - m'); l *= a (16 lanes), o *= a; p = exp(s - m'); p goes to
     * lane key mod 16 of l; o = chain over keys of fma(p, v, o).  At the end l is folded and o is
     * divided by it.  A block without a visible key does nothing: a window's first block is the
     * one with its first key. */
    void (*attention_forward)(struct compute *k, void *o, float *stats, const float *q,
                              const void *key, const void *value, const int *start, int N,
                              struct attention_shape shape);
    /* delta = sum over d of do * o as stored (fold16); p = exp(s - max) / sum;
     * ds = p * (dp - delta) * 1/sqrt(D); dq chain over keys; dkey, dvalue chains over queries,
     * heads of a group in order. */
    void (*attention_backward)(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const void *key,
                               const void *value, const void *o, const float *stats,
                               const int *start, int N, struct attention_shape shape);
    /* The same, keys and values in pages: first store the new keys and values (T,G,D), then attend.
     * Equal to attention_forward to the bit, for any cut of a row into calls.  Pages behind the
     * window of a row's first new token are not read, but for the one beside its first page where
     * "cuda" takes two as one block. */
    void (*pages_store)(struct compute *k, struct pages pages, const void *key,
                        const void *value, const struct extend *rows, int G, int D);
    void (*pages_attend)(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape shape);

    /* ---- SwiGLU and GeGLU: y = act(gate) * up with act(x) = x / (1 + exp(-u)), and
     *   silu       u = x
     *   gelu_tanh  u = x * fma(x^2, GELU_C3, GELU_C1) (math.h): x (1 + tanh(u / 2)) / 2 is the same
     * Backward, with s = 1 / (1 + exp(-u)): dup += dy * (gate * s),
     * dgate += (dy * up) * (s * fma(x u', 1 - s, 1)), x u' = x of silu, and of gelu_tanh
     * x * fma(x^2, 3 GELU_C3, GELU_C1).  What is added is fused. */
    void (*glu_forward)(struct compute *k, void *y, const float *gate, const float *up, size_t n,
                        enum activation act);
    void (*glu_backward)(struct compute *k, float *dgate, float *dup, const float *dy,
                         const float *gate, const float *up, size_t n, enum activation act);
    void (*add)(struct compute *k, float *y, const float *x, size_t n);      /* y += x */
    /* y += x, then x = 0, in n different rows of C floats */
    void (*fold_rows)(struct compute *k, float *y, float *x, const int *row, int n, int C);

    /* ---- memory, in the order of the operations; multiples of two bytes, nothing overlaps.
     * gather: the i-th `bytes` of y are the from[i]-th of x. */
    void (*zero)(struct compute *k, void *y, size_t bytes);
    void (*copy)(struct compute *k, void *y, const void *x, size_t bytes);
    void (*gather)(struct compute *k, void *y, const void *x, const int *from, int n,
                   size_t bytes);

    /* ---- log-probabilities from blocks of logits z(T,n) for ids v0 .. v0+n, v0 a multiple of
     * VOCAB_BLOCK; blocks come in order, and v0 = 0 starts `state` anew.  z is first divided by
     * temperature, in place (1: untouched).  Online rule per VOCAB_BLOCK: as attention's, the
     * block's two sums, of p and of p * (z - max), folded by fold16, then sum = sum * a + block,
     * weighted = (weighted + (old max - max) * sum) * a + block (each fused).  target_logit[t] is
     * set when its id is in the block; a target of -1 never is. */
    void (*lse_forward)(struct compute *k, struct lse *state, float *target_logit, float *z,
                        const int *targets, float temperature, int v0, int n, int T);
    /* logp(T) = target - max - log(sum); entropy(T) = log(sum) - weighted / sum, in double,
     * rounded once.  entropy may be NULL. */
    void (*lse_finish)(struct compute *k, float *logp, float *entropy, const struct lse *state,
                       const float *target_logit, int T);
    /* z(T,n), already divided by temperature, becomes its gradient:
     * dz = (dlogp * (1[v == target] - p) - dentropy * p * (log p + H)) / temperature.
     * dentropy may be NULL. */
    void (*lse_backward)(struct compute *k, float *z, const struct lse *state, const int *targets,
                         const float *dlogp, const float *dentropy, float temperature, int v0,
                         int n, int T);
    /* p(V) = exp(z / temperature - max) / sum of one whole row, blocks as above; z is kept. */
    void (*softmax)(struct compute *k, float *p, const float *z, float temperature, int V);
    /* token(R) from rows of logits z(R,V), kept, or all from one row z(V) (same); word(R): a random
     * word each.  Probabilities become integer masses, so that the token does not depend on any
     * order of summation:
     *   mass(v)   = floor(softmax(z / temperature)[v] * 2^40)
     *   order     = logit descending, id ascending on equality
     *   top_k     keeps the first top_k of the order
     *   top_p     keeps the smallest prefix whose mass reaches floor(top_p * mass kept so far)
     *   min_p     keeps mass >= floor(min_p * largest mass)
     *   token     = the first id at which the running mass exceeds (kept mass * word) >> 32
     * Always an id below V, also for logits that are not numbers: the caller checks those. */
    void (*sample)(struct compute *k, int *token, const float *z, bool same,
                   const struct sampling *set, const uint32_t *word, int R, int V);

    /* ---- flat buffers */
    void (*adamw)(struct compute *k, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a);
    /* sum(chunks, K (K + 1) / 2): inner products of K buffers (n), i <= j in order, in double over
     * a chunk of HASH_CHUNK elements each (the last may be shorter), 16 lanes.  The array of
     * pointers and the sums are the processor's memory; the sums are there when it returns. */
    void (*gram)(struct compute *k, double *sum, const float *const *g, int K, size_t n);
};

/* Until every operation is done: before the processor reads what one wrote, or writes what one may
 * yet read.  compute_sync waits, too. */
static inline void compute_wait(struct compute *k)
{
    if (k->wait)
        k->wait(k);
}

/* Also true of what compute_open_sizes gives. */
static inline bool compute_is_gpu(const struct compute *k)
{
    return k->scratch_bytes != NULL;
}

/* Bytes of scratch memory that kernels take beside what is planned elsewhere: a GPU's; processors
 * have theirs on first use, a few MiB. */
static inline size_t compute_scratch(struct compute *k, const struct compute_load *load)
{
    return k->scratch_bytes ? k->scratch_bytes(k, load) : 0;
}

/* Take it now: memory that is short shows at the start. */
static inline void compute_reserve(struct compute *k, const struct compute_load *load)
{
    if (k->reserve)
        k->reserve(k, load);
}

/* A pass that comes again and again, as in decoding: operations between begin and end may be put
 * off until end, and a pass that was seen before with the same sizes and arrays costs a GPU one
 * launch (a CUDA graph).  What the processor hands over may differ each time.  A wait in between is
 * fine, and does away with the saving. */
static inline void compute_begin(struct compute *k)
{
    if (k->begin)
        k->begin(k);
}

static inline void compute_end(struct compute *k)
{
    if (k->end)
        k->end(k);
}

#define COMPUTE_NAMES "auto, cpu, ref, cpu-plain, cpu-avx2, cpu-avx512, cpu-avx512-bf16, cuda, " \
    "cuda-chain"
/* name: of COMPUTE_NAMES; "auto" and "cpu" are the best this processor runs, the others are forced.
 * "cuda" in bf16 is the GPU's tensor cores, with bits of their own; "cuda-chain", slow, and either
 * in fp32, have the processor's.
 * dtype: "fp32" or "bf16".  threads >= 1.  RL_EINVAL for an unknown word or a name that this
 * machine cannot run. */
int compute_open(struct compute **k, const char *name, const char *dtype, int threads);
/* For `plan`: packed_size and compute_scratch can be asked, nothing else; no GPU need be there. */
int compute_open_sizes(struct compute **k, const char *name, const char *dtype);
void compute_close(struct compute *k);
int compute_sync(struct compute *k);            /* the first failure since the last call */

/* How rows longer than a model was first trained on turn more slowly.  ROPE_LINEAR: every frequency
 * over `factor`.  ROPE_LLAMA3, as Hugging Face has it for Llama 3.1: with r the turns that a
 * frequency makes in `original` positions, those of r < low over `factor`, of r > high as they are,
 * between the two a mean, of weights high - r and r - low. */
struct rope_scaling {
    enum { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 } kind;
    double factor, low, high;
    int original;
};

/* table(positions, D/2, {cos, sin}) of theta^(-2i/D), scaled, * position, in double, rounded
 * once. */
void rotary_table(float *table, int positions, int D, double theta,
                  const struct rope_scaling *scaling);

#endif
