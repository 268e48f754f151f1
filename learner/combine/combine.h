/* How the gradients of K objectives become one, from their inner products only.
 *
 *   k->gram(k, pieces, g, K, n);                       what this rank holds of the K gradients
 *   ... gather the pieces of all ranks, in order of the flat buffer ...
 *   gram_sum(pieces, n, K, H);                         H(K,K), H_ij = <g_i, g_j>
 *   combine_solve(combine_find("raco"), H, w, K, &settings, a, &report);
 *   G0 = sum_i a_i g_i                                 the gradient of sum_i a_i L_i, a constant
 *
 * H must come from *global* gradients: reduce first, then take inner products.  Equal H gives equal
 * a, to the bit, on every rank.
 *
 *   rule            a                                                              source
 *   weighted_sum    w                                                              -
 *   cagrad          w + (s / |G_p|) p, p = argmin <G_p, g0> + s |G_p|, s = c |g0|  2110.14048
 *   raco            the same with min(p, w) in place of p, element by element      2602.02495
 *   mgda            argmin |G_p| over the simplex                                  Desideri 2012
 *   pcgrad          conflicting parts projected away one after another             2001.06782
 *
 * with g0 = sum w_i g_i and G_p = sum p_i g_i.  Nothing here is collective or allocates.
 */
#ifndef LEARNER_COMBINE_COMBINE_H
#define LEARNER_COMBINE_COMBINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "compute/compute.h"
#include "learner/losses/loss.h"

#define COMBINE_MAX OBJECTIVES_MOST     /* up to 8 are solved exactly, more by descent */

/* How a came about.  From C_ZERO to FALLBACK a is w, bit for bit. */
enum combine_path {
    COMBINE_SOLVED,
    COMBINE_C_ZERO,             /* no correction asked for: c = 0, or one objective (k1_is_dpo) */
    COMBINE_ZERO_GRADIENTS,
    COMBINE_ZERO_ANCHOR,        /* g0 is nothing beside the largest gradient */
    COMBINE_ZERO_MIXTURE,       /* the correction has no direction */
    COMBINE_FALLBACK,           /* no solution passed its certificate */
    COMBINE_SKIP,               /* an entry of H is not finite: skip the step; a is 0 */
};

enum combine_rescale { RESCALE_NONE, RESCALE_LINEAR, RESCALE_SQUARE };  /* a / (1+c), / (1+c^2) */
enum pcgrad_sum { PCGRAD_WEIGHTED, PCGRAD_MEAN, PCGRAD_TOTAL };

struct combine_settings {
    double c;                   /* radius of the correction, 0 <= c < 1 */
    bool clip;                  /* raco; cagrad never clips */
    bool clip_guard;            /* no clipping where it lowers the cosine with g0 */
    bool k1_is_dpo;             /* one objective: c = 0 */
    bool skip_empty;            /* objectives without a gradient stay out of the minimum */
    enum combine_rescale rescale;       /* of a solved correction */
    enum pcgrad_sum pcgrad;     /* sum_i w_i v_i, the mean of v_i, or their sum */
    uint64_t seed;              /* of pcgrad's orders, drawn for each step */
    uint32_t step;
};

/* What a solve found; p, mix and decrease have K elements. */
struct combine_report {
    enum combine_path path;
    bool guarded;               /* the guard kept the unclipped mixture */
    int steps;                  /* of mirror descent; 0: not needed */
    double p[COMBINE_MAX];      /* the minimum; a itself where the rule has none */
    double mix[COMBINE_MAX];    /* p after clipping */
    double decrease[COMBINE_MAX];       /* H a: first-order decrease of each loss */
    double phi;                 /* value at p: <G_p, g0> + s |G_p|; mgda: |G_p|^2 */
    double gap;                 /* duality gap at p over max H_ii; 0 where there is none */
    double g0_norm, mix_norm, update_norm;
    double rho;                 /* cosine of g0 and the mixture; NAN without one */
    double min_decrease;
};

struct combine {
    const char *name;
    bool mixes;                 /* has a p of its own */
    /* H is symmetric, finite and its largest diagonal entry is 1; report is zeroed. */
    void (*solve)(const double *H, const double *w, int K, const struct combine_settings *set,
                  double *a, struct combine_report *report);
};
extern const struct combine combines[];         /* ends with name NULL */
const struct combine *combine_find(const char *name);

/* a (K) from H (K,K) and w (K), w in the simplex, 1 <= K <= COMBINE_MAX.  Scaling H by any factor
 * leaves a as it is. */
void combine_solve(const struct combine *rule, const double *H, const double *w, int K,
                   const struct combine_settings *set, double *a, struct combine_report *report);

/* PCGrad (Yu et al. 2020, algorithm 1) with given orders: order (K, K-1) lists for each objective
 * the others as they are visited. */
void pcgrad_in_order(const double *H, const double *w, int K, const int *order,
                     enum pcgrad_sum sum, double *a);

/* ---- gram.c: partial sums over chunks of HASH_CHUNK elements of the flat buffer */

static inline size_t gram_terms(int K)
{
    return (size_t)K * ((size_t)K + 1) / 2;
}

/* Where the piece of the elements [from, to) ends that begins at `from`: at the next multiple of
 * HASH_CHUNK, or at `to`. */
size_t gram_piece_end(size_t from, size_t to);
/* H (K,K) = the sum in order of n pieces, (n, gram_terms) as compute.h's gram makes them.  Pieces
 * of shards in the order of the flat buffer give the same bits for any number of shards that end at
 * multiples of HASH_CHUNK. */
void gram_sum(const double *pieces, size_t n, int K, double *H);

/* ---- sketch.c: CountSketch, E <Sx, Sy> = <x, y>, variance <= (|x|^2 |y|^2 + <x, y>^2) / m */

/* Where global element `index` goes and with which sign. */
size_t sketch_place(uint64_t seed, uint64_t index, size_t m, double *sign);
/* sketch (m) += S v: element 0 of v (n) is global element `first`.  Linear in v. */
void sketch_add(double *sketch, size_t m, uint64_t seed, size_t first, const float *v, size_t n);
/* H (K,K) from K sketches (K, m). */
void sketch_gram(const double *sketches, int K, size_t m, double *H);

#endif
