/* Draws of tokens from integer masses (compute.h): a block of threads a row.  Sums of integers have
 * no order, so that threads may add them as they come.
 *
 * The cut of top_k and top_p is found as a radix sort finds it, eight bits of the order at a time:
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

/* What a row's threads share. */
struct draw {
    wide count[256], mass[256], total, largest;
    uint64_t last;                   /* in the order, that is kept */
    uint64_t prefix, need;
    int greedy[BLOCK], token;
};

/* All threads: bins of the next byte of the order, over ids up to `last` that begin with prefix. */
static __device__ void fill_bins(struct draw *d, const float *z, const float *p, int V, int shift)
{
    d->count[threadIdx.x] = d->mass[threadIdx.x] = 0;
    __syncthreads();
    for (int v = (int)threadIdx.x; v < V; v += BLOCK) {
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

            for (int b = 0; b < 256; b++) {
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

/* d->total: the mass of what is kept, of at least `least`; d->largest of it. */
static __device__ void weigh(struct draw *d, const float *z, const float *p, int V, uint64_t least)
{
    wide sum = 0, most = 0;

    if (threadIdx.x == 0)
        d->total = d->largest = 0;
    __syncthreads();
    for (int v = (int)threadIdx.x; v < V; v += BLOCK) {
        wide m = mass_of(p[v]);

        if (m < least || order_of(z[v], v) > d->last)
            continue;
        sum += m;
        most = m > most ? m : most;
    }
    atomicAdd(&d->total, sum);
    atomicMax(&d->largest, most);
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
    int best = -1;

    for (int v = (int)threadIdx.x; v < V; v += BLOCK)
        if (best < 0 || order_of(z[v], v) < order_of(z[best], best))
            best = v;
    d->greedy[threadIdx.x] = best;
    __syncthreads();
    best = d->greedy[0];
    for (int i = 1; i < BLOCK; i++) {
        int other = d->greedy[i];

        if (other >= 0 && order_of(z[other], other) < order_of(z[best], best))
            best = other;
    }
    return best;
}

/* The first id at which the running mass exceeds `target`; -1: there is none. */
static __device__ int draw_of(struct draw *d, const float *z, const float *p, int V,
                              uint64_t least, uint64_t target)
{
    if (threadIdx.x == 0)
        d->token = -1;
    for (int first = 0; first < V; first += BLOCK) {
        int v = first + (int)threadIdx.x;
        wide m = v < V ? mass_of(p[v]) : 0;

        if (v < V && (m < least || order_of(z[v], v) > d->last))
            m = 0;
        d->mass[threadIdx.x] = m;
        __syncthreads();
        if (threadIdx.x == 0)
            for (int i = 0; i < BLOCK && d->token < 0; i++) {
                if (d->mass[i] > target)
                    d->token = first + i;
                target -= d->mass[i];
            }
        __syncthreads();
        if (d->token >= 0)
            break;
    }
    return d->token;
}

static __global__ void __launch_bounds__(BLOCK)
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

    launch(k, "sample", draw_row, (size_t)R, BLOCK, token, p, z, same, *set,
           sampling_filters(set), words, V);
}

extern "C" void cuda_fill_sample(struct compute *k)
{
    k->sample = sample;
}
