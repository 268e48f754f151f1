/* Is it the right arithmetic?  Every operation against the same in double, with a bound that
 * follows from the number of roundings, and every backward pass against the slope of that double
 * forward. */
#include "tests/backends.h"

#define EPS 0x1p-24            /* half a unit in the last place: one rounding of a number near 1 */
#define EPS_BF16 0x1p-8        /* the same of what is stored as bf16 */
#define MOST 4096
#define EACH(shapes, s) (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)

static double in[MOST], out[MOST], slope[MOST];      /* of the double forward */
static float *f_in, *f_out, *grad, *dy;              /* (MOST), as made and what follows */
static union { float fp32[MOST]; uint16_t bf16[MOST]; } *made;       /* as it is stored */
static float *kept[2];                               /* (KEPT) between operations, or a table */
#define KEPT 33000

static int open_arrays(const char *dtype)
{
    float **const all[] = { &f_in, &f_out, &grad, &dy };

    if (backends_open(dtype) != 0)
        return -1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = room(MOST * sizeof(float));
    made = room(sizeof *made);
    for (int i = 0; i < 2; i++)
        kept[i] = room(KEPT * sizeof **kept);
    return 0;
}

static int open_arrays_fp32(void **state)
{
    (void)state;
    return open_arrays("fp32");
}

static int open_arrays_bf16(void **state)
{
    (void)state;
    return open_arrays("bf16");
}

static int close_arrays(void **state)
{
    drop(f_in), drop(f_out), drop(grad), drop(dy), drop(made), drop(kept[0]), drop(kept[1]);
    return backends_close(state);
}

static float uniform(float size)
{
    float x = size * ((float)(word() >> 8) * 0x1p-23f - 1.0f);

    return ref->dtype == COMPUTE_BF16 ? bf16_round(x) : x;
}

static double loss(void (*forward)(const double *x, double *y), int n_out)
{
    double sum = 0;

    forward(in, out);
    for (int i = 0; i < n_out; i++)
        sum += dy[i] * out[i];
    return sum;
}

/* Fill in (as float and double) and dy with numbers that are stored as they are; slope[i] becomes
 * d(dy . forward) / d in[i], and out what comes forward. */
static void draw(void (*forward)(const double *x, double *y), int n_in, int n_out, float size)
{
    assert_true(n_in <= MOST && n_out <= MOST);
    for (int i = 0; i < n_in; i++)
        in[i] = f_in[i] = uniform(size);
    for (int i = 0; i < n_out; i++)
        dy[i] = uniform(1);
    for (int i = 0; i < n_in && forward; i++) {
        double at = in[i], h = 1e-4, up;

        in[i] = at + h;
        up = loss(forward, n_out);
        in[i] = at - h;
        slope[i] = (up - loss(forward, n_out)) / (2 * h);
        in[i] = at;
    }
    if (forward)
        forward(in, out);
}

/* Before a backend comes. */
static void clear(void)
{
    memset(grad, 0, MOST * sizeof *grad);
    memset(f_out, 0, MOST * sizeof *f_out);
    memset(made, 0, sizeof *made);
}

/* f_out(n) is off by at most `absolute` and, of its size, `relative`. */
static void is_near(struct compute *k, const char *what, int n, double absolute, double relative)
{
    compute_wait(k);
    for (int i = 0; i < n; i++) {
        double bound = absolute + relative * fabs(out[i]);

        if (!(fabs((double)f_out[i] - out[i]) <= bound))
            fail_msg("%s: %s[%d of %d] = %.9g, double %.9g, bound %g", k->name, what, i, n,
                     (double)f_out[i], out[i], bound);
    }
}

/* The same of `made`. */
static void made_is_near(struct compute *k, const char *what, int n, double absolute,
                         double relative)
{
    bool bf16 = k->dtype == COMPUTE_BF16;

    compute_wait(k);
    for (int i = 0; i < n; i++)
        f_out[i] = bf16 ? f32_of_bf16(made->bf16[i]) : made->fp32[i];
    is_near(k, what, n, absolute, relative + (bf16 ? EPS_BF16 : 0));
}

/* grad[first] .. [first + n] are slopes: sums of `terms` fp32 products of size about `size`, and
 * `more` of what was rounded before. */
static void is_slope_with(struct compute *k, const char *what, int first, int n, int terms,
                          double size, double more)
{
    double bound = (terms + 8) * 4 * EPS * size + 1e-7 + more;

    compute_wait(k);
    for (int i = first; i < first + n; i++)
        if (!(fabs(slope[i] - (double)grad[i]) <= bound))
            fail_msg("%s: gradient %d of %s is %.9g, slope %.9g, bound %g", k->name, i - first,
                     what, (double)grad[i], slope[i], bound);
}

static void is_slope(struct compute *k, const char *what, int first, int n, int terms,
                     double size)
{
    is_slope_with(k, what, first, n, terms, size, 0);
}

/* ---- y = x w^T */
static int M, N, K;

static void product(const double *x, double *y)
{
    const double *w = x + M * K;

    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            y[m * N + n] = 0;
            for (int i = 0; i < K; i++)
                y[m * N + n] += x[m * K + i] * w[n * K + i];
        }
    }
}

static void test_matrix_product(void **state)
{
    static const int shapes[][3] = { { 5, 7, 19 }, { 1, 1, 1 }, { 13, 33, 40 }, { 9, 2, 170 } };

    (void)state;
    for EACH(shapes, s) {
        M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        draw(product, M * K + N * K, M * N, 1);
        const float *w = f_in + M * K;
        void *x = stored(f_in, (size_t)(M * K));

        EACH_BACKEND(k) {
            clear();
            k->matmul_forward(k, f_out, x, w, NULL, M, N, K);
            is_near(k, "y", M * N, K * EPS * K, 0);          /* K roundings of sums below K */
            k->matmul_backward_input(k, grad, dy, w, NULL, M, N, K);
            k->matmul_backward_weight(k, grad + M * K, dy, x, NULL, M, N, K, true);
            is_slope(k, "x", 0, M * K, N, N);
            is_slope(k, "w", M * K, N * K, M, M);
        }
        drop(x);
    }
}

/* ---- embedding: y = w[token] */
enum { V = 4 };
static int T, C;
static const int tokens[] = { 2, 0, 2, 3, 2, 0 };
static const int widths[][2] = { { 6, 21 }, { 1, 5 }, { 3, 300 }, { 4, 64 } };       /* T, C */

static void embed(const double *w, double *y)
{
    for (int t = 0; t < T; t++)
        memcpy(y + t * C, w + tokens[t] * C, (size_t)C * sizeof *y);
}

static void test_embedding(void **state)
{
    (void)state;
    for EACH(widths, s) {
        T = widths[s][0], C = widths[s][1];
        draw(embed, V * C, T * C, 1);
        EACH_BACKEND(k) {
            clear();
            k->gather(k, f_out, f_in, tokens, T, (size_t)C * sizeof *f_in);
            is_near(k, "embedding", T * C, 0, 0);
            k->embedding_backward(k, grad, dy, tokens, T, C);
            is_slope(k, "embedding", 0, V * C, T, 3);
        }
    }
}

/* ---- RMS norm */
static void norm(const double *x, double *y)
{
    const double *w = x + T * C;

    for (int t = 0; t < T; t++, x += C, y += C) {
        double sum = 0;

        for (int c = 0; c < C; c++)
            sum += x[c] * x[c];
        for (int c = 0; c < C; c++)
            y[c] = x[c] / sqrt(sum / C + (double)1e-5f) * w[c];
    }
}

/* The squares are summed in lanes of C / 16, which are folded; half of that is left after the root,
 * and some 7 more roundings are around it. */
static void test_rmsnorm(void **state)
{
    float *rstd = kept[0];

    (void)state;
    for EACH(widths, s) {
        T = widths[s][0], C = widths[s][1];
        draw(norm, T * C + C, T * C, 2);
        EACH_BACKEND(k) {
            clear();
            k->rmsnorm_forward(k, made, rstd, f_in, f_in + T * C, 1e-5f, T, C);
            made_is_near(k, "rmsnorm", T * C, 0, (C / 32.0 + 8) * EPS);
            k->rmsnorm_backward(k, grad, grad + T * C, dy, f_in, f_in + T * C, rstd, T, C);
            is_slope(k, "x", 0, T * C, C / 16, 8);
            is_slope(k, "w", T * C, C, T, 8);
        }
    }
}

/* ---- rotary */
enum { TURNED = 3, R_MOST = 32 };
static int R_HEADS, R_SIZE;
static const int position[TURNED] = { 0, 5, 1000 };

static void turn(const double *x, double *y)
{
    for (int t = 0; t < TURNED; t++) {
        for (int h = 0; h < R_HEADS; h++, x += R_SIZE, y += R_SIZE) {
            for (int i = 0; i < R_SIZE / 2; i++) {
                double a = x[i], b = x[i + R_SIZE / 2];
                double angle = position[t] * pow(10000, -2.0 * i / R_SIZE);

                y[i] = a * cos(angle) - b * sin(angle);
                y[i + R_SIZE / 2] = b * cos(angle) + a * sin(angle);
            }
        }
    }
}

static void test_rotary(void **state)
{
    static const int shapes[][2] = { { 2, 12 }, { 1, 2 }, { 5, 16 }, { 3, R_MOST } };
    float *table = kept[0];

    (void)state;
    for EACH(shapes, s) {
        R_HEADS = shapes[s][0], R_SIZE = shapes[s][1];
        int n = TURNED * R_HEADS * R_SIZE;

        rotary_table(table, 1001, R_SIZE, 10000.0, &(struct rope_scaling){ 0 });
        draw(turn, n, n, 1);
        EACH_BACKEND(k) {
            clear();
            memcpy(f_out, f_in, (size_t)n * sizeof *f_out);
            k->rotary_forward(k, f_out, table, position, TURNED, R_HEADS, R_SIZE);
            is_near(k, "rotary", n, 8 * EPS, 0);
            memcpy(grad, dy, (size_t)n * sizeof *grad);
            k->rotary_backward(k, grad, table, position, TURNED, R_HEADS, R_SIZE);
            is_slope(k, "rotary", 0, n, 2, 1);
        }
    }
}

/* ---- attention: rows of 5 and 35 tokens (more than one block of keys) */
enum { A_TOKENS = 40 };
static int A_H, A_G, A_D, A_WINDOW;
static const int starts[] = { 0, 5, A_TOKENS };

static void attend_query(const double *q, const double *key, const double *value, int n, double *y)
{
    int from = A_WINDOW && n > A_WINDOW ? n - A_WINDOW : 0;
    double p[A_TOKENS], sum = 0;

    for (int j = from; j < n; j++) {
        double s = 0;

        for (int d = 0; d < A_D; d++)
            s += q[d] * key[j * A_G * A_D + d];
        p[j] = exp(s / sqrt(A_D));
        sum += p[j];
    }
    for (int d = 0; d < A_D; d++) {
        y[d] = 0;
        for (int j = from; j < n; j++)
            y[d] += p[j] / sum * value[j * A_G * A_D + d];
    }
}

static void attend(const double *x, double *y)
{
    int qs = A_TOKENS * A_H * A_D, ks = A_TOKENS * A_G * A_D;

    for (int n = 0; n < 2; n++) {
        for (int t = starts[n]; t < starts[n + 1]; t++) {
            for (int h = 0; h < A_H; h++) {
                int q = (t * A_H + h) * A_D, first = (starts[n] * A_G + h / (A_H / A_G)) * A_D;

                attend_query(x + q, x + qs + first, x + qs + ks + first, t - starts[n] + 1, y + q);
            }
        }
    }
}

/* A score is a sum of D products, below 2.25 sqrt(D) once scaled; what it is off by counts twice
 * in a probability.  Of bf16, delta = do . o has the rounding of o, 2^-8 of D products of 1.5 each,
 * and comes to q times a key below 1.5.  In the sums of dkey too little would be left to see:
 * test_compute_attention.c has it equal to fp32's. */
static void test_attention(void **state)
{
    static const struct attention_shape shapes[] = {
        { 2, 1, 6, 0 }, { 1, 1, 16, 0 }, { 4, 2, 5, 0 }, { 2, 1, 6, 1 }, { 4, 2, 5, 3 },
        { 2, 2, 6, 32 },
    };
    float *stats = kept[0];

    (void)state;
    for EACH(shapes, s) {
        int H = A_H = shapes[s].H, G = A_G = shapes[s].G, D = A_D = shapes[s].D;
        int qs = A_TOKENS * H * D, ks = A_TOKENS * G * D, terms;
        double score = 2.25 * sqrt(D), delta = ref->dtype == COMPUTE_BF16 ? EPS_BF16 * D * 1.5 : 0;

        A_WINDOW = shapes[s].window;
        draw(attend, qs + 2 * ks, qs, 1.5f);
        void *key = stored(f_in + qs, (size_t)ks), *value = stored(f_in + qs + ks, (size_t)ks);

        terms = (int)((D + 4) * score) + A_TOKENS * H / G;
        EACH_BACKEND(k) {
            clear();
            k->attention_forward(k, made, stats, f_in, key, value, starts, 2, shapes[s]);
            made_is_near(k, "o", qs, 1.5 * (2 * (D + 4) * score + 1.25 * A_TOKENS + 16) * EPS, 0);
            k->attention_backward(k, grad, grad + qs, grad + qs + ks, dy, f_in, key, value, made,
                                  stats, starts, 2, shapes[s]);
            is_slope_with(k, "q", 0, qs, terms, 4, delta * 1.5 / sqrt(D));
            if (k->dtype == COMPUTE_FP32)
                is_slope(k, "key", qs, ks, terms, 4);
            is_slope(k, "value", qs + ks, ks, terms, 4);
        }
        drop(key), drop(value);
    }
}

/* ---- SwiGLU and GeGLU */
static int S;

static void swiglu(const double *x, double *y)
{
    for (int i = 0; i < S; i++)
        y[i] = x[i] / (1 + exp(-x[i])) * x[S + i];
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void geglu(const double *x, double *y)
{
    for (int i = 0; i < S; i++)
        y[i] = gelu_tanh(x[i]) * x[S + i];
}

/* Below -1, where little of x is left, GELU is off by so much of 1 (test_compute_math.c) times up,
 * which is 6 at most. */
static const struct {
    enum activation act;
    void (*forward)(const double *x, double *y);
    double absolute, relative;
} glus[] = {
    { ACT_SILU, swiglu, 0, 8 * EPS },
    { ACT_GELU_TANH, geglu, 6 * 2 * EPS, 8 * EPS },
};

static void test_glu(void **state)
{
    static const int sizes[] = { 37, 1, 500 };

    (void)state;
    for EACH(glus, g)
        for EACH(sizes, s) {
            S = sizes[s];
            draw(glus[g].forward, 2 * S, S, 6);
            EACH_BACKEND(k) {
                clear();
                k->glu_forward(k, made, f_in, f_in + S, (size_t)S, glus[g].act);
                made_is_near(k, "glu", S, glus[g].absolute, glus[g].relative);
                k->glu_backward(k, grad, grad + S, dy, f_in, f_in + S, (size_t)S, glus[g].act);
                is_slope(k, "glu", 0, 2 * S, 4, 36);
            }
        }
}

/* ---- log-probability and entropy: y is logp(L), then entropy(L); temperature 0.8 */
static int L, IDS;
static int targets[3];

static void logp(const double *z, double *y)
{
    for (int t = 0; t < L; t++, z += IDS) {
        double sum = 0, weighted = 0;

        for (int i = 0; i < IDS; i++) {
            double u = z[i] / (double)0.8f;

            sum += exp(u);
            weighted += exp(u) * u;
        }
        y[t] = z[targets[t]] / (double)0.8f - log(sum);
        y[L + t] = log(sum) - weighted / sum;
    }
}

static void test_log_probability(void **state)
{
    static const int shapes[][2] = { { 3, 600 }, { 1, 1025 }, { 2, 17 } };
    struct lse *state_of = (struct lse *)kept[0];
    float *target = kept[1];

    (void)state;
    for EACH(shapes, s) {
        L = shapes[s][0], IDS = shapes[s][1];
        targets[0] = IDS - 1, targets[1] = 0, targets[2] = IDS / 2;
        draw(logp, L * IDS, 2 * L, 4);
        EACH_BACKEND(k) {
            clear();
            memcpy(grad, f_in, (size_t)(L * IDS) * sizeof *grad);
            k->lse_forward(k, state_of, target, grad, targets, 0.8f, 0, IDS, L);
            k->lse_finish(k, f_out, f_out + L, state_of, target, L);
            is_near(k, "logp", 2 * L, (IDS / 16 + 16) * 8 * EPS, 0);
            k->lse_backward(k, grad, state_of, targets, dy, dy + L, 0.8f, 0, IDS, L);
            is_slope(k, "lse", 0, L * IDS, IDS / 16, 1);
        }
    }
}

static void test_softmax_adds_up(void **state)
{
    static const int sizes[] = { 600, 1, 17, 1025 };

    (void)state;
    for EACH(sizes, s) {
        int n = sizes[s];

        draw(NULL, n, 0, 20);
        EACH_BACKEND(k) {
            double sum = 0;

            k->softmax(k, f_out, f_in, 0.7f, n);
            compute_wait(k);
            for (int i = 0; i < n; i++)
                sum += f_out[i];
            assert_true(fabs(sum - 1) <= n * EPS);
            k->softmax(k, f_out, f_in, 1e-3f, n);            /* nearly greedy: still numbers */
            compute_wait(k);
            for (int i = 0; i < n; i++)
                assert_true(f_out[i] >= 0 && f_out[i] <= 1);
        }
    }
}

/* ---- AdamW and inner products */
static void adamw_is_right(struct compute *k, const struct adamw *a, int n)
{
    float *w = f_in, *m = f_in + n, *v = f_in + 2 * n, *g = f_in + 3 * n, old[MOST];
    double b1 = (double)a->beta1, b2 = (double)a->beta2, lr = (double)a->lr, eps = (double)a->eps;
    double c1 = (double)a->correction1, c2 = (double)a->correction2;

    draw(NULL, 4 * n, 0, 1);
    for (int i = 0; i < n; i++)
        v[i] = fabsf(v[i]);
    memcpy(old, f_in, sizeof old);
    k->adamw(k, w, m, v, g, (size_t)n, a);
    compute_wait(k);
    for (int i = 0; i < n; i++) {
        double gi = (double)g[i] * (double)a->scale;
        double mi = b1 * (double)old[n + i] + (1 - b1) * gi;
        double vi = b2 * (double)old[2 * n + i] + (1 - b2) * gi * gi;
        double step = a->eps_inside ? lr * (mi / c1) / (sqrt(vi / c2) + eps)
                                    : lr * sqrt(c2) / c1 * mi / (sqrt(vi) + eps);
        double wi = (double)old[i] * (1 - lr * (double)a->weight_decay) - step;

        assert_true(fabs((double)m[i] - mi) < 4 * EPS && fabs((double)v[i] - vi) < 4 * EPS);
        assert_true(fabs((double)w[i] - wi) < 4 * EPS + 16 * EPS * fabs(step));
    }
}

static void test_adamw(void **state)
{
    struct adamw a = { 0.01f, 0.9f, 0.95f, 1e-6f, 0.1f, 0.19f, 0.0975f, 0, 0.5f };

    (void)state;
    for (a.eps_inside = 0; a.eps_inside < 2; a.eps_inside++)
        EACH_BACKEND(k) {
            adamw_is_right(k, &a, 50);
            adamw_is_right(k, &a, 1000);
        }
}

static void test_inner_products(void **state)
{
    static const int sizes[] = { 1, 37, MOST };

    (void)state;
    for EACH(sizes, s) {
        double want = 0, size = 0, got[3];
        int n = sizes[s];

        draw(NULL, n, n, 1);
        for (int i = 0; i < n; i++) {
            want += in[i] * (double)dy[i];
            size += fabs(in[i] * (double)dy[i]);
        }
        EACH_BACKEND(k) {
            k->gram(k, got, (const float *const[]){ f_in, dy }, 2, (size_t)n);
            assert_true(fabs(got[1] - want) <= n * 0x1p-52 * size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_variant_is_tried),
        cmocka_unit_test(test_matrix_product),  cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_rmsnorm),         cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_glu),
        cmocka_unit_test(test_log_probability), cmocka_unit_test(test_softmax_adds_up),
        cmocka_unit_test(test_adamw),           cmocka_unit_test(test_inner_products),
    };

    return cmocka_run_group_tests_name("fp32", tests, open_arrays_fp32, close_arrays) ||
           cmocka_run_group_tests_name("bf16", tests, open_arrays_bf16, close_arrays);
}
