/* Our kernels for matrix products of bf16 by the tensor cores (products.h).  A block of threads has
 * a tile of c and goes along the chain in stages of DEEP steps, which cp.async brings to shared
 * memory while the warps work on those that are there:
 *
 *   stage   [ s ][ s+1 ][ s+2 ][ ... ]       DEEP x (ROWS + COLUMNS) bf16 each
 *             |     `------`--- on their way
 *             ldmatrix -> mma m16n8k16, a warp has WARP_ROWS x WARP_COLUMNS of the tile
 *
 * An element of c is one chain over steps of 16, ascending, in one accumulator, from +0 or from c:
 * its bits do not depend on the tile, nor on M, nor on what is in the other rows.  Tiles are
 * therefore chosen by what they cost alone.
 */
#include "compute/cuda/products.h"
#include "compute/cuda/sizes.h"
#include "compute/cuda/tensor.h"

#define STEP SLOT_STEP               /* of mma */
#define CHUNK CUDA_CHUNK             /* elements in the 16 bytes that are copied at one time */
#define TOGETHER 8                   /* rows of tiles that go along b together, for the L2 cache */

/* ---- the kernel */

template <int rows, int columns, int warp_rows, int warp_columns, int deep, int stages>
struct tile_shape {
    static constexpr int ROWS = rows, COLUMNS = columns, DEEP = deep, STAGES = stages;
    static constexpr int WARP_ROWS = warp_rows, WARP_COLUMNS = warp_columns;
    static constexpr int ACROSS = columns / warp_columns;            /* warps beside each other */
    static constexpr int THREADS = rows / warp_rows * ACROSS * 32;
    static constexpr int A = rows * deep, STAGE = (rows + columns) * deep;   /* elements */
    static constexpr size_t SHARED = (size_t)stages * STAGE * sizeof(uint16_t);
    static constexpr int M = warp_rows / 16, N = warp_columns / 8;   /* mma's of a warp */
};

/* One factor as the kernel reads it.  Across: a line is a step, else a line is a row. */
struct source { const uint16_t *data; size_t stride; int rows; };

/* Where chunk c of a line is kept, so that eight lines' chunks c lie in different banks. */
template <int chunks> static __device__ __forceinline__ int kept_at(int line, int c)
{
    return (line * chunks + (chunks == 4 ? c ^ (line >> 1 & 3) : c ^ (line & 7))) * CHUNK;
}

/* rows [row, row + ROWS) of steps [step, step + DEEP) */
template <int ROWS, int DEEP, int THREADS, bool across>
static __device__ __forceinline__ void bring(uint16_t *tile, const struct source &f, int row,
                                             int step, int steps)
{
    constexpr int chunks = (across ? ROWS : DEEP) / CHUNK, lines = across ? DEEP : ROWS;
    constexpr int at_once = THREADS / chunks;
    static_assert(chunks >= 4 && at_once > 0 && lines % at_once == 0, "threads share the lines");
    int c = (int)threadIdx.x % chunks, line = (int)threadIdx.x / chunks;
    int r = row + (across ? c * CHUNK : line), s = step + (across ? line : c * CHUNK);
    const uint16_t *from = f.data + (size_t)(across ? s : r) * f.stride + (size_t)(across ? r : s);

    UNROLL for (int i = 0; i < lines; i += at_once) {
        bool real = (across ? r : r + i) < f.rows && (across ? s + i : s) < steps;

        copy_async(tile + kept_at<chunks>(line + i, c),
                   real ? from + (size_t)i * f.stride : f.data, real);
    }
}

template <typename S, bool a_across, bool b_across>
static __device__ __forceinline__ void bring_stage(uint16_t *tiles, const struct source &a,
                                                   const struct source &b, int row, int column,
                                                   int stage, int steps)
{
    uint16_t *at = tiles + stage % S::STAGES * S::STAGE;

    if (stage * S::DEEP < steps) {
        bring<S::ROWS, S::DEEP, S::THREADS, a_across>(at, a, row, stage * S::DEEP, steps);
        bring<S::COLUMNS, S::DEEP, S::THREADS, b_across>(at + S::A, b, column, stage * S::DEEP,
                                                         steps);
    }
    copy_commit();                   /* an empty group keeps the count */
}

/* What a warp has in registers of one step. */
template <typename S> struct fragments { uint32_t a[S::M][4], b[S::N][2]; };

template <typename S, bool across>
static __device__ __forceinline__ void load_a(struct fragments<S> &f, const uint16_t *tile, int row,
                                              int step)
{
    constexpr int chunks = (across ? S::ROWS : S::DEEP) / CHUNK;
    int l = (int)threadIdx.x % 32;

    UNROLL for (int m = 0; m < S::M; m++) {
        int r = row + 16 * m;

        if (across)
            ldmatrix_transposed(f.a[m], tile + kept_at<chunks>(step + l / 16 * 8 + l % 8,
                                                               r / CHUNK + l / 8 % 2));
        else
            ldmatrix(f.a[m], tile + kept_at<chunks>(r + l % 16, step / CHUNK + l / 16));
    }
}

/* Two columns of mma's at a time; one only (WARP_COLUMNS 8): its words come twice. */
template <typename S, bool across>
static __device__ __forceinline__ void load_b(struct fragments<S> &f, const uint16_t *tile,
                                              int column, int step)
{
    constexpr int chunks = (across ? S::COLUMNS : S::DEEP) / CHUNK;
    int l = (int)threadIdx.x % 32, second = S::N > 1 ? l / 16 : 0;
    uint32_t x[4];

    UNROLL for (int n = 0; n < S::N; n += 2) {
        int c = column + 8 * n;

        if (across)
            ldmatrix_transposed(x, tile + kept_at<chunks>(step + l / 8 % 2 * 8 + l % 8,
                                                          c / CHUNK + second));
        else
            ldmatrix(x, tile + kept_at<chunks>(c + second * 8 + l % 8, step / CHUNK + l / 8 % 2));
        f.b[n][0] = x[0];
        f.b[n][1] = x[1];
        if (n + 1 < S::N) {
            f.b[n + 1][0] = x[2];
            f.b[n + 1][1] = x[3];
        }
    }
}

/* The steps of a stage; while one is multiplied the next one is loaded.  whole: all of them are in
 * the chain, else the first `left`. */
template <typename S, bool a_across, bool b_across, bool whole>
static __device__ __forceinline__ void multiply_stage(float (&sum)[S::M][S::N][4],
                                                      const uint16_t *at, int row, int column,
                                                      int left)
{
    struct fragments<S> f[2];

    load_a<S, a_across>(f[0], at, row, 0);
    load_b<S, b_across>(f[0], at + S::A, column, 0);
    UNROLL for (int s = 0; s < S::DEEP; s += STEP) {
        struct fragments<S> &now = f[s / STEP % 2], &next = f[(s / STEP + 1) % 2];

        if (!whole && s >= left)
            break;
        if (s + STEP < S::DEEP) {
            load_a<S, a_across>(next, at, row, s + STEP);
            load_b<S, b_across>(next, at + S::A, column, s + STEP);
        }
        UNROLL for (int m = 0; m < S::M; m++)
            UNROLL for (int n = 0; n < S::N; n++)
                mma(sum[m][n], now.a[m], now.b[n]);
    }
}

/* A lane's two neighbours of c to or from where they are; two: both at once. */
static __device__ __forceinline__ void put_two(float *at, bool two, int left, const float *x)
{
    if (two && left > 1)
        *(float2 *)at = float2 { x[0], x[1] };
    else
        for (int i = 0; i < 2 && i < left; i++)
            at[i] = x[i];
}

static __device__ __forceinline__ void get_two(const float *at, bool two, int left, float *x)
{
    if (two && left > 1) {
        float2 both = *(const float2 *)at;

        x[0] = both.x;
        x[1] = both.y;
    } else {
        for (int i = 0; i < 2 && i < left; i++)
            x[i] = at[i];
    }
}

struct sums { float *c; int rows, columns, steps; bool add, even; };

/* Elements of c that the lane has, row by row: load, else store. */
template <typename S, bool load>
static __device__ __forceinline__ void pass_sums(float (&sum)[S::M][S::N][4], const struct sums &p,
                                                 int row, int column)
{
    int l = (int)threadIdx.x % 32;

    UNROLL for (int m = 0; m < S::M; m++)
        UNROLL for (int half = 0; half < 2; half++) {
            int r = row + 16 * m + 8 * half + l / 4;

            UNROLL for (int n = 0; n < S::N; n++) {
                int c = column + 8 * n + l % 4 * 2;
                float *at = p.c + (size_t)r * (size_t)p.columns + (size_t)c;

                if (r >= p.rows || c >= p.columns)
                    continue;
                if (load)
                    get_two(at, p.even, p.columns - c, &sum[m][n][2 * half]);
                else
                    put_two(at, p.even, p.columns - c, &sum[m][n][2 * half]);
            }
        }
}

/* The place of this block's tile: down TOGETHER rows of tiles, then the next column. */
template <typename S>
static __device__ __forceinline__ void find_tile(int rows, int columns, int *row, int *column)
{
    unsigned high = (unsigned)((rows + S::ROWS - 1) / S::ROWS);
    unsigned wide = (unsigned)((columns + S::COLUMNS - 1) / S::COLUMNS);
    unsigned first = blockIdx.x / (TOGETHER * wide) * TOGETHER, i = blockIdx.x % (TOGETHER * wide);
    unsigned n = high - first < TOGETHER ? high - first : TOGETHER;

    *row = (int)((first + i % n) * S::ROWS);
    *column = (int)(i / n * S::COLUMNS);
}

template <typename S, bool a_across, bool b_across>
static __global__ void __launch_bounds__(S::THREADS, 1) multiply(struct source a, struct source b,
                                                                 struct sums p)
{
    SHARED_MEMORY(memory);
    uint16_t *tiles = (uint16_t *)memory;
    int warp = (int)threadIdx.x / 32, row, column;
    int m = warp / S::ACROSS * S::WARP_ROWS, n = warp % S::ACROSS * S::WARP_COLUMNS;
    float sum[S::M][S::N][4] = {};

    find_tile<S>(p.rows, p.columns, &row, &column);
    UNROLL for (int s = 0; s < S::STAGES - 1; s++)
        bring_stage<S, a_across, b_across>(tiles, a, b, row, column, s, p.steps);
    if (p.add)
        pass_sums<S, true>(sum, p, row + m, column + n);
    for (int s = 0; s * S::DEEP < p.steps; s++) {
        const uint16_t *at = tiles + s % S::STAGES * S::STAGE;
        int left = p.steps - s * S::DEEP;

        copy_wait<S::STAGES - 2>();
        __syncthreads();             /* all have stage s, and are through with the one before */
        bring_stage<S, a_across, b_across>(tiles, a, b, row, column, s + S::STAGES - 1, p.steps);
        if (left >= S::DEEP)
            multiply_stage<S, a_across, b_across, true>(sum, at, m, n, left);
        else
            multiply_stage<S, a_across, b_across, false>(sum, at, m, n, left);
    }
    pass_sums<S, false>(sum, p, row + m, column + n);
}

/* ---- which tile */

struct tile {
    int rows, columns;
    void (*start)(struct compute *k, const struct product *p, size_t blocks);
};

static const char *const names[] = {
    "matmul_forward", "matmul_backward_input", "matmul_backward_weight",
};

template <typename S, bool a_across, bool b_across>
static void start(struct compute *k, const struct product *p, size_t blocks)
{
    struct source a = { p->a.data, p->a.stride, p->rows };
    struct source b = { p->b.data, p->b.stride, p->columns };
    bool even = p->columns % 2 == 0 && (uintptr_t)p->c % sizeof(float2) == 0;
    struct sums sums = { p->c, p->rows, p->columns, p->steps, p->add, even };

    static_assert(S::SHARED <= SHARED_LEAST, "every card has it");
    launch_shared(k, names[p->kind], multiply<S, a_across, b_across>, blocks, S::THREADS, S::SHARED,
                  a, b, sums);
}

template <typename S, bool a_across, bool b_across> static constexpr struct tile tile_of(void)
{
    return { S::ROWS, S::COLUMNS, start<S, a_across, b_across> };
}

/* Few rows: weights go by once, with much of them on its way; many: work for what is brought. */
using few_8 = tile_shape<16, 8, 16, 8, 256, 8>;
using few_16 = tile_shape<16, 16, 16, 16, 128, 8>;
using few_32 = tile_shape<16, 32, 16, 16, 128, 6>;
using few_64 = tile_shape<16, 64, 16, 16, 128, 4>;
using some_16 = tile_shape<64, 16, 16, 16, 128, 4>;      /* of 99 KiB, which small cards have */
using some_32 = tile_shape<64, 32, 16, 32, 128, 4>;
using some_64 = tile_shape<64, 64, 32, 32, 64, 4>;
using many_128 = tile_shape<128, 128, 64, 64, 32, 4>;
using many_256 = tile_shape<128, 256, 64, 64, 32, 4>;

static const struct tile forward_tiles[] = {
    tile_of<few_8, false, false>(), tile_of<few_16, false, false>(),
    tile_of<few_32, false, false>(), tile_of<few_64, false, false>(),
    tile_of<some_16, false, false>(), tile_of<some_32, false, false>(),
    tile_of<some_64, false, false>(), tile_of<many_128, false, false>(),
    tile_of<many_256, false, false>(), { 0, 0, NULL },
};
static const struct tile input_tiles[] = {
    tile_of<some_64, false, true>(), tile_of<many_128, false, true>(),
    tile_of<many_256, false, true>(), { 0, 0, NULL },
};
static const struct tile weight_tiles[] = {
    tile_of<some_64, true, true>(), tile_of<many_128, true, true>(),
    tile_of<many_256, true, true>(), { 0, 0, NULL },
};
static const struct tile *const tiles[] = { forward_tiles, input_tiles, weight_tiles };

static size_t blocks_of_tile(const struct tile *t, const struct product *p)
{
    return ((size_t)p->rows + (size_t)t->rows - 1) / (size_t)t->rows *
           (((size_t)p->columns + (size_t)t->columns - 1) / (size_t)t->columns);
}

/* Of a step, on the multiprocessor that has most blocks: what is brought, and what is multiplied,
 * 64 products as dear as a number. */
static size_t cost_of(const struct compute *k, const struct tile *t, const struct product *p)
{
    size_t processors = (size_t)((struct cuda *)k->device)->processors;
    size_t waves = (blocks_of_tile(t, p) + processors - 1) / processors;
    int rows = p->rows < t->rows ? p->rows : t->rows;

    return waves * (size_t)(rows + t->columns + t->rows * t->columns / 64);
}

extern "C" void products_own(struct compute *k, const struct product *p)
{
    const struct tile *best = tiles[p->kind];

    if (p->rows <= 0 || p->columns <= 0)
        return;
    for (const struct tile *t = best; t->rows; t++)
        if (cost_of(k, t, p) < cost_of(k, best, p))
            best = t;
    best->start(k, p, blocks_of_tile(best, p));
}
