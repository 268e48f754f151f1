/* Our own functions against long double, and the vector forms of exp against the scalar one.
 *   build/tests/test_compute_math          a stride over all floats, half a second
 *   build/tests/test_compute_math all      every one of the 2^32 floats */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/cpu/cpu.h"
#include "compute/math.h"
#include "tests/support.h"

void emulated_exp_avx512(float *y, const float *x, size_t n);       /* tests/emulated.h */
bool emulated_can_run(void);

static uint32_t stride = 4099;                       /* prime: about 2^20 floats */
static uint64_t seed = 7;

static double uniform(void)                          /* [0, 1) */
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) * 0x1p-53;
}

/* |got - want| in units of the last place of want */
static double ulps(double got, long double want)
{
    double near = fabs((double)want), unit = nextafter(near, HUGE_VAL) - near;

    return (double)(fabsl((long double)got - want) / unit);
}

static double ulps_f32(float got, long double want)
{
    float near = fabsf((float)want), unit = nextafterf(near, HUGE_VALF) - near;

    return (double)(fabsl((long double)got - want) / unit);
}

static void keep_worst(double *worst, double error)
{
    *worst = error > *worst || isnan(error) ? error : *worst;
}

static void compare_exp(const char *name, void (*many)(float *y, const float *x, size_t n))
{
    enum { N = 1003 };                               /* not a multiple of 16 */
    float x[N], y[N];
    uint64_t next = 0;

    while (next < (uint64_t)1 << 32) {
        size_t n = 0;

        for (; n < N && next < (uint64_t)1 << 32; n++, next += stride)
            x[n] = f32_of_bits((uint32_t)next);
        many(y, x, n);
        for (size_t i = 0; i < n; i++)
            if (bits_of_f32(y[i]) != bits_of_f32(rw_expf(x[i])))
                fail_msg("%s: exp(%a) = %a, scalar %a", name, (double)x[i], (double)y[i],
                         (double)rw_expf(x[i]));
    }
}

static void test_vector_exp_is_the_scalar_exp(void **state)
{
    (void)state;
    compare_exp("plain", cpu_exp_plain);
    if (cpu_can_avx2())
        compare_exp("avx2", cpu_exp_avx2);
    if (cpu_can_avx512())
        compare_exp("avx512", cpu_exp_avx512);
    else if (emulated_can_run())
        compare_exp("emulated avx512", emulated_exp_avx512);
}

static void test_exp_f32_is_within_one_ulp(void **state)
{
    double worst = 0;

    (void)state;
    for (uint64_t u = 0; u < (uint64_t)1 << 32; u += stride) {
        float x = f32_of_bits((uint32_t)u);

        if (x > -103.97f && x < 88.72f)              /* NaN and what overflows: below */
            keep_worst(&worst, ulps_f32(rw_expf(x), expl((long double)x)));
    }
    print_message("rw_expf: %.3f ulp\n", worst);
    assert_true(worst < 1.0);
}

static void test_exp_f32_at_the_edges(void **state)
{
    (void)state;
    assert_int_equal(bits_of_f32(rw_expf(0.0f)), bits_of_f32(1.0f));
    assert_int_equal(bits_of_f32(rw_expf(-0.0f)), bits_of_f32(1.0f));
    assert_int_equal(bits_of_f32(rw_expf(-INFINITY)), 0);
    assert_int_equal(bits_of_f32(rw_expf(-1e30f)), 0);
    assert_int_equal(bits_of_f32(rw_expf(-104.0f)), 0);
    assert_int_equal(bits_of_f32(rw_expf(-103.5f)), 1);             /* the smallest denormal */
    assert_true(isinf(rw_expf(INFINITY)) && isinf(rw_expf(88.73f)) && isinf(rw_expf(3e38f)));
    assert_true(isfinite(rw_expf(88.72f)));
    assert_int_equal(bits_of_f32(rw_expf(f32_of_bits(0xffc12345u))), 0x7fc00000u);
    assert_int_equal(bits_of_f32(rw_expf(f32_of_bits(0x7f800001u))), 0x7fc00000u);
}

static void test_double_functions_are_within_two_ulp(void **state)
{
    double e = 0, l = 0, p = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        double x = (uniform() * 2 - 1) * (i % 2 ? 700 : 1), y = exp((uniform() * 2 - 1) * 700);
        double near_one = 0.5 + 1.5 * uniform(), z = exp(-40 * uniform()) * (i % 2 ? 1 : -1);

        keep_worst(&e, ulps(rw_exp(x), expl((long double)x)));
        keep_worst(&l, ulps(rw_log(y), logl((long double)y)));
        keep_worst(&l, ulps(rw_log(near_one), logl((long double)near_one)));
        keep_worst(&p, ulps(rw_log1p(z), log1pl((long double)z)));
        keep_worst(&p, ulps(rw_log1p(y), log1pl((long double)y)));
    }
    print_message("rw_exp: %.3f, rw_log: %.3f, rw_log1p: %.3f ulp\n", e, l, p);
    assert_true(e < 2 && l < 2 && p < 2);
}

static void test_double_functions_at_the_edges(void **state)
{
    (void)state;
    assert_true(rw_exp(0) == 1 && rw_exp(-HUGE_VAL) == 0 && rw_exp(-746) == 0);
    assert_true(isinf(rw_exp(710)) && isnan(rw_exp((double)NAN)));
    assert_true(ulps(rw_exp(-745), expl(-745.0L)) <= 1 && ulps(rw_exp(709.5), expl(709.5L)) < 2);
    assert_true(rw_log(1) == 0 && rw_log(0) == -HUGE_VAL && isinf(rw_log(HUGE_VAL)));
    assert_true(isnan(rw_log(-1)) && isnan(rw_log((double)NAN)));
    assert_true(ulps(rw_log(0x1p-1074), logl(0x1p-1074L)) < 2);
    assert_true(rw_log1p(0) == 0 && rw_log1p(1e-300) == 1e-300 && rw_log1p(-1) == -HUGE_VAL);
    assert_true(isnan(rw_log1p(-2)) && isinf(rw_log1p(HUGE_VAL)));
}

static void test_sine_and_cosine(void **state)
{
    double worst = 0, s, c;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        double x = (uniform() * 2 - 1) * (i % 2 ? 0x1p20 : 8);

        rw_sincos(x, &s, &c);
        keep_worst(&worst, ulps(s, sinl((long double)x)));
        keep_worst(&worst, ulps(c, cosl((long double)x)));
    }
    print_message("rw_sincos: %.3f ulp\n", worst);
    assert_true(worst < 2);
    rw_sincos(0, &s, &c);
    assert_true(s == 0 && c == 1);
    rw_sincos(HUGE_VAL, &s, &c);
    assert_true(isnan(s) && isnan(c));
    rw_sincos(0x1p30, &s, &c);
    assert_true(fabs(s * s + c * c - 1) < 1e-6);
    rw_sincos(-1e300, &s, &c);
    assert_true(isnan(s) && isnan(c));
}

static void test_pow_makes_rotary_frequencies(void **state)
{
    double worst = 0;

    (void)state;
    for (int i = 0; i < 128; i++)
        keep_worst(&worst, ulps(rw_pow(500000, -i / 128.0), powl(500000.0L, -i / 128.0L)));
    print_message("rw_pow: %.3f ulp\n", worst);
    assert_true(worst < 40);
}

/* GELU in glu_forward: units in the last place from -1 on; below, where little of x is left, of
 * 1. */
static void test_gelu_is_its_tanh_form(void **state)
{
    enum { N = 1000 };
    const long double a = sqrtl(2 / 3.14159265358979323846264L);
    float x[N], one[N], y[N];
    double above = 0, below = 0;
    struct compute *ref;
    uint64_t next = 0;

    (void)state;
    assert_ok(compute_open(&ref, "ref", "fp32", 1));
    for (int i = 0; i < N; i++)
        one[i] = 1;
    while (next < (uint64_t)1 << 32) {
        size_t n = 0;

        for (; n < N && next < (uint64_t)1 << 32; next += stride) {
            x[n] = f32_of_bits((uint32_t)next);
            n += fabsf(x[n]) < 100 && fabsf(x[n]) > 0x1p-100f;       /* not a NaN, not denormal */
        }
        ref->glu_forward(ref, y, x, one, n, ACT_GELU_TANH);
        for (size_t i = 0; i < n; i++) {
            long double z = x[i], want = z / 2 * (1 + tanhl(a * (z + 0.044715L * z * z * z)));

            if (z >= -1)
                keep_worst(&above, ulps_f32(y[i], want));
            else
                keep_worst(&below, (double)fabsl((long double)y[i] - want) * 0x1p24);
        }
    }
    print_message("gelu: %.3f ulp from -1 on, %.3f * 2^-24 below\n", above, below);
    assert_true(above < 3 && below < 2);
    compute_close(ref);
}

/* The product of floats with the sum rounded to odd in double is fmaf, also where it cancels and
 * where it is denormal. */
static void test_fused_multiply_add_without_the_instruction(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        float a = f32_of_bits((uint32_t)(uniform() * 0x1p32)), c;
        float b = f32_of_bits((uint32_t)(uniform() * 0x1p32));

        if (i % 4 == 1) {                            /* near one */
            a = (float)uniform() + 0.5f;
            b = (float)uniform() + 0.5f;
        } else if (i % 4 == 2) {                     /* near the denormals */
            a = f32_of_bits(0x1f800000u + (bits_of_f32(a) & 0x1ffffffu));
            b = f32_of_bits(0x1f800000u + (bits_of_f32(b) & 0x1ffffffu));
        }
        c = i % 3 ? -a * b : f32_of_bits((uint32_t)(uniform() * 0x1p32));
        if (i % 5 == 0)
            c = f32_of_bits(bits_of_f32(c) + (uint32_t)(i % 7));
        float want = fmaf(a, b, c), got = rw_fmaf(a, b, c);

        if (bits_of_f32(want) != bits_of_f32(got) && !(isnan(want) && isnan(got)))
            fail_msg("fma(%a, %a, %a) = %a, got %a", (double)a, (double)b, (double)c,
                     (double)want, (double)got);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_exp_is_the_scalar_exp),
        cmocka_unit_test(test_exp_f32_is_within_one_ulp),
        cmocka_unit_test(test_exp_f32_at_the_edges),
        cmocka_unit_test(test_double_functions_are_within_two_ulp),
        cmocka_unit_test(test_double_functions_at_the_edges),
        cmocka_unit_test(test_sine_and_cosine),
        cmocka_unit_test(test_pow_makes_rotary_frequencies),
        cmocka_unit_test(test_gelu_is_its_tanh_form),
        cmocka_unit_test(test_fused_multiply_add_without_the_instruction),
    };

    if (argc > 1 && strcmp(argv[1], "all") == 0)
        stride = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
