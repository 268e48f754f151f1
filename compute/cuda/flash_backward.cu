/* Flash attention backward.  q and do are rounded once, group by group; then dq has its own pass,
 * over keys, and dkey and dvalue have theirs, over the queries of the group's heads: nothing is
 * added by two blocks of threads, so there is one order.  Both passes make p and ds again:
 *
 *   p = 2^(s - max) / sum      ds = p (dp - delta)      dp = do . v      delta = do . o
 *
 * and multiply dq and dkey by 1 / sqrt(D) at the end.
 */
#include <algorithm>

#include "compute/cuda/flash.h"
#include "compute/cuda/sizes.h"

#define TILE KEY_BLOCK               /* rows of the other side that are met at a time */

/* What a query brings to its scores: share = 1 / sum. */
struct alignas(16) line { float max, share, delta, unused; };
static_assert(sizeof(struct line) == 16, "cuda_slope_bytes counts with it");

/* Queries of a group are rows of one list (flash.h) here, [G][T * group][width], `width` channels
 * with zeros from D on. */
struct backward {
    float *dq, *dkey, *dvalue;
    const float *d_o, *q;
    const void *o;
    const float *stats;
    const uint16_t *key, *value;
    uint16_t *q16, *d_o16;
    struct line *lines;
    int begin, T, H, G, D, width, window;            /* the batch is tokens begin .. begin + T */
    bool wide;                       /* of keys and values */
    float scale, in_powers;          /* 1 / sqrt(D), and times log2(e) */
};

/* Row f of head g's list, which begins at token `token`: its place in a list of all. */
static __device__ __forceinline__ size_t listed(const struct backward &b, int g, int token)
{
    return ((size_t)g * (size_t)b.T + (size_t)(token - b.begin)) * (size_t)(b.H / b.G);
}

/* Sixteen threads a query and head. */
static __global__ void prepare(struct backward b, size_t n)
{
    size_t i = (size_t)blockIdx.x * (BLOCK / 16) + threadIdx.x / 16;
    int group = b.H / b.G, h = (int)(i % (size_t)b.H), token = b.begin + (int)(i / (size_t)b.H);
    size_t head = (size_t)b.begin * (size_t)b.H + i, at = head * (size_t)b.D;
    size_t to = listed(b, h / group, token) + (size_t)(h % group);
    float delta = 0.0f;

    for (int d = (int)threadIdx.x % 16; i < n && d < b.width; d += 16) {
        bool real = d < b.D;
        uint16_t slope = bf16_of_f32(real ? b.d_o[at + (size_t)d] : 0.0f);

        b.q16[to * (size_t)b.width + (size_t)d] = bf16_of_f32(real ? b.q[at + (size_t)d] : 0.0f);
        b.d_o16[to * (size_t)b.width + (size_t)d] = slope;
        if (real)
            delta = fmaf(f32_of_bf16(slope), stored<true>(b.o, at + (size_t)d), delta);
    }
    delta = fold_lanes(delta);
    if (i < n && threadIdx.x % 16 == 0)
        b.lines[to] = { b.stats[2 * head], 1.0f / b.stats[2 * head + 1], delta, 0.0f };
}

/* s and dp become p and ds; both are 0 where the row and the column do not meet. */
static __device__ __forceinline__ void slopes(float &s, float &dp, const struct line &line,
                                              float in_powers, bool meet)
{
    float p = exp2_fast(s * in_powers - line.max) * line.share, ds = p * (dp - line.delta);

    s = meet ? p : 0.0f;
    dp = meet ? ds : 0.0f;
}

static __device__ __forceinline__ struct strided of_head(const struct backward &b,
                                                         const uint16_t *x, int token, int g)
{
    return { x + ((size_t)token * (size_t)b.G + (size_t)g) * (size_t)b.D,
             (size_t)b.G * (size_t)b.D };
}

/* A row's queries, in the list of head g. */
static __device__ __forceinline__ struct strided listed_rows(const struct backward &b,
                                                             const uint16_t *x, int token, int g)
{
    return { x + listed(b, g, token) * (size_t)b.width, (size_t)b.width };
}

/* Keys that a row of queries sees: first < key <= last. */
struct sight { int first, last; };

/* ---- dq: own queries meet keys */

template <int D_, int M_, int STAGES_> struct for_queries {
    static constexpr int D = D_, M = M_, STAGES = STAGES_;
    static constexpr int ROWS = WARPS * 16 * M, J = TILE / 8, C = D / 8;
    static constexpr size_t OWN = tile_bytes<D>(ROWS), SIDE = tile_bytes<D>(TILE);
    static constexpr size_t SHARED = 2 * OWN + STAGES * 2 * SIDE;
};

/* dq(first .. of the list) += scale * sums */
template <typename S>
static __device__ __forceinline__ void add_dq(const struct backward &b, const struct flash_tile &t,
                                              int g, const float (&sums)[S::M][S::C][4])
{
    int group = b.H / b.G, warp = (int)threadIdx.x / 32;

    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int h = 0; h < 2; h++) {
            int row = 16 * (warp * S::M + m) + 8 * h + lane() / 4, f = t.first + row;
            size_t head = (size_t)(t.token + f / group) * (size_t)b.H +
                          (size_t)(g * group + f % group);
            float *to = b.dq + head * (size_t)b.D;

            if (row < t.count)
                UNROLL for (int c = 0; c < S::C; c++)
                    UNROLL for (int e = 0; e < 2; e++) {
                        int d = 8 * c + lane() % 4 * 2 + e;

                        if (d < b.D)
                            to[d] += b.scale * sums[m][c][2 * h + e];
                    }
        }
}

/* A lane's rows: their lines, and what they see. */
template <typename S>
static __device__ __forceinline__ void own_lines(struct line (&lines)[S::M][2],
                                                 struct sight (&sights)[S::M][2],
                                                 const struct backward &b,
                                                 const struct flash_tile &t, int g)
{
    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int h = 0; h < 2; h++) {
            int row = 16 * ((int)threadIdx.x / 32 * S::M + m) + 8 * h + lane() / 4;
            int f = t.first + (row < t.count ? row : 0), last = f / (b.H / b.G);

            lines[m][h] = b.lines[listed(b, g, t.token) + (size_t)f];
            sights[m][h] = { b.window ? last - b.window : -1, last };
        }
}

template <typename S>
static __global__ void __launch_bounds__(FLASH_THREADS)
meet_keys(struct backward b, const struct flash_tile *tiles)
{
    SHARED_MEMORY(shared);
    char *q = shared, *d_o = q + S::OWN, *ring = d_o + S::OWN;
    struct flash_tile t = tiles[blockIdx.x / (unsigned)b.G];
    int g = (int)(blockIdx.x % (unsigned)b.G), group = b.H / b.G;
    int first = t.first / group, end = (t.first + t.count - 1) / group + 1;
    int left = b.window && first >= b.window ? (first - b.window + 1) / TILE : 0;
    int right = (end + TILE - 1) / TILE;
    struct strided key = of_head(b, b.key, t.token, g), value = of_head(b, b.value, t.token, g);
    struct line lines[S::M][2];
    struct sight sights[S::M][2];
    float dq[S::M][S::C][4] = {};

    auto bring_tile = [&](int i) {
        char *to = ring + (size_t)(i % S::STAGES) * 2 * S::SIDE;

        if (i < right) {
            bring<S::D, TILE>(to, key, i * TILE, end, b.D, b.wide);
            bring<S::D, TILE>(to + S::SIDE, value, i * TILE, end, b.D, b.wide);
        }
        copy_commit();
    };
    bring<S::D, S::ROWS>(q, listed_rows(b, b.q16, t.token, g), t.first, t.first + t.count,
                         b.width, true);
    bring<S::D, S::ROWS>(d_o, listed_rows(b, b.d_o16, t.token, g), t.first, t.first + t.count,
                         b.width, true);
    bring_tile(left);
    own_lines<S>(lines, sights, b, t, g);
    for (int i = left; i < right; i++) {
        char *tile = ring + (size_t)(i % S::STAGES) * 2 * S::SIDE;
        float s[S::M][S::J][4], dp[S::M][S::J][4];
        uint32_t ds[S::M][S::J / 2][4];
        int row = (int)threadIdx.x / 32 * 16 * S::M;
        bool all = (i + 1) * TILE <= first + 1 && !b.window;

        copy_wait<0>();
        __syncthreads();
        if (S::STAGES == 2)
            bring_tile(i + 1);
        dots<S::D>(s, q, row, tile, 0);
        dots<S::D>(dp, d_o, row, tile + S::SIDE, 0);
        UNROLL for (int m = 0; m < S::M; m++)
            UNROLL for (int j = 0; j < S::J; j++)
                UNROLL for (int e = 0; e < 4; e++) {
                    int at = i * TILE + 8 * j + lane() % 4 * 2 + e % 2;
                    struct sight sight = sights[m][e / 2];

                    slopes(s[m][j][e], dp[m][j][e], lines[m][e / 2], b.in_powers,
                           all || (at <= sight.last && at > sight.first));
                }
        factors<S::M, S::J>(ds, dp);
        add_rows<S::D, S::M, S::J, S::C>(dq, ds, tile, 0);
        if (S::STAGES == 1) {
            __syncthreads();
            bring_tile(i + 1);
        }
    }
    add_dq<S>(b, t, g, dq);
}

/* ---- dkey, dvalue: own keys meet the queries of their group's heads */

template <int D_, int PARTS_, int STAGES_> struct for_keys {
    static constexpr int D = D_, PARTS = PARTS_, STAGES = STAGES_;
    static constexpr int ROWS = WARPS / PARTS * 16, J = TILE / 8, C = D / 8 / PARTS;
    static constexpr size_t OWN = tile_bytes<D>(ROWS), SIDE = tile_bytes<D>(TILE);
    static constexpr size_t LINES = TILE * sizeof(struct line);
    static constexpr size_t STAGE = 2 * SIDE + LINES;
    static constexpr size_t BOARD = PARTS > 1 ? (size_t)WARPS / PARTS * J * 32 * 16 : 0;
    static constexpr size_t SHARED = 2 * OWN + STAGES * STAGE + 2 * BOARD;

    struct sums { float key[1][C][4], value[1][C][4]; };
};

/* x(own keys) += factor * sums */
template <typename S>
static __device__ __forceinline__ void add_to_keys(float *x, const struct backward &b,
                                                   const struct flash_tile &t, int g,
                                                   const float (&sums)[1][S::C][4], float factor)
{
    int warp = (int)threadIdx.x / 32, part = warp % S::PARTS;

    UNROLL for (int h = 0; h < 2; h++) {
        int row = warp / S::PARTS * 16 + 8 * h + lane() / 4;
        size_t token = (size_t)(t.token + t.first + row);
        float *to = x + (token * (size_t)b.G + (size_t)g) * (size_t)b.D;

        if (row < t.count)
            UNROLL for (int c = 0; c < S::C; c++)
                UNROLL for (int e = 0; e < 2; e++) {
                    int d = 8 * (part * S::C + c) + lane() % 4 * 2 + e;

                    if (d < b.D)
                        to[d] += factor * sums[0][c][2 * h + e];
                }
    }
}

/* s = keys times queries, dp = values times do, of the warp's rows with the tile's columns. */
template <typename S>
static __device__ __forceinline__ void both_dots(float (&s)[1][S::J][4], float (&dp)[1][S::J][4],
                                                 char *own, char *tile, char *board)
{
    int warp = (int)threadIdx.x / 32, part = warp % S::PARTS, row = warp / S::PARTS * 16;

    if constexpr (S::PARTS == 1) {
        dots<S::D>(s, own, row, tile, 0);
        dots<S::D>(dp, own + S::OWN, row, tile + S::SIDE, 0);
    } else {
        float mine[1][S::J / S::PARTS][4];

        dots<S::D>(mine, own, row, tile, part * (TILE / S::PARTS));
        show<S::J, S::PARTS>(board, mine, part);
        dots<S::D>(mine, own + S::OWN, row, tile + S::SIDE, part * (TILE / S::PARTS));
        show<S::J, S::PARTS>(board + S::BOARD, mine, part);
        __syncthreads();
        see<S::J, S::PARTS>(s, board);
        see<S::J, S::PARTS>(dp, board + S::BOARD);
    }
}

/* The tile's rows f of the list, from `first` on and below `end`: into the sums. */
template <typename S>
static __device__ __forceinline__ void meet(typename S::sums &sums, const struct backward &b,
                                            const struct flash_tile &t, char *own, char *tile,
                                            char *board, int first, int end)
{
    int warp = (int)threadIdx.x / 32, part = warp % S::PARTS, group = b.H / b.G;
    const struct line *lines = (const struct line *)(tile + 2 * S::SIDE);
    float s[1][S::J][4], dp[1][S::J][4];
    uint32_t p[1][S::J / 2][4];
    int key[2], seen[2];             /* a key meets rows key .. seen - 1 of the list */

    UNROLL for (int h = 0; h < 2; h++) {
        int row = t.first + warp / S::PARTS * 16 + 8 * h + lane() / 4;

        key[h] = row * group;
        seen[h] = b.window && end - key[h] > b.window * group ? key[h] + b.window * group : end;
    }
    both_dots<S>(s, dp, own, tile, board);
    UNROLL for (int j = 0; j < S::J; j++)
        UNROLL for (int e = 0; e < 2; e++) {
            int column = 8 * j + lane() % 4 * 2 + e, f = first + column;
            struct line line = lines[column];

            UNROLL for (int h = 0; h < 2; h++)
                slopes(s[0][j][2 * h + e], dp[0][j][2 * h + e], line, b.in_powers,
                       key[h] <= f && f < seen[h]);
        }
    factors<1, S::J>(p, s);
    add_rows<S::D, 1, S::J, S::C>(sums.value, p, tile + S::SIDE, part * S::C);
    factors<1, S::J>(p, dp);
    add_rows<S::D, 1, S::J, S::C>(sums.key, p, tile, part * S::C);
}

template <typename S>
static __global__ void __launch_bounds__(FLASH_THREADS)
meet_queries(struct backward b, const struct flash_tile *tiles)
{
    SHARED_MEMORY(shared);
    char *own = shared, *ring = own + 2 * S::OWN, *board = ring + S::STAGES * S::STAGE;
    struct flash_tile t = tiles[blockIdx.x / (unsigned)b.G];
    int g = (int)(blockIdx.x % (unsigned)b.G), group = b.H / b.G, last = t.first + t.count - 1;
    int end = (b.window && t.length - last > b.window ? last + b.window : t.length) * group;
    int left = t.first * group / TILE, right = (end + TILE - 1) / TILE;
    struct strided q = listed_rows(b, b.q16, t.token, g);
    struct strided d_o = listed_rows(b, b.d_o16, t.token, g);
    const struct line *lines = b.lines + listed(b, g, t.token);
    typename S::sums sums = {};

    auto bring_tile = [&](int i) {
        char *to = ring + (size_t)(i % S::STAGES) * S::STAGE;
        int row = i * TILE + (int)threadIdx.x;

        if (i < right) {
            bring<S::D, TILE>(to, q, i * TILE, end, b.width, true);
            bring<S::D, TILE>(to + S::SIDE, d_o, i * TILE, end, b.width, true);
            if (threadIdx.x < TILE)
                copy_async(to + 2 * S::SIDE + threadIdx.x * sizeof *lines,
                           &lines[row < end ? row : 0], row < end);
        }
        copy_commit();
    };
    bring<S::D, S::ROWS>(own, of_head(b, b.key, t.token, g), t.first, last + 1, b.D, b.wide);
    bring<S::D, S::ROWS>(own + S::OWN, of_head(b, b.value, t.token, g), t.first, last + 1, b.D,
                         b.wide);
    bring_tile(left);
    for (int i = left; i < right; i++) {
        copy_wait<0>();
        __syncthreads();
        if (S::STAGES == 2)
            bring_tile(i + 1);
        meet<S>(sums, b, t, own, ring + (size_t)(i % S::STAGES) * S::STAGE, board, i * TILE, end);
        if (S::STAGES == 1) {
            __syncthreads();
            bring_tile(i + 1);
        }
    }
    add_to_keys<S>(b.dkey, b, t, g, sums.key, b.scale);
    add_to_keys<S>(b.dvalue, b, t, g, sums.value, 1.0f);
}

/* ---- the tiles of a batch */

template <int D, int STAGES>
static void run_size(struct compute *k, const struct backward &b, const int *start, int N)
{
    using queries = for_queries<D, D <= 128 ? 2 : 1, STAGES>;
    using keys = for_keys<D, D <= 128 ? 1 : 2, STAGES>;
    static_assert(keys::SHARED <= queries::SHARED || D <= 128, "they have room, or queries not");
    static_assert((keys::SHARED <= SHARED_LEAST && queries::SHARED <= SHARED_LEAST) ||
                  (D > 128 && STAGES > 1), "every card has it");
    std::vector<struct flash_tile> of_queries, of_keys;

    for (int n = 0; n < N; n++) {
        int tokens = start[n + 1] - start[n];
        struct flash_tile row = { n, start[n], 0, tokens, 0, 0 };

        cut_tiles(of_queries, row, tokens * (b.H / b.G), queries::ROWS);
        cut_tiles(of_keys, row, tokens, keys::ROWS);
    }
    std::reverse(of_keys.begin(), of_keys.end());    /* a row's first keys meet most queries */
    launch_shared(k, "attention backward", meet_keys<queries>,
                  of_queries.size() * (size_t)b.G, FLASH_THREADS, queries::SHARED, b,
                  stage(k, of_queries));
    launch_shared(k, "attention backward", meet_queries<keys>, of_keys.size() * (size_t)b.G,
                  FLASH_THREADS, keys::SHARED, b, stage(k, of_keys));
}

/* Where rounded queries, rounded do and lines lie; false without memory. */
static bool plan(struct compute *k, struct backward *b)
{
    size_t rows = (size_t)b->T * (size_t)b->H;
    char *scratch = (char *)cuda_scratch(k, cuda_slope_bytes(k, rows, b->D) + 1);

    b->lines = (struct line *)scratch;
    b->q16 = (uint16_t *)(scratch + rows * sizeof *b->lines);
    b->d_o16 = b->q16 + rows * (size_t)b->width;
    return scratch != NULL;
}

static void attention_backward(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const void *key,
                               const void *value, const void *o, const float *stats,
                               const int *start, int N, struct attention_shape s)
{
    float scale = 1.0f / sqrtf((float)s.D);
    int T = start[N] - start[0], D = s.D;
    size_t n = (size_t)T * (size_t)s.H;
    struct backward b = {
        dq, dkey, dvalue, d_o, q, o, stats, (const uint16_t *)key, (const uint16_t *)value, NULL,
        NULL, NULL, start[0], T, s.H, s.G, D, (D + 7) / 8 * 8,
        s.window < T ? s.window : 0, is_wide(key, value, D), scale, LOG2E / sqrtf((float)D),
    };

    if (!head_fits(k, D) || !plan(k, &b))
        return;
    launch(k, "attention backward", prepare, (n + BLOCK / 16 - 1) / (BLOCK / 16), BLOCK, b,
           n);
    if (D <= 64)
        run_size<64, 2>(k, b, start, N);
    else if (D <= 96)
        run_size<96, 2>(k, b, start, N);
    else if (D <= 128)
        run_size<128, 2>(k, b, start, N);
    else if (has_room(k, for_queries<256, 1, 2>::SHARED))
        run_size<256, 2>(k, b, start, N);
    else
        run_size<256, 1>(k, b, start, N);
}

extern "C" void cuda_fill_flash_backward(struct compute *k)
{
    k->attention_backward = attention_backward;
}
