/* RPS: directions near a target, texts that say them, and the response they choose. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "launch/rps.h"
#include "tests/support.h"

static struct config_reward three[3] = {
    { .name = "a", .weight = 1 }, { .name = "ab", .weight = 2 }, { .name = "c", .weight = -2 },
};
static const struct config config = { .rewards = three, .n_rewards = 3 };

static void test_the_target_is_of_unit_length(void **state)
{
    double v[3];

    (void)state;
    assert_ok(rps_target(v, NULL, &config));
    assert_true(fabs(v[0] - 1.0 / 3) < 1e-15 && fabs(v[2] + 2.0 / 3) < 1e-15);
    assert_ok(rps_target(v, "0,3,-4e0", &config));
    assert_true(v[0] == 0 && v[1] == 0.6 && v[2] == -0.8);
}

static void test_targets_that_are_none_are_named(void **state)
{
    static const char *const bad[] = { "1,2", "1,2,3,4", "1,x,2", "0,0,0", "", "1,2,3,",
                                       "nan,1,1", "inf,1,1", "1e200,1,1" };
    double v[3];

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(rps_target(v, bad[i], &config), RL_EINVAL);
        assert_non_null(strstr(status_message(), "--target"));
    }
    status_drop();
    status_hold(false);
}

static void test_directions_stay_within_the_angle(void **state)
{
    double v[3], u[3], angle = 0.5, nearest = 1, widest = 0, sides = 0;

    (void)state;
    assert_ok(rps_target(v, "1,1,0", &config));
    for (uint32_t i = 0; i < 400; i++) {
        struct counter c = { .seed = 3, .purpose = PURPOSE_TEST, .sample = i };
        double between;
        rps_direction(u, v, 3, angle, c);
        assert_true(fabs(rps_score(u, u, 3) - 1) < 1e-12);
        between = acos(fmin(1, rps_score(u, v, 3)));
        assert_true(between <= angle + 1e-9);
        nearest = fmin(nearest, between);
        widest = fmax(widest, between);
        sides += u[2];
    }
    assert_true(nearest < 0.02 && widest > 0.48);
    assert_true(fabs(sides / 400) < 0.03);              /* to all sides alike */
    rps_direction(u, (double[]){ 1 }, 1, angle, (struct counter){ .seed = 1 });
    assert_true(u[0] == 1);
}

static void test_the_text_says_the_direction(void **state)
{
    struct text out = {0};

    (void)state;
    assert_int_equal(3, rps_prefix(&out, "a {a}, ab {ab}, {abc} {c}{", &config,
                                   (double[]){ 0.5, -0.125, 0.999 }));
    assert_string_equal(out.data, "a 0.50, ab -0.12, {abc} 1.00{");
    text_clear(&out);
    assert_int_equal(rps_prefix(&out, "{b} {", &config, (double[]){ 1, 0, 0 }), 0);
    assert_string_equal(out.data, "{b} {");
    text_free(&out);
}

static void test_the_best_is_the_first_highest_number(void **state)
{
    (void)state;
    assert_int_equal(rps_best((double[]){ NAN, 1, 3, 3, 2 }, 5), 2);
    assert_int_equal(rps_best((double[]){ NAN, NAN }, 2), -1);
    assert_int_equal(rps_best((double[]){ -INFINITY }, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_target_is_of_unit_length),
        cmocka_unit_test(test_targets_that_are_none_are_named),
        cmocka_unit_test(test_directions_stay_within_the_angle),
        cmocka_unit_test(test_the_text_says_the_direction),
        cmocka_unit_test(test_the_best_is_the_first_highest_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
