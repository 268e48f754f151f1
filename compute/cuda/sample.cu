/* Draws of tokens from integer masses (compute.h): a block of threads a row.  Sums of integers have
 * no order, so that threads may add them as they come.
 *
 * A draw finds the segment of the ids in which the running mass is reached, then looks in it.  The
 * cut of top_k and top_p is found as a radix sort finds it, eight bits of the order at a time:
 * which of 256 bins holds the token at which the running weight reaches what is needed? */
#include "compute/cuda/lse.h"
#include "compute/sample.h"

using wide = unsigned long long;     /* what atomicAdd takes */

/* Smaller comes first: highest logit, then lowest id. */
static __device__ __forceinline__ uint64_t order_of(float z, int id)
{
    uint32_t u = bits_of_f32(z + 0.0f);          /* -0 as +0 */

    u = u & 0x80000000u ? u : ~u & 0x7fffffffu;  /* descending */
    return (uint64_t)u << 32 | (uint32_t)id;
}

static __device__ __forceinline__ uint64_t mass_of(float p)
{
    return p > 0.0f ? (uint64_t)(int64_t)(p * MASS_ONE) : 0;
}

#define SEGMENTS 1024                /* of a row's ids, at most: each is a warp's */
#define BINS 256
#define WARP 32
static_assert(BLOCK >= BINS && BLOCK % WARP == 0, "a thread a bin, whole warps");

/* What a row's threads share. */
struct draw {
    wide count[BINS], mass[ROW_BLOCK], segment[SEGMENTS], total, largest;
    wide best;                       /* the complement of the first in the order */
    uint64_t last;                   /* in the order, that is kept */
    uint64_t prefix, need;
    int first, token;
};

static __device__ __forceinline__ bool is_kept(const struct draw *d, float z, int id)
{
    return d->last == UINT64_MAX || order_of(z, id) <= d->last;
}

/* All threads: bins of the next byte of the order, over ids up to `last` that begin with prefix. */
static __device__ void fill_bins(struct draw *d, const float *z, const float *p, int V, int shift)
{
    if (threadIdx.x < BINS)
        d->count[threadIdx.x] = d->mass[threadIdx.x] = 0;
    __syncthreads();
    for (int v = (int)threadIdx.x; v < V; v += (int)blockDim.x) {
        uint64_t at = order_of(z[v], v);

        if (at > d->last || (shift < 56 && at >> (shift + 8) != d->prefix >> (shift + 8)))
            continue;
        atomicAdd(&d->count[at >> shift & 0xff], 1ull);
        atomicAdd(&d->mass[at >> shift & 0xff], (wide)mass_of(p[v]));
    }
    __syncthreads();
}

/* The order of the token at which the running weight, a count or a mass, reaches d->need. */
static __device__ uint64_t reach(struct draw *d, const float *z, const float *p, int V,
                                 bool by_count)
{
    if (threadIdx.x == 0)
        d->prefix = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        fill_bins(d, z, p, V, shift);
        if (threadIdx.x == 0) {
            int bin = 0;

            for (int b = 0; b < BINS; b++) {
                wide weight = by_count ? d->count[b] : d->mass[b];

                if (d->count[b] == 0)
                    continue;
                bin = b;
                if (weight >= d->need)
                    break;
                d->need -= weight;
            }
            d->prefix |= (uint64_t)bin << shift;
        }
        __syncthreads();
    }
    return d->prefix;
}

/* Ids in a segment. */
static __device__ __forceinline__ int segment_width(int V)
{
    return ((V + SEGMENTS - 1) / SEGMENTS + WARP - 1) / WARP * WARP;
}

/* The mass of an id, if it is kept and at least `least`; else 0. */
static __device__ __forceinline__ wide kept_mass(const struct draw *d, const float *z,
                                                 const float *p, int v, int V, uint64_t least)
{
    wide m = v < V ? mass_of(p[v]) : 0;

    return m > 0 && m >= least && is_kept(d, z[v], v) ? m : 0;
}

/* d->segment, d->total: the mass of what is kept, of at least `least`; d->largest of it. */
static __device__ void weigh(struct draw *d, const float *z, const float *p, int V, uint64_t least)
{
    int width = segment_width(V), lane = (int)threadIdx.x % WARP;

    if (threadIdx.x == 0)
        d->total = d->largest = 0;
    __syncthreads();
    for (int s = (int)threadIdx.x / WARP; s * width < V; s += (int)blockDim.x / WARP) {
        wide sum = 0, most = 0;

        UNROLL_8 for (int i = lane; i < width; i += WARP) {
            wide m = kept_mass(d, z, p, s * width + i, V, least);

            sum += m;
            most = m > most ? m : most;
        }
        for (int by = WARP / 2; by; by /= 2) {
            wide other = __shfl_xor_sync(ALL_LANES, most, by);

            sum += __shfl_xor_sync(ALL_LANES, sum, by);
            most = other > most ? other : most;
        }
        if (lane == 0) {
            d->segment[s] = sum;
            atomicAdd(&d->total, sum);
            atomicMax(&d->largest, most);
        }
    }
    __syncthreads();
}

/* The filters in their order; returns the least mass that is kept. */
static __device__ uint64_t filter(struct draw *d, const float *z, const float *p, int V,
                                  struct sampling set)
{
    uint64_t least = 0;

    if (set.top_k > 0 && set.top_k < V) {
        if (threadIdx.x == 0)
            d->need = (uint64_t)set.top_k;
        uint64_t last = reach(d, z, p, V, true);

        if (threadIdx.x == 0)
            d->last = last;
        __syncthreads();
    }
    weigh(d, z, p, V, 0);
    if (set.top_p < 1.0f) {
        if (threadIdx.x == 0)
            d->need = (uint64_t)((double)set.top_p * (double)d->total);
        uint64_t last = reach(d, z, p, V, false);

        if (threadIdx.x == 0)
            d->last = last;
        __syncthreads();
        weigh(d, z, p, V, 0);
    }
    least = (uint64_t)((double)set.min_p * (double)d->largest);
    __syncthreads();
    weigh(d, z, p, V, least);
    return least;
}

static __device__ int best_of(struct draw *d, const float *z, int V)
{
    uint64_t best = UINT64_MAX;

    if (threadIdx.x == 0)
        d->best = 0;
    __syncthreads();
    UNROLL_8 for (int v = (int)threadIdx.x; v < V; v += (int)blockDim.x) {
        uint64_t at = order_of(z[v], v);

        best = at < best ? at : best;
    }
    atomicMax(&d->best, (wide)~best);
    __syncthreads();
    return (int)(uint32_t)~d->best;
}

/* The segment at which the running mass exceeds `target`, and what is left of that. */
static __device__ void find_segment(struct draw *d, int segments, uint64_t target)
{
    int s = 0;

    while (s < segments && d->segment[s] <= target)
        target -= d->segment[s++];
    d->first = s;
    d->need = target;
    d->token = -1;
}

/* The first id at which the running mass exceeds `target`; -1: there is none.  After weigh, with
 * the same `least`. */
static __device__ int draw_of(struct draw *d, const float *z, const float *p, int V,
                              uint64_t least, uint64_t target)
{
    int width = segment_width(V), from, end;

    if (threadIdx.x == 0)
        find_segment(d, (V + width - 1) / width, target);
    __syncthreads();
    from = d->first * width;
    end = from + width < V ? from + width : V;
    for (; from < end; from += (int)blockDim.x) {
        d->mass[threadIdx.x] = kept_mass(d, z, p, from + (int)threadIdx.x, end, least);
        __syncthreads();
        if (threadIdx.x == 0)
            for (int i = 0; i < (int)blockDim.x && d->token < 0; i++) {
                if (d->mass[i] > d->need)
                    d->token = from + i;
                d->need -= d->mass[i];
            }
        __syncthreads();
        if (d->token >= 0)
            break;
    }
    return d->token;
}

static __global__ void __launch_bounds__(ROW_BLOCK)
draw_row(int *token, float *p, const float *z, bool same, struct sampling set,
         bool filters, const uint32_t *word, int V)
{
    __shared__ struct draw d;
    size_t r = blockIdx.x;
    uint64_t least = 0;
    int drawn = -1;

    z += same ? 0 : r * (size_t)V;
    p += r * (size_t)V;
    if (threadIdx.x == 0)
        d.last = UINT64_MAX;
    if (set.temperature != 0.0f) {
        softmax_of(p, z, set.temperature, V);
        if (filters)
            least = filter(&d, z, p, V, set);
        else
            weigh(&d, z, p, V, 0);
        drawn = draw_of(&d, z, p, V, least,
                        (uint64_t)__umul64hi(d.total, (uint64_t)word[r] << 32));
    }
    if (drawn < 0)
        drawn = best_of(&d, z, V);
    if (threadIdx.x == 0)
        token[r] = drawn;
}

static void sample(struct compute *k, int *token, const float *z, bool same,
                   const struct sampling *set, const uint32_t *word, int R, int V)
{
    float *p = (float *)cuda_scratch(k, (size_t)R * (size_t)V * sizeof *p + 1);
    const uint32_t *words = (const uint32_t *)cuda_stage(k, word, (size_t)R * sizeof *word);

    launch(k, "sample", draw_row, (size_t)R, row_threads(V), token, p, z, same, *set,
           sampling_filters(set), words, V);
}

extern "C" void cuda_fill_sample(struct compute *k)
{
    k->sample = sample;
}
