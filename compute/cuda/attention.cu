/* Causal attention forward, on rows and on pages: one kernel, so that they cannot differ.
 *
 *   queries of the tile | o, m, l in registers
 *   for each TILE keys:   scores -> m' = max, a = exp(m - m') -> p = exp(s - m') -> o = o a + p v
 */
#include "compute/cuda/attention.h"
#include "compute/cuda/pages.h"

/* ---- where keys and values are: bring channels d0 .. of head g of `count` keys from the row's
 * `first` on, a multiple of TILE */

template <bool bf16> struct in_rows {
    struct heads key, value;

    __device__ void bring_key(piece_t to, const struct tile_at &t, int first, int count, int g,
                              int d0) const
    {
        bring_rows<bf16>(to, key, t.row + first, count, g, d0);
    }
    __device__ void bring_value(piece_t to, const struct tile_at &t, int first, int count, int g,
                                int d0) const
    {
        bring_rows<bf16>(to, value, t.row + first, count, g, d0);
    }
    __device__ int before(const struct tile_at &) const { return 0; }
};

template <bool bf16> struct in_pages {
    struct pages pages;
    const int *table, *position;
    size_t page_size;                /* floats */
    int table_stride, G, D;

    __device__ size_t page(const struct tile_at &t, int first) const
    {
        return (size_t)table[(size_t)t.n * (size_t)table_stride + (size_t)(first / KEY_BLOCK)] *
               page_size;
    }
    /* Keys of a page lie [D][key], bf16: keys i and i + 16 in a word. */
    __device__ void bring_key(piece_t to, const struct tile_at &t, int first, int count, int g,
                              int d0) const
    {
        const float *at = pages.keys + page(t, first);

        for (int i = (int)threadIdx.x; i < TILE * PIECE; i += BLOCK) {
            int j = i % TILE, d = d0 + i / TILE, half = KEY_BLOCK / 2;
            size_t line = (size_t)g * (size_t)D + (size_t)d, x = line * KEY_BLOCK;

            x += (size_t)(bf16 ? j % half * 2 + j / half : j);
            to[j][d - d0] = j < count && d < D ? stored<bf16>(at, x) : 0.0f;
        }
    }
    /* Values [key][D], bf16: keys 2i and 2i + 1 in a word. */
    __device__ void bring_value(piece_t to, const struct tile_at &t, int first, int count, int g,
                                int d0) const
    {
        const float *at = pages.values + page(t, first);

        for (int i = (int)threadIdx.x; i < TILE * PIECE; i += BLOCK) {
            int j = i / PIECE, d = d0 + i % PIECE;
            size_t line = (size_t)g * KEY_BLOCK + (size_t)j, x = line * (size_t)D + (size_t)d;

            if (bf16)
                x = ((line / 2) * (size_t)D + (size_t)d) * 2 + line % 2;
            to[j][d - d0] = j < count && d < D ? stored<bf16>(at, x) : 0.0f;
        }
    }
    /* tokens of the row that are in the cache already */
    __device__ int before(const struct tile_at &t) const { return position[t.n]; }
};

/* ---- the kernel */

/* Own query i: max, lanes of the sum (in the lower sixteen), sums over values. */
template <int PIECES> struct progress {
    float m[OWN], l[OWN], o[PIECES][OWN][WIDE];
};

template <int PIECES>
static __device__ __forceinline__ void begin(struct progress<PIECES> &x)
{
    UNROLL for (int i = 0; i < OWN; i++) {
        x.m[i] = -INFINITY;
        x.l[i] = 0.0f;
        UNROLL for (int c = 0; c < PIECES; c++)
            UNROLL for (int e = 0; e < WIDE; e++)
                x.o[c][i][e] = 0.0f;
    }
}

/* Scores of own query i become p; what was summed is scaled.  The query sees keys from .. upto of
 * the tile. */
template <int PIECES>
static __device__ __forceinline__ float weigh(struct progress<PIECES> &x, int i, float score,
                                              int from, int upto)
{
    float most = from <= lane() && lane() < upto ? score : -INFINITY, p, above, a;

    for (int width = TILE / 2; width; width /= 2) {
        float other = __shfl_xor_sync(ALL_LANES, most, width);

        most = other > most ? other : most;
    }
    most = (most > x.m[i] ? most : x.m[i]) + 0.0f;
    p = rw_expf(score - most);
    above = __shfl_down_sync(ALL_LANES, p, 16);
    if (upto <= 0 || upto <= from)
        return 0.0f;
    a = rw_expf(x.m[i] - most);
    x.m[i] = most;
    x.l[i] *= a;
    if (from <= lane() && lane() < upto)
        x.l[i] += p;
    if (from <= lane() + 16 && lane() + 16 < upto)
        x.l[i] += above;
    UNROLL for (int c = 0; c < PIECES; c++)
        UNROLL for (int e = 0; e < WIDE; e++)
            x.o[c][i][e] *= a;
    return p;
}

template <int PIECES, bool bf16, typename KEYS>
static __global__ void __launch_bounds__(BLOCK)
attend(void *o, float *stats, const float *q, KEYS keys, const struct tile_at *tiles, int H, int G,
       int D, int window)
{
    __shared__ piece_t query[PIECES], key;
    struct tile_at t = tiles[blockIdx.x / (unsigned)H];
    int h = (int)(blockIdx.x % (unsigned)H), g = h / (H / G);
    int before = keys.before(t) + t.first - t.row, end = before + t.count;
    int left = first_seen(window, before + 1) / TILE * TILE;
    float scale = 1.0f / sqrtf((float)D), p[OWN];
    struct progress<PIECES> x;

    begin(x);
    for (int c = 0; c < PIECES; c++)
        bring_rows<false>(query[c], { q, H, D }, t.first, t.count, h, c * PIECE);
    for (int first = left; first < end; first += TILE) {
        int count = end - first < TILE ? end - first : TILE;
        float dots[OWN] = {};

        UNROLL for (int c = 0; c < PIECES; c++) {
            __syncthreads();
            keys.bring_key(key, t, first, count, g, c * PIECE);
            __syncthreads();
            add_dots(dots, query[c], key, c * PIECE, D);
        }
        UNROLL for (int i = 0; i < OWN; i++) {
            int mine = first_own() + i, upto = mine < t.count ? before + mine + 1 - first : 0;

            p[i] = weigh(x, i, dots[i] * scale, upto - window, upto < count ? upto : count);
        }
        UNROLL for (int c = 0; c < PIECES; c++) {
            __syncthreads();
            keys.bring_value(key, t, first, count, g, c * PIECE);
            __syncthreads();
            for (int j = 0; j < count; j++)
                UNROLL for (int i = 0; i < OWN; i++) {
                    int mine = first_own() + i;
                    float pj = __shfl_sync(ALL_LANES, p[i], j);

                    if (mine < t.count && first + j <= before + mine &&
                        before + mine - first - j < window)
                        UNROLL for (int e = 0; e < WIDE; e++)
                            x.o[c][i][e] = fmaf(pj, key[j][lane() + TILE * e], x.o[c][i][e]);
                }
        }
    }
    UNROLL for (int i = 0; i < OWN; i++) {
        int mine = first_own() + i;
        size_t at = (size_t)(t.first + mine) * (size_t)H + (size_t)h;
        float sum = __shfl_sync(ALL_LANES, fold_lanes(x.l[i]), 0);

        if (mine >= t.count)
            continue;
        UNROLL for (int c = 0; c < PIECES; c++)
            UNROLL for (int e = 0; e < WIDE; e++) {
                int d = c * PIECE + lane() + TILE * e;

                if (d < D)
                    put_stored<bf16>(o, at * (size_t)D + (size_t)d, x.o[c][i][e] / sum);
            }
        if (stats && lane() == 0) {
            stats[2 * at] = x.m[i];
            stats[2 * at + 1] = sum;
        }
    }
}

template <bool bf16, typename KEYS>
static void run(struct compute *k, void *o, float *stats, const float *q, const KEYS &keys,
                const int *start, int N, struct attention_shape s)
{
    size_t count;
    const struct tile_at *tiles = stage_tiles(k, start, N, &count);

    if (!head_fits(k, s.D))
        return;
    launch(k, "attention_forward",
           s.D <= PIECE ? attend<1, bf16, KEYS> : s.D <= 2 * PIECE ? attend<2, bf16, KEYS>
                                                                   : attend<4, bf16, KEYS>,
           count * (size_t)s.H, BLOCK, o, stats, q, keys, tiles, s.H, s.G, s.D, window_of(s));
}

static void attention_forward(struct compute *k, void *o, float *stats, const float *q,
                              const void *key, const void *value, const int *start, int N,
                              struct attention_shape s)
{
    struct heads keys = { key, s.G, s.D }, values = { value, s.G, s.D };

    if (k->dtype == COMPUTE_BF16)
        run<true>(k, o, stats, q, in_rows<true>{ keys, values }, start, N, s);
    else
        run<false>(k, o, stats, q, in_rows<false>{ keys, values }, start, N, s);
}

template <bool bf16>
static void attend_pages(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape s)
{
    size_t lines = (size_t)rows->N * (size_t)rows->table_stride, N = (size_t)rows->N;
    struct in_pages<bf16> keys = {
        pages, (const int *)cuda_stage(k, rows->table, lines * sizeof(int)),
        (const int *)cuda_stage(k, rows->position, N * sizeof(int)),
        page_floats(k->dtype, s.G, s.D), rows->table_stride, s.G, s.D,
    };

    run<bf16>(k, o, NULL, q, keys, rows->start, rows->N, s);
}

static void pages_attend(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape s)
{
    if (k->dtype == COMPUTE_BF16)
        attend_pages<true>(k, o, q, pages, rows, s);
    else
        attend_pages<false>(k, o, q, pages, rows, s);
}

/* ---- new keys and values into their pages: a thread an element */

template <bool bf16>
static __global__ void store_all(struct pages pages, const void *key, const void *value,
                                 const struct place *places, size_t page_size, size_t n, int G,
                                 int D)
{
    size_t i = element(), d = i % (size_t)D, g = i / (size_t)D % (size_t)G;

    if (i >= n)
        return;
    struct place at = places[i / (size_t)D / (size_t)G];
    size_t slot = (size_t)at.slot, half = KEY_BLOCK / 2, page = (size_t)at.page * page_size;
    size_t line = (g * (size_t)D + d) * KEY_BLOCK, row = g * KEY_BLOCK + slot;
    size_t to_key = line + (bf16 ? slot % half * 2 + slot / half : slot);
    size_t to_value = bf16 ? (row / 2 * (size_t)D + d) * 2 + row % 2 : row * (size_t)D + d;

    put_stored<bf16>(pages.keys + page, to_key, stored<bf16>(key, i));
    put_stored<bf16>(pages.values + page, to_value, stored<bf16>(value, i));
}

static void pages_store(struct compute *k, struct pages pages, const void *key,
                        const void *value, const struct extend *rows, int G, int D)
{
    size_t count;
    const struct place *places = stage_places(k, rows, &count);
    size_t n = count * (size_t)G * (size_t)D;

    launch(k, "pages_store", k->dtype == COMPUTE_BF16 ? store_all<true> : store_all<false>,
           blocks_of(n), BLOCK, pages, key, value, places, page_floats(k->dtype, G, D), n, G, D);
}

extern "C" void cuda_fill_attention(struct compute *k)
{
    k->attention_forward = attention_forward;
    k->pages_store = pages_store;
    k->pages_attend = pages_attend;
}
