/* Attention backward.  dq has a block of threads for a tile of queries, which meets the keys in
 * order; dkey and dvalue have one for a tile of keys, which meets the heads of its group and their
 * queries in order.  Both make p and ds again:
 *
 *   p = exp(s - max) / sum      ds = p (dp - delta) / sqrt(D)      delta = do . o
 */
#include "compute/cuda/attention.h"

/* A layer's, and where delta (T, H) is. */
struct backward {
    float *dq, *dkey, *dvalue;
    const float *d_o, *q;
    const void *key, *value, *o;
    const float *stats, *delta;
    int H, G, D, window;             /* of window_of */
};

/* Sixteen threads a query and head. */
template <bool bf16>
static __global__ void find_delta(float *delta, const float *d_o, const void *o, size_t n, int D)
{
    size_t i = (size_t)blockIdx.x * (BLOCK / 16) + threadIdx.x / 16;
    float sum = 0.0f;

    for (int d = (int)threadIdx.x % 16; i < n && d < D; d += 16)
        sum = fmaf(d_o[i * (size_t)D + (size_t)d], stored<bf16>(o, i * (size_t)D + (size_t)d), sum);
    sum = fold_lanes(sum);
    if (i < n && threadIdx.x % 16 == 0)
        delta[i] = sum;
}

/* p and ds of a query, whose place among all heads is at, from its dots. */
static __device__ __forceinline__ void slopes(const struct backward &b, size_t at, float dots,
                                              float dp, float *p, float *ds)
{
    float scale = 1.0f / sqrtf((float)b.D);

    *p = rw_expf(dots * scale - b.stats[2 * at]) / b.stats[2 * at + 1];
    *ds = *p * (dp - b.delta[at]) * scale;
}

/* Tokens of a head in what makes scores and in what makes their gradients: queries in q and do, or
 * keys in keys and values. */
struct side { struct heads score, slope; int token, count, head; };

/* dots and dp of own rows with the lane's other row. */
template <int PIECES, bool own16, bool other16>
static __device__ __forceinline__ void both_dots(float (&dots)[OWN], float (&dp)[OWN], int D,
                                                 const struct side &x, const struct side &y,
                                                 piece_t own, piece_t other)
{
    UNROLL for (int c = 0; c < PIECES; c++) {
        __syncthreads();
        bring_rows<own16>(own, x.score, x.token, x.count, x.head, c * PIECE);
        bring_rows<other16>(other, y.score, y.token, y.count, y.head, c * PIECE);
        __syncthreads();
        add_dots(dots, own, other, c * PIECE, D);
        __syncthreads();
        bring_rows<own16>(own, x.slope, x.token, x.count, x.head, c * PIECE);
        bring_rows<other16>(other, y.slope, y.token, y.count, y.head, c * PIECE);
        __syncthreads();
        add_dots(dp, own, other, c * PIECE, D);
    }
}

template <int PIECES, bool bf16>
static __global__ void __launch_bounds__(BLOCK)
queries(struct backward b, const struct tile_at *tiles)
{
    __shared__ piece_t own, other;
    struct tile_at t = tiles[blockIdx.x / (unsigned)b.H];
    int h = (int)(blockIdx.x % (unsigned)b.H), g = h / (b.H / b.G), D = b.D;
    struct heads q = { b.q, b.H, D }, d_o = { b.d_o, b.H, D };
    struct heads key = { b.key, b.G, D }, value = { b.value, b.G, D };
    float dq[PIECES][OWN][WIDE], ds[OWN];

    UNROLL for (int c = 0; c < PIECES; c++)
        UNROLL for (int i = 0; i < OWN; i++)
            UNROLL for (int e = 0; e < WIDE; e++) {
                int mine = first_own() + i, d = c * PIECE + lane() + TILE * e;
                size_t at = ((size_t)(t.first + mine) * (size_t)b.H + (size_t)h) * (size_t)D;

                dq[c][i][e] = mine < t.count && d < D ? b.dq[at + (size_t)d] : 0.0f;
            }
    int left = t.row + first_seen(b.window, t.first - t.row + 1) / TILE * TILE;

    for (int first = left; first < t.first + t.count; first += TILE) {
        int left = t.first + t.count - first, count = left < TILE ? left : TILE;
        float dots[OWN] = {}, dp[OWN] = {};

        both_dots<PIECES, false, bf16>(dots, dp, D, { q, d_o, t.first, t.count, h },
                                       { key, value, first, count, g }, own, other);
        UNROLL for (int i = 0; i < OWN; i++) {
            int mine = first_own() + i < t.count ? first_own() + i : 0;
            float p;

            slopes(b, (size_t)(t.first + mine) * (size_t)b.H + (size_t)h, dots[i], dp[i], &p,
                   &ds[i]);
        }
        UNROLL for (int c = 0; c < PIECES; c++) {
            __syncthreads();
            bring_rows<bf16>(other, key, first, count, g, c * PIECE);
            __syncthreads();
            for (int j = 0; j < count; j++)
                UNROLL for (int i = 0; i < OWN; i++) {
                    int query = t.first + first_own() + i;
                    float of_j = __shfl_sync(ALL_LANES, ds[i], j);

                    if (query < t.first + t.count && first + j <= query &&
                        query - first - j < b.window)
                        UNROLL for (int e = 0; e < WIDE; e++)
                            dq[c][i][e] = fmaf(of_j, other[j][lane() + TILE * e], dq[c][i][e]);
                }
        }
    }
    UNROLL for (int c = 0; c < PIECES; c++)
        UNROLL for (int i = 0; i < OWN; i++)
            UNROLL for (int e = 0; e < WIDE; e++) {
                int mine = first_own() + i, d = c * PIECE + lane() + TILE * e;
                size_t at = ((size_t)(t.first + mine) * (size_t)b.H + (size_t)h) * (size_t)D;

                if (mine < t.count && d < D)
                    b.dq[at + (size_t)d] = dq[c][i][e];
            }
}

/* dkey and dvalue of a warp's own keys. */
template <int PIECES> struct key_sums { float key[PIECES][OWN][WIDE], value[PIECES][OWN][WIDE]; };

/* Into the sums from memory, or back. */
template <int PIECES>
static __device__ __forceinline__ void move_sums(const struct backward &b, const struct tile_at &t,
                                                 int g, struct key_sums<PIECES> &x, bool back)
{
    UNROLL for (int c = 0; c < PIECES; c++)
        UNROLL for (int i = 0; i < OWN; i++)
            UNROLL for (int e = 0; e < WIDE; e++) {
                int mine = first_own() + i, d = c * PIECE + lane() + TILE * e;
                size_t at = ((size_t)(t.first + mine) * (size_t)b.G + (size_t)g) * (size_t)b.D +
                            (size_t)d;

                if (mine >= t.count || d >= b.D)
                    continue;
                if (back) {
                    b.dkey[at] = x.key[c][i][e];
                    b.dvalue[at] = x.value[c][i][e];
                } else {
                    x.key[c][i][e] = b.dkey[at];
                    x.value[c][i][e] = b.dvalue[at];
                }
            }
}

/* The tile's keys meet `count` queries of head h from token `first` on. */
template <int PIECES, bool bf16>
static __device__ __forceinline__ void meet_queries(const struct backward &b,
                                                    const struct tile_at &t, int g, int h,
                                                    int first, struct key_sums<PIECES> &x,
                                                    piece_t own, piece_t other)
{
    int left = t.end - first, count = left < TILE ? left : TILE, D = b.D;
    struct heads q = { b.q, b.H, D }, d_o = { b.d_o, b.H, D };
    struct heads key = { b.key, b.G, D }, value = { b.value, b.G, D };
    float dots[OWN] = {}, dp[OWN] = {}, p[OWN], ds[OWN];

    both_dots<PIECES, bf16, false>(dots, dp, D, { key, value, t.first, t.count, g },
                                   { q, d_o, first, count, h }, own, other);
    int query = first + (lane() < count ? lane() : 0);

    UNROLL for (int i = 0; i < OWN; i++)
        slopes(b, (size_t)query * (size_t)b.H + (size_t)h, dots[i], dp[i], &p[i], &ds[i]);
    UNROLL for (int c = 0; c < PIECES; c++) {
        __syncthreads();
        bring_rows<false>(own, q, first, count, h, c * PIECE);
        bring_rows<false>(other, d_o, first, count, h, c * PIECE);
        __syncthreads();
        for (int j = 0; j < count; j++)
            UNROLL for (int i = 0; i < OWN; i++) {
                float pj = __shfl_sync(ALL_LANES, p[i], j), of_j = __shfl_sync(ALL_LANES, ds[i], j);
                int after = first + j - (t.first + first_own() + i);

                if (0 <= after && after < b.window)
                    UNROLL for (int e = 0; e < WIDE; e++) {
                        int d = lane() + TILE * e;

                        x.key[c][i][e] = fmaf(of_j, own[j][d], x.key[c][i][e]);
                        x.value[c][i][e] = fmaf(pj, other[j][d], x.value[c][i][e]);
                    }
            }
    }
}

template <int PIECES, bool bf16>
static __global__ void __launch_bounds__(BLOCK)
keys(struct backward b, const struct tile_at *tiles)
{
    __shared__ piece_t own, other;
    struct tile_at t = tiles[blockIdx.x / (unsigned)b.G];
    int g = (int)(blockIdx.x % (unsigned)b.G), group = b.H / b.G, last = t.first + t.count - 1;
    int end = t.end - last > b.window ? last + b.window : t.end;
    struct key_sums<PIECES> x = {};

    move_sums<PIECES>(b, t, g, x, false);
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int first = t.first; first < end; first += TILE)
            meet_queries<PIECES, bf16>(b, t, g, h, first, x, own, other);
    move_sums<PIECES>(b, t, g, x, true);
}

template <int PIECES, bool bf16>
static void run(struct compute *k, const struct backward &b, const struct tile_at *tiles,
                size_t count)
{
    launch(k, "attention_backward", queries<PIECES, bf16>, count * (size_t)b.H, BLOCK, b, tiles);
    launch(k, "attention_backward", keys<PIECES, bf16>, count * (size_t)b.G, BLOCK, b, tiles);
}

template <bool bf16>
static void run_size(struct compute *k, const struct backward &b, const struct tile_at *tiles,
                     size_t count)
{
    if (b.D <= PIECE)
        run<1, bf16>(k, b, tiles, count);
    else if (b.D <= 2 * PIECE)
        run<2, bf16>(k, b, tiles, count);
    else
        run<4, bf16>(k, b, tiles, count);
}

static void attention_backward(struct compute *k, float *dq, float *dkey, float *dvalue,
                               const float *d_o, const float *q, const void *key,
                               const void *value, const void *o, const float *stats,
                               const int *start, int N, struct attention_shape s)
{
    int H = s.H, G = s.G, D = s.D;
    size_t count, n = (size_t)(start[N] - start[0]) * (size_t)H, to = (size_t)start[N] * (size_t)H;
    size_t first = (size_t)start[0] * (size_t)H;
    const struct tile_at *tiles = stage_tiles(k, start, N, &count);
    float *delta = (float *)cuda_scratch(k, (to + 1) * sizeof *delta);
    struct backward b = { dq, dkey, dvalue, d_o, q, key, value, o, stats, delta, H, G, D,
                          window_of(s) };
    bool bf16 = k->dtype == COMPUTE_BF16;
    const char *from = (const char *)o + first * (size_t)D * stored_bytes(k->dtype);

    if (!delta || !head_fits(k, D))
        return;
    launch(k, "attention_backward", bf16 ? find_delta<true> : find_delta<false>,
           (n + BLOCK / 16 - 1) / (BLOCK / 16), BLOCK, delta + first, d_o + first * (size_t)D,
           (const void *)from, n, D);
    if (bf16)
        run_size<true>(k, b, tiles, count);
    else
        run_size<false>(k, b, tiles, count);
}

extern "C" void cuda_fill_attention_backward(struct compute *k)
{
    k->attention_backward = attention_backward;
}
