/* Reward models without a model: slopes of every verdict, calibration, descriptions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "learner/losses/primitives.h"
#include "learner/reward_model/calibration.h"
#include "learner/reward_model/duel.h"
#include "tests/support.h"

#define MOST 64

static const struct verdict verdicts[] = {
    { .kind = VERDICT_SCORES },
    { .kind = VERDICT_POINT, .dim = 3, .prototypes = 4, .users = 2, .factor = 1 },
    { .kind = VERDICT_POINT, .dim = 3, .prototypes = 2, .users = 2, .of_prompt = true,
      .factor = 1 },
    { .kind = VERDICT_POINT, .dim = 5, .prototypes = 2, .users = 2, .cosine = true, .factor = 7 },
    { .kind = VERDICT_GENERAL, .planes = 3, .tau = 0.5 },
    { .kind = VERDICT_GENERAL, .planes = 2, .tau = 0.3, .scale = GPM_LEARNED, .unit = true },
    { .kind = VERDICT_GENERAL, .planes = 3, .tau = 0.5, .scale = GPM_PROMPT, .unit = true },
    { .kind = VERDICT_GENERAL, .planes = 3, .tau = 0.5, .scale = GPM_PROMPT },
};
#define VERDICTS ((int)(sizeof verdicts / sizeof *verdicts))

static float normal(uint32_t i)
{
    struct counter c = { .seed = 4, .purpose = PURPOSE_TEST, .position = i };
    uint32_t words[4];

    random_words(&c, words);
    return ldexpf(roundf(ldexpf((float)random_normal(words[0], words[1]), 8)), -8);
}

/* All that a duel reads, one behind the other, and all slopes likewise. */
struct numbers { float x[6][MOST], d[6][MOST]; };
enum { W_LAST, W_PROMPT, L_LAST, L_PROMPT, PARAMETERS, USERS };

static struct duel duel_of(const struct verdict *v, struct numbers *n, bool slopes)
{
    struct duel p = { .verdict = v, .user = 1, .margin = 0.25, .center = 0.125, .factor = 1,
                      .w = { n->x[W_LAST], n->x[W_PROMPT], NULL, NULL },
                      .l = { n->x[L_LAST], n->x[L_PROMPT], NULL, NULL },
                      .at = { .prototypes = n->x[PARAMETERS], .scale = n->x[PARAMETERS],
                              .users = n->x[USERS] } };

    if (slopes) {
        p.w.d_last = n->d[W_LAST], p.w.d_prompt = n->d[W_PROMPT];
        p.l.d_last = n->d[L_LAST], p.l.d_prompt = n->d[L_PROMPT];
        p.at.d_prototypes = v->kind == VERDICT_POINT && !v->of_prompt ? n->d[PARAMETERS] : NULL;
        p.at.d_scale = v->scale == GPM_LEARNED ? n->d[PARAMETERS] : NULL;
        p.at.d_users = n->d[USERS];
    }
    return p;
}

static void fill(struct numbers *n)
{
    memset(n, 0, sizeof *n);
    for (uint32_t i = 0; i < 6 * MOST; i++)
        (&n->x[0][0])[i] = normal(i);
}

static double value(struct duel *p)
{
    double scratch[1000];

    assert_true(duel_scratch(p->verdict) <= 1000);
    return duel_eval(p, scratch).value;
}

static void check_slope(struct duel *p, float *x, double slope, int what, int i)
{
    static const double weight[] = { 1, -8, 8, -1 };
    static const int at[] = { -2, -1, 1, 2 };
    float was = *x, h = 0x1p-11f;
    double sum = 0;

    for (int k = 0; k < 4; k++) {
        *x = was + (float)at[k] * h;
        sum += weight[k] * value(p);
    }
    *x = was;
    if (!(fabs(sum / (12 * h) - slope) <= 2e-5 * (1 + fabs(slope))))
        fail_msg("kind %d, input %d[%d]: %.9g, the slope is %.9g", p->verdict->kind, what, i, slope,
                 sum / (12 * h));
}

static void test_gradient_is_the_slope(void **state)
{
    (void)state;
    for (int v = 0; v < VERDICTS; v++)
        for (int link = 0; link < 2; link++) {
            struct numbers n;
            struct duel p, with;
            int some = 0;

            fill(&n);
            p = duel_of(&verdicts[v], &n, false);
            with = duel_of(&verdicts[v], &n, true);
            p.link = with.link = (enum link)link;
            if (link == LINK_HINGE)             /* away from where its slope has a corner */
                p.margin = with.margin = 30;
            value(&with);
            for (int w = 0; w < 6; w++)
                for (int i = 0; i < MOST / 2; i++) {
                    check_slope(&p, &n.x[w][i], n.d[w][i], w, i);
                    some += n.d[w][i] != 0;
                }
            assert_true(some > 1);
        }
}

static void test_links_have_their_slope(void **state)
{
    static const double z[] = { -40, -2, 0.3, 0.7, 1.5, 40 };

    (void)state;
    for (int link = 0; link < 2; link++)
        for (int i = 0; i < 6; i++) {
            double slope, none, h = 1e-6;
            double up = link_value((enum link)link, z[i] + h, &none);
            double down = link_value((enum link)link, z[i] - h, &none);

            link_value((enum link)link, z[i], &slope);
            assert_float_equal(slope, (up - down) / (2 * h), 1e-6);
        }
}

/* A weight of a half halves every slope; scores add to what is there. */
static void test_slopes_take_the_factor_and_are_added(void **state)
{
    (void)state;
    for (int v = 0; v < VERDICTS; v++) {
        struct numbers a, b;
        struct duel p, q;

        fill(&a);
        fill(&b);
        p = duel_of(&verdicts[v], &a, true);
        q = duel_of(&verdicts[v], &b, true);
        value(&p);
        q.factor = 0.5;
        value(&q);
        value(&q);
        for (int i = 0; i < 6 * MOST; i++)
            assert_float_equal((&a.d[0][0])[i], (&b.d[0][0])[i], 1e-6);
    }
}

/* Swapped rows: the margin changes its sign, exactly. */
static void test_a_duel_turned_round_has_the_opposite_margin(void **state)
{
    double scratch[1000];

    (void)state;
    for (int v = 0; v < VERDICTS; v++) {
        struct numbers n;
        struct duel p, q;

        fill(&n);
        p = q = duel_of(&verdicts[v], &n, false);
        q.w = p.l;
        q.l = p.w;
        assert_true(duel_eval(&p, scratch).gap == -duel_eval(&q, scratch).gap);
    }
}

static void test_slopes_stay_finite(void **state)
{
    static const float extremes[] = { 0, 1e-30f, -1e15f, 3e15f };

    (void)state;
    for (int v = 0; v < VERDICTS; v++)
        for (int e = 0; e < 16; e++) {
            struct numbers n;
            struct duel p;

            fill(&n);
            for (int i = 0; i < MOST; i++) {
                n.x[W_LAST][i] = extremes[e % 4];
                n.x[L_LAST][i] = extremes[e / 4];
            }
            p = duel_of(&verdicts[v], &n, true);
            assert_true(isfinite(value(&p)));
            for (int i = 0; i < 6 * MOST; i++)
                if (!isfinite((&n.d[0][0])[i]))
                    fail_msg("kind %d: slope %d is %g", verdicts[v].kind, i,
                             (double)(&n.d[0][0])[i]);
        }
}

static void test_a_general_preference_can_go_in_a_circle(void **state)
{
    static const double rock[] = { 1, 0 }, paper[] = { -0.5, 0.8660254 };
    static const double scissors[] = { -0.5, -0.8660254 }, c[] = { 1 };

    (void)state;
    assert_true(gpm_score(c, rock, paper, 1) > 0.8);
    assert_true(gpm_score(c, paper, scissors, 1) > 0.8);
    assert_true(gpm_score(c, scissors, rock, 1) > 0.8);
}

/* ---- calibration */

static void test_the_temperature_is_that_of_the_labels(void **state)
{
    static double gaps[4000];
    const double truth = 2.5;
    double fitted, best = 0;
    int n = 4000;

    (void)state;
    for (int i = 0; i < n; i++) {               /* said sigmoid(gap), true sigmoid(gap / 2.5) */
        double gap = 3 * normal((uint32_t)i + 9000), u = (i * 2654435761u) % 4096 / 4096.0;
        gaps[i] = u < sigmoid(gap / truth) ? gap : -gap;
    }
    fitted = calibration_temperature(gaps, n);
    assert_float_equal(fitted, truth, 0.2);
    for (int i = 0; i < n; i++)
        best += softplus(-gaps[i] / fitted);    /* with 4,000 pairs the target is as good as 1 */
    for (double tau = fitted * 0.99; tau < fitted * 1.015; tau += fitted * 0.02) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += softplus(-gaps[i] / tau);
        assert_true(sum >= best);
    }
    assert_true(calibration_ece(gaps, n, 10, fitted) < 0.03);
    assert_true(calibration_ece(gaps, n, 10, 1) > 0.1);
}

static void test_temperatures_of_extreme_pairs_are_bounds(void **state)
{
    static const double right[] = { 1, 2, 0.5 }, wrong[] = { -1, -2 };

    (void)state;
    assert_true(calibration_temperature(right, 0) == 1);
    assert_true(calibration_temperature(right, 3) > 0.3);       /* sigmoid of about 1.4: 0.8 */
    assert_true(calibration_temperature(right, 3) < 1.2);
    assert_float_equal(calibration_temperature(wrong, 2), CALIBRATION_MOST, 1e-6);
    assert_true(calibration_accuracy(right, 3) == 1 && calibration_accuracy(wrong, 2) == 0);
}

/* ---- config.json */

static void test_verdicts_are_written_and_read_again(void **state)
{
    (void)state;
    for (int i = 0; i < VERDICTS; i++) {
        struct verdict v = verdicts[i], again;
        struct text t = { 0 };
        struct json *json;

        v.temperature = 1.75;
        text_adds(&t, "{\"" VERDICT_KEY "\": ");
        verdict_write(&v, &t);
        text_adds(&t, "}");
        json = json_parse(t.data, t.size, "config.json");
        assert_non_null(json);
        assert_ok(verdict_read(&again, json, "config.json"));
        assert_true(verdict_same(&v, &again));
        assert_true(v.users == again.users && v.cosine == again.cosine && v.unit == again.unit);
        assert_true(v.factor == again.factor && v.tau == again.tau);
        assert_true(again.temperature == 1.75);
        json_free(json);
        text_free(&t);
    }
}

static void test_bad_verdicts_are_refused_by_name(void **state)
{
    static const char *const bad[][2] = {
        { "{\"kind\": \"elo\"}", "kind must be" },
        { "{\"kind\": \"scores\", \"temperature\": 0}", "temperature must be" },
        { "{\"kind\": \"point\", \"dim\": 2.5}", "dim must be" },
        { "{\"kind\": \"point\", \"dim\": 2, \"prototypes\": 3}", "users must be" },
        { "{\"kind\": \"point\", \"dim\": 2, \"prototypes\": 4096, \"users\": 1, "
          "\"of_prompt\": true}", "outputs are more than" },
        { "{\"kind\": \"general\", \"planes\": 2}", "scale must be" },
        { "{\"kind\": \"general\", \"planes\": 2, \"scale\": \"fixed\", \"tau\": -1}",
          "tau must be" },
    };
    struct verdict v;

    (void)state;
    status_hold(true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct text t = { 0 };
        struct json *json;

        text_addf(&t, "{\"" VERDICT_KEY "\": %s}", bad[i][0]);
        json = json_parse(t.data, t.size, "config.json");
        assert_non_null(json);
        assert_int_equal(verdict_read(&v, json, "a/config.json"), RL_EINVAL);
        if (!strstr(status_message(), bad[i][1]))
            fail_msg("'%s' does not say '%s'", status_message(), bad[i][1]);
        json_free(json);
        text_free(&t);
    }
    status_hold(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_slope),
        cmocka_unit_test(test_links_have_their_slope),
        cmocka_unit_test(test_slopes_take_the_factor_and_are_added),
        cmocka_unit_test(test_a_duel_turned_round_has_the_opposite_margin),
        cmocka_unit_test(test_slopes_stay_finite),
        cmocka_unit_test(test_a_general_preference_can_go_in_a_circle),
        cmocka_unit_test(test_the_temperature_is_that_of_the_labels),
        cmocka_unit_test(test_temperatures_of_extreme_pairs_are_bounds),
        cmocka_unit_test(test_verdicts_are_written_and_read_again),
        cmocka_unit_test(test_bad_verdicts_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
