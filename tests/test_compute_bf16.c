/* Products of bf16: the number format, every backend against ref to the bit (where denormals are
 * flushed, too), pairs of tokens, and the error against long double. */
#include "compute/check.h"
#include "tests/backends.h"

/* ---- the format */

static void test_numbers_become_the_nearest(void **state)
{
    static const struct { float x, want; } cases[] = {
        { 1.0f, 1.0f }, { 0x1.01p0f, 0x1p0f }, { 0x1.010002p0f, 0x1.02p0f },
        { 0x1.03p0f, 0x1.04p0f }, { -0x1.fffffep127f, -INFINITY }, { INFINITY, INFINITY },
        { 0x1.fep-127f, 0.0f }, { -0x1p-149f, -0.0f }, { 0x1p-126f, 0x1p-126f },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float got = bf16_round(cases[i].x);
        assert_memory_equal(&got, &cases[i].want, sizeof got);
    }
    assert_true(isnan(bf16_round(f32_of_bits(0x7f800001u))));
    for (int i = 0; i < 1000000; i++) {             /* never further than half of the last bit */
        float x = f32_of_bits(word()), got = bf16_round(x);
        if (fabsf(x) >= 0x1p-126f && fabsf(x) < 0x1p127f && isfinite(x))
            assert_true(fabs((double)got - (double)x) <= 0x1p-8 * fabs((double)got));
    }
}

/* x * 1 is x as a bf16: what every backend makes of all kinds of numbers, along memory and across
 * it. */
static void test_backends_round_alike(void **state)
{
    enum { N = 100000 };
    float *x = room(N * sizeof *x), *want = room(N * sizeof *want);
    float *one = room(sizeof *one);

    (void)state;
    *one = 1.0f;
    for (int i = 0; i < N; i++)
        x[i] = f32_of_bits(i % 4 ? word() : word() & 0x80ffffffu);
    for (int i = 0; i < N; i++)
        want[i] = bf16_round(x[i]) + 0.0f;
    EACH_BACKEND(k) {
        float *y = noise(N, 1), *z = room(N * sizeof *z);
        void *xs = room(N * stored_bytes(k->dtype));

        k->store(k, xs, x, N);
        k->matmul_forward(k, y, xs, one, NULL, N, 1, 1);
        k->matmul_backward_input(k, z, one, x, NULL, 1, 1, N);
        same(k, "x * 1", y, want, N);
        same(k, "1 * x", z, want, N);
        drop(xs);
    }
    drop(x), drop(want), drop(one);
}

/* What goes into products is stored as bf16: fp32's, rounded. */
static void test_norm_and_glu_are_rounded(void **state)
{
    enum { T = 37 };
    static const int widths[] = { 1, 15, 16, 50, 300 };
    struct compute *fp32;

    (void)state;
    assert_ok(compute_open(&fp32, "ref", "fp32", 1));
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int C = widths[i];
        size_t n = (size_t)(T * C);
        float *x = noise(n, 3), *w = noise((size_t)C, 1), *up = noise(n, 1), *y = noise(n, 1);
        float *rstd = room(T * sizeof *rstd);

        fp32->rmsnorm_forward(fp32, y, rstd, x, w, 1e-5f, T, C);
        void *norm = stored(y, n);
        fp32->glu_forward(fp32, y, x, up, n, ACT_SILU);
        void *swiglu = stored(y, n);
        fp32->glu_forward(fp32, y, x, up, n, ACT_GELU_TANH);
        void *geglu = stored(y, n);
        ref->rmsnorm_forward(ref, y, rstd, x, w, 1e-5f, T, C);
        same_stored(ref, "norm", memcpy(room(2 * n), y, 2 * n), norm, n);
        ref->glu_forward(ref, y, x, up, n, ACT_SILU);
        same_stored(ref, "swiglu", memcpy(room(2 * n), y, 2 * n), swiglu, n);
        ref->glu_forward(ref, y, x, up, n, ACT_GELU_TANH);
        same_stored(ref, "geglu", memcpy(room(2 * n), y, 2 * n), geglu, n);
        EACH_BACKEND(k) {
            void *norm1 = noise_stored(n, 1), *swiglu1 = noise_stored(n, 1);
            void *geglu1 = noise_stored(n, 1);

            k->rmsnorm_forward(k, norm1, rstd, x, w, 1e-5f, T, C);
            k->glu_forward(k, swiglu1, x, up, n, ACT_SILU);
            k->glu_forward(k, geglu1, x, up, n, ACT_GELU_TANH);
            same_stored(k, "norm", norm1, norm, n);
            same_stored(k, "swiglu", swiglu1, swiglu, n);
            same_stored(k, "geglu", geglu1, geglu, n);
        }
        drop(x), drop(w), drop(up), drop(y), drop(norm), drop(swiglu), drop(geglu);
        drop(rstd);
    }
    compute_close(fp32);
}

/* ---- the products */

static const int shapes[][3] = {                     /* M, N, K */
    { 0, 5, 5 }, { 1, 1, 1 }, { 1, 32, 1 }, { 3, 33, 5 }, { 5, 31, 7 }, { 2, 5, 0 },
    { 12, 32, 16 }, { 13, 64, 17 }, { 11, 96, 300 }, { 25, 100, 257 }, { 241, 36, 20 },
    { 7, 16, 520 }, { 6, 48, 3 }, { 64, 70, 96 }, { 40, 300, 33 }, { 1, 90, 700 }, { 8, 512, 64 },
    { 7, 20, 1100 }, { 241, 36, 300 }, { 48, 17000, 64 },
    { 33, 40, 31 },
};

/* Tokens of rows of odd and even lengths; of some rows only a part is there. */
static void make_slots(int *slot, int M)
{
    int at = 0;

    for (int m = 0; m < M; m++) {
        slot[m] = at;
        at += word() % 4 == 0 ? 1 + (int)(word() % 3) : 1;
        if (word() % 8 == 0)
            at += at % 2;
    }
}

/* dw made new and added to, of tokens without slots and with: the last of these ways or all. */
static void weight_gradients_are_refs(const float *dw0, const float *dy, const void *x, int M,
                                      int N, int K, bool all)
{
    static const char *const whats[] = { "dw", "dw, added", "dw of slots", "dw of slots, added" };
    size_t nk = (size_t)(N * K);
    int *slots = room(((size_t)M + 1) * sizeof *slots);

    make_slots(slots, M);
    for (int way = all ? 0 : 3; way < 4; way++) {
        const int *slot = way / 2 ? slots : NULL;
        float *dw = copy_of(dw0, nk);

        ref->matmul_backward_weight(ref, dw, dy, x, slot, M, N, K, way % 2);
        EACH_BACKEND(k) {
            float *dw1 = copy_of(dw0, nk);

            k->matmul_backward_weight(k, dw1, dy, x, slot, M, N, K, way % 2);
            same(k, whats[way], dw1, dw, nk);
        }
        drop(dw);
    }
    drop(slots);
}

/* size: of dy and x and w; at 2^-63 products are near 2^-126 */
static void products_are_refs(int M, int N, int K, float size)
{
    size_t mk = (size_t)(M * K), nk = (size_t)(N * K), mn = (size_t)(M * N);
    void *x = noise_stored(mk, size);
    float *w = noise(nk, size), *dy = noise(mn, size), *y = noise(mn, 1);
    float *dx0 = noise(mk, size * size), *dw0 = noise(nk, size * size);
    float *dx = copy_of(dx0, mk);

    ref->matmul_forward(ref, y, x, w, NULL, M, N, K);
    ref->matmul_backward_input(ref, dx, dy, w, NULL, M, N, K);
    EACH_BACKEND(k) {
        float *packed = noise(k->packed_size(k, N, K), 1), *y1 = noise(mn, 1), *y2 = noise(mn, 1);
        float *dx1 = copy_of(dx0, mk);

        k->pack(k, packed, w, N, K);
        k->matmul_forward(k, y1, x, w, packed, M, N, K);
        k->matmul_forward(k, y2, x, w, NULL, M, N, K);
        k->matmul_backward_input(k, dx1, dy, w, NULL, M, N, K);
        same(k, "y of packed w", y1, y, mn);
        same(k, "y", y2, y, mn);
        same(k, "dx", dx1, dx, mk);
        drop(packed);
    }
    weight_gradients_are_refs(dw0, dy, x, M, N, K, size >= 1 && size <= 1);
    drop(x), drop(w), drop(dy), drop(y), drop(dx0), drop(dw0), drop(dx);
}

static void test_products_are_refs(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        products_are_refs(shapes[s][0], shapes[s][1], shapes[s][2], 1);
        products_are_refs(shapes[s][0], shapes[s][1], shapes[s][2], 0x1p-63f);
        products_are_refs(shapes[s][0], shapes[s][1], shapes[s][2], 0x1p64f);
    }
}

/* A slice of packed rows is the packed slice; rows of tokens cut in two calls continue dw's chain,
 * wherever the first row ends. */
static void test_slices_and_cut_batches(void **state)
{
    enum { M = 29, N = 96, K = 35 };
    void *x = noise_stored(M * K, 1);
    float *w = noise(N * K, 1), *dy = noise(M * N, 1), y[M * 32];

    (void)state;
    ref->matmul_forward(ref, y, x, w + 64 * K, NULL, M, 32, K);
    EACH_BACKEND(k) {
        float *packed = noise(k->packed_size(k, N, K), 1), *y1 = noise(M * 32, 1);

        k->pack(k, packed, w, N, K);
        k->matmul_forward(k, y1, x, w + 64 * K, packed + k->packed_size(k, 64, K), M, 32, K);
        same(k, "y of a packed slice", y1, y, M * 32);
        drop(packed);
        for (int cut = 9; cut <= 10; cut++) {
            float *whole = noise(N * K, 1), *halves = noise(N * K, 1);
            int slot[M];

            for (int m = 0; m < M; m++)
                slot[m] = m < cut ? m : m + cut % 2;
            k->matmul_backward_weight(k, whole, dy, x, slot, M, N, K, false);
            k->matmul_backward_weight(k, halves, dy, x, slot, cut, N, K, false);
            k->matmul_backward_weight(k, halves, dy + cut * N, element(x, (size_t)(cut * K)),
                                      slot + cut, M - cut, N, K, true);
            same(k, "dw of a cut batch", halves, whole, N * K);
            drop(whole);
        }
    }
    drop(x), drop(w), drop(dy);
}

/* A row of x gives the same y in any company. */
static void test_rows_do_not_see_each_other(void **state)
{
    enum { M = 40, N = 70, K = 51 };
    void *x = noise_stored(M * K, 1);
    float *w = noise(N * K, 1);

    (void)state;
    EACH_BACKEND(k) {
        float *y = noise(M * N, 1);

        k->matmul_forward(k, y, x, w, NULL, M, N, K);
        for (int m = 0; m < M; m++) {
            float *one = noise(N, 1);
            k->matmul_forward(k, one, element(x, (size_t)(m * K)), w, NULL, 1, N, K);
            same(k, "one row", one, y + m * N, N);
        }
        drop(y);
    }
    drop(x), drop(w);
}

/* out(rows, columns) = or += sums over steps of a b: a lies at row * a_row + step * a_step,
 * b likewise. */
struct chains {
    const char *what;
    int rows, columns, steps;
    const float *first, *a, *b;      /* first NULL: from 0 */
    int a_row, a_step, b_column, b_step;
};

/* A chain of n fused steps over rounded operands is off by at most n 2^-24 of the sum of sizes. */
static void chains_are_near(struct compute *k, const struct chains *c, float *got)
{
    compute_wait(k);
    for (int i = 0; i < c->rows * c->columns; i++) {
        const float *a = c->a + i / c->columns * c->a_row;
        const float *b = c->b + i % c->columns * c->b_column;
        long double sum = c->first ? c->first[i] : 0, size = fabsl(sum);

        for (int s = 0; s < c->steps; s++) {
            long double p = (long double)bf16_round(a[s * c->a_step]) *
                            bf16_round(b[s * c->b_step]);
            sum += p;
            size += fabsl(p);
        }
        if (!(fabsl(got[i] - sum) <= c->steps * 0x1p-24L * size))
            fail_msg("%s: %s[%d] = %.9g, exact %.9Lg, of %d steps", k->name, c->what, i,
                     (double)got[i], sum, c->steps);
    }
    drop(got);
}

static void test_error_of_a_product(void **state)
{
    static const int sizes[][3] = { { 9, 33, 1000 }, { 1, 700, 12 }, { 300, 6, 11 }, { 2, 3, 2 } };

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int M = sizes[s][0], N = sizes[s][1], K = sizes[s][2];
        size_t mk = (size_t)(M * K), nk = (size_t)(N * K), mn = (size_t)(M * N);
        float *x = noise(mk, 1), *w = noise(nk, 1), *dy = noise(mn, 1), *first = noise(mk, 1);
        void *xs = stored(x, mk);

        EACH_BACKEND(k) {
            float *y = noise(mn, 1), *dx = copy_of(first, mk), *dw = noise(nk, 1);

            k->matmul_forward(k, y, xs, w, NULL, M, N, K);
            k->matmul_backward_input(k, dx, dy, w, NULL, M, N, K);
            k->matmul_backward_weight(k, dw, dy, xs, NULL, M, N, K, false);
            chains_are_near(k, &(struct chains){ "y", M, N, K, NULL, x, w, K, 1, K, 1 }, y);
            chains_are_near(k, &(struct chains){ "dx", M, K, N, first, dy, w, N, 1, 1, K }, dx);
            chains_are_near(k, &(struct chains){ "dw", N, K, M, NULL, dy, x, 1, N, 1, K }, dw);
        }
        drop(x), drop(w), drop(dy), drop(first), drop(xs);
    }
}

/* ---- the check that `doctor` runs */

static void test_a_million_cases_are_the_definitions(void **state)
{
    struct pairs_check c;

    (void)state;
    EACH_BACKEND(k) {
        assert_ok(compute_check_pairs(k, 1000000, &c));
        assert_true(c.cases >= 1000000 && c.wrong == 0);
    }
}

/* Products that are not quite the definition's. */

static float bf16_part(float x, float y, float sum)
{
    return fmaf(bf16_round(x), bf16_round(y), sum);
}

static float flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static float even_first(const float x[2], const float y[2], float sum)
{
    return flush(bf16_part(x[1], y[1], flush(bf16_part(x[0], y[0], flush(sum)))));
}

static float denormals_kept(const float x[2], const float y[2], float sum)
{
    return bf16_part(x[0], y[0], bf16_part(x[1], y[1], sum));
}

/* Wrong for results that round up to 2^-126. */
static float flushed_when_denormal(const float x[2], const float y[2], float sum)
{
    return flush(bf16_part(x[0], y[0], flush(bf16_part(x[1], y[1], flush(sum)))));
}

static float rounded_once(const float x[2], const float y[2], float sum)
{
    return flush((float)((double)bf16_round(x[1]) * bf16_round(y[1]) +
                         (double)bf16_round(x[0]) * bf16_round(y[0]) + flush(sum)));
}

static float (*imposter)(const float x[2], const float y[2], float sum);

static void products_of_the_imposter(struct compute *k, float *dx, const float *dy, const float *w,
                                     const float *packed, int M, int N, int K)
{
    (void)k, (void)packed;
    assert_int_equal(N, 2);
    for (int m = 0; m < M; m++)
        for (int i = 0; i < K; i++) {
            const float column[2] = { w[i], w[K + i] };
            dx[m * K + i] = imposter(dy + m * N, column, dx[m * K + i]);
        }
}

static void test_the_check_sees_what_is_not_quite_right(void **state)
{
    float (*const imposters[])(const float x[2], const float y[2], float sum) = {
        even_first, denormals_kept, flushed_when_denormal, rounded_once,
    };
    struct compute k = *ref;
    struct pairs_check c;

    (void)state;
    k.matmul_backward_input = products_of_the_imposter;
    for (size_t i = 0; i < sizeof imposters / sizeof *imposters; i++) {
        imposter = imposters[i];
        assert_ok(compute_check_pairs(&k, 1000000, &c));
        print_message("imposter %zu: %lld of %lld cases are wrong\n", i, (long long)c.wrong,
                      (long long)c.cases);
        assert_true(c.wrong > 0);
        assert_true(c.first.got != c.first.want || signbit(c.first.got) != signbit(c.first.want));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_numbers_become_the_nearest),
        cmocka_unit_test(test_backends_round_alike),
        cmocka_unit_test(test_norm_and_glu_are_rounded),
        cmocka_unit_test(test_products_are_refs),
        cmocka_unit_test(test_slices_and_cut_batches),
        cmocka_unit_test(test_rows_do_not_see_each_other),
        cmocka_unit_test(test_error_of_a_product),
        cmocka_unit_test(test_a_million_cases_are_the_definitions),
        cmocka_unit_test(test_the_check_sees_what_is_not_quite_right),
    };

    return cmocka_run_group_tests(tests, open_bf16, backends_close);
}
