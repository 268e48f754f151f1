/* Products of bf16 by a GPU's tensor cores (device = "cuda"): near what doubles give, and the bits
 * of an output those of its row and its column alone. */
#include "compute/cuda/cuda.h"
#include "compute/cuda/sizes.h"
#include "tests/backends.h"

static struct compute *one, *many;   /* a GPU of one multiprocessor, which takes large tiles, and of
                                      * 132, which takes small ones */

static int open_gpu(struct compute **k, int processors)
{
    int rc = compute_open(k, "cuda", "bf16", 1);

    if (rc == RL_OK)
        cuda_of(*k)->processors = processors;
    return rc;
}

static int open_gpus(void **state)
{
    (void)state;
    if (compute_open(&ref, "ref", "bf16", 1) != RL_OK)
        return -1;
    support_gpu();
    return open_gpu(&one, 1) != RL_OK || open_gpu(&many, 132) != RL_OK ? -1 : 0;
}

static int close_gpus(void **state)
{
    int rc = compute_sync(one) | compute_sync(many);

    (void)state;
    compute_close(one);
    compute_close(many);
    compute_close(ref);
    return rc;
}

/* ---- near */

/* out(rows, columns) = first + sums over steps of a b: a lies at row * a_row + step * a_step,
 * b likewise.  Rounding of factors is exact here; each term is added with an error of at most
 * 2^-23 of what is there. */
struct chains {
    const char *what;
    int rows, columns, steps;
    const float *first, *a, *b;      /* first NULL: from 0 */
    int a_row, a_step, b_column, b_step;
};

static void chains_are_near(const struct chains *c, const float *got)
{
    for (int i = 0; i < c->rows * c->columns; i++) {
        const float *a = c->a + i / c->columns * c->a_row;
        const float *b = c->b + i % c->columns * c->b_column;
        double sum = c->first ? (double)c->first[i] : 0, size = fabs(sum);

        for (int s = 0; s < c->steps; s++) {
            double p = (double)bf16_round(a[s * c->a_step]) * (double)bf16_round(b[s * c->b_step]);
            sum += p;
            size += fabs(p);
        }
        if (!(fabs((double)got[i] - sum) <= c->steps * 0x1p-23 * size))
            fail_msg("%s of %d x %d, %d steps: [%d] is %.9g, exact %.9g", c->what, c->rows,
                     c->columns, c->steps, i, (double)got[i], sum);
    }
}

static const int shapes[][3] = {                     /* M, N, K */
    { 0, 5, 5 }, { 1, 1, 1 }, { 5, 3, 0 }, { 1, 8, 16 }, { 3, 8, 700 }, { 16, 9, 33 },
    { 2, 31, 288 }, { 9, 64, 40 }, { 1, 200, 136 }, { 17, 16, 300 }, { 40, 30, 257 },
    { 64, 64, 64 }, { 65, 70, 95 }, { 33, 7, 7 }, { 130, 129, 24 }, { 128, 256, 40 },
    { 200, 300, 33 }, { 12, 33, 1024 },
};

struct operands { size_t mk, nk, mn; float *x, *w, *dy, *dx, *dw; void *stored; };

static struct operands make_operands(int M, int N, int K)
{
    struct operands o = { (size_t)(M * K), (size_t)(N * K), (size_t)(M * N), NULL, NULL, NULL, NULL,
                          NULL, NULL };

    o.x = noise(o.mk, 1), o.w = noise(o.nk, 1), o.dy = noise(o.mn, 1);
    o.dx = noise(o.mk, 1), o.dw = noise(o.nk, 1);
    o.stored = stored(o.x, o.mk);
    return o;
}

static void free_operands(struct operands *o)
{
    drop(o->x), drop(o->w), drop(o->dy), drop(o->dx), drop(o->dw), drop(o->stored);
}

static float *packed_of(struct compute *k, const float *w, int N, int K)
{
    float *packed = noise(k->packed_size(k, N, K), 1);

    k->pack(k, packed, w, N, K);
    return packed;
}

/* What a GPU makes of them. */
struct results { float *y, *y_packed, *dx, *dx_packed, *dw, *dw_added; };

static struct results run_products(struct compute *k, const struct operands *o, int M, int N, int K)
{
    struct results r = { noise(o->mn, 1), noise(o->mn, 1), copy_of(o->dx, o->mk),
                         copy_of(o->dx, o->mk), noise(o->nk, 1), copy_of(o->dw, o->nk) };
    float *packed = packed_of(k, o->w, N, K);

    k->matmul_forward(k, r.y, o->stored, o->w, NULL, M, N, K);
    k->matmul_forward(k, r.y_packed, o->stored, o->w, packed, M, N, K);
    k->matmul_backward_input(k, r.dx, o->dy, o->w, NULL, M, N, K);
    k->matmul_backward_input(k, r.dx_packed, o->dy, o->w, packed, M, N, K);
    k->matmul_backward_weight(k, r.dw, o->dy, o->stored, NULL, M, N, K, false);
    k->matmul_backward_weight(k, r.dw_added, o->dy, o->stored, NULL, M, N, K, true);
    assert_ok(compute_sync(k));
    drop(packed);
    return r;
}

static void free_results(struct results *r)
{
    drop(r->y), drop(r->y_packed), drop(r->dx), drop(r->dx_packed), drop(r->dw), drop(r->dw_added);
}

static void equal(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s[%zu of %zu] = %a, not %a", what, i, n, (double)got[i], (double)want[i]);
}

/* Whatever tile they go by. */
static void test_products_are_near_and_alike(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        struct operands o = make_operands(M, N, K);
        struct results r = run_products(one, &o, M, N, K), q = run_products(many, &o, M, N, K);

        chains_are_near(&(struct chains){ "y", M, N, K, NULL, o.x, o.w, K, 1, K, 1 }, r.y);
        chains_are_near(&(struct chains){ "dx", M, K, N, o.dx, o.dy, o.w, N, 1, 1, K }, r.dx);
        chains_are_near(&(struct chains){ "dw", N, K, M, NULL, o.dy, o.x, 1, N, 1, K }, r.dw);
        chains_are_near(&(struct chains){ "dw, added", N, K, M, o.dw, o.dy, o.x, 1, N, 1, K },
                        r.dw_added);
        equal("y of packed w", r.y_packed, r.y, o.mn);
        equal("dx of packed w", r.dx_packed, r.dx, o.mk);
        equal("y of other tiles", q.y, r.y, o.mn);
        equal("dx of other tiles", q.dx, r.dx, o.mk);
        equal("dw of other tiles", q.dw, r.dw, o.nk);
        equal("dw of other tiles, added", q.dw_added, r.dw_added, o.nk);
        free_results(&r), free_results(&q), free_operands(&o);
    }
}

/* ---- a row's bits */

/* Rows [at, at + M) by themselves have the bits that they have among all. */
static void rows_are_alike(struct compute *k, const struct operands *o, const struct results *all,
                           int at, int M, int N, int K)
{
    size_t mk = (size_t)(M * K), mn = (size_t)(M * N), row = (size_t)at;
    float *y = noise(mn, 1), *dx = copy_of(o->dx + row * (size_t)K, mk);

    k->matmul_forward(k, y, element(o->stored, row * (size_t)K), o->w, NULL, M, N, K);
    k->matmul_backward_input(k, dx, o->dy + row * (size_t)N, o->w, NULL, M, N, K);
    compute_wait(k);
    equal("y of some rows", y, all->y + row * (size_t)N, mn);
    equal("dx of some rows", dx, all->dx + row * (size_t)K, mk);
    drop(y), drop(dx);
}

static void test_rows_do_not_see_each_other(void **state)
{
    static const int sizes[][2] = { { 8, 96 }, { 70, 51 }, { 264, 48 } };
    static const int parts[][2] = {                  /* first row, rows */
        { 0, 1 }, { 7, 1 }, { 199, 1 }, { 0, 8 }, { 13, 8 }, { 100, 16 }, { 3, 64 }, { 136, 64 },
        { 9, 130 },
    };
    enum { M = 200 };

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int N = sizes[s][0], K = sizes[s][1];
        struct operands o = make_operands(M, N, K);
        struct results r = run_products(one, &o, M, N, K);

        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            rows_are_alike(one, &o, &r, parts[i][0], parts[i][1], N, K);
            rows_are_alike(many, &o, &r, parts[i][0], parts[i][1], N, K);
        }
        free_results(&r), free_operands(&o);
    }
}

/* Numbers that are none stay in their row. */
static void test_a_bad_row_spoils_no_other(void **state)
{
    enum { M = 20, N = 24, K = 40, BAD = 9 };
    struct operands o = make_operands(M, N, K);
    struct results clean = run_products(one, &o, M, N, K), dirty;

    (void)state;
    for (int i = 0; i < K; i++)
        ((uint16_t *)o.stored)[BAD * K + i] = 0x7fc0;
    for (int i = 0; i < N; i++)
        o.dy[BAD * N + i] = INFINITY;
    dirty = run_products(one, &o, M, N, K);
    assert_true(isnan(dirty.y[BAD * N]) && !isfinite(dirty.dx[BAD * K]));
    equal("y before it", dirty.y, clean.y, BAD * N);
    equal("y behind it", dirty.y + (BAD + 1) * N, clean.y + (BAD + 1) * N, (M - BAD - 1) * N);
    equal("dx before it", dirty.dx, clean.dx, BAD * K);
    equal("dx behind it", dirty.dx + (BAD + 1) * K, clean.dx + (BAD + 1) * K, (M - BAD - 1) * K);
    free_results(&clean), free_results(&dirty), free_operands(&o);
}

static void test_packed_slices_are_slices(void **state)
{
    enum { M = 29, N = 96 };
    static const int widths[] = { 35, 64 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        int K = widths[i];
        struct operands o = make_operands(M, N, K);
        float *packed = packed_of(one, o.w, N, K), *y = noise(M * 32, 1), *want = noise(M * 32, 1);
        size_t slice = one->packed_size(one, 64, K);

        one->matmul_forward(one, want, o.stored, o.w + 64 * K, NULL, M, 32, K);
        one->matmul_forward(one, y, o.stored, o.w + 64 * K, packed + slice, M, 32, K);
        compute_wait(one);
        equal("y of a packed slice", y, want, M * 32);
        drop(packed), drop(y), drop(want), free_operands(&o);
    }
}

/* ---- dw: tokens in steps of 16 */

/* dw of tokens [0, cuts[0]), [cuts[0], cuts[1]), ... in calls of their own. */
static float *weight_gradient(struct compute *k, const struct operands *o, const int *slot,
                              const int *cuts, int n, int N, int K)
{
    float *dw = copy_of(o->dw, o->nk);
    int from = 0;

    for (int i = 0; i < n; from = cuts[i++])
        k->matmul_backward_weight(k, dw, o->dy + (size_t)(from * N),
                                  element(o->stored, (size_t)(from * K)), slot ? slot + from : NULL,
                                  cuts[i] - from, N, K, i > 0);
    compute_wait(k);
    return dw;
}

static void test_cut_at_steps_continues_the_chain(void **state)
{
    enum { M = 75, N = 40, K = 33 };
    static const int whole[] = { M }, parts[] = { 16, 64, M };
    struct operands o = make_operands(M, N, K);
    float *want = weight_gradient(one, &o, NULL, whole, 1, N, K);
    float *got = weight_gradient(many, &o, NULL, parts, 3, N, K);

    (void)state;
    equal("dw of a cut batch", got, want, o.nk);
    drop(want), drop(got), free_operands(&o);
}

/* Rows of any length, of which some tokens are in no product; packed with others or not. */
static void test_dw_does_not_see_the_packing(void **state)
{
    enum { M = 61, N = 24, K = 40 };
    static const int row[] = { 0, 21, 22, 54, M }, whole[] = { M }, ends[] = { 21, 22, 54, M };
    struct operands o = make_operands(M, N, K);
    int slot[M], moved[M];

    (void)state;
    for (int n = 0, at = 0; n < 4; n++, at += 48)
        for (int m = row[n]; m < row[n + 1]; m++) {
            int place = m - row[n] + (n == 3 ? 13 : 0);      /* the last row's head is missing */

            slot[m] = at + place;
            moved[m] = 3 * at + 32 + place;
        }
    float *want = weight_gradient(one, &o, slot, whole, 1, N, K);
    float *alone = weight_gradient(one, &o, slot, ends, 4, N, K);
    float *later = weight_gradient(many, &o, moved, whole, 1, N, K);
    float *plain = weight_gradient(one, &o, NULL, whole, 1, N, K);

    equal("dw of rows by themselves", alone, want, o.nk);
    equal("dw of rows elsewhere", later, want, o.nk);
    assert_true(memcmp(plain, want, o.nk * sizeof *want) != 0);      /* slots do matter */
    chains_are_near(&(struct chains){ "dw", N, K, M, NULL, o.dy, o.x, 1, N, 1, K }, want);
    drop(want), drop(alone), drop(later), drop(plain), free_operands(&o);
}

/* ---- scratch memory is what was planned: no operation takes more */

/* Slots of the load's tokens, in rows that are as long as each other; those of the first token of
 * each step into picked, a tile's at most.  Returns how many these are. */
static int cut_slots(int *slot, int *picked, const struct compute_load *load)
{
    int length = (load->tokens + load->pass_rows - 1) / load->pass_rows, n = 0;
    int room = (length + SLOT_STEP - 1) / SLOT_STEP * SLOT_STEP;

    for (int i = 0; i < load->tokens; i++) {
        slot[i] = i / length * room + i % length;
        if (slot[i] % SLOT_STEP == 0 && n < load->tile_rows)
            picked[n++] = slot[i];
    }
    return n;
}

/* One operation of each kind, as large as the load allows. */
static void work(struct compute *k, const struct compute_load *load)
{
    int T = load->tokens, F = load->features, V = load->tile_ids, D = load->D;
    int *slot = room((size_t)T * sizeof *slot), *picked = room((size_t)T * sizeof *picked);
    int picks = cut_slots(slot, picked, load);
    const int whole[] = { 0, T };
    const struct attention_shape shape = { load->heads, load->heads, D, 0 };
    size_t heads = (size_t)(T * load->heads * D);
    struct operands o = make_operands(T, F, F), head = make_operands(picks, V, F);
    float *x = noise(heads, 1), *stats = noise((size_t)(2 * T * load->heads), 1);
    uint16_t *stored = noise_stored(heads, 1);

    k->matmul_backward_weight(k, o.dw, o.dy, o.stored, slot, T, F, F, true);
    k->matmul_backward_weight(k, head.dw, head.dy, head.stored, picked, picks, V, F, true);
    k->attention_backward(k, x, x, x, x, x, stored, stored, stored, stats, whole, 1, shape);
    compute_wait(k);
    drop(x), drop(stats), drop(stored), drop(slot), drop(picked);
    free_operands(&o), free_operands(&head);
}

static void test_scratch_is_planned(void **state)
{
    static const struct compute_load loads[] = {
        { 40, 40, .heads = 1, .D = 5, .features = 24, .tile_rows = 40, .tile_ids = 2048 },
        { 41, 3, .heads = 3, .D = 20, .features = 33, .tile_rows = 41, .tile_ids = 70 },
        { 1, 1, .heads = 2, .D = 64, .features = 7, .tile_rows = 1, .tile_ids = 8192 },
        { 70, 2, .heads = 5, .D = 128, .features = 16, .tile_rows = 2, .tile_ids = 3001 },
        { 600, 1, .heads = 1, .D = 3, .features = 9, .tile_rows = 256, .tile_ids = 2048 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        struct compute *k;
        size_t planned;

        assert_ok(open_gpu(&k, 4));
        planned = compute_scratch(k, &loads[i]) - CUDA_STAGED;
        compute_reserve(k, &loads[i]);
        assert_int_equal(cuda_of(k)->scratch_size, planned);
        work(k, &loads[i]);
        assert_ok(compute_sync(k));
        assert_int_equal(cuda_of(k)->scratch_size, planned);
        compute_close(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_near_and_alike),
        cmocka_unit_test(test_rows_do_not_see_each_other),
        cmocka_unit_test(test_a_bad_row_spoils_no_other),
        cmocka_unit_test(test_packed_slices_are_slices),
        cmocka_unit_test(test_cut_at_steps_continues_the_chain),
        cmocka_unit_test(test_dw_does_not_see_the_packing),
        cmocka_unit_test(test_scratch_is_planned),
    };

    return cmocka_run_group_tests(tests, open_gpus, close_gpus);
}
