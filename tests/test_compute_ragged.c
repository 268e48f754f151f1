/* Random shapes: every backend gives ref's bits for odd sizes, one row, empty rows, rows over
 * several blocks, whatever the table of another test forgot.
 *   SEED=n ROUNDS=n build/tests/test_compute_ragged      (a failure names them) */
#include "tests/backends.h"

#define N_MOST 9

static unsigned below(unsigned n)
{
    return word() % n;
}

/* Mostly small, at times 1, at times over the edge of a tile of the kernels. */
static int size(int most)
{
    static const int edges[] = { 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129 };
    int n = below(3) ? 1 + (int)below(40) : edges[below(sizeof edges / sizeof *edges)];

    return n < most ? n : most;
}

/* start[N + 1] of rows, some of them empty; at least one token in all. */
static int ragged(int *start, int *N)
{
    *N = 1 + (int)below(N_MOST - 1);
    start[0] = 0;
    for (int n = 0; n < *N; n++)
        start[n + 1] = start[n] + (below(4) ? size(70) : 0);
    if (start[*N] == 0)
        start[*N] = 1;
    return start[*N];
}

static void products(void)
{
    int M = size(70), N = size(140), K = size(140), slot[70];
    size_t mk = (size_t)(M * K), nk = (size_t)(N * K), mn = (size_t)(M * N);
    void *x = noise_stored(mk, 1);
    float *w = noise(nk, 1), *dy = noise(mn, 1), *y = noise(mn, 1);
    float *dx0 = noise(mk, 1), *dw0 = noise(nk, 1), *dx = copy_of(dx0, mk), *dw = copy_of(dw0, nk);
    bool add = below(2);

    for (int m = 0, at = 0; m < M; m++, at += 1 + (int)below(2))
        slot[m] = at;
    ref->matmul_forward(ref, y, x, w, NULL, M, N, K);
    ref->matmul_backward_input(ref, dx, dy, w, NULL, M, N, K);
    ref->matmul_backward_weight(ref, dw, dy, x, slot, M, N, K, add);
    EACH_BACKEND(k) {
        float *packed = noise(k->packed_size(k, N, K), 1), *y1 = noise(mn, 1);
        float *dx1 = copy_of(dx0, mk), *dw1 = copy_of(dw0, nk);

        k->pack(k, packed, w, N, K);
        k->matmul_forward(k, y1, x, w, below(2) ? packed : NULL, M, N, K);
        k->matmul_backward_input(k, dx1, dy, w, below(2) ? packed : NULL, M, N, K);
        k->matmul_backward_weight(k, dw1, dy, x, slot, M, N, K, add);
        same(k, "y", y1, y, mn);
        same(k, "dx", dx1, dx, mk);
        same(k, "dw", dw1, dw, nk);
        drop(packed);
    }
    drop(x), drop(w), drop(dy), drop(y), drop(dx0), drop(dw0), drop(dx), drop(dw);
}

static void rows(void)
{
    int T = size(129), C = size(129), ids = size(20), tokens[129];
    size_t n = (size_t)(T * C), wide = (size_t)(ids * C);
    float *x = noise(n, 2), *w = noise((size_t)C, 1), *dy = noise(n, 1), *de0 = noise(wide, 1);
    float *rstd = noise((size_t)T, 1), *dx0 = noise(n, 1), *dw0 = noise((size_t)C, 1);
    void *y = noise_stored(n, 1);
    float *dx = copy_of(dx0, n), *dw = copy_of(dw0, (size_t)C), *de = copy_of(de0, wide);

    for (int t = 0; t < T; t++)
        tokens[t] = (int)below((unsigned)ids);
    ref->rmsnorm_forward(ref, y, rstd, x, w, 1e-6f, T, C);
    ref->rmsnorm_backward(ref, dx, dw, dy, x, w, rstd, T, C);
    ref->embedding_backward(ref, de, dy, tokens, T, C);
    EACH_BACKEND(k) {
        void *y1 = noise_stored(n, 1);
        float *r1 = noise((size_t)T, 1), *dx1 = copy_of(dx0, n), *dw1 = copy_of(dw0, (size_t)C);
        float *de1 = copy_of(de0, wide);

        k->rmsnorm_forward(k, y1, r1, x, w, 1e-6f, T, C);
        k->rmsnorm_backward(k, dx1, dw1, dy, x, w, rstd, T, C);
        k->embedding_backward(k, de1, dy, tokens, T, C);
        same_stored(k, "norm", y1, y, n);
        same(k, "rstd", r1, rstd, (size_t)T);
        same(k, "norm's dx", dx1, dx, n);
        same(k, "norm's dw", dw1, dw, (size_t)C);
        same(k, "embedding's dw", de1, de, wide);
    }
    drop(x), drop(w), drop(dy), drop(de0), drop(rstd), drop(dx0), drop(dw0), drop(y);
    drop(dx), drop(dw), drop(de);
}

/* At times none, at times at the edge of a block, at times larger than a row. */
static int window(void)
{
    static const int edges[] = { 0, 1, 31, 32, 33, 100, 1000 };

    return below(3) ? edges[below(sizeof edges / sizeof *edges)] : 1 + (int)below(70);
}

static void attention(void)
{
    int start[N_MOST + 1], N, T = ragged(start, &N);
    int G = 1 + (int)below(3), H = G * (1 + (int)below(3)), D = 1 + (int)below(40);
    struct attention_shape shape = { H, G, D, window() };
    size_t n = (size_t)(T * H * D), g = (size_t)(T * G * D), st = (size_t)(T * H * 2);
    void *key = noise_stored(g, 2), *value = noise_stored(g, 1), *o = noise_stored(n, 1);
    float *q = noise(n, 2), *d_o = noise(n, 1), *stats = noise(st, 1);
    float *dq0 = noise(n, 1), *dk0 = noise(g, 1), *dv0 = noise(g, 1);
    float *dq = copy_of(dq0, n), *dk = copy_of(dk0, g), *dv = copy_of(dv0, g);

    ref->attention_forward(ref, o, stats, q, key, value, start, N, shape);
    ref->attention_backward(ref, dq, dk, dv, d_o, q, key, value, o, stats, start, N, shape);
    EACH_BACKEND(k) {
        void *o1 = noise_stored(n, 1);
        float *stats1 = noise(st, 1), *dq1 = copy_of(dq0, n), *dk1 = copy_of(dk0, g);
        float *dv1 = copy_of(dv0, g);

        k->attention_forward(k, o1, stats1, q, key, value, start, N, shape);
        k->attention_backward(k, dq1, dk1, dv1, d_o, q, key, value, o, stats, start, N, shape);
        same_stored(k, "o", o1, o, n);
        same(k, "stats", stats1, stats, st);
        same(k, "dq", dq1, dq, n);
        same(k, "dkey", dk1, dk, g);
        same(k, "dvalue", dv1, dv, g);
    }
    drop(key), drop(value), drop(o), drop(q), drop(d_o), drop(stats), drop(dq0), drop(dk0);
    drop(dv0), drop(dq), drop(dk), drop(dv);
}

static void log_sum_exp(void)
{
    int T = size(40), V = 1 + (int)below(1400), targets[40];
    size_t n = (size_t)(T * V), rows = (size_t)T;
    float temperature = below(2) ? 1 : 0.7f, *z0 = noise(n, 9), *z = copy_of(z0, n);
    float *dlogp = noise(rows, 1), *dentropy = noise(rows, 1), *logit = noise(rows, 1);
    float *logp = noise(rows, 1), *entropy = noise(rows, 1);
    struct lse *state = room(rows * sizeof *state);

    for (int t = 0; t < T; t++)
        targets[t] = (int)below((unsigned)V);
    ref->lse_forward(ref, state, logit, z, targets, temperature, 0, V, T);
    ref->lse_finish(ref, logp, entropy, state, logit, T);
    ref->lse_backward(ref, z, state, targets, dlogp, dentropy, temperature, 0, V, T);
    EACH_BACKEND(k) {
        float *z1 = copy_of(z0, n), *logp1 = noise(rows, 1), *entropy1 = noise(rows, 1);

        k->lse_forward(k, state, logit, z1, targets, temperature, 0, V, T);
        k->lse_finish(k, logp1, entropy1, state, logit, T);
        k->lse_backward(k, z1, state, targets, dlogp, dentropy, temperature, 0, V, T);
        same(k, "logp", logp1, logp, rows);
        same(k, "entropy", entropy1, entropy, rows);
        same(k, "dz", z1, z, n);
    }
    drop(z0), drop(z), drop(dlogp), drop(dentropy), drop(logit), drop(logp), drop(entropy);
    drop(state);
}

static void tokens(void)
{
    int R = size(20), V = 1 + (int)below(900), want[20];
    struct sampling set = { below(5) ? 0.9f : 0, below(2) ? (int)below(60) : 0,
                            below(2) ? 0.8f : 1, below(2) ? 0.02f : 0 };
    float *z = noise((size_t)(R * V), 4);
    int *got = room(sizeof want);
    uint32_t words[20];

    for (int r = 0; r < R; r++)
        words[r] = word();
    ref->sample(ref, want, z, false, &set, words, R, V);
    EACH_BACKEND(k) {
        k->sample(k, got, z, false, &set, words, R, V);
        compute_wait(k);
        assert_memory_equal(got, want, (size_t)R * sizeof *got);
    }
    drop(z), drop(got);
}

static int number(const char *name, int otherwise)
{
    const char *said = getenv(name);

    return said ? atoi(said) : otherwise;
}

static void test_random_shapes_have_refs_bits(void **state)
{
    static void (*const all[])(void) = { products, rows, attention, log_sum_exp, tokens };
    int seed = number("SEED", 1), rounds = number("ROUNDS", 5);

    (void)state;
    print_message("SEED=%d ROUNDS=%d\n", seed, rounds);
    for (int skipped = 0; skipped < seed; skipped++)
        word();
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            all[i]();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_random_shapes_have_refs_bits),
    };

    return cmocka_run_group_tests_name("fp32", tests, open_fp32, backends_close) ||
           cmocka_run_group_tests_name("bf16", tests, open_bf16, backends_close);
}
