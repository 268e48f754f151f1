/* Is it the right arithmetic?  Every operation against the same in double, with a bound that
 * follows from the number of roundings, and every backward pass against the slope of that double
 * forward. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/compute.h"
#include "tests/support.h"

#define EPS 0x1p-24            /* half a unit in the last place: one rounding of a number near 1 */
#define MOST 4096

static struct compute *k;
static uint64_t seed = 3;

static double in[MOST], out[MOST];                   /* of the double forward */
static float f_in[MOST], f_out[MOST], grad[MOST], dy[MOST];

static float uniform(float size)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return size * ((float)(seed >> 40) * 0x1p-23f - 1.0f);
}

/* Fill in (as float and double) and dy. */
static void draw(int n_in, int n_out, float size)
{
    assert_true(n_in <= MOST && n_out <= MOST);
    for (int i = 0; i < n_in; i++)
        in[i] = f_in[i] = uniform(size);
    for (int i = 0; i < n_out; i++)
        dy[i] = uniform(1);
    memset(grad, 0, sizeof grad);
    memset(f_out, 0, sizeof f_out);
}

static void near(const char *what, const float *got, const double *want, int n, double bound)
{
    for (int i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= bound))
            fail_msg("%s[%d] = %.9g, double %.9g, bound %g", what, i, (double)got[i], want[i],
                     bound);
}

static double loss(void (*forward)(const double *x, double *y), int n_out)
{
    double sum = 0;

    forward(in, out);
    for (int i = 0; i < n_out; i++)
        sum += dy[i] * out[i];
    return sum;
}

/* grad[i] is d(dy . forward) / d in[i]; sums of `terms` fp32 products of size about `size`. */
static void is_slope(const char *what, void (*forward)(const double *x, double *y), int n_in,
                     int n_out, int terms, double size)
{
    for (int i = 0; i < n_in; i++) {
        double at = in[i], h = 1e-4, up, down, bound = (terms + 8) * 4 * EPS * size + 1e-7;

        in[i] = at + h;
        up = loss(forward, n_out);
        in[i] = at - h;
        down = loss(forward, n_out);
        in[i] = at;
        double slope = (up - down) / (2 * h);
        if (!(fabs(slope - (double)grad[i]) <= bound))
            fail_msg("%s: gradient %d is %.9g, slope %.9g, bound %g", what, i, (double)grad[i],
                     slope, bound);
    }
}

/* ---- y = x w^T */
enum { M = 5, N = 7, K = 19 };

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
    (void)state;
    draw(M * K + N * K, M * N, 1);
    product(in, out);
    k->matmul_forward(k, f_out, f_in, f_in + M * K, NULL, M, N, K);
    near("y", f_out, out, M * N, K * EPS * K);              /* K roundings of sums below K */
    k->matmul_backward_input(k, grad, dy, f_in + M * K, M, N, K);
    k->matmul_backward_weight(k, grad + M * K, dy, f_in, NULL, M, N, K, true);
    is_slope("matmul", product, M * K + N * K, M * N, N, N);
}

/* ---- embedding: y = w[token] */
enum { T = 6, C = 21, V = 4 };
static const int tokens[T] = { 2, 0, 2, 3, 2, 0 };

static void embed(const double *w, double *y)
{
    for (int t = 0; t < T; t++)
        memcpy(y + t * C, w + tokens[t] * C, C * sizeof *y);
}

static void test_embedding(void **state)
{
    (void)state;
    draw(V * C, T * C, 1);
    embed(in, out);
    k->embedding_forward(k, f_out, f_in, tokens, T, C);
    near("embedding", f_out, out, T * C, 0);
    k->embedding_backward(k, grad, dy, tokens, T, C);
    is_slope("embedding", embed, V * C, T * C, T, 3);
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

static void test_rmsnorm(void **state)
{
    float rstd[T];

    (void)state;
    draw(T * C + C, T * C, 2);
    norm(in, out);
    k->rmsnorm_forward(k, f_out, rstd, f_in, f_in + T * C, 1e-5f, T, C);
    near("rmsnorm", f_out, out, T * C, 16 * EPS * 8);       /* |y| below 8 */
    k->rmsnorm_backward(k, grad, grad + T * C, dy, f_in, f_in + T * C, rstd, T, C);
    is_slope("rmsnorm", norm, T * C + C, T * C, C, 8);
}

/* ---- rotary */
enum { TURNED = 3, R_HEADS = 2, R_SIZE = 12 };
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
    static float table[1001 * R_SIZE];

    (void)state;
    rotary_table(table, 1001, R_SIZE, 10000.0);
    draw(TURNED * R_HEADS * R_SIZE, TURNED * R_HEADS * R_SIZE, 1);
    turn(in, out);
    memcpy(f_out, f_in, sizeof f_out);
    k->rotary_forward(k, f_out, table, position, TURNED, R_HEADS, R_SIZE);
    near("rotary", f_out, out, TURNED * R_HEADS * R_SIZE, 8 * EPS);
    memcpy(grad, dy, sizeof grad);
    k->rotary_backward(k, grad, table, position, TURNED, R_HEADS, R_SIZE);
    is_slope("rotary", turn, TURNED * R_HEADS * R_SIZE, TURNED * R_HEADS * R_SIZE, 2, 1);
}

/* ---- attention: rows of 5 and 35 tokens (more than one block of keys) */
enum { A_TOKENS = 40, A_H = 2, A_G = 1, A_D = 6 };
enum { QS = A_TOKENS * A_H * A_D, KS = A_TOKENS * A_G * A_D };
static const int starts[] = { 0, 5, A_TOKENS };

static void attend_query(const double *q, const double *key, const double *value, int n, double *y)
{
    double p[A_TOKENS], sum = 0;

    for (int j = 0; j < n; j++) {
        double s = 0;

        for (int d = 0; d < A_D; d++)
            s += q[d] * key[j * A_G * A_D + d];
        p[j] = exp(s / sqrt(A_D));
        sum += p[j];
    }
    for (int d = 0; d < A_D; d++) {
        y[d] = 0;
        for (int j = 0; j < n; j++)
            y[d] += p[j] / sum * value[j * A_G * A_D + d];
    }
}

static void attend(const double *x, double *y)
{
    for (int n = 0; n < 2; n++) {
        for (int t = starts[n]; t < starts[n + 1]; t++) {
            for (int h = 0; h < A_H; h++) {
                size_t q = ((size_t)t * A_H + (size_t)h) * A_D;
                size_t first = ((size_t)starts[n] * A_G + (size_t)(h / (A_H / A_G))) * A_D;

                attend_query(x + q, x + QS + first, x + QS + KS + first, t - starts[n] + 1, y + q);
            }
        }
    }
}

static void test_attention(void **state)
{
    static float stats[A_TOKENS * A_H * 2];
    const float *key = f_in + QS, *value = key + KS;

    (void)state;
    draw(QS + 2 * KS, QS, 1.5f);
    attend(in, out);
    k->attention_forward(k, f_out, stats, f_in, key, value, starts, 2, A_H, A_G, A_D);
    near("o", f_out, out, QS, 1.5 * (2 * A_D * 14 + A_TOKENS + 8) * EPS);    /* scores below 14 */
    k->attention_backward(k, grad, grad + QS, grad + QS + KS, dy, f_in, key, value, f_out, stats,
                          starts, 2, A_H, A_G, A_D);
    is_slope("attention", attend, QS + 2 * KS, QS, A_TOKENS + 14 * A_D, 4);
}

/* ---- SwiGLU */
enum { S = 37 };

static void swiglu(const double *x, double *y)
{
    for (int i = 0; i < S; i++)
        y[i] = x[i] / (1 + exp(-x[i])) * x[S + i];
}

static void test_swiglu(void **state)
{
    (void)state;
    draw(2 * S, S, 6);
    swiglu(in, out);
    k->swiglu_forward(k, f_out, f_in, f_in + S, S);
    near("swiglu", f_out, out, S, 36 * 8 * EPS);
    k->swiglu_backward(k, grad, grad + S, dy, f_in, f_in + S, S);
    is_slope("swiglu", swiglu, 2 * S, S, 4, 36);
}

/* ---- log-probability and entropy: y is logp(L), then entropy(L); temperature 0.8 */
enum { L = 3, IDS = 600 };
static const int targets[L] = { 599, 0, 300 };

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
    struct lse state_of[L];
    float target[L];

    (void)state;
    draw(L * IDS, 2 * L, 4);
    logp(in, out);
    memcpy(grad, f_in, L * IDS * sizeof *grad);
    k->lse_forward(k, state_of, target, grad, targets, 0.8f, 0, IDS, L);
    k->lse_finish(k, f_out, f_out + L, state_of, target, L);
    near("logp", f_out, out, 2 * L, (IDS / 16 + 16) * 8 * EPS);
    k->lse_backward(k, grad, state_of, targets, dy, dy + L, 0.8f, 0, IDS, L);
    is_slope("lse", logp, L * IDS, 2 * L, IDS / 16, 1);
}

static void test_softmax_adds_up(void **state)
{
    double sum = 0;

    (void)state;
    draw(IDS, 0, 20);
    k->softmax(k, f_out, f_in, 0.7f, IDS);
    for (int i = 0; i < IDS; i++)
        sum += f_out[i];
    assert_true(fabs(sum - 1) < IDS * EPS);
    k->softmax(k, f_out, f_in, 1e-3f, IDS);                  /* nearly greedy: still numbers */
    for (int i = 0; i < IDS; i++)
        assert_true(f_out[i] >= 0 && f_out[i] <= 1);
}

/* ---- AdamW and the dot product */
static void test_adamw(void **state)
{
    enum { n = 50 };
    struct adamw a = { 0.01f, 0.9f, 0.95f, 1e-6f, 0.1f, 0.19f, 0.0975f, 0, 0.5f };
    float *w = f_in, *m = f_in + n, *v = f_in + 2 * n, *g = f_in + 3 * n, old[4 * n];

    (void)state;
    for (a.eps_inside = 0; a.eps_inside < 2; a.eps_inside++) {
        draw(4 * n, 0, 1);
        for (int i = 0; i < n; i++)
            v[i] = fabsf(v[i]);
        memcpy(old, f_in, sizeof old);
        k->adamw(k, w, m, v, g, n, &a);
        for (int i = 0; i < n; i++) {
            double gi = (double)g[i] * (double)a.scale, b1 = (double)a.beta1, b2 = (double)a.beta2;
            double mi = b1 * (double)old[n + i] + (1 - b1) * gi, lr = (double)a.lr;
            double vi = b2 * (double)old[2 * n + i] + (1 - b2) * gi * gi, eps = (double)a.eps;
            double c1 = (double)a.correction1, c2 = (double)a.correction2, step;

            step = a.eps_inside ? lr * (mi / c1) / (sqrt(vi / c2) + eps)
                                : lr * sqrt(c2) / c1 * mi / (sqrt(vi) + eps);
            double wi = (double)old[i] * (1 - lr * (double)a.weight_decay) - step;

            assert_true(fabs((double)m[i] - mi) < 4 * EPS && fabs((double)v[i] - vi) < 4 * EPS);
            assert_true(fabs((double)w[i] - wi) < 4 * EPS + 16 * EPS * fabs(step));
        }
    }
}

static void test_dot(void **state)
{
    double want = 0;

    (void)state;
    draw(MOST, MOST, 1);
    for (int i = 0; i < MOST; i++)
        want += in[i] * (double)dy[i];
    assert_true(fabs(k->dot(k, f_in, dy, MOST) - want) < MOST * 0x1p-53 * MOST);
}

static int open_one(void **state)
{
    (void)state;
    return compute_open(&k, "auto", "fp32", 1);
}

static int close_one(void **state)
{
    int rc = compute_sync(k);

    (void)state;
    compute_close(k);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix_product),  cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_rmsnorm),         cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_log_probability), cmocka_unit_test(test_softmax_adds_up),
        cmocka_unit_test(test_adamw),           cmocka_unit_test(test_dot),
    };

    return cmocka_run_group_tests(tests, open_one, close_one);
}
