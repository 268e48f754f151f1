/* Flash attention forward, on rows and on pages: one kernel, so that they cannot differ.
 *
 *   own queries | max, sum, o in registers
 *   for each FLASH_KEYS keys:   s = q k -> m' = max, a = 2^(m - m') -> p = 2^(s - m')
 *                               -> o = o a + p v
 *
 * Scores are in powers of two: the dots times log2(e) / sqrt(D), and so is the max of `stats`.
 */
#include "compute/cuda/flash.h"
#include "compute/cuda/pages.h"

struct attend {
    void *o;
    float *stats;                    /* (T, H, 2) or NULL */
    const float *q;
    int H, G, D, window;             /* of the call's shape */
    float scale;
    bool wide;                       /* of keys and values */
};

/* ---- where keys and values of head g of a tile's row are */

struct packed_keys {
    const uint16_t *key, *value;
    int G, D;

    __device__ struct strided keys_of(const struct flash_tile &t, int g) const
    {
        return { key + ((size_t)t.token * (size_t)G + (size_t)g) * (size_t)D,
                 (size_t)G * (size_t)D };
    }
    __device__ struct strided values_of(const struct flash_tile &t, int g) const
    {
        return { value + ((size_t)t.token * (size_t)G + (size_t)g) * (size_t)D,
                 (size_t)G * (size_t)D };
    }
};

/* A page here: keys [G][KEY_BLOCK][D], values the same. */
struct paged {
    const uint16_t *data;
    const int *table;
    size_t page;                     /* elements */
    int D;

    __device__ __forceinline__ const uint16_t *at(int j) const
    {
        return data + (size_t)table[j / KEY_BLOCK] * page +
               (size_t)(j % KEY_BLOCK) * (size_t)D;
    }
};

struct paged_keys {
    const uint16_t *key, *value;
    const int *table;
    size_t page;
    int table_stride, D;

    __device__ struct paged of(const uint16_t *x, const struct flash_tile &t, int g) const
    {
        return { x + (size_t)g * KEY_BLOCK * (size_t)D,
                 table + (size_t)t.n * (size_t)table_stride, page, D };
    }
    __device__ struct paged keys_of(const struct flash_tile &t, int g) const
    {
        return of(key, t, g);
    }
    __device__ struct paged values_of(const struct flash_tile &t, int g) const
    {
        return of(value, t, g);
    }
};

/* ---- the kernel's shape: 16 M rows for PARTS warps */

template <int D_, int M_, int PARTS_, int STAGES_> struct shape {
    static constexpr int D = D_, M = M_, PARTS = PARTS_, STAGES = STAGES_;
    static constexpr int ROWS = WARPS / PARTS * 16 * M, J = FLASH_KEYS / 8, C = D / 8 / PARTS;
    static constexpr size_t OWN = tile_bytes<D>(ROWS), SIDE = tile_bytes<D>(FLASH_KEYS);
    static constexpr size_t BOARD = PARTS > 1 ? (size_t)WARPS / PARTS * J * 32 * 16 : 0;
    static constexpr size_t SHARED = OWN + STAGES * 2 * SIDE + BOARD;

    /* a lane's rows: max, its part of the sum, sums over values; and the last key they see */
    struct progress { float m[M][2], l[M][2], o[M][C][4]; };
    struct sight { int last[M][2], window; };
};

/* The tile's queries of head g's group, rounded; zeros where there is none. */
template <int D, int ROWS>
static __device__ __forceinline__ void bring_queries(char *to, const struct attend &a,
                                                     const struct flash_tile &t, int g)
{
    int group = a.H / a.G;

    for (int i = (int)threadIdx.x; i < ROWS * (D / 2); i += FLASH_THREADS) {
        int row = i / (D / 2), d = i % (D / 2) * 2, f = t.first + row;
        size_t head = (size_t)(t.token + f / group) * (size_t)a.H + (size_t)(g * group + f % group);
        const float *x = a.q + head * (size_t)a.D + d;
        float first = row < t.count && d < a.D ? x[0] : 0.0f;
        float second = row < t.count && d + 1 < a.D ? x[1] : 0.0f;

        *(uint32_t *)(chunk_at<D>(to, row, d / 8) + d % 8 * 2) = bf16_pair(first, second);
    }
}

/* s = the warp's rows times the tile's keys. */
template <typename S>
static __device__ __forceinline__ void find_dots(float (&s)[S::M][S::J][4], char *own, char *keys,
                                                 char *board)
{
    int warp = (int)threadIdx.x / 32, part = warp % S::PARTS, row = warp / S::PARTS * 16 * S::M;

    if constexpr (S::PARTS == 1) {
        dots<S::D>(s, own, row, keys, 0);
    } else {
        float mine[1][S::J / S::PARTS][4];

        dots<S::D>(mine, own, row, keys, part * (FLASH_KEYS / S::PARTS));
        show<S::J, S::PARTS>(board, mine, part);
        __syncthreads();
        see<S::J, S::PARTS>(s, board);
    }
}

/* Scores of the dots with keys from `first` on: -inf where a row does not see the key, whatever
 * the dot is.  all: they see all of them. */
template <typename S>
static __device__ __forceinline__ void score(float (&s)[S::M][S::J][4],
                                             const typename S::sight &sight, float scale,
                                             int first, bool all)
{
    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int j = 0; j < S::J; j++)
            UNROLL for (int i = 0; i < 4; i++)
                s[m][j][i] *= scale;
    if (all)
        return;
    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int j = 0; j < S::J; j++)
            UNROLL for (int i = 0; i < 4; i++) {
                int key = first + 8 * j + lane() % 4 * 2 + i % 2, last = sight.last[m][i / 2];

                if (key > last || (sight.window && key <= last - sight.window))
                    s[m][j][i] = -INFINITY;
            }
}

/* Scores become p; what was summed is scaled.  A row that has seen no key yet stays as it was. */
template <typename S>
static __device__ __forceinline__ void weigh(typename S::progress &x, float (&s)[S::M][S::J][4])
{
    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int h = 0; h < 2; h++) {
            float most = x.m[m][h];

            UNROLL for (int j = 0; j < S::J; j++)
                most = fmaxf(most, fmaxf(s[m][j][2 * h], s[m][j][2 * h + 1]));
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 1));
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 2));
            float from = most == -INFINITY ? 0.0f : most, a = exp2_fast(x.m[m][h] - from);

            x.m[m][h] = most;
            x.l[m][h] *= a;
            UNROLL for (int j = 0; j < S::J; j++)
                UNROLL for (int e = 2 * h; e < 2 * h + 2; e++) {
                    s[m][j][e] = exp2_fast(s[m][j][e] - from);
                    x.l[m][h] += s[m][j][e];
                }
            UNROLL for (int c = 0; c < S::C; c++)
                UNROLL for (int e = 2 * h; e < 2 * h + 2; e++)
                    x.o[m][c][e] *= a;
        }
}

/* o of a row is divided by the sum of its four lanes.  Adding +0 makes a -0 +0, which then does not
 * depend on masked keys behind the last one. */
template <typename S>
static __device__ __forceinline__ void finish(const struct attend &a, const struct flash_tile &t,
                                              int g, const typename S::progress &x)
{
    int warp = fresh((int)threadIdx.x / 32), part = warp % S::PARTS, group = fresh(a.H / a.G);

    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int h = 0; h < 2; h++) {
            int row = warp / S::PARTS * 16 * S::M + 16 * m + 8 * h + lane() / 4, f = t.first + row;
            size_t head = (size_t)(t.token + f / group) * (size_t)a.H +
                          (size_t)(g * group + f % group);
            float sum = x.l[m][h] + __shfl_xor_sync(ALL_LANES, x.l[m][h], 1);

            sum += __shfl_xor_sync(ALL_LANES, sum, 2);
            if (row >= t.count)
                continue;
            UNROLL for (int c = 0; c < S::C; c++)
                UNROLL for (int e = 0; e < 2; e++) {
                    int d = 8 * (part * S::C + c) + lane() % 4 * 2 + e;

                    if (d < a.D)
                        put_stored<true>(a.o, head * (size_t)a.D + (size_t)d,
                                         x.o[m][c][2 * h + e] / sum + 0.0f);
                }
            if (a.stats && part == 0 && lane() % 4 == 0) {
                a.stats[2 * head] = x.m[m][h];
                a.stats[2 * head + 1] = sum;
            }
        }
}

/* Where a lane's rows begin: nothing summed, the last key of each. */
template <typename S>
static __device__ __forceinline__ void begin(typename S::progress &x, typename S::sight &sight,
                                             const struct attend &a, const struct flash_tile &t)
{
    int row = (int)threadIdx.x / 32 / S::PARTS * 16 * S::M + lane() / 4;

    x = {};
    sight.window = a.window;
    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int h = 0; h < 2; h++) {
            x.m[m][h] = -INFINITY;
            sight.last[m][h] = t.before + (t.first + row + 16 * m + 8 * h) / (a.H / a.G);
        }
}

template <typename S, typename KEYS>
static __global__ void __launch_bounds__(FLASH_THREADS)
attend(struct attend a, KEYS keys, const struct flash_tile *tiles)
{
    SHARED_MEMORY(shared);
    char *own = shared, *ring = own + S::OWN, *board = ring + S::STAGES * 2 * S::SIDE;
    struct flash_tile t = tiles[blockIdx.x / (unsigned)a.G];
    int g = (int)(blockIdx.x % (unsigned)a.G), group = a.H / a.G;
    int part = (int)threadIdx.x / 32 % S::PARTS;
    /* what the first and the last query see: keys left .. first, and .. end */
    int first = t.before + t.first / group, end = t.before + (t.first + t.count - 1) / group + 1;
    int left = a.window && first >= a.window ? (first - a.window + 1) / FLASH_KEYS : 0;
    int tiles_of_keys = (end + FLASH_KEYS - 1) / FLASH_KEYS;
    auto key = keys.keys_of(t, g);
    auto value = keys.values_of(t, g);
    typename S::progress x;
    typename S::sight sight;

    auto bring_tile = [&](int i) {
        char *to = ring + (size_t)(i % S::STAGES) * 2 * S::SIDE;

        if (i < tiles_of_keys) {
            bring<S::D, FLASH_KEYS>(to, key, i * FLASH_KEYS, end, a.D, a.wide);
            bring<S::D, FLASH_KEYS>(to + S::SIDE, value, i * FLASH_KEYS, end, a.D, a.wide);
        }
        copy_commit();
    };
    bring_tile(left);
    bring_queries<S::D, S::ROWS>(own, a, t, g);
    begin<S>(x, sight, a, t);
    for (int i = left; i < tiles_of_keys; i++) {
        char *tile = ring + (size_t)(i % S::STAGES) * 2 * S::SIDE;
        float s[S::M][S::J][4];
        uint32_t p[S::M][S::J / 2][4];

        copy_wait<0>();
        __syncthreads();             /* tile i is there, and nobody reads i - 1 any more */
        if (S::STAGES == 2)
            bring_tile(i + 1);
        find_dots<S>(s, own, tile, board);
        score<S>(s, sight, a.scale, i * FLASH_KEYS,
                 (i + 1) * FLASH_KEYS <= first + 1 && !a.window);
        weigh<S>(x, s);
        factors<S::M, S::J>(p, s);
        add_rows<S::D, S::M, S::J, S::C>(x.o, p, tile + S::SIDE, part * S::C);
        if (S::STAGES == 1) {
            __syncthreads();
            bring_tile(i + 1);
        }
    }
    finish<S>(a, tiles[blockIdx.x / (unsigned)a.G], g, x);       /* again: not kept for so long */
}

/* ---- the tiles of a batch */

template <typename S, typename KEYS>
static void run_shape(struct compute *k, const struct attend &a, const KEYS &keys,
                      const std::vector<struct flash_tile> &tiles)
{
    launch_shared(k, "attention", attend<S, KEYS>, tiles.size() * (size_t)a.G, FLASH_THREADS,
                  S::SHARED, a, keys, stage(k, tiles));
}

/* Rows that fit 16 rows of mma have a block with all its warps for those; others are cut. */
template <int D, int STAGES, typename KEYS>
static void run_size(struct compute *k, const struct attend &a, const KEYS &keys, const int *start,
                     const int *position, int N)
{
    using few = shape<D, 1, WARPS, STAGES>;
    using many = shape<D, D <= 128 ? 2 : 1, 1, STAGES>;
    static_assert(few::SHARED <= many::SHARED, "they have room, or many have not");
    static_assert(many::SHARED <= SHARED_LEAST || (D > 128 && STAGES > 1), "every card has it");
    std::vector<struct flash_tile> short_rows, long_rows;
    int group = a.H / a.G;

    for (int n = 0; n < N; n++) {
        int before = position ? position[n] : 0, tokens = start[n + 1] - start[n];
        struct flash_tile row = { n, start[n], before, before + tokens, 0, 0 };

        if (tokens * group <= few::ROWS)
            cut_tiles(short_rows, row, tokens * group, few::ROWS);
        else
            cut_tiles(long_rows, row, tokens * group, many::ROWS);
    }
    run_shape<few>(k, a, keys, short_rows);
    run_shape<many>(k, a, keys, long_rows);
}

template <typename KEYS>
static void run(struct compute *k, struct attend a, const KEYS &keys, const int *start,
                const int *position, int N)
{
    a.wide = is_wide(keys.key, keys.value, a.D);
    a.scale = LOG2E / sqrtf((float)a.D);
    if (!head_fits(k, a.D))
        return;
    if (a.D <= 64)
        run_size<64, 2>(k, a, keys, start, position, N);
    else if (a.D <= 96)
        run_size<96, 2>(k, a, keys, start, position, N);
    else if (a.D <= 128)
        run_size<128, 2>(k, a, keys, start, position, N);
    else if (has_room(k, shape<256, 1, 1, 2>::SHARED))
        run_size<256, 2>(k, a, keys, start, position, N);
    else
        run_size<256, 1>(k, a, keys, start, position, N);
}

static void attention_forward(struct compute *k, void *o, float *stats, const float *q,
                              const void *key, const void *value, const int *start, int N,
                              struct attention_shape s)
{
    struct packed_keys keys = { (const uint16_t *)key, (const uint16_t *)value, s.G, s.D };

    run(k, { o, stats, q, s.H, s.G, s.D, s.window, 0.0f, false }, keys, start, NULL, N);
}

static void pages_attend(struct compute *k, void *o, const float *q, struct pages pages,
                         const struct extend *rows, struct attention_shape s)
{
    size_t lines = (size_t)rows->N * (size_t)rows->table_stride;
    struct paged_keys keys = {
        (const uint16_t *)pages.keys, (const uint16_t *)pages.values,
        (const int *)cuda_stage(k, rows->table, lines * sizeof(int)),
        (size_t)s.G * KEY_BLOCK * (size_t)s.D, rows->table_stride, s.D,
    };

    run(k, { o, NULL, q, s.H, s.G, s.D, s.window, 0.0f, false }, keys, rows->start,
        rows->position, rows->N);
}

/* ---- new keys and values into their pages: a thread an element */

static __global__ void store_tokens(uint16_t *keys, uint16_t *values, const uint16_t *key,
                                    const uint16_t *value, const struct place *places, size_t n,
                                    int G, int D)
{
    size_t i = element(), d = i % (size_t)D, g = i / (size_t)D % (size_t)G;

    if (i >= n)
        return;
    struct place at = places[i / (size_t)D / (size_t)G];
    size_t row = ((size_t)at.page * (size_t)G + g) * KEY_BLOCK + (size_t)at.slot;

    keys[row * (size_t)D + d] = key[i];
    values[row * (size_t)D + d] = value[i];
}

static void pages_store(struct compute *k, struct pages pages, const void *key,
                        const void *value, const struct extend *rows, int G, int D)
{
    size_t count;
    const struct place *places = stage_places(k, rows, &count);
    size_t n = count * (size_t)G * (size_t)D, first = (size_t)rows->start[0] * (size_t)(G * D);

    launch(k, "pages_store", store_tokens, blocks_of(n), BLOCK, (uint16_t *)pages.keys,
           (uint16_t *)pages.values, (const uint16_t *)key + first,
           (const uint16_t *)value + first, places, n, G, D);
}

extern "C" void cuda_fill_flash(struct compute *k)
{
    k->attention_forward = attention_forward;
    k->pages_store = pages_store;
    k->pages_attend = pages_attend;
}
