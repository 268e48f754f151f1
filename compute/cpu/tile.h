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

/* A tile's work: rows x PANEL sums in c; a is packed [cell][rows], b is [cell] with stride ldb. */
struct tile {
    const float *a, *b;
    float *c;
    size_t ldb, ldc;
    int rows, cells;
    bool load;                       /* the chain goes on from what c holds, else from +0 */
    const char *ahead;               /* fetched for later, `stride` bytes a cell */
    size_t stride;
};

INLINE void tile(const bool pairs, const int rows, const struct tile *t)
{
    const float *a = t->a, *b = t->b;
    const char *ahead = t->ahead;
    struct lanes sum[TILE_M][TILE_V];

    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            sum[m][v] = t->load ? lanes_load(t->c + (size_t)m * t->ldc + 16 * v) : lanes_set(0.0f);
    for (int left = t->cells; left > 0; left--) {
        struct lanes row[TILE_V];

        UNROLL for (int v = 0; v < TILE_V; v++)
            row[v] = lanes_load(b + 16 * v);
        if (pairs)
            step_of_pairs(rows, sum, a, row);
        else
            step(rows, sum, a, row);
        UNROLL for (int v = 0; v < TILE_V; v++)
            __builtin_prefetch(ahead + 64 * v);
        a += rows * (pairs ? FLOATS_OF_PAIR : 1);
        b += t->ldb;
        ahead += t->stride;
    }
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            lanes_store(t->c + (size_t)m * t->ldc + 16 * v, sum[m][v]);
}

INLINE void tile_of(const bool pairs, const struct tile *t)
{
    switch (t->rows) {
    case 1: tile(pairs, 1, t); break;
    case 2: tile(pairs, 2, t); break;
    case 3: tile(pairs, 3, t); break;
    case 4: tile(pairs, 4, t); break;
#if TILE_M >= 6
    case 5: tile(pairs, 5, t); break;
    case 6: tile(pairs, 6, t); break;
#endif
#if TILE_M >= 12
    case 7: tile(pairs, 7, t); break;
    case 8: tile(pairs, 8, t); break;
    case 9: tile(pairs, 9, t); break;
    case 10: tile(pairs, 10, t); break;
    case 11: tile(pairs, 11, t); break;
    case 12: tile(pairs, 12, t); break;
#endif
    }
}

/* These are not inlined: the floating-point state may be another one inside. */
__attribute__((noinline))
static void tile_fp32(const struct tile *t)
{
    tile_of(false, t);
}

__attribute__((noinline))
static void tile_bf16(const struct tile *t)
{
    tile_of(true, t);
}

/* The tile's first `width` (at most PANEL) columns, b of pairs or of floats.  A narrow panel goes
 * through a full-width buffer; b is then padded. */
static void tile_panel(bool pairs, const struct tile *t, int width)
{
    void (*run)(const struct tile *t) = pairs ? tile_bf16 : tile_fp32;
    float edge[TILE_M * PANEL] ALIGNED;
    struct tile whole;

    if (width == PANEL) {
        run(t);
        return;
    }
    whole = *t;
    whole.c = edge;
    whole.ldc = PANEL;
    memset(edge, 0, sizeof edge);
    for (int m = 0; m < t->rows && t->load; m++)
        memcpy(edge + m * PANEL, t->c + (size_t)m * t->ldc, (size_t)width * sizeof *edge);
    run(&whole);
    for (int m = 0; m < t->rows; m++)
        memcpy(t->c + (size_t)m * t->ldc, edge + m * PANEL, (size_t)width * sizeof *edge);
}

#endif
