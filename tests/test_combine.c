/* Gradients of objectives made one: facts that hold for every Gram matrix, over many random
 * problems, tiny and degenerate ones too. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "learner/combine/combine.h"
#include "tests/support.h"

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

struct problem { int K; double H[COMBINE_MAX * COMBINE_MAX], w[COMBINE_MAX]; };
struct dice { struct counter at; };

static uint32_t word(struct dice *d)
{
    uint32_t out[4];

    d->at.position++;
    random_words(&d->at, out);
    return out[0];
}

static double uniform(struct dice *d)
{
    return (word(d) + 0.5) * 0x1p-32;
}

static double normal(struct dice *d)
{
    uint32_t a = word(d);

    return random_normal(a, word(d));
}

static struct dice dice_of(uint32_t prompt)
{
    return (struct dice){ { .seed = 11, .purpose = PURPOSE_TEST, .prompt = prompt } };
}

/* K gradients of dimension D: independent; all leaning to one side or the other (conflict); near a
 * line; with lengths from 0.1 to 10. */
static void random_gradients(struct dice *d, int K, int D, double g[][64])
{
    double common[64], lean = word(d) % 3 ? 0 : 3 * normal(d), noise = 1;

    if (word(d) % 4 == 0)
        noise = exp2(-10 * uniform(d));
    for (int i = 0; i < D; i++)
        common[i] = normal(d);
    for (int k = 0; k < K; k++) {
        double length = exp2(6 * uniform(d) - 3), side = word(d) % 2 ? lean : -lean;

        for (int i = 0; i < D; i++)
            g[k][i] = length * (noise * normal(d) + side * common[i]);
    }
}

static struct problem random_problem(struct dice *d, int K, int D, double scale)
{
    struct problem p = { .K = K };
    double g[COMBINE_MAX][64], sum = 0;

    random_gradients(d, K, D, g);
    for (int i = 0; i < K; i++)
        sum += p.w[i] = word(d) % 8 ? uniform(d) : 1e-3;
    for (int i = 0; i < K; i++) {
        p.w[i] /= sum;
        for (int j = 0; j < K; j++)
            for (int n = 0; n < D; n++)
                p.H[i * K + j] += scale * g[i][n] * scale * g[j][n];
    }
    return p;
}

static const struct combine_settings raco = { .c = 0.4, .clip = true, .k1_is_dpo = true,
                                              .skip_empty = true };

static struct combine_report solve(const char *rule, const struct problem *p,
                                   const struct combine_settings *set, double *a)
{
    struct combine_report report;

    combine_solve(combine_find(rule), p->H, p->w, p->K, set, a, &report);
    return report;
}

static double largest(const struct problem *p)
{
    double x = 0;

    for (int i = 0; i < p->K; i++)
        x = fmax(x, p->H[i * p->K + i]);
    return x;
}

/* ---- the certificate */

/* Strong duality, measured from the outside: Phi(p) = min_i <g_i, d> of the unclipped update. */
static void check_certificate(const struct problem *p, double c, int n)
{
    struct combine_settings set = { .c = c, .skip_empty = true };
    double a[COMBINE_MAX], unit = largest(p);
    struct combine_report r = solve("cagrad", p, &set, a);

    if (r.path == COMBINE_ZERO_MIXTURE || r.path == COMBINE_ZERO_ANCHOR)
        return;                         /* no direction: nothing to certify */
    if (r.path != COMBINE_SOLVED)
        fail_msg("problem %d, K %d, c %g: path %d, gap %g", n, p->K, c, (int)r.path, r.gap);
    if (!(fabs(r.phi - r.min_decrease) <= 1e-8 * unit) || !(r.gap <= 1e-8))
        fail_msg("problem %d, K %d, c %g: Phi %.12g, least decrease %.12g, gap %g", n, p->K, c,
                 r.phi / unit, r.min_decrease / unit, r.gap);
    if (r.steps > 0)
        fail_msg("problem %d: the exact solution needed %d steps of descent", n, r.steps);
}

static void test_solutions_are_certified(void **state)
{
    static const double radius[] = { 0.1, 0.4, 0.5, 0.9 };
    struct dice d = dice_of(1);
    int solved = 0;

    (void)state;
    for (int n = 0; n < 10000; n++) {
        int K = 2 + (int)(word(&d) % 5), D = K + (int)(word(&d) % 3) * 8;
        double scale = pow(10, 16 * uniform(&d) - 8), a[COMBINE_MAX];
        struct problem p = random_problem(&d, K, D, scale);
        double c = radius[word(&d) % 4];

        check_certificate(&p, c, n);
        solved += solve("raco", &p, &raco, a).path == COMBINE_SOLVED;
    }
    assert_true(solved > 9900);         /* the checks above were not left out */
}

static void test_fewer_dimensions_than_objectives(void **state)
{
    struct dice d = dice_of(2);

    (void)state;
    for (int n = 0; n < 2000; n++) {
        int K = 3 + (int)(word(&d) % 4), D = 1 + (int)(word(&d) % (unsigned)(K - 1));
        struct problem p = random_problem(&d, K, D, 1);

        check_certificate(&p, 0.4, n);
    }
}

static void test_many_objectives_are_certified_too(void **state)
{
    struct dice d = dice_of(3);
    double a[COMBINE_MAX];

    (void)state;
    for (int n = 0; n < 60; n++) {
        int K = 9 + (int)(word(&d) % (COMBINE_MAX - 8));
        struct problem p = random_problem(&d, K, K + (int)(word(&d) % (unsigned)(65 - K)), 1);
        struct combine_report r = solve("cagrad", &p, &raco, a), m = solve("mgda", &p, &raco, a);

        if (r.path != COMBINE_SOLVED || !(fabs(r.phi - r.min_decrease) <= 1e-8 * largest(&p)))
            fail_msg("problem %d, K %d: path %d, gap %g after %d steps", n, K, (int)r.path, r.gap,
                     r.steps);
        if (m.path != COMBINE_SOLVED || !(m.gap <= 1e-8))
            fail_msg("problem %d, K %d: mgda path %d, gap %g after %d steps", n, K, (int)m.path,
                     m.gap, m.steps);
    }
}

static double phi_at(const struct problem *p, double c, const double *x)
{
    double anchor = 0, linear = 0, squares = 0;

    for (int i = 0; i < p->K; i++)
        for (int j = 0; j < p->K; j++) {
            anchor += p->w[i] * p->H[i * p->K + j] * p->w[j];
            linear += x[i] * p->H[i * p->K + j] * p->w[j];
            squares += x[i] * p->H[i * p->K + j] * x[j];
        }
    return linear + c * sqrt(anchor) * sqrt(fmax(squares, 0));
}

/* Nothing on a fine grid over the simplex of three is below the solution. */
static void test_no_point_of_a_grid_is_lower(void **state)
{
    struct dice d = dice_of(4);
    double a[COMBINE_MAX];

    (void)state;
    for (int n = 0; n < 20; n++) {
        struct problem p = random_problem(&d, 3, 8, 1);
        double unit = largest(&p), phi = solve("cagrad", &p, &raco, a).phi;

        for (int i = 0; i <= 60; i++)
            for (int j = 0; i + j <= 60; j++) {
                double x[3] = { i / 60.0, j / 60.0, (60 - i - j) / 60.0 };
                assert_true(phi_at(&p, raco.c, x) >= phi - 1e-10 * unit);
            }
    }
}

/* ---- scale, limits, bounds */

static void test_scale_changes_nothing(void **state)
{
    struct dice d = dice_of(5);

    (void)state;
    for (int n = 0; n < 300; n++) {
        struct problem p = random_problem(&d, 2 + n % 5, 12, 1), q;
        const char *rule = combines[n % 4].name;
        double a[COMBINE_MAX], b[COMBINE_MAX];

        solve(rule, &p, &raco, a);
        for (int e = -16; e <= 16; e += 8) {
            q = p;
            for (int i = 0; i < p.K * p.K; i++)
                q.H[i] *= pow(10, e);
            solve(rule, &q, &raco, b);
            for (int i = 0; i < p.K; i++)
                if (!(fabs(a[i] - b[i]) <= 1e-8 * (1 + fabs(a[i]))))
                    fail_msg("%s: a[%d] is %.15g, at 1e%d %.15g", rule, i, a[i], e, b[i]);
        }
        for (int i = 0; i < p.K * p.K; i++)
            q.H[i] = ldexp(p.H[i], -90);        /* exact, so the bits are the same */
        solve(rule, &q, &raco, b);
        assert_memory_equal(a, b, (size_t)p.K * sizeof *a);
    }
}

static void test_one_objective_is_the_plain_loss(void **state)
{
    struct problem p = { .K = 1, .H = { 4 }, .w = { 1 } };
    struct combine_settings literal = raco;
    double a;

    (void)state;
    literal.k1_is_dpo = false;
    for (const struct combine *c = combines; c->name; c++) {
        struct combine_report r = solve(c->name, &p, &raco, &a);
        if (a != 1 || r.update_norm != 2)
            fail_msg("%s: a is %.17g", c->name, a);
    }
    solve("raco", &p, &literal, &a);
    assert_near(a, 1.4, 1e-15);
}

static void test_no_radius_is_the_weighted_sum(void **state)
{
    struct dice d = dice_of(6);
    struct combine_settings set = raco;
    double a[COMBINE_MAX];

    (void)state;
    set.c = 0;
    set.rescale = RESCALE_SQUARE;
    for (int n = 0; n < 200; n++) {
        struct problem p = random_problem(&d, 1 + n % 8, 12, 1);
        assert_int_equal(solve("raco", &p, &set, a).path, COMBINE_C_ZERO);
        assert_memory_equal(a, p.w, (size_t)p.K * sizeof *a);
    }
}

/* (1 - c) |g0| <= |G0| <= (1 + c) |g0|, and the clipped update is in the same ball. */
static void test_the_update_stays_near_the_anchor(void **state)
{
    struct dice d = dice_of(7);
    double a[COMBINE_MAX];

    (void)state;
    for (int n = 0; n < 1000; n++) {
        struct problem p = random_problem(&d, 2 + n % 6, 12, 1);
        struct combine_report r = solve(n % 2 ? "raco" : "cagrad", &p, &raco, a);
        assert_true(r.update_norm >= 0.6 * r.g0_norm * (1 - 1e-6));
        assert_true(r.update_norm <= 1.4 * r.g0_norm * (1 + 1e-6));
    }
}

static void test_rescaling_divides_a(void **state)
{
    struct problem p = { .K = 2, .H = { 4, -1, -1, 0.5 }, .w = { 0.2, 0.8 } };
    struct combine_settings set = raco;
    double a[2], linear[2], square[2];

    (void)state;
    solve("raco", &p, &set, a);
    set.rescale = RESCALE_LINEAR;
    solve("raco", &p, &set, linear);
    set.rescale = RESCALE_SQUARE;
    solve("raco", &p, &set, square);
    for (int i = 0; i < 2; i++) {
        assert_near(linear[i], a[i] / 1.4, 1e-15);
        assert_near(square[i], a[i] / 1.16, 1e-15);
    }
}

static double cosine_with_anchor(const struct problem *p, const double *mix)
{
    double dot = 0, anchor = 0, squares = 0;

    for (int i = 0; i < p->K; i++)
        for (int j = 0; j < p->K; j++) {
            dot += p->w[i] * p->H[i * p->K + j] * mix[j];
            anchor += p->w[i] * p->H[i * p->K + j] * p->w[j];
            squares += mix[i] * p->H[i * p->K + j] * mix[j];
        }
    return dot / sqrt(anchor * squares);
}

/* Two objectives: clipping never turns away from the anchor.  More: it may, and the guard helps. */
static void test_clipping_and_its_guard(void **state)
{
    struct dice d = dice_of(8);
    struct combine_settings guard = raco;
    int turned = 0;

    (void)state;
    guard.clip_guard = true;
    for (int n = 0; n < 2000; n++) {
        struct problem p = random_problem(&d, 2 + n % 3, 8, 1);
        double a[COMBINE_MAX], b[COMBINE_MAX];
        struct combine_report r = solve("raco", &p, &raco, a), g = solve("raco", &p, &guard, b);
        double bare = cosine_with_anchor(&p, r.p);

        if (r.path != COMBINE_SOLVED)
            continue;
        if (p.K == 2)
            assert_true(cosine_with_anchor(&p, r.mix) >= bare - 1e-7);
        assert_true(cosine_with_anchor(&p, g.mix) >= bare - 1e-7);
        turned += g.guarded;
        assert_int_equal(memcmp(a, b, (size_t)p.K * sizeof *a) != 0, g.guarded);
    }
    assert_true(turned > 20);
}

/* ---- where there is nothing to solve */

static void test_paths_that_keep_the_weights(void **state)
{
    static const struct { struct problem p; enum combine_path path; bool skip_empty; } cases[] = {
        { { 2, { 0, 0, 0, 0 }, { 0.3, 0.7 } }, COMBINE_ZERO_GRADIENTS, true },
        { { 2, { 1, -1, -1, 1 }, { 0.5, 0.5 } }, COMBINE_ZERO_ANCHOR, true },
        { { 2, { 1e-9, -1e-9, -1e-9, 1e-9 }, { 0.5, 0.5 } }, COMBINE_ZERO_ANCHOR, true },
        { { 2, { 1, -0.6, -0.6, 2 }, { 1, 0 } }, COMBINE_ZERO_MIXTURE, true },
        { { 2, { 1, 0, 0, 0 }, { 0.5, 0.5 } }, COMBINE_ZERO_MIXTURE, false },
        { { 2, { 1, 0, 0, 0 }, { 0, 1 } }, COMBINE_ZERO_ANCHOR, true },
    };

    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct combine_settings set = raco;
        double a[2];

        set.skip_empty = cases[n].skip_empty;
        assert_int_equal(solve("raco", &cases[n].p, &set, a).path, cases[n].path);
        assert_memory_equal(a, cases[n].p.w, sizeof a);
    }
}

static void test_empty_objectives_leave_the_others(void **state)
{
    struct problem p = { .K = 3, .H = { 4, 0, -1, 0, 0, 0, -1, 0, 0.5 }, .w = { 0.1, 0.5, 0.4 } };
    struct problem q = { .K = 2, .H = { 4, -1, -1, 0.5 }, .w = { 0.1, 0.4 } };
    double a[3], b[2];

    (void)state;
    solve("raco", &p, &raco, a);
    solve("raco", &q, &raco, b);
    assert_near(a[0], b[0], 1e-15);
    assert_near(a[1], 0.5, 0);
    assert_near(a[2], b[1], 1e-15);
    solve("mgda", &p, &raco, a);
    assert_near(a[1], 0, 0);
    assert_true(a[0] > 0 && a[2] > 0);
}

static void test_bad_numbers_skip_the_step(void **state)
{
    static const double bad[] = { NAN, INFINITY, -INFINITY };

    (void)state;
    for (int n = 0; n < 3; n++)
        for (const struct combine *c = combines; c->name; c++) {
            struct problem p = { .K = 2, .H = { 1, bad[n], 0, 2 }, .w = { 0.5, 0.5 } };
            double a[2];
            assert_int_equal(solve(c->name, &p, &raco, a).path, COMBINE_SKIP);
            assert_true(a[0] == 0 && a[1] == 0);
        }
}

/* ---- baselines */

static void test_mgda_opposes_no_objective(void **state)
{
    struct dice d = dice_of(9);

    (void)state;
    for (int n = 0; n < 2000; n++) {
        int K = 2 + n % 7;
        struct problem p = random_problem(&d, K, 1 + (int)(word(&d) % 20), exp2(60 * uniform(&d)));
        double a[COMBINE_MAX], sum = 0, unit = largest(&p);
        struct combine_report r = solve("mgda", &p, &raco, a);

        for (int i = 0; i < K; i++) {
            assert_true(a[i] >= 0);
            sum += a[i];
        }
        assert_near(sum, 1, 1e-12);
        if (!(r.min_decrease >= r.phi - 1e-8 * unit))
            fail_msg("problem %d: (Hp)_i is %g, p'Hp %g", n, r.min_decrease / unit, r.phi / unit);
    }
}

static void test_pcgrad_without_conflict_is_the_weighted_sum(void **state)
{
    struct problem p = { .K = 3, .H = { 2, 0.5, 0, 0.5, 1, 0.25, 0, 0.25, 3 },
                         .w = { 0.2, 0.3, 0.5 } };
    struct combine_settings set = raco;
    double a[3];

    (void)state;
    solve("pcgrad", &p, &set, a);
    assert_memory_equal(a, p.w, sizeof a);
    set.pcgrad = PCGRAD_TOTAL;
    solve("pcgrad", &p, &set, a);
    for (int i = 0; i < 3; i++)
        assert_near(a[i], 1, 0);
    set.pcgrad = PCGRAD_MEAN;
    solve("pcgrad", &p, &set, a);
    for (int i = 0; i < 3; i++)
        assert_near(a[i], 1.0 / 3, 1e-16);
}

/* Two objectives: each projected gradient is orthogonal to the other, so that the sum opposes
 * neither. */
static void test_pcgrad_of_two_opposes_neither(void **state)
{
    struct dice d = dice_of(10);
    double a[2];

    (void)state;
    for (int n = 0; n < 500; n++) {
        struct problem p = random_problem(&d, 2, 6, 1);
        struct combine_report r = solve("pcgrad", &p, &raco, a);
        assert_true(r.min_decrease >= -1e-10 * largest(&p));
    }
}

static void test_pcgrad_draws_its_order_by_seed_and_step(void **state)
{
    struct dice d = dice_of(12);
    struct problem p = random_problem(&d, 5, 6, 1);
    struct combine_settings set = raco;
    double first[5], again[5], other[5];
    int differ = 0;

    (void)state;
    for (int i = 0; i < 25; i++)
        p.H[i] = i % 6 ? -0.2 : 1;      /* everybody against everybody */
    p.H[1] = p.H[5] = -0.5;
    solve("pcgrad", &p, &set, first);
    solve("pcgrad", &p, &set, again);
    assert_memory_equal(first, again, sizeof first);
    for (set.step = 1; set.step < 9; set.step++) {
        solve("pcgrad", &p, &set, other);
        differ += memcmp(first, other, sizeof first) != 0;
    }
    assert_true(differ >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_solutions_are_certified),
        cmocka_unit_test(test_fewer_dimensions_than_objectives),
        cmocka_unit_test(test_many_objectives_are_certified_too),
        cmocka_unit_test(test_no_point_of_a_grid_is_lower),
        cmocka_unit_test(test_scale_changes_nothing),
        cmocka_unit_test(test_one_objective_is_the_plain_loss),
        cmocka_unit_test(test_no_radius_is_the_weighted_sum),
        cmocka_unit_test(test_the_update_stays_near_the_anchor),
        cmocka_unit_test(test_rescaling_divides_a),
        cmocka_unit_test(test_clipping_and_its_guard),
        cmocka_unit_test(test_paths_that_keep_the_weights),
        cmocka_unit_test(test_empty_objectives_leave_the_others),
        cmocka_unit_test(test_bad_numbers_skip_the_step),
        cmocka_unit_test(test_mgda_opposes_no_objective),
        cmocka_unit_test(test_pcgrad_without_conflict_is_the_weighted_sum),
        cmocka_unit_test(test_pcgrad_of_two_opposes_neither),
        cmocka_unit_test(test_pcgrad_draws_its_order_by_seed_and_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
