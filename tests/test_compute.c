/* Every backend gives ref's bits: each operation over a table of ragged and odd shapes, on one, two
 * and three threads, with both dtypes.  (Products of bf16: test_compute_bf16.c;
 * test_compute_attention.c; test_compute_math.c: exp and friends; test_compute_slope.c: errors and
 * gradients.) */
#include "base/hash.h"
#include "tests/backends.h"

/* ---- matrix products */

static const int shapes[][3] = {                     /* M, N, K */
    { 0, 5, 5 }, { 1, 1, 1 }, { 1, 32, 1 }, { 3, 33, 5 }, { 5, 31, 7 }, { 2, 5, 0 },
    { 12, 32, 16 }, { 13, 64, 17 }, { 11, 96, 300 }, { 25, 100, 257 }, { 241, 36, 20 },
    { 7, 16, 520 }, { 6, 48, 3 }, { 64, 70, 96 }, { 40, 300, 33 }, { 1, 90, 700 }, { 8, 512, 64 },
    { 7, 20, 1100 }, { 241, 36, 300 }, { 48, 17000, 64 },
};

static void test_matrix_products_are_refs(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        size_t mk = (size_t)(M * K), nk = (size_t)(N * K), mn = (size_t)(M * N);
        float *x = noise(mk, 1), *w = noise(nk, 1), *dy = noise(mn, 1);
        float *y = noise(mn, 1), *dx0 = noise(mk, 1), *dw0 = noise(nk, 1);
        float *dx = copy_of(dx0, mk), *dw = copy_of(dw0, nk);

        ref->matmul_forward(ref, y, x, w, NULL, M, N, K);
        ref->matmul_backward_input(ref, dx, dy, w, NULL, M, N, K);
        ref->matmul_backward_weight(ref, dw, dy, x, NULL, M, N, K, true);
        EACH_BACKEND(k) {
            float *packed = noise(k->packed_size(k, N, K), 1);
            float *y1 = noise(mn, 1), *y2 = noise(mn, 1);
            float *dx1 = copy_of(dx0, mk), *dw1 = copy_of(dw0, nk);

            k->pack(k, packed, w, N, K);
            k->matmul_forward(k, y1, x, w, packed, M, N, K);
            k->matmul_forward(k, y2, x, w, NULL, M, N, K);
            k->matmul_backward_input(k, dx1, dy, w, NULL, M, N, K);
            k->matmul_backward_weight(k, dw1, dy, x, NULL, M, N, K, true);
            same(k, "y of packed w", y1, y, mn);
            same(k, "y", y2, y, mn);
            same(k, "dx", dx1, dx, mk);
            same(k, "dw", dw1, dw, nk);
            drop(packed);
        }
        drop(x), drop(w), drop(dy), drop(y), drop(dx0), drop(dw0), drop(dx), drop(dw);
    }
}

/* A slice of packed rows is the packed slice, and tokens cut in two continue the chain of dw. */
static void test_packed_slices_and_cut_batches(void **state)
{
    enum { M = 29, N = 96, K = 35, CUT = 10 };
    float *x = noise(M * K, 1), *w = noise(N * K, 1), *dy = noise(M * N, 1);
    float y[M * 32], dw[N * K] = {0};

    (void)state;
    ref->matmul_forward(ref, y, x, w + 64 * K, NULL, M, 32, K);
    ref->matmul_backward_weight(ref, dw, dy, x, NULL, M, N, K, true);
    EACH_BACKEND(k) {
        float *packed = noise(k->packed_size(k, N, K), 1), *y1 = noise(M * 32, 1);
        float *dw1 = noise(N * K, 1);                /* written over */

        k->pack(k, packed, w, N, K);
        k->matmul_forward(k, y1, x, w + 64 * K, packed + k->packed_size(k, 64, K), M, 32, K);
        same(k, "y of a packed slice", y1, y, M * 32);
        k->matmul_backward_weight(k, dw1, dy, x, NULL, CUT, N, K, false);
        k->matmul_backward_weight(k, dw1, dy + CUT * N, x + CUT * K, NULL, M - CUT, N, K,
                                  true);
        same(k, "dw of a cut batch", dw1, dw, N * K);
        drop(packed);
    }
    drop(x), drop(w), drop(dy);
}

/* ---- rows */

static void test_embedding_and_norm_are_refs(void **state)
{
    static const int sizes[][2] = { { 0, 8 }, { 1, 1 }, { 5, 7 }, { 3, 16 }, { 9, 35 },
                                    { 300, 900 }, { 64, 20 }, { 65, 4 }, { 1030, 18 },
                                    { 2, 12300 } };

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int T = sizes[s][0], C = sizes[s][1], tokens[1030];
        size_t n = (size_t)(T * C), wide = 11 * (size_t)C;
        float *x = noise(n, 2), *w = noise(wide, 1), *dy = noise(n, 1), *dx0 = noise(n, 1);
        void *y = noise_stored(n, 1);
        float *e = noise(n, 1), *dx = copy_of(dx0, n), *dw = copy_of(w, wide);
        float *de = copy_of(w, wide), *rstd = noise((size_t)T, 1);

        for (int t = 0; t < T; t++)
            tokens[t] = (int)(word() % 11);
        ref->gather(ref, e, w, tokens, T, (size_t)C * sizeof *w);
        ref->embedding_backward(ref, de, dy, tokens, T, C);
        ref->rmsnorm_forward(ref, y, rstd, x, w, 1e-5f, T, C);
        ref->rmsnorm_backward(ref, dx, dw, dy, x, w, rstd, T, C);
        EACH_BACKEND(k) {
            void *y1 = noise_stored(n, 1);
            float *e1 = noise(n, 1), *dx1 = copy_of(dx0, n);
            float *dw1 = copy_of(w, wide), *de1 = copy_of(w, wide), *r1 = noise((size_t)T, 1);

            k->gather(k, e1, w, tokens, T, (size_t)C * sizeof *w);
            k->embedding_backward(k, de1, dy, tokens, T, C);
            k->rmsnorm_forward(k, y1, r1, x, w, 1e-5f, T, C);
            k->rmsnorm_backward(k, dx1, dw1, dy, x, w, rstd, T, C);
            same(k, "embedding", e1, e, n);
            same(k, "embedding dw", de1, de, wide);
            same_stored(k, "rmsnorm y", y1, y, n);
            same(k, "rstd", r1, rstd, (size_t)T);
            same(k, "rmsnorm dx", dx1, dx, n);
            same(k, "rmsnorm dw", dw1, dw, wide);
        }
        drop(x), drop(w), drop(dy), drop(dx0), drop(y), drop(e), drop(dx), drop(dw), drop(de);
        drop(rstd);
    }
}

static void test_rotary_is_refs(void **state)
{
    static const int heads_of[][2] = { { 1, 2 }, { 3, 8 }, { 2, 16 }, { 5, 48 }, { 4, 64 },
                                       { 2, 200 }, { 40, 64 } };
    static const int position[60] = { 3, 0, 59, 7, 7, 12 };

    (void)state;
    for (size_t s = 0; s < sizeof heads_of / sizeof *heads_of; s++) {
        int heads = heads_of[s][0], D = heads_of[s][1], T = 60;
        size_t n = (size_t)(T * heads * D);
        float *x = noise(n, 1), *y = copy_of(x, n), *back = copy_of(x, n);
        float *table = noise((size_t)(60 * D), 1);

        rotary_table(table, 60, D, 10000.0, &(struct rope_scaling){ 0 });
        ref->rotary_forward(ref, y, table, position, T, heads, D);
        ref->rotary_backward(ref, back, table, position, T, heads, D);
        EACH_BACKEND(k) {
            float *y1 = copy_of(x, n), *back1 = copy_of(x, n);

            k->rotary_forward(k, y1, table, position, T, heads, D);
            k->rotary_backward(k, back1, table, position, T, heads, D);
            same(k, "rotary", y1, y, n);
            same(k, "rotary back", back1, back, n);
        }
        drop(x), drop(y), drop(back), drop(table);
    }
}

/* ---- log-sum-exp and flat buffers */

struct lse_case { int T, V, piece; float temperature, size; };

static void run_lse(struct compute *k, const struct lse_case *c, const float *z, const int *targets,
                    const float *dlogp, const float *dentropy, float *logp, float *entropy,
                    float *dz)
{
    struct lse *state = room(64 * sizeof *state);
    float *target = room(64 * sizeof *target), *all = room((size_t)(c->T * c->V) * sizeof *all);
    float *first = all;

    for (int v0 = 0; v0 < c->V; v0 += c->piece) {
        int n = c->V - v0 < c->piece ? c->V - v0 : c->piece;

        for (int t = 0; t < c->T; t++)
            memcpy(first + t * n, z + t * c->V + v0, (size_t)n * sizeof *z);
        k->lse_forward(k, state, target, first, targets, c->temperature, v0, n, c->T);
        first += c->T * n;
    }
    k->lse_finish(k, logp, entropy, state, target, c->T);
    first = all;
    for (int v0 = 0; v0 < c->V; v0 += c->piece) {
        int n = c->V - v0 < c->piece ? c->V - v0 : c->piece;

        k->lse_backward(k, first, state, targets, dlogp, dentropy, c->temperature, v0, n, c->T);
        compute_wait(k);
        for (int t = 0; t < c->T; t++)
            memcpy(dz + t * c->V + v0, first + t * n, (size_t)n * sizeof *z);
        first += c->T * n;
    }
    drop(all), drop(target), drop(state);
}

static void test_log_sum_exp_is_refs(void **state)
{
    static const struct lse_case cases[] = {
        { 3, 1, 512, 1, 5 }, { 5, 100, 512, 0.7f, 20 }, { 4, 512, 512, 1, 3 },
        { 3, 1300, 512, 2, 60 }, { 3, 1300, 1024, 2, 60 }, { 2, 2000, 2048, 1, 200 },
        { 60, 777, 1024, 1.3f, 10 },
    };

    (void)state;
    for (size_t s = 0; s < sizeof cases / sizeof *cases; s++) {
        const struct lse_case *c = &cases[s];
        size_t n = (size_t)(c->T * c->V);
        float *z = noise(n, c->size), *dlogp = noise(64, 1), *dentropy = noise(64, 1);
        float *logp = noise(64, 1), *entropy = noise(64, 1), *dz = noise(n, 1), *p = noise(n, 1);
        struct lse_case whole = *c;
        int targets[64];

        whole.piece = (c->V + VOCAB_BLOCK - 1) / VOCAB_BLOCK * VOCAB_BLOCK;
        for (int t = 0; t < c->T; t++)
            targets[t] = t == 1 ? -1 : (int)(word() % (unsigned)c->V);
        run_lse(ref, &whole, z, targets, dlogp, s % 2 ? dentropy : NULL, logp, entropy, dz);
        ref->softmax(ref, p, z, c->temperature, c->V);
        EACH_BACKEND(k) {
            float *logp1 = noise(64, 1), *entropy1 = noise(64, 1);
            float *dz1 = noise(n, 1), *p1 = noise(n, 1);

            run_lse(k, c, z, targets, dlogp, s % 2 ? dentropy : NULL, logp1, entropy1, dz1);
            k->softmax(k, p1, z, c->temperature, c->V);
            same(k, "logp", logp1, logp, (size_t)c->T);
            same(k, "entropy", entropy1, entropy, (size_t)c->T);
            same(k, "dz", dz1, dz, n);
            same(k, "softmax", p1, p, (size_t)c->V);
        }
        drop(z), drop(dlogp), drop(dentropy), drop(logp), drop(entropy), drop(dz), drop(p);
    }
}

/* Logits of +-90: the entropy is small, and the largest logit far from 0. */
static void test_entropy_of_a_sure_distribution(void **state)
{
    enum { V = 600 };
    const int target = 3;

    (void)state;
    for (int round = 0; round < 20; round++) {
        float *z = noise(V, 20), logit, logp, entropy;
        double max = -1e9, sum = 0, weighted = 0, want;
        struct lse lse;
        z[round] = 71.3f + (float)round;            /* a rival of the largest, in another block */
        z[500] = z[round] + (round % 2 ? 9.7f : -11.1f);
        for (int v = 0; v < V; v++)
            max = fmax(max, (double)z[v]);
        for (int v = 0; v < V; v++) {
            sum += exp((double)z[v] - max);
            weighted += exp((double)z[v] - max) * ((double)z[v] - max);
        }
        want = log(sum) - weighted / sum;
        ref->lse_forward(ref, &lse, &logit, z, &target, 1, 0, V, 1);
        ref->lse_finish(ref, &logp, &entropy, &lse, &logit, 1);
        if (fabs((double)entropy - want) > 2e-7 * (1 + want))       /* half an ulp of the sum */
            fail_msg("entropy %.9g, exact %.9g", (double)entropy, want);
        drop(z);
    }
}

static void test_flat_buffers_are_refs(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 37, 4097, 40000, 300000 };
    struct adamw torch = { 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.19f, 0.002f, 1, 0.3f };
    struct adamw tf = torch;

    (void)state;
    tf.eps_inside = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        float *x = noise(n, 30), *u = noise(n, 2), *g = noise(n, 1);
        void *y = noise_stored(n, 1), *gelu = noise_stored(n, 1);
        float *dg = copy_of(u, n), *du = copy_of(g, n), *sum = copy_of(x, n);
        float *w = copy_of(x, n), *m = copy_of(u, n), *v = copy_of(u, n);

        for (size_t i = 0; i < n; i++)
            u[i] = fabsf(u[i]), v[i] = u[i], m[i] = u[i], dg[i] = u[i];
        ref->glu_forward(ref, y, x, u, n, ACT_SILU);
        ref->glu_backward(ref, dg, du, g, x, u, n, ACT_SILU);
        ref->glu_forward(ref, gelu, x, u, n, ACT_GELU_TANH);
        ref->glu_backward(ref, dg, du, g, x, u, n, ACT_GELU_TANH);
        ref->add(ref, sum, g, n);
        ref->adamw(ref, w, m, v, g, n, &torch);
        ref->adamw(ref, w, m, v, g, n, &tf);

        EACH_BACKEND(k) {
            void *y1 = noise_stored(n, 1), *gelu1 = noise_stored(n, 1);
            float *dg1 = copy_of(u, n), *du1 = copy_of(g, n);
            float *sum1 = copy_of(x, n), *w1 = copy_of(x, n), *m1 = copy_of(u, n);
            float *v1 = copy_of(u, n);

            k->glu_forward(k, y1, x, u, n, ACT_SILU);
            k->glu_backward(k, dg1, du1, g, x, u, n, ACT_SILU);
            k->glu_forward(k, gelu1, x, u, n, ACT_GELU_TANH);
            k->glu_backward(k, dg1, du1, g, x, u, n, ACT_GELU_TANH);
            k->add(k, sum1, g, n);
            k->adamw(k, w1, m1, v1, g, n, &torch);
            k->adamw(k, w1, m1, v1, g, n, &tf);

            same_stored(k, "swiglu", y1, y, n);
            same_stored(k, "geglu", gelu1, gelu, n);
            same(k, "dgate of both", dg1, dg, n);
            same(k, "dup of both", du1, du, n);
            same(k, "add", sum1, sum, n);
            same(k, "adamw w", w1, w, n);
            same(k, "adamw m", m1, m, n);
            same(k, "adamw v", v1, v, n);
        }
        drop(x), drop(u), drop(g), drop(y), drop(gelu), drop(dg), drop(du), drop(sum);
        drop(w), drop(m), drop(v);
    }
}

static void test_folded_rows_are_refs(void **state)
{
    static const int sizes[][2] = { { 0, 8 }, { 1, 1 }, { 5, 7 }, { 90, 33 } };          /* n, C */

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int n = sizes[s][0], C = sizes[s][1], row[90];
        size_t all = (size_t)(2 * n * C);
        float *y0 = noise(all, 1), *x0 = noise(all, 1);
        float *y = copy_of(y0, all), *x = copy_of(x0, all);

        for (int i = 0; i < n; i++)
            row[i] = 2 * (n - 1 - i) + i % 2;
        ref->fold_rows(ref, y, x, row, n, C);
        EACH_BACKEND(k) {
            float *y1 = copy_of(y0, all), *x1 = copy_of(x0, all);

            k->fold_rows(k, y1, x1, row, n, C);
            same(k, "folded y", y1, y, all);
            same(k, "folded x", x1, x, all);
        }
        for (int i = 0; i < n * C; i++)
            assert_true(x[row[i / C] * C + i % C] == 0);
        drop(y0), drop(x0), drop(y), drop(x);
    }
}

/* Whole chunks, a part of one, one element more; a chunk's sums are those of the chunk alone. */
static void test_inner_products_are_refs(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 37, HASH_CHUNK, HASH_CHUNK + 1, 5 * HASH_CHUNK - 7 };
    enum { K = 3, TERMS = 6, CHUNKS = 5 };
    double want[CHUNKS * TERMS], got[CHUNKS * TERMS], alone[TERMS];
    const float *g[K], *at[K];

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s], chunks = (n + HASH_CHUNK - 1) / HASH_CHUNK;
        float *all = noise(K * n, 3);

        for (int i = 0; i < K; i++)
            g[i] = all + (size_t)i * n;
        ref->gram(ref, want, g, K, n);
        for (size_t c = 0; c < chunks; c++) {
            size_t rest = n - c * HASH_CHUNK;

            for (int i = 0; i < K; i++)
                at[i] = g[i] + c * HASH_CHUNK;
            ref->gram(ref, alone, at, K, rest < HASH_CHUNK ? rest : HASH_CHUNK);
            assert_memory_equal(alone, want + c * TERMS, sizeof alone);
        }
        EACH_BACKEND(k) {
            k->gram(k, got, g, K, n);
            assert_memory_equal(got, want, chunks * TERMS * sizeof *got);
        }
        drop(all);
    }
}

/* Products of bf16 flush denormals, on every thread; what comes next does not. */
static void test_denormals_are_kept_after_a_product(void **state)
{
    enum { M = 64, N = 300, K = 64, n = 300000 };
    const struct adamw set = { 1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.19f, 0.002f, 1, 1 };
    void *x = noise_stored(M * K, 1);
    float *w = noise(N * K, 1), *y = noise(M * N, 1), *tiny = noise(n, 0x1p-127f);
    float *gate = noise(n, 1), *sum = copy_of(tiny, n), *m = copy_of(tiny, n);
    float *dg = copy_of(tiny, n), *du = copy_of(tiny, n), *v = room(n * sizeof *v);
    float *weight = copy_of(tiny, n);

    (void)state;
    ref->add(ref, sum, tiny, n);
    ref->adamw(ref, weight, m, v, tiny, n, &set);
    ref->glu_backward(ref, dg, du, tiny, gate, gate, n, ACT_SILU);
    assert_true(fpclassify(sum[0]) == FP_SUBNORMAL && fpclassify(m[0]) == FP_SUBNORMAL);
    assert_true(fpclassify(dg[0]) == FP_SUBNORMAL && fpclassify(du[0]) == FP_SUBNORMAL);
    EACH_BACKEND(k) {
        float *sum1 = copy_of(tiny, n), *weight1 = copy_of(tiny, n), *m1 = copy_of(tiny, n);
        float *v1 = room(n * sizeof *v1), *dg1 = copy_of(tiny, n), *du1 = copy_of(tiny, n);

        k->matmul_forward(k, y, x, w, NULL, M, N, K);
        k->add(k, sum1, tiny, n);
        k->adamw(k, weight1, m1, v1, tiny, n, &set);
        k->glu_backward(k, dg1, du1, tiny, gate, gate, n, ACT_SILU);
        same(k, "add", sum1, sum, n);
        same(k, "adamw w", weight1, weight, n);
        same(k, "adamw m", m1, m, n);
        same(k, "adamw v", v1, v, n);
        same(k, "swiglu dgate", dg1, dg, n);
        same(k, "swiglu dup", du1, du, n);
    }
    drop(x), drop(w), drop(y), drop(tiny), drop(gate), drop(sum), drop(m), drop(dg), drop(du);
    drop(v), drop(weight);
}

/* ---- opening */

static void test_open_refuses_what_it_cannot_run(void **state)
{
    struct compute *k;

    (void)state;
    assert_int_equal(compute_open(&k, "gpu9", "fp32", 1), RL_EINVAL);
    assert_null(k);
    assert_int_equal(compute_open(&k, "auto", "fp32", 0), RL_EINVAL);
    assert_ok(compute_open(&k, "auto", "fp32", 1));
    assert_ok(compute_sync(k));
    k->error = RL_ENOFIT;
    assert_int_equal(compute_sync(k), RL_ENOFIT);
    assert_ok(compute_sync(k));
    compute_close(k);
    compute_close(NULL);
}

int main(void)
{
    const struct CMUnitTest products[] = {           /* of operands in fp32 */
        cmocka_unit_test(test_matrix_products_are_refs),
        cmocka_unit_test(test_packed_slices_and_cut_batches),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_embedding_and_norm_are_refs),
        cmocka_unit_test(test_rotary_is_refs),
        cmocka_unit_test(test_log_sum_exp_is_refs),
        cmocka_unit_test(test_entropy_of_a_sure_distribution),
        cmocka_unit_test(test_flat_buffers_are_refs),
        cmocka_unit_test(test_folded_rows_are_refs),
        cmocka_unit_test(test_inner_products_are_refs),
        cmocka_unit_test(test_denormals_are_kept_after_a_product),
        cmocka_unit_test(test_open_refuses_what_it_cannot_run),
    };

    return cmocka_run_group_tests_name("products", products, open_fp32, backends_close) ||
           cmocka_run_group_tests_name("fp32", tests, open_fp32, backends_close) ||
           cmocka_run_group_tests_name("bf16", tests, open_bf16, backends_close);
}
