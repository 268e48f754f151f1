/* Matrix products by outer products.  A tile of TILE_M x 16 TILE_V sums stays in registers while
 * the chain runs; a step of the chain is a column of A times a row of B:
 *
 *            chain i ->          B: [chain][32]            C
 *   A  m0 |  a a a a ...      b b b b ... b (lanes)     sums[TILE_M][32]
 *      m1 |  a a a a ...      b b b b ... b
 *
 * All three products are this one with other strides; forward's B is w packed in panels of
 * PACK_ROWS rows, [K][32] each.  Long chains are cut into blocks of CHAIN steps that store and
 * reload the fp32 sums, which changes nothing.  Included by plain.c, avx2.c, avx512.c.
 */
#ifndef COMPUTE_CPU_MATMUL_H
#define COMPUTE_CPU_MATMUL_H

#define PANEL PACK_ROWS
#define CHAIN 256                    /* steps: a block of a B panel is 32 KB */
#define GROUP (4 * PANEL)            /* columns of B packed together, where B is not packed */
#define ROWS_BLOCK 240               /* rows of A packed together: 240 KB, half an L2 */

/* c(M,N) = or += a(M,K) b(K,N), chain over K */
struct product {
    const float *a;
    size_t a_row, a_step;            /* from one row, and one step of the chain, to the next */
    const float *b;
    enum { B_PANELS, B_ROWS, B_COLUMNS } form;   /* packed; b[step][n]; b[n][step] */
    size_t b_stride;                 /* rows, columns: floats between neighbours */
    float *c;
    bool add;
    int M, N, K;
    bool over_rows;                  /* threads divide rows of C, else its panels */
    struct compute *k;
};

/* rows x 16 TILE_V sums; a is packed [step][rows], b is [step] with stride ldb. */
INLINE void tile(const int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                 int steps, bool load)
{
    struct lanes sum[TILE_M][TILE_V];

    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            sum[m][v] = load ? lanes_load(c + (size_t)m * ldc + 16 * v) : lanes_set(0.0f);
    for (int i = 0; i < steps; i++, a += rows, b += ldb) {
        struct lanes row[TILE_V];

        UNROLL for (int v = 0; v < TILE_V; v++)
            row[v] = lanes_load(b + 16 * v);
        UNROLL for (int m = 0; m < rows; m++) {
            struct lanes x = lanes_set(a[m]);

            UNROLL for (int v = 0; v < TILE_V; v++)
                sum[m][v] = lanes_fma(x, row[v], sum[m][v]);
        }
    }
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            lanes_store(c + (size_t)m * ldc + 16 * v, sum[m][v]);
}

static void tile_of(int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                    int steps, bool load)
{
    switch (rows) {
    case 1: tile(1, a, b, ldb, c, ldc, steps, load); break;
    case 2: tile(2, a, b, ldb, c, ldc, steps, load); break;
    case 3: tile(3, a, b, ldb, c, ldc, steps, load); break;
    case 4: tile(4, a, b, ldb, c, ldc, steps, load); break;
#if TILE_M >= 6
    case 5: tile(5, a, b, ldb, c, ldc, steps, load); break;
    case 6: tile(6, a, b, ldb, c, ldc, steps, load); break;
#endif
#if TILE_M >= 12
    case 7: tile(7, a, b, ldb, c, ldc, steps, load); break;
    case 8: tile(8, a, b, ldb, c, ldc, steps, load); break;
    case 9: tile(9, a, b, ldb, c, ldc, steps, load); break;
    case 10: tile(10, a, b, ldb, c, ldc, steps, load); break;
    case 11: tile(11, a, b, ldb, c, ldc, steps, load); break;
    case 12: tile(12, a, b, ldb, c, ldc, steps, load); break;
#endif
    }
}

/* One panel of C: `rows` rows and `width` (at most PANEL) columns.  A narrow panel goes through a
 * full-width buffer; b is then padded. */
static void tile_panel(int rows, const float *a, const float *b, size_t ldb, float *c, size_t ldc,
                       int width, int steps, bool load)
{
    float edge[TILE_M * PANEL] ALIGNED;

    if (width == PANEL) {
        for (int n = 0; n < PANEL; n += 16 * TILE_V)
            tile_of(rows, a, b + n, ldb, c + n, ldc, steps, load);
        return;
    }
    memset(edge, 0, sizeof edge);
    for (int m = 0; m < rows && load; m++)
        memcpy(edge + m * PANEL, c + (size_t)m * ldc, (size_t)width * sizeof *c);
    for (int n = 0; n < width; n += 16 * TILE_V)
        tile_of(rows, a, b + n, ldb, edge + n, PANEL, steps, load);
    for (int m = 0; m < rows; m++)
        memcpy(c + (size_t)m * ldc, edge + m * PANEL, (size_t)width * sizeof *c);
}

/* `rows` rows (at most TILE_M) of A, [step][rows] */
static void pack_rows(float *to, const struct product *p, int row, int rows, int first, int steps)
{
    const float *a = p->a + (size_t)row * p->a_row + (size_t)first * p->a_step;

    if (p->a_row == 1 && rows == TILE_M) {
        for (int i = 0; i < steps; i++, to += TILE_M, a += p->a_step)
            memcpy(to, a, TILE_M * sizeof *a);
        return;
    }
    for (int m = 0; m < rows; m++, a += p->a_row)
        for (int i = 0; i < steps; i++)
            to[(size_t)i * rows + m] = a[(size_t)i * p->a_step];
}

/* to[step][PANEL] from `width` rows of w (stride ldw), zeros to the right: 16 steps at a time, so
 * that what is written stays in the nearest cache. */
static void pack_columns(float *to, const float *w, size_t ldw, int width, int steps)
{
    for (int first = 0; first < steps; first += 16) {
        int last = first + 16 < steps ? first + 16 : steps;

        for (int n = 0; n < PANEL; n++)
            for (int i = first; i < last; i++)
                to[(size_t)i * PANEL + n] = n < width ? w[(size_t)n * ldw + i] : 0.0f;
    }
}

/* `columns` columns of b (rows of `stride`), panel after panel, zeros to the right.  Several panels
 * at a time, so that memory is read in long runs. */
static void copy_panels(float *to, const float *b, size_t stride, int columns, int steps)
{
    for (int i = 0; i < steps; i++, b += stride) {
        float *row = to + (size_t)i * PANEL;

        for (int n = 0; n < columns; n += PANEL, row += (size_t)steps * PANEL) {
            for (int h = 0; h < PANEL; h += 16) {
                int left = columns - n - h, part = left < 0 ? 0 : left < 16 ? left : 16;

                lanes_store(row + h, take(b, (size_t)(n + h), part));
            }
        }
    }
}

/* The panels of B from column n on: where they lie, or packed into `room`.  A panel has the stride
 * *ldb from step to step and the next begins *next floats on. */
static const float *find_panels(const struct product *p, int n, int columns, int first, int steps,
                                int rows, float *room, size_t *ldb, size_t *next)
{
    const float *b;

    *ldb = PANEL;
    *next = (size_t)steps * PANEL;
    if (p->form == B_PANELS) {
        *next = (size_t)p->K * PANEL;
        return p->b + (size_t)n * (size_t)p->K + (size_t)first * PANEL;
    }
    if (p->form == B_COLUMNS) {
        b = p->b + (size_t)n * p->b_stride + first;
        for (int c = 0; c < columns; c += PANEL, b += PANEL * p->b_stride)
            pack_columns(room + (size_t)c * (size_t)steps, b, p->b_stride,
                         columns - c < PANEL ? columns - c : PANEL, steps);
        return room;
    }
    b = p->b + (size_t)first * p->b_stride + n;
    if (rows <= TILE_M && columns % PANEL == 0) {        /* used once: not worth a copy */
        *ldb = p->b_stride;
        *next = PANEL;
        return b;
    }
    copy_panels(room, b, p->b_stride, columns, steps);
    return room;
}

/* Rows row .. row + rows of C, columns n0 to n1, one block of the chain. */
static void block(const struct product *p, int row, int rows, int n0, int n1, int first, int steps,
                  float *room)
{
    float *packed_a = room + (size_t)CHAIN * GROUP;
    size_t ldb, next;

    for (int m = 0; m < rows; m += TILE_M) {
        int height = rows - m < TILE_M ? rows - m : TILE_M;

        pack_rows(packed_a + (size_t)m * steps, p, row + m, height, first, steps);
    }
    for (int n = n0; n < n1; n += GROUP) {
        int columns = n1 - n < GROUP ? n1 - n : GROUP;
        const float *b = find_panels(p, n, columns, first, steps, rows, room, &ldb, &next);

        for (int c = 0; c < columns; c += PANEL, b += next) {
            int width = columns - c < PANEL ? columns - c : PANEL;

            for (int m = 0; m < rows; m += TILE_M)
                tile_panel(rows - m < TILE_M ? rows - m : TILE_M, packed_a + (size_t)m * steps, b,
                           ldb, p->c + (size_t)(row + m) * (size_t)p->N + n + c, (size_t)p->N,
                           width, steps, p->add || first > 0);
        }
    }
}

/* A few rows read packed weights in one sweep: each panel from its first byte to its last. */
static int chain_block(const struct product *p)
{
    return p->M <= TILE_M && p->form == B_PANELS ? p->K : CHAIN;
}

static void product_part(void *job, int begin, int end, int thread)
{
    const struct product *p = job;
    float *room = cpu_scratch_of(p->k, thread);
    int m0 = p->over_rows ? begin : 0, m1 = p->over_rows ? end : p->M;
    int n0 = p->over_rows ? 0 : begin, n1 = p->over_rows ? p->N : end, longest = chain_block(p);

    for (int row = m0; row < m1; row += ROWS_BLOCK) {
        int rows = m1 - row < ROWS_BLOCK ? m1 - row : ROWS_BLOCK;

        for (int first = 0; first < p->K; first += longest) {
            int steps = p->K - first < longest ? p->K - first : longest;

            block(p, row, rows, n0, n1, first, steps, room);
        }
    }
}

static void product_run(struct compute *k, struct product *p)
{
    int height = p->M < ROWS_BLOCK ? p->M : ROWS_BLOCK;
    size_t chain = (size_t)chain_block(p);

    if (p->M <= 0 || p->N <= 0)
        return;
    if (p->K <= 0) {
        if (!p->add)
            memset(p->c, 0, (size_t)p->M * (size_t)p->N * sizeof *p->c);
        return;
    }
    if (!cpu_scratch(k, (size_t)CHAIN * GROUP + (size_t)height * chain))
        return;
    p->k = k;
    p->over_rows = p->M / TILE_M > p->N / PANEL;
    cpu_split(k, (double)p->M * p->N * p->K, p->over_rows ? p->M : p->N,
              p->over_rows ? TILE_M : PANEL, p, product_part);
}

static size_t packed_size(struct compute *k, int N, int K)
{
    (void)k;
    return ((size_t)N + PANEL - 1) / PANEL * PANEL * (size_t)K;
}

struct packing { float *packed; const float *w; int N, K; };

static void pack_part(void *job, int begin, int end, int thread)
{
    const struct packing *p = job;

    (void)thread;
    for (int n = begin; n < end; n += PANEL)
        pack_columns(p->packed + (size_t)n * (size_t)p->K, p->w + (size_t)n * (size_t)p->K,
                     (size_t)p->K, end - n < PANEL ? end - n : PANEL, p->K);
}

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    struct packing p = { packed, w, N, K };

    cpu_split(k, (double)N * K, N, PANEL, &p, pack_part);
}

static void matmul_forward(struct compute *k, float *y, const float *x, const float *w,
                           const float *packed, int M, int N, int K)
{
    struct product p = { .a = x, .a_row = (size_t)K, .a_step = 1, .b = packed ? packed : w,
                         .form = packed ? B_PANELS : B_COLUMNS, .b_stride = (size_t)K,
                         .c = y, .M = M, .N = N, .K = K };

    product_run(k, &p);
}

static void matmul_backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                                  int M, int N, int K)
{
    struct product p = { .a = dy, .a_row = (size_t)N, .a_step = 1, .b = w, .form = B_ROWS,
                         .b_stride = (size_t)K, .c = dx, .add = true, .M = M, .N = K, .K = N };

    product_run(k, &p);
}

static void matmul_backward_weight(struct compute *k, float *dw, const float *dy, const float *x,
                                   int M, int N, int K, bool add)
{
    struct product p = { .a = dy, .a_row = 1, .a_step = (size_t)N, .b = x, .form = B_ROWS,
                         .b_stride = (size_t)K, .c = dw, .add = add, .M = N, .N = K, .K = M };

    product_run(k, &p);
}

static void fill_matmul(struct compute *k)
{
    k->packed_size = packed_size;
    k->pack = pack;
    k->matmul_forward = matmul_forward;
    k->matmul_backward_input = matmul_backward_input;
    k->matmul_backward_weight = matmul_backward_weight;
}

#endif
