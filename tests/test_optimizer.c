/* AdamW, clipping and the schedule against plain arithmetic in double. */
#include <math.h>

#include "learner/optimizer.h"
#include "tests/tiny_model.h"

static struct config settings(char *eps_mode)
{
    struct config c = { .steps = 100, .lr = 1e-2, .lr_min = 1e-3, .schedule = "constant" };

    c.adam.beta1 = 0.9;
    c.adam.beta2 = 0.999;
    c.adam.eps = 1e-6;
    c.adam.weight_decay = 0.1;
    c.adam.eps_mode = eps_mode;
    return c;
}

static float *some_gradient(struct tiny *t, uint32_t salt)
{
    float *g = calloc(t->size, sizeof *g);
    int count;
    const struct array *arrays = model_arrays(t->model, &count);

    assert_non_null(g);
    for (int a = 0; a < count; a++)
        for (size_t i = 0; i < arrays[a].size; i++)
            g[arrays[a].offset + i] = tiny_normal((uint32_t)(arrays[a].offset + i) + salt);
    return g;
}

/* The textbook, one weight at a time.  Returns the largest relative difference to the model's. */
static void check_against_double(struct tiny *t, char *eps_mode, double clip)
{
    struct config c = settings(eps_mode);
    double *w = calloc(3 * t->size, sizeof *w), *m = w + t->size, *v = m + t->size, norm, lr;
    bool tf = eps_mode[1] == 'f';
    struct optimizer *o;

    c.clip_norm = clip;
    assert_non_null(w);
    assert_ok(optimizer_create(&o, &c, t->model, c.lr));
    for (size_t i = 0; i < t->size; i++)
        w[i] = model_weights(t->model)[i];
    for (int step = 0; step < 5; step++) {
        float *g = some_gradient(t, (uint32_t)step * 77);
        double squares = 0, c1 = 1 - pow(0.9, step + 1), c2 = 1 - pow(0.999, step + 1);
        for (size_t i = 0; i < t->size; i++)
            squares += (double)g[i] * g[i];
        double scale = clip > 0 && sqrt(squares) > clip ? clip / sqrt(squares) : 1;
        for (size_t i = 0; i < t->size; i++) {
            m[i] = 0.9 * m[i] + 0.1 * scale * g[i];
            v[i] = 0.999 * v[i] + 0.001 * scale * g[i] * scale * g[i];
            w[i] -= c.lr * c.adam.weight_decay * w[i];
            w[i] -= tf ? c.lr * sqrt(c2) / c1 * m[i] / (sqrt(v[i]) + c.adam.eps)
                       : c.lr * m[i] / c1 / (sqrt(v[i] / c2) + c.adam.eps);
        }
        assert_ok(optimizer_step(o, g, step, &norm, &lr));
        assert_true(fabs(norm - sqrt(squares)) < 1e-9 * norm && lr == c.lr);
        free(g);
    }
    for (size_t i = 0; i < t->size; i++)
        if (fabs(w[i] - model_weights(t->model)[i]) > 2e-6)
            fail_msg("%s, clip %g: weight %zu is %.9g, by hand %.9g", eps_mode, clip, i,
                     (double)model_weights(t->model)[i], w[i]);
    optimizer_destroy(o);
    free(w);
}

static void test_adamw_is_the_textbooks(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        struct tiny t = tiny_open(0, tiny_computes[c]);
        check_against_double(&t, "torch", 0);
        check_against_double(&t, "torch", 0.5);
        check_against_double(&t, "tf", 0);
        check_against_double(&t, "tf", 0.5);
        tiny_close(&t);
    }
}

/* A run stopped after two updates and one that was not end with the same bits. */
static void test_state_is_moments_and_powers(void **state)
{
    struct tiny a = tiny_open(0, "ref"), b = tiny_open(0, "ref");
    struct config c = settings("torch");
    struct optimizer *whole, *first, *second;
    double norm, lr;

    (void)state;
    assert_ok(optimizer_create(&whole, &c, a.model, c.lr));
    assert_ok(optimizer_create(&first, &c, b.model, c.lr));
    assert_ok(optimizer_create(&second, &c, b.model, c.lr));
    for (int step = 0; step < 4; step++) {
        float *g = some_gradient(&a, (uint32_t)step * 31);
        if (step == 2) {
            memcpy(optimizer_m(second), optimizer_m(first), a.size * sizeof(float));
            memcpy(optimizer_v(second), optimizer_v(first), a.size * sizeof(float));
            memcpy(optimizer_powers(second), optimizer_powers(first), 2 * sizeof(double));
        }
        assert_ok(optimizer_step(whole, g, step, &norm, &lr));
        assert_ok(optimizer_step(step < 2 ? first : second, g, step, &norm, &lr));
        free(g);
    }
    assert_bits(model_weights(a.model), model_weights(b.model), a.size);
    optimizer_destroy(whole);
    optimizer_destroy(first);
    optimizer_destroy(second);
    tiny_close(&a);
    tiny_close(&b);
}

/* At every level of optimization: of betas that were rounded to float, and no others. */
static void test_powers_are_of_rounded_betas(void **state)
{
    struct tiny t = tiny_open(0, "ref");
    struct config c = settings("torch");
    volatile float beta[2] = { (float)c.adam.beta1, (float)c.adam.beta2 };
    double expected[2] = { 1, 1 }, norm, lr;
    struct optimizer *o;

    (void)state;
    assert_ok(optimizer_create(&o, &c, t.model, c.lr));
    for (int step = 0; step < 3; step++) {
        float *g = some_gradient(&t, (uint32_t)step);
        assert_ok(optimizer_step(o, g, step, &norm, &lr));
        free(g);
        for (int i = 0; i < 2; i++)
            expected[i] *= (double)beta[i];
        assert_memory_equal(optimizer_powers(o), expected, sizeof expected);
    }
    optimizer_destroy(o);
    tiny_close(&t);
}

static void test_bad_gradient_names_its_array(void **state)
{
    struct tiny t = tiny_open(0, "ref");
    struct config c = settings("torch");
    struct optimizer *o;
    float *g = some_gradient(&t, 0), *before = calloc(t.size, sizeof *before);
    double norm, lr;
    int count;
    const struct array *arrays = model_arrays(t.model, &count);

    (void)state;
    assert_non_null(before);
    memcpy(before, model_weights(t.model), t.size * sizeof *before);
    assert_ok(optimizer_create(&o, &c, t.model, c.lr));
    g[arrays[count - 1].offset + 3] = INFINITY;
    status_hold(true);
    assert_int_equal(optimizer_step(o, g, 0, &norm, &lr), RL_ENAN);
    assert_non_null(strstr(status_message(), arrays[count - 1].name));
    g[arrays[2].offset + 1] = NAN;
    assert_int_equal(optimizer_step(o, g, 0, &norm, &lr), RL_ENAN);
    assert_non_null(strstr(status_message(), arrays[2].name));
    status_drop();
    status_hold(false);
    assert_bits(model_weights(t.model), before, t.size);
    optimizer_destroy(o);
    tiny_close(&t);
    free(g);
    free(before);
}

static void test_schedules(void **state)
{
    struct config c = settings("torch");

    (void)state;
    assert_true(optimizer_rate(&c, c.lr, 0) == c.lr && optimizer_rate(&c, c.lr, 99) == c.lr);
    c.warmup = 0.1;             /* ten updates */
    assert_true(fabs(optimizer_rate(&c, c.lr, 0) - 0.1 * c.lr) < 1e-15);
    assert_true(fabs(optimizer_rate(&c, c.lr, 4) - 0.5 * c.lr) < 1e-15);
    assert_true(optimizer_rate(&c, c.lr, 9) == c.lr && optimizer_rate(&c, c.lr, 50) == c.lr);
    c.warmup = 20;
    assert_true(fabs(optimizer_rate(&c, c.lr, 4) - 0.25 * c.lr) < 1e-15);
    c.schedule = "linear";
    assert_true(optimizer_rate(&c, c.lr, 20) == c.lr);
    assert_true(fabs(optimizer_rate(&c, c.lr, 60) - 0.5 * (c.lr + c.lr_min)) < 1e-15);
    assert_true(fabs(optimizer_rate(&c, c.lr, 100) - c.lr_min) < 1e-15);
    c.schedule = "cosine";
    assert_true(optimizer_rate(&c, c.lr, 20) == c.lr);
    assert_true(fabs(optimizer_rate(&c, c.lr, 60) - 0.5 * (c.lr + c.lr_min)) < 1e-15);
    assert_true(fabs(optimizer_rate(&c, c.lr, 40) - c.lr_min - (c.lr - c.lr_min) *
                     (0.5 + sqrt(0.125))) < 1e-15);
    assert_true(fabs(optimizer_rate(&c, c.lr, 500) - c.lr_min) < 1e-15);
    c.warmup = 500;             /* longer than the run: it ends on the way up */
    assert_true(fabs(optimizer_rate(&c, c.lr, 99) - 0.2 * c.lr) < 1e-15);
}

static void test_bytes_are_two_moments(void **state)
{
    (void)state;
    assert_int_equal(optimizer_bytes(&tiny_shapes[0]),
                     2 * sizeof(float) * model_size(&tiny_shapes[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_the_textbooks),
        cmocka_unit_test(test_state_is_moments_and_powers),
        cmocka_unit_test(test_powers_are_of_rounded_betas),
        cmocka_unit_test(test_bad_gradient_names_its_array),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_bytes_are_two_moments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
