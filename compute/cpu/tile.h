/* The heart of a matrix product: a tile of TILE_M x PANEL sums that stays in registers while the
 * chain runs.  A step of the chain is a column of A times a row of B:
 *
 *            chain i ->          B: [chain][PANEL]         C
 *   A  m0 |  a a a a ...      b b b b ... b (lanes)     sums[TILE_M][PANEL]
 *      m1 |  a a a a ...      b b b b ... b
 *
 * What a and b hold for one step is a cell: a float, or a pair of bf16 and thus two steps of the
 * chain.  Without an instruction for pairs (SPLIT_PAIRS) they are split into floats when they are
 * packed (cells.h); packed weights stay pairs and are split on the way.  Included by matmul.h.
 */
#ifndef COMPUTE_CPU_TILE_H
#define COMPUTE_CPU_TILE_H

#define PANEL (16 * TILE_V)          /* columns of a tile; divides PACK_ROWS */
#if defined(SPLIT_PAIRS)
#define FLOATS_OF_PAIR 2             /* a's, beside a pair of b */
#else
#define FLOATS_OF_PAIR 1
#define TILE_M_PAIRS TILE_M
#endif

/* All sums meet a row of B with the numbers of A at a. */
INLINE void step(const int rows, struct lanes sum[TILE_M][TILE_V], const float *a,
                 const struct lanes b[TILE_V])
{
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            sum[m][v] = lanes_fma(lanes_set(a[m]), b[v], sum[m][v]);
}

/* The same with pairs in b: the odd numbers, then the even ones. */
INLINE void step_of_pairs(const int rows, struct lanes sum[TILE_M][TILE_V], const float *a,
                          const struct lanes b[TILE_V])
{
#if defined(SPLIT_PAIRS)
    struct lanes odd[TILE_V], even[TILE_V];

    UNROLL for (int v = 0; v < TILE_V; v++)
        odd[v] = lanes_odd(b[v]), even[v] = lanes_even(b[v]);
    step(rows, sum, a, odd);
    step(rows, sum, a + rows, even);
#else
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            sum[m][v] = lanes_dot2(lanes_set(a[m]), b[v], sum[m][v]);
#endif
}

/* rows x PANEL sums; a is packed [cell][rows], b is [cell] with stride ldb. */
INLINE void tile(const bool pairs, const int rows, const float *a, const float *b, size_t ldb,
                 float *c, size_t ldc, int cells, bool load)
{
    struct lanes sum[TILE_M][TILE_V];

    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            sum[m][v] = load ? lanes_load(c + (size_t)m * ldc + 16 * v) : lanes_set(0.0f);
    for (int i = 0; i < cells; i++, a += rows * (pairs ? FLOATS_OF_PAIR : 1), b += ldb) {
        struct lanes row[TILE_V];

        UNROLL for (int v = 0; v < TILE_V; v++)
            row[v] = lanes_load(b + 16 * v);
        if (pairs)
            step_of_pairs(rows, sum, a, row);
        else
            step(rows, sum, a, row);
    }
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            lanes_store(c + (size_t)m * ldc + 16 * v, sum[m][v]);
}

INLINE void tile_of(const bool pairs, int rows, const float *a, const float *b, size_t ldb,
                    float *c, size_t ldc, int cells, bool load)
{
    switch (rows) {
    case 1: tile(pairs, 1, a, b, ldb, c, ldc, cells, load); break;
    case 2: tile(pairs, 2, a, b, ldb, c, ldc, cells, load); break;
    case 3: tile(pairs, 3, a, b, ldb, c, ldc, cells, load); break;
    case 4: tile(pairs, 4, a, b, ldb, c, ldc, cells, load); break;
#if TILE_M >= 6
    case 5: tile(pairs, 5, a, b, ldb, c, ldc, cells, load); break;
    case 6: tile(pairs, 6, a, b, ldb, c, ldc, cells, load); break;
#endif
#if TILE_M >= 12
    case 7: tile(pairs, 7, a, b, ldb, c, ldc, cells, load); break;
    case 8: tile(pairs, 8, a, b, ldb, c, ldc, cells, load); break;
    case 9: tile(pairs, 9, a, b, ldb, c, ldc, cells, load); break;
    case 10: tile(pairs, 10, a, b, ldb, c, ldc, cells, load); break;
    case 11: tile(pairs, 11, a, b, ldb, c, ldc, cells, load); break;
    case 12: tile(pairs, 12, a, b, ldb, c, ldc, cells, load); break;
#endif
    }
}

/* These are not inlined: the floating-point state may be another one inside. */
__attribute__((noinline))
static void tile_fp32(int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                      int cells, bool load)
{
    tile_of(false, rows, a, b, ldb, c, ldc, cells, load);
}

__attribute__((noinline))
static void tile_bf16(int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                      int cells, bool load)
{
    tile_of(true, rows, a, b, ldb, c, ldc, cells, load);
}

/* One panel of C, b of pairs or of floats: `rows` rows and `width` (at most PANEL) columns.  A
 * narrow panel goes through a full-width buffer; b is then padded. */
static void tile_panel(bool pairs, int rows, const float *a, const float *b, size_t ldb, float *c,
                       size_t ldc, int width, int cells, bool load)
{
    void (*run)(int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                int cells, bool load) = pairs ? tile_bf16 : tile_fp32;
    float edge[TILE_M * PANEL] ALIGNED;

    if (width == PANEL) {
        run(rows, a, b, ldb, c, ldc, cells, load);
        return;
    }
    memset(edge, 0, sizeof edge);
    for (int m = 0; m < rows && load; m++)
        memcpy(edge + m * PANEL, c + (size_t)m * ldc, (size_t)width * sizeof *c);
    run(rows, a, b, ldb, edge, PANEL, cells, load);
    for (int m = 0; m < rows; m++)
        memcpy(c + (size_t)m * ldc, edge + m * PANEL, (size_t)width * sizeof *c);
}

#endif
