/* Worked numbers of reward models: Bradley-Terry, PAL, GPM, calibration (spec, sections 5.6 and
 * 5.7), in double. */
#include "learner/losses/primitives.h"
#include "learner/reward_model/calibration.h"
#include "learner/reward_model/duel.h"
#include "tests/golden_ops.h"

#define ITEMS 256               /* numbers of a golden case, at most */

static int numbers(struct one *c, const struct json *array, const char *key, double x[ITEMS])
{
    size_t n = json_size(array);

    golden_true(&c->g, n > 0 && n <= ITEMS, "1 to %d numbers in %s", ITEMS, key);
    for (size_t i = 0; i < n && i < ITEMS; i++)
        x[i] = item(array, i);
    return n <= ITEMS ? (int)n : 0;
}

static int input(struct one *c, const char *key, double x[ITEMS])
{
    return numbers(c, json_get(c->in, key), key, x);
}

/* Whether the case asks for it or not, slopes that are there must be right. */
static void near_slopes(struct one *c, const double *got, int n, const char *key)
{
    const struct json *want = json_get(json_get(c->want, "grads"), key);

    if (json_is_null(want))
        return;
    golden_true(&c->g, json_size(want) == (size_t)n, "%d slopes of %s", n, key);
    for (int i = 0; i < n; i++)
        near(c, got[i], json_at(want, (size_t)i), key);
}

static void check_scores(struct one *c)
{
    double r_w[ITEMS], r_l[ITEMS], margin[ITEMS] = { 0 }, d_w[ITEMS], d_l[ITEMS], loss = 0;
    double center = number(c, "center", 0);
    int n = input(c, "r_w", r_w);

    golden_true(&c->g, input(c, "r_l", r_l) == n, "as many losers as winners");
    if (!json_is_null(json_get(c->in, "margin")))
        golden_true(&c->g, input(c, "margin", margin) == n, "a margin a pair");
    for (int i = 0; i < n; i++) {
        loss += duel_scores(LINK_LOGISTIC, r_w[i], r_l[i], margin[i], center, &d_w[i], &d_l[i]);
        d_w[i] /= n;
        d_l[i] /= n;
    }
    near(c, loss / n, json_get(c->want, "loss"), "loss");
    near_slopes(c, d_w, n, "r_w");
    near_slopes(c, d_l, n, "r_l");
}

static void check_ece(struct one *c)
{
    double gaps[ITEMS];
    int n = input(c, "reward_diff_w_minus_l", gaps);

    near(c, calibration_ece(gaps, n, (int)number(c, "bins", CALIBRATION_BINS), 1),
         json_get(c->want, "ece"), "ece");
    near(c, calibration_accuracy(gaps, n), json_get(c->want, "accuracy"), "accuracy");
}

static void check_gpm(struct one *c)
{
    double w[ITEMS], l[ITEMS], scale[ITEMS], d_w[ITEMS], d_l[ITEMS], d_c[ITEMS], gap, loss;
    int n = input(c, "v_w", w), planes = n / 2;
    struct verdict v = { .kind = VERDICT_GENERAL, .planes = planes, .tau = number(c, "tau", 0.1) };
    struct general_input in = { .verdict = &v, .v_w = w, .v_l = l, .c = scale };
    struct general_slopes d = { d_w, d_l, d_c };

    golden_true(&c->g, n % 2 == 0 && input(c, "v_l", l) == n, "two vectors of %d planes", planes);
    for (int i = 0; i < planes; i++)
        scale[i] = 1;
    if (!json_is_null(json_get(c->in, "scale")))
        golden_true(&c->g, input(c, "scale", scale) == planes, "a scale a plane");
    loss = duel_general(LINK_LOGISTIC, &in, &d, &gap);
    near(c, loss, json_get(c->want, "loss"), "loss");
    near(c, gap * v.tau, json_get(c->want, "score"), "score");
    near(c, sigmoid(gap), json_get(c->want, "prob"), "probability");
    near_slopes(c, d_w, n, "v_w");
    near_slopes(c, d_l, n, "v_l");
    near_slopes(c, d_c, planes, "scale");
}

static void check_pal(struct one *c)
{
    static double P[ITEMS], d_Pw[ITEMS], d_Pl[ITEMS], scratch[5 * ITEMS];
    double w[ITEMS], l[ITEMS], logits[ITEMS], d_w[ITEMS], d_l[ITEMS], d_logits[ITEMS], gap, loss;
    const struct json *proto = json_get(c->in, "proto");
    int dim = input(c, "x_w", w), K = input(c, "w_logits", logits);
    struct verdict v = { .kind = VERDICT_POINT, .dim = dim, .prototypes = K, .factor = 1 };
    struct point_input in = { &v, w, l, P, P, logits, 0 };
    struct point_slopes d = { d_w, d_l, d_Pw, d_Pl, d_logits };

    golden_true(&c->g, input(c, "x_l", l) == dim && json_size(proto) == (size_t)K &&
                K * dim <= ITEMS, "%d prototypes of %d numbers", K, dim);
    for (int k = 0; k < K && K * dim <= ITEMS; k++)
        for (int i = 0; i < dim; i++)
            P[k * dim + i] = item(json_at(proto, (size_t)k), (size_t)i);
    loss = duel_point(LINK_LOGISTIC, &in, &d, scratch, &gap);
    near(c, loss, json_get(c->want, "loss"), "loss");
    near_slopes(c, d_w, dim, "x_w");
    near_slopes(c, d_l, dim, "x_l");
    near_slopes(c, d_logits, K, "w_logits");
    pal_ideal(scratch, scratch + dim, logits, P, K, dim);
    for (int i = 0; i < dim; i++)
        near(c, scratch[i], json_at(json_get(c->want, "ideal_point"), (size_t)i), "ideal point");
}

const struct golden_op golden_rewardmodel[] = {
    { "rm_bt", check_scores },
    { "rm_ece", check_ece },
    { "gpm", check_gpm },
    { "pal", check_pal },
    { NULL, NULL },
};
