/* Matrix products by tiles of outer products (tile.h) of packed operands (cells.h).  All three are
 * C(M,N) = A(M,K) B(K,N), chain over K, with other strides; forward's B is w packed in panels of
 * PANEL rows, [cell][PANEL] each.  Long chains are cut into blocks of CHAIN cells that store and
 * reload the fp32 sums, which changes nothing.  Included by plain.c, avx2.c, avx512.c.
 */
#ifndef COMPUTE_CPU_MATMUL_H
#define COMPUTE_CPU_MATMUL_H

#include "compute/cpu/tile.h"
#include "compute/cpu/cells.h"

#define CHAIN 320                    /* cells at most: a block of a B panel is 20 or 40 KB */
#define GROUP 1024                   /* columns of B packed together, where B is not packed: 1 MB */
#define ROWS_BLOCK 240               /* rows of A packed together: 240 KB, half an L2 */

/* c(M,N) = or += a(M,K) b(K,N) */
struct product {
    struct operand a, b;             /* b's rows are the columns of C */
    const float *packed;             /* b as pack() has it, or NULL */
    float *c;
    bool add;
    int M, N, cells;
    bool over_rows;                  /* threads divide rows of C, else its panels */
    struct compute *k;
};

/* A block of the chain of some of B's panels: where it lies, or packed into room. */
struct panels {
    const float *at;
    size_t ldb, next;                /* floats from cell to cell, and to the next panel */
    int n0, n1;                      /* columns */
    int first, cells;                /* of the chain */
};

static struct panels find_panels(const struct product *p, int n0, int n1, int first, int cells,
                                 int rows, float *room)
{
    struct panels b = { .ldb = PANEL, .next = (size_t)cells * PANEL, .n0 = n0, .n1 = n1,
                        .first = first, .cells = cells };

    if (p->packed) {
        b.next = (size_t)p->cells * PANEL;
        b.at = p->packed + (size_t)n0 * (size_t)p->cells + (size_t)first * PANEL;
    } else if (!p->b.pairs && p->b.row_stride == 1 && rows <= TILE_M && (n1 - n0) % PANEL == 0) {
        b.ldb = p->b.step_stride;    /* used once: not worth a copy */
        b.next = PANEL;
        b.at = p->b.data + (size_t)first * p->b.step_stride + n0;
    } else {
        pack_panels(room, &p->b, n0, n1 - n0, first, cells);
        b.at = room;
    }
    return b;
}

/* Floats of a packed row of A. */
static size_t row_floats(const struct product *p, int cells)
{
    return (size_t)cells * (size_t)cell_floats(p->a.pairs);
}

/* Rows row .. row + rows of C meet them.  Tiles are much alike in height, the first `higher` by one
 * row more: a low tile would wait for its own sums. */
static void block(const struct product *p, int row, int rows, const struct panels *b, float *room)
{
    int most = highest_tile(p->a.pairs), tiles = (rows + most - 1) / most;
    int low = rows / tiles, higher = rows % tiles;
    float *tile_room = room + (size_t)rows * row_floats(p, b->cells) + 16;
    const float *panel = b->at;

    for (int i = 0, m = 0, height; i < tiles; i++, m += height) {
        height = low + (i < higher);
        pack_tile(room + (size_t)m * row_floats(p, b->cells), &p->a, row + m, height, b->first,
                  b->cells, tile_room);
    }
    for (int n = b->n0; n < b->n1; n += PANEL, panel += b->next) {
        int width = b->n1 - n < PANEL ? b->n1 - n : PANEL;

        for (int i = 0, m = 0, height; i < tiles; i++, m += height) {
            height = low + (i < higher);
            tile_panel(p->a.pairs, height, room + (size_t)m * row_floats(p, b->cells), panel,
                       b->ldb, p->c + (size_t)(row + m) * (size_t)p->N + n, (size_t)p->N, width,
                       b->cells, p->add || b->first > 0);
        }
    }
}

/* Cells of a block of the chain, all much alike.  A few rows read packed weights in one sweep: each
 * panel from its first byte to its last. */
static int chain_block(const struct product *p)
{
    int most = CHAIN / cell_floats(p->a.pairs), blocks = (p->cells + most - 1) / most;

    return p->M <= TILE_M && p->packed ? p->cells : (p->cells + blocks - 1) / blocks;
}

/* Columns of a group: all of them where none are to be packed. */
static int group_of(const struct product *p)
{
    return p->packed || p->N < GROUP ? p->N : GROUP;
}

static size_t room_of_panels(const struct product *p)
{
    return p->packed ? 0 : ((size_t)group_of(p) + PANEL) * CHAIN;
}

static void product_part(void *job, int begin, int end, int thread)
{
    const struct product *p = job;
    float *room = cpu_scratch_of(p->k, thread), *room_a = room + room_of_panels(p);
    int m0 = p->over_rows ? begin : 0, m1 = p->over_rows ? end : p->M;
    int n0 = p->over_rows ? 0 : begin, n1 = p->over_rows ? p->N : end;
    int longest = chain_block(p), group = group_of(p);

    if (p->a.pairs)
        flush_begin();
    for (int n = n0; n < n1; n += group)
        for (int first = 0; first < p->cells; first += longest) {
            int cells = p->cells - first < longest ? p->cells - first : longest;
            struct panels b = find_panels(p, n, n1 - n < group ? n1 : n + group, first, cells,
                                          m1 - m0, room);

            for (int row = m0; row < m1; row += ROWS_BLOCK)
                block(p, row, m1 - row < ROWS_BLOCK ? m1 - row : ROWS_BLOCK, &b, room_a);
        }
    if (p->a.pairs)
        flush_end();
}

static size_t room_of(const struct product *p)
{
    int height = p->M < ROWS_BLOCK ? p->M : ROWS_BLOCK;

    return room_of_panels(p) + (size_t)height * row_floats(p, chain_block(p)) + 16 +
           (size_t)TILE_M * (size_t)chain_block(p) + 16;
}

static void product_run(struct compute *k, struct product *p)
{
    p->k = k;
    p->cells = cells_of(p->a.pairs, p->a.steps);
    if (p->M <= 0 || p->N <= 0)
        return;
    if (p->cells <= 0) {
        if (!p->add)
            memset(p->c, 0, (size_t)p->M * (size_t)p->N * sizeof *p->c);
        return;
    }
    if (!cpu_scratch(k, room_of(p)))
        return;
    p->over_rows = p->M / TILE_M > p->N / PANEL;
    cpu_split_few(k, (double)p->M * p->N * p->cells, p->over_rows ? p->M : p->N,
                  p->over_rows ? TILE_M : PANEL, p, product_part);
}

/* ---- packed weights */

static size_t packed_size(struct compute *k, int N, int K)
{
    size_t rows = ((size_t)N + PACK_ROWS - 1) / PACK_ROWS * PACK_ROWS;

    return rows * (size_t)cells_of(k->dtype == COMPUTE_BF16, K);
}

struct packing { float *packed; struct operand w; };

static void pack_part(void *job, int begin, int end, int thread)
{
    const struct packing *p = job;
    int cells = cells_of(p->w.pairs, p->w.steps);

    (void)thread;
    pack_panels(p->packed + (size_t)begin * (size_t)cells, &p->w, begin, end - begin, 0, cells);
}

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    struct packing p = { packed, { w, (size_t)K, 1, NULL, K, k->dtype == COMPUTE_BF16 } };

    cpu_split(k, (double)N * K, N, PANEL, &p, pack_part);
}

/* ---- the products */

static void matmul_forward(struct compute *k, float *y, const float *x, const float *w,
                           const float *packed, int M, int N, int K)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    struct product p = { .a = { x, (size_t)K, 1, NULL, K, pairs },
                         .b = { w, (size_t)K, 1, NULL, K, pairs }, .packed = packed,
                         .c = y, .M = M, .N = N };

    product_run(k, &p);
}

static void matmul_backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                                  int M, int N, int K)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    struct product p = { .a = { dy, (size_t)N, 1, NULL, N, pairs },
                         .b = { w, 1, (size_t)K, NULL, N, pairs }, .c = dx, .add = true, .M = M,
                         .N = K };

    product_run(k, &p);
}

static void matmul_backward_weight(struct compute *k, float *dw, const float *dy, const float *x,
                                   const int *slot, int M, int N, int K, bool add)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    int steps = M, *places = NULL;

    if (pairs && slot && !cpu_places(k, slot, M, &places, &steps))
        return;
    struct product p = { .a = { dy, 1, (size_t)N, places, steps, pairs },
                         .b = { x, 1, (size_t)K, places, steps, pairs }, .c = dw, .add = add,
                         .M = N, .N = K };

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
