/* Matrix products by tiles of outer products (tile.h) of packed operands (cells.h).  All three are
 * C(M,N) = A(M,K) B(K,N), chain over K, with other strides; forward's B is w packed in panels of
 * PANEL rows, [cell][PANEL] each.  Long chains are cut into runs of CHAIN floats that store and
 * reload the fp32 sums, which changes nothing.  Included by plain.c, avx2.c, avx512.c.
 */
#ifndef COMPUTE_CPU_MATMUL_H
#define COMPUTE_CPU_MATMUL_H

#include "compute/cpu/tile.h"
#include "compute/cpu/cells.h"

#define CHAIN 320                    /* floats at most: a run of a B panel is 20 or 40 KB */
#define GROUP 1024                   /* columns of B that a thread packs for itself: 1 MB */
#define PIECE (1 << 20)              /* floats of B that all threads pack together: 4 MB */
#define ROWS_BLOCK 240               /* rows of A packed together: 240 KB, half an L2 */
#define DEALT 8                      /* cells of A that are dealt out to tiles together */
#define WIDE ((TILE_M + 7) / 8 * 8)  /* floats that are copied at once */
#define ROOM (2 * CHAIN * PANEL)     /* floats: lines that are dealt out, then a split panel */
#define FEW 8                        /* rows that are multiplied while B is read */
#define SWEEP (1 << 16)              /* floats of an A that stays in the cache as a whole */
/* Scratch of a thread, 1.7 MB, the same for all products: what grew from pass to pass would be
 * memory that nobody has planned. */
#define PANELS_ROOM ((GROUP + PANEL) * CHAIN)
#define ROWS_ROOM (ROWS_BLOCK * CHAIN + 16)        /* more than SWEEP */

/* Panels of B from some column and cell on: where they lie. */
struct panels {
    const float *at;
    size_t cell, next;               /* floats from cell to cell, and to the next panel */
};

/* c(M,N) = or += a(M,K) b(K,N).  B is packed already, or lies as a tile can read it; or all
 * threads pack a piece of it before they divide the rows, or each packs the columns it has. */
struct product {
    struct operand a, b;             /* b's rows are the columns of C */
    const float *packed;             /* b as pack() has it, or NULL */
    float *c;
    bool add;
    int M, N;
    bool over_rows;                  /* threads divide rows of C, else its panels */
    struct panels panels;            /* of column 0 and cell `first`; at NULL: each packs */
    int first, cells;                /* the piece of the chain that is at work */
    struct compute *k;
};

/* A block of C and of the chain, which it goes through in runs of `run` cells. */
struct block {
    int row, rows, column, columns, first, cells, run;
    bool spread;                     /* pairs of packed weights are split once for all tiles */
    bool pairs;                      /* tiles read pairs */
    int tiles, height, higher;       /* one below another, the first few higher by a row */
    int steps;                       /* of theirs in a cell */
    size_t ahead;                    /* bytes of a cell that each of them fetches for later */
};

/* Tiles are much alike in height, the first of them by one row more: a low tile would wait for its
 * own sums. */
static int height_of(const struct block *b, int tile)
{
    return b->height + (tile < b->higher);
}

/* Cells of all rows where the chain runs across memory: a few are made in full lanes and dealt out
 * to the tiles.  What is written too much the tile's next cells cover. */
static void deal_rows(const struct product *p, const struct block *b, int first, int cells,
                      float *to, float *lines)
{
    int floats = cell_floats(&p->a);
    size_t line = (size_t)(b->rows + 15) / 16 * 16 + WIDE;

    for (int i = 0; i < cells; i += DEALT) {
        int n = cells - i < DEALT ? cells - i : DEALT;
        float *tile_at = to;

        for (int j = 0; j < n; j++) {
            struct across at = across_at(&p->a, b->row, first + i + j);

            for (int m = 0; m < b->rows; m += 16)
                put_cell(lines + (size_t)(j * floats) * line + m, line, p->a.split,
                         cells_across(&p->a, at, m, b->rows - m < 16 ? b->rows - m : 16));
        }
        for (int tile = 0, m = 0, height; m < b->rows; tile++, m += height) {
            int left = (cells - i) * floats;
            float *out = tile_at + (size_t)i * (size_t)(height = height_of(b, tile)) * floats;

            for (int j = 0; j < n * floats; j++, left--, out += height)
                memcpy(out, lines + (size_t)j * line + m,
                       (size_t)(left * height >= WIDE ? WIDE : height) * sizeof *out);
            tile_at += (size_t)(height * cells * floats);
        }
    }
}

/* A as [run of the chain][tile][cell][rows]. */
static void pack_rows(const struct product *p, const struct block *b, float *to, float *lines)
{
    for (int first = 0; first < b->cells; first += b->run) {
        int cells = b->cells - first < b->run ? b->cells - first : b->run;
        int at = b->first + first;

        if (p->a.row_stride == 1 && p->a.pairs && cells >= 4 * DEALT) {
            deal_rows(p, b, at, cells, to, lines);
            to += (size_t)(b->rows * cells * cell_floats(&p->a));
            continue;
        }
        for (int tile = 0, m = 0, height; m < b->rows; tile++, m += height) {
            height = height_of(b, tile);
            pack_sixteen(to, (size_t)height, &p->a, b->row + m, height, at, cells);
            to += (size_t)(height * cells * cell_floats(&p->a));
        }
    }
}

/* Pairs of a panel as floats. */
static const float *spread_pairs(float *to, const float *pairs, int cells)
{
    for (int i = 0; i < cells; i++)
        UNROLL for (int v = 0; v < TILE_V; v++)
            put_cell(to + 2 * i * PANEL + 16 * v, PANEL, true,
                     lanes_load(pairs + i * PANEL + 16 * v));
    return to;
}

/* A run of the chain in the panel at `column`, and the memory of packed weights that is
 * due after it, or NULL. */
struct run {
    int column, first, cells;
    const float *panel, *ahead;
};

/* All rows of the block meet the run, each tile while its share of what is ahead is fetched. */
static void meet(const struct product *p, const struct block *b, size_t cell, const float *a,
                 const struct run *r)
{
    int width = b->columns - r->column < PANEL ? b->columns - r->column : PANEL;
    size_t floats = (size_t)r->cells * (size_t)cell_floats(&p->a);
    struct tile t = { .a = a, .b = r->panel, .ldb = cell, .ldc = (size_t)p->N,
                      .c = p->c + (size_t)b->row * (size_t)p->N + b->column + r->column,
                      .cells = r->cells * b->steps, .load = p->add || b->first + r->first > 0,
                      .ahead = (const char *)(r->ahead ? r->ahead : r->panel),
                      .stride = r->ahead ? b->ahead / (size_t)b->steps : 0 };

    for (int tile = 0; tile < b->tiles; tile++) {
        t.rows = height_of(b, tile);
        tile_panel(b->pairs, &t, width);
        t.a += (size_t)t.rows * floats;
        t.c += (size_t)t.rows * t.ldc;
        t.ahead += (size_t)t.cells * t.stride;
    }
}

static void run_block(const struct product *p, const struct block *b, struct panels panels,
                      float *room)
{
    float *a = room + ROOM;
    size_t row = (size_t)(b->rows * cell_floats(&p->a));
    size_t cell = panels.cell / (size_t)(p->packed ? 1 : cell_floats(&p->b));

    pack_rows(p, b, a, room);
    for (int n = 0; n < b->columns; n += PANEL, panels.at += panels.next)
        for (int first = 0; first < b->cells; first += b->run) {
            bool last = b->cells - first <= b->run;
            struct run r = { n, first, last ? b->cells - first : b->run,
                             panels.at + (size_t)first * panels.cell, NULL };

            if (p->packed && !last)
                r.ahead = r.panel + (size_t)r.cells * panels.cell;
            else if (p->packed && n + PANEL < b->columns)
                r.ahead = panels.at + panels.next;
            if (b->spread)
                r.panel = spread_pairs(room, r.panel, r.cells);
            meet(p, b, cell, a + row * (size_t)first, &r);
        }
}

/* How the tiles of a block divide it. */
static void cut_block(const struct product *p, struct block *b, size_t cell)
{
    bool split = p->packed && p->a.split;
    int most;

    b->spread = split && b->rows > 2 * TILE_M_PAIRS;
    b->pairs = p->a.pairs && !b->spread && (p->packed || !p->b.split);
    b->steps = b->pairs ? 1 : cell_floats(&p->a);
    most = split && !b->spread ? TILE_M_PAIRS : TILE_M;
    b->tiles = (b->rows + most - 1) / most;
    b->height = b->rows / b->tiles;
    b->higher = b->rows % b->tiles;
    b->ahead = cell * sizeof(float) / (size_t)b->tiles;
}

/* Cells of a run of the chain, all much alike. */
static int run_of(const struct product *p)
{
    int most = CHAIN / cell_floats(&p->a), runs = (p->cells + most - 1) / most;

    return (p->cells + runs - 1) / runs;
}

/* Few rows read packed weights in one sweep: each panel from its first byte to its last. */
static bool sweeps(const struct product *p)
{
    return p->packed && (size_t)p->M * (size_t)(p->cells * cell_floats(&p->a)) <= SWEEP;
}

/* Columns that are packed together. */
static int group_of(const struct product *p)
{
    return p->panels.at || p->N < GROUP ? p->N : GROUP;
}

static struct panels find_panels(const struct product *p, const struct block *b, float *room)
{
    struct panels panels = p->panels;
    size_t cell = (size_t)cell_floats(&p->b) * PANEL;

    if (panels.at) {
        panels.at += (size_t)(b->column / PANEL) * panels.next +
                     (size_t)(b->first - p->first) * panels.cell;
        return panels;
    }
    panels = (struct panels){ room, cell, (size_t)b->cells * cell };
    pack_panels(room, panels.next, &p->b, b->column, b->columns, b->first, b->cells);
    return panels;
}

static void product_part(void *job, int begin, int end, int thread)
{
    const struct product *p = job;
    float *panels_room = cpu_scratch_of(p->k, thread), *room = panels_room + PANELS_ROOM;
    int m0 = p->over_rows ? begin : 0, m1 = p->over_rows ? end : p->M;
    int n0 = p->over_rows ? 0 : begin, n1 = p->over_rows ? p->N : end, group = group_of(p);
    int run = run_of(p), longest = sweeps(p) ? p->cells : run, last = p->first + p->cells;
    struct block b = { .run = run };

    if (p->a.pairs)
        flush_begin();
    for (b.column = n0; b.column < n1; b.column += group)
        for (b.first = p->first; b.first < last; b.first += longest) {
            struct panels panels;

            b.columns = n1 - b.column < group ? n1 - b.column : group;
            b.cells = last - b.first < longest ? last - b.first : longest;
            panels = find_panels(p, &b, panels_room);
            for (b.row = m0; b.row < m1; b.row += ROWS_BLOCK) {
                b.rows = m1 - b.row < ROWS_BLOCK ? m1 - b.row : ROWS_BLOCK;
                cut_block(p, &b, panels.cell);
                run_block(p, &b, panels, room);
            }
        }
    if (p->a.pairs)
        flush_end();
}

/* Multiply-adds; a few rows take as long as FEW, because B comes from memory. */
static double work_of(const struct product *p)
{
    return (double)(p->M < FEW ? FEW : p->M) * p->N * p->cells;
}

/* C meets a piece of B. */
static void product_piece(struct product *p)
{
    if (cpu_scratch(p->k, PANELS_ROOM + ROOM + ROWS_ROOM))
        cpu_split_few(p->k, work_of(p), p->over_rows ? p->M : p->N,
                      p->over_rows ? TILE_M : PANEL, p, product_part);
}

/* Cells begin .. end of all panels of the piece. */
static void pack_piece(void *job, int begin, int end, int thread)
{
    const struct product *p = job;

    (void)thread;
    pack_panels(cpu_shared_of(p->k) + (size_t)begin * p->panels.cell, p->panels.next, &p->b, 0,
                p->N, p->first + begin, end - begin);
}

static void product_in_pieces(struct product *p)
{
    int floats = cell_floats(&p->b), columns = (p->N + PANEL - 1) / PANEL * PANEL, all = p->cells;
    int most = PIECE / columns / CHAIN * CHAIN / floats;
    size_t cell = (size_t)floats * PANEL;

    most = most < CHAIN / floats ? CHAIN / floats : most;
    most = most > all ? all : most;
    if (!cpu_shared(p->k, (size_t)columns * (size_t)(most * floats)))
        return;
    for (; p->first < all; p->first += most) {
        p->cells = all - p->first < most ? all - p->first : most;
        p->panels = (struct panels){ cpu_shared_of(p->k), cell, (size_t)p->cells * cell };
        cpu_split(p->k, (double)p->N * p->cells, p->cells, 16, p, pack_piece);
        product_piece(p);
    }
}

static void product_run(struct compute *k, struct product *p)
{
#if defined(SPLIT_PAIRS)
    p->a.split = p->b.split = p->a.pairs;
#endif
    p->k = k;
    p->cells = cells_of(p->a.pairs, p->a.steps);
    if (p->M <= 0 || p->N <= 0)
        return;
    if (p->cells <= 0) {
        if (!p->add)
            memset(p->c, 0, (size_t)p->M * (size_t)p->N * sizeof *p->c);
        return;
    }
    p->over_rows = p->M / TILE_M > p->N / PANEL;
    if (p->packed)
        p->panels = (struct panels){ p->packed, PANEL, (size_t)p->cells * PANEL };
    else if (!p->b.pairs && p->b.row_stride == 1 && p->M <= TILE_M && p->N % PANEL == 0)
        p->panels = (struct panels){ p->b.data, p->b.step_stride, PANEL };  /* read only once */
    if (p->over_rows && !p->packed)
        product_in_pieces(p);
    else
        product_piece(p);
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
    pack_panels(p->packed + (size_t)begin * (size_t)cells, (size_t)cells * PANEL, &p->w, begin,
                end - begin, 0, cells);
}

static void pack(struct compute *k, float *packed, const float *w, int N, int K)
{
    struct packing p = { packed, { w, (size_t)K, 1, NULL, K,
                               .pairs = k->dtype == COMPUTE_BF16 } };

    cpu_split(k, (double)N * K, N, PANEL, &p, pack_part);
}

/* ---- the products */

static void matmul_forward(struct compute *k, float *y, const void *x, const float *w,
                           const float *packed, int M, int N, int K)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    struct product p = { .a = { x, (size_t)K, 1, NULL, K, .pairs = pairs, .bf16 = pairs },
                         .b = { w, (size_t)K, 1, NULL, K, .pairs = pairs }, .packed = packed,
                         .c = y, .M = M, .N = N };

    product_run(k, &p);
}

static void matmul_backward_input(struct compute *k, float *dx, const float *dy, const float *w,
                                  const float *packed, int M, int N, int K)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    struct product p = { .a = { dy, (size_t)N, 1, NULL, N, .pairs = pairs },
                         .b = { w, 1, (size_t)K, NULL, N, .pairs = pairs }, .c = dx, .add = true,
                         .M = M, .N = K };

    (void)packed;
    product_run(k, &p);
}

static void matmul_backward_weight(struct compute *k, float *dw, const float *dy, const void *x,
                                   const int *slot, int M, int N, int K, bool add)
{
    bool pairs = k->dtype == COMPUTE_BF16;
    int steps = M, *places = NULL;

    if (pairs && slot && !cpu_places(k, slot, M, &places, &steps))
        return;
    struct product p = { .a = { dy, 1, (size_t)N, places, steps, .pairs = pairs },
                         .b = { x, 1, (size_t)K, places, steps, .pairs = pairs, .bf16 = pairs },
                         .c = dw, .add = add, .M = N, .N = K };

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
