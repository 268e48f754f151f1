/* Packing for a matrix product: the operands as cells (tile.h) in the order the tile reads them.
 *
 *   A: [cell][rows], at most TILE_M rows      B: [cell][PANEL], zeros to the right
 *
 * A split pair takes two places of a cell, its odd number and then its even one.
 *
 * Where the chain runs along memory, 16 cells of several rows are turned at once; where it runs
 * across, two rows of memory make a row of pairs.  Included by matmul.h.
 */
#ifndef COMPUTE_CPU_CELLS_H
#define COMPUTE_CPU_CELLS_H

#include "compute/cpu/part.h"

/* An operand: element `row`, `step` of the chain is data[row * row_stride + step * step_stride];
 * one of the strides is 1.  steps: of the chain; places: which of them they are (-1: a zero), or
 * NULL where step i is i.  bf16: that is what data holds, else floats. */
struct operand {
    const void *data;
    size_t row_stride, step_stride;
    const int *places;
    int steps;
    bool pairs, split;               /* split: pairs as two floats */
    bool bf16;
};

/* Floats of a cell. */
static inline int cell_floats(const struct operand *o)
{
    return o->split ? 2 : 1;
}

static int cells_of(bool pairs, int steps)
{
    return pairs ? (steps + 1) / 2 : steps;
}

/* Pairs of the first n of 32 bf16 in memory. */
INLINE struct lanes words_of(const uint16_t *p, int n)
{
    uint16_t few[32] = {0};

    if (n == 32)
        return lanes_words(p);
    memcpy(few, p, (size_t)n * sizeof *few);
    return lanes_words(few);
}

/* 16 cells from cell `first` of row `row`, along memory; zeros behind the last step. */
static struct lanes cells_along(const struct operand *o, int row, int first)
{
    int at = o->pairs ? 2 * first : first, left = o->steps - at;
    size_t from = (size_t)row * o->row_stride + (size_t)at;

    if (o->pairs)
        return o->bf16 ? words_of((const uint16_t *)o->data + from, left < 32 ? left : 32)
                       : lanes_pairs_part((const float *)o->data + from, left < 32 ? left : 32);
    return take_stored(o->bf16, o->data, from, left < 16 ? left : 16);
}

/* One cell of all rows, across memory: where row `row` of its step, or of both, lies. */
struct across { const void *even, *odd; };       /* NULL: zeros */

static inline const void *step_at(const struct operand *o, int row, int step)
{
    int place = step >= o->steps ? -1 : o->places ? o->places[step] : step;

    return place < 0 ? NULL
                     : stored_at(o->bf16 ? COMPUTE_BF16 : COMPUTE_FP32, o->data,
                                 (size_t)place * o->step_stride + (size_t)row);
}

static inline struct across across_at(const struct operand *o, int row, int cell)
{
    if (!o->pairs)
        return (struct across){ step_at(o, row, cell), NULL };
    return (struct across){ step_at(o, row, 2 * cell), step_at(o, row, 2 * cell + 1) };
}

/* Pairs of n (at most 16) bf16 from there + i on. */
INLINE struct lanes weave_of(struct across at, size_t i, int n)
{
    const uint16_t *even = at.even, *odd = at.odd;
    uint16_t few[2][16] = {{0}};

    if (n == 16 && even && odd)
        return lanes_weave(even + i, odd + i);
    if (even)
        memcpy(few[0], even + i, (size_t)n * sizeof *even);
    if (odd)
        memcpy(few[1], odd + i, (size_t)n * sizeof *odd);
    return lanes_weave(few[0], few[1]);
}

/* `n` (at most 16) rows from there + `row` on. */
INLINE struct lanes cells_across(const struct operand *o, struct across at, int row, int n)
{
    struct lanes zero = lanes_set(0.0f);

    if (!o->pairs)
        return take(at.even, (size_t)row, n);
    if (o->bf16)
        return weave_of(at, (size_t)row, n);
    return lanes_pairs(at.even ? take(at.even, (size_t)row, n) : zero,
                       at.odd ? take(at.odd, (size_t)row, n) : zero);
}

/* 16 rows of a cell; a split one's even numbers follow after `stride` floats. */
INLINE void put_cell(float *to, size_t stride, bool split, struct lanes cell)
{
#if defined(SPLIT_PAIRS)
    if (split) {
        lanes_store(to, lanes_odd(cell));
        lanes_store(to + stride, lanes_even(cell));
        return;
    }
#endif
    (void)stride, (void)split;
    lanes_store(to, cell);
}

/* Where the chain runs along memory: to[cell][stride] from `rows` rows.  `most` of them are known
 * when this is compiled, so that what is turned stays in registers. */
INLINE void turn(const int most, float *to, size_t stride, const struct operand *o, int row,
                 int rows, int first, int cells)
{
    size_t cell = stride * (size_t)cell_floats(o);

    for (int i = 0; i < cells; i += 16) {
        int n = cells - i < 16 ? cells - i : 16;
        struct lanes t[16];

        UNROLL for (int m = 0; m < 16; m++)
            t[m] = m < most && m < rows ? cells_along(o, row + m, first + i) : lanes_set(0.0f);
        lanes_transpose(t, most);
        UNROLL for (int m = 0; m < 16; m++)
            if (m < n)
                put_cell(to + (size_t)(i + m) * cell, stride, o->split, t[m]);
    }
}

/* to[cell][stride] from `rows` (at most 16) rows, cells first .. first + cells.  16 lanes are
 * stored at a time, the next over what was too much: behind the last there is room for 15. */
static void pack_sixteen(float *to, size_t stride, const struct operand *o, int row, int rows,
                         int first, int cells)
{
    if (o->row_stride == 1 && !o->pairs && rows == TILE_M) {        /* no part of a load */
        const float *from = step_at(o, row, first);

        for (int i = 0; i < cells; i++, from += o->step_stride)
            memcpy(to + (size_t)i * stride, from, TILE_M * sizeof *to);
    } else if (o->row_stride == 1) {
        for (int i = 0; i < cells; i++)
            put_cell(to + (size_t)(i * cell_floats(o)) * stride, stride, o->split,
                     cells_across(o, across_at(o, row, first + i), 0, rows));
    } else if (rows <= TILE_M) {
        turn(TILE_M, to, stride, o, row, rows, first, cells);
    } else {
        turn(16, to, stride, o, row, rows, first, cells);
    }
}

/* A panel of B: to[cell][PANEL] from `width` rows of the operand. */
static void pack_panel(float *to, const struct operand *o, int row, int width, int first,
                       int cells)
{
    for (int h = 0; h < PANEL; h += 16) {
        int n = width - h < 0 ? 0 : width - h < 16 ? width - h : 16;

        pack_sixteen(to + h, PANEL, o, row + h, n, first, cells);
    }
}

/* One cell of `columns` rows: a line in each panel. */
static void pack_cell(float *to, size_t panel, const struct operand *o, struct across at,
                      int columns)
{
    for (int c = 0; c < columns; c += PANEL, to += panel)
        for (int h = 0; h < PANEL; h += 16) {
            int left = columns - c - h, n = left < 0 ? 0 : left < 16 ? left : 16;

            put_cell(to + h, PANEL, o->split, cells_across(o, at, c + h, n));
        }
}

/* `columns` rows of the operand, panel after panel, `next` floats apart.  Across memory all panels
 * grow together, so that memory is read from end to end. */
static void pack_panels(float *to, size_t next, const struct operand *o, int row, int columns,
                        int first, int cells)
{
    size_t cell = (size_t)cell_floats(o) * PANEL;

    if (o->row_stride == 1)
        for (int i = 0; i < cells; i++)
            pack_cell(to + (size_t)i * cell, next, o, across_at(o, row, first + i), columns);
    else
        for (int c = 0; c < columns; c += PANEL, to += next)
            pack_panel(to, o, row + c, columns - c < PANEL ? columns - c : PANEL, first, cells);
}

#endif
