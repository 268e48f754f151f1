/* Worked numbers of RACO and its relatives: learner/combine/.
 *
 * Where p is not unique (raco_degenerate; mgda of a singular matrix) the direction H a is, and is
 * what a case compares. */
#include "comm/tree.h"
#include "learner/combine/combine.h"
#include "tests/golden_ops.h"

static const char *const paths[] = { NULL, "c_zero", "zero_gradients", "zero_anchor",
                                     "zero_mixture", "solver_fallback", "skip" };

struct problem {
    int K;
    double H[COMBINE_MAX * COMBINE_MAX], w[COMBINE_MAX], a[COMBINE_MAX];
    struct combine_settings set;
    struct combine_report report;
};

static bool flag(const struct one *c, const char *key, bool otherwise)
{
    return json_bool(json_get(c->in, key), otherwise);
}

/* The switches of the case; those it does not name as the generator has them. */
static bool read_problem(struct one *c, const struct json *H, struct problem *out)
{
    const struct json *w = json_get(c->in, "w");
    int K = (int)json_size(H);

    golden_true(&c->g, K >= 1 && K <= COMBINE_MAX, "H has %d rows", K);
    if (K < 1 || K > COMBINE_MAX)
        return false;
    *out = (struct problem){ .K = K, .set = { .c = number(c, "c", 0),
                                              .clip = flag(c, "clip", true),
                                              .clip_guard = flag(c, "clip_guard", false),
                                              .k1_is_dpo = flag(c, "k1_is_dpo", false),
                                              .skip_empty = flag(c, "skip_empty", false) } };
    for (int i = 0; i < K; i++) {
        out->w[i] = w ? item(w, (size_t)i) : 1.0 / K;
        for (int j = 0; j < K; j++)
            out->H[i * K + j] = item(json_at(H, (size_t)i), (size_t)j);
    }
    return true;
}

static void near_list(struct one *c, const double *got, int n, const struct json *want,
                      const char *what)
{
    golden_true(&c->g, json_size(want) == (size_t)n, "%s: %zu numbers", what, json_size(want));
    for (int i = 0; i < n; i++)
        near(c, got[i], json_at(want, (size_t)i), what);
}

static void near_if(struct one *c, double got, const char *key)
{
    const struct json *want = json_get(c->want, key);

    if (json_is_number(want))
        near(c, got, want, key);
}

/* What does not depend on which of several p was found. */
static void check_solution(struct one *c, const struct problem *p, const struct json *direction)
{
    const struct combine_report *r = &p->report;
    const char *want = json_string(json_get(c->want, "fallback"), NULL), *got = paths[r->path];

    golden_true(&c->g, got == want || (got && want && strcmp(got, want) == 0),
                "path is %s, golden %s", got ? got : "none", want ? want : "none");
    golden_true(&c->g, r->gap <= 1e-8, "duality gap %g", r->gap);
    near_list(c, r->decrease, p->K, direction, "H a");
    near_if(c, r->phi, "phi");
    near_if(c, r->g0_norm, "g0_norm");
    near_if(c, r->update_norm, "update_norm");
}

static void check_raco(struct one *c)
{
    struct problem p;

    if (!read_problem(c, json_get(c->in, "H"), &p))
        return;
    combine_solve(combine_find("raco"), p.H, p.w, p.K, &p.set, p.a, &p.report);
    if (!json_get(c->want, "per_objective_decrease")) {         /* zero anchor, zero gradients */
        near_list(c, p.a, p.K, json_get(c->want, "coef"), "coef");
        return;
    }
    check_solution(c, &p, json_get(c->want, "per_objective_decrease"));
    near_list(c, p.report.p, p.K, json_get(c->want, "p"), "p");
    near_list(c, p.report.mix, p.K, json_get(c->want, "p_mix"), "p_mix");
    near_list(c, p.a, p.K, json_get(c->want, "coef"), "coef");
    near_if(c, p.report.mix_norm, "mix_norm");
    near_if(c, p.report.rho, "rho");
}

static void check_raco_degenerate(struct one *c)
{
    struct problem p;

    if (!read_problem(c, json_get(c->in, "H"), &p))
        return;
    combine_solve(combine_find("raco"), p.H, p.w, p.K, &p.set, p.a, &p.report);
    check_solution(c, &p, json_get(c->want, "direction_H_coef"));
}

static void check_mgda(struct one *c)
{
    const struct json *want = json_get(c->want, "p");
    struct problem p;

    if (!read_problem(c, json_get(c->in, "H"), &p))
        return;
    combine_solve(combine_find("mgda"), p.H, p.w, p.K, &p.set, p.a, &p.report);
    near(c, p.report.phi, json_get(c->want, "norm_sq"), "norm_sq");
    golden_true(&c->g, p.report.min_decrease >= p.report.phi - 1e-8, "(H p)_i = %g below p'Hp",
                p.report.min_decrease);
    for (int i = 0; i < p.K; i++) {
        double sum = 0;

        for (int j = 0; j < p.K; j++)
            sum += p.H[i * p.K + j] * item(want, (size_t)j);
        golden_near(&c->g, p.report.decrease[i], sum, c->tol, "H p");
        if (p.report.phi > 1e-9)
            near(c, p.a[i], json_at(want, (size_t)i), "p");
    }
}

static void check_pcgrad(struct one *c)
{
    const struct json *orders = json_get(c->in, "orders"), *mean = json_get(c->want, "coef_mean");
    const struct json *total = json_get(c->want, "coef_sum");
    int order[COMBINE_MAX * COMBINE_MAX];
    struct problem p;

    if (!read_problem(c, json_get(c->in, "H"), &p))
        return;
    for (int i = 0; i < p.K; i++)
        for (int j = 0; j < p.K - 1; j++)
            order[i * (p.K - 1) + j] = (int)item(json_at(orders, (size_t)i), (size_t)j);
    golden_true(&c->g, mean || total, "neither coef_mean nor coef_sum");
    pcgrad_in_order(p.H, p.w, p.K, order, PCGRAD_MEAN, p.a);
    if (mean)
        near_list(c, p.a, p.K, mean, "coef_mean");
    pcgrad_in_order(p.H, p.w, p.K, order, PCGRAD_TOTAL, p.a);
    if (total)
        near_list(c, p.a, p.K, total, "coef_sum");
}

/* ---- Gram matrix and sketch, of fp32 gradients */

enum { ROOM = 4096 };

static void near_matrix(struct one *c, const double *H, int K, const struct json *want,
                        const char *what)
{
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            near_f32(c, H[i * K + j], json_at(json_at(want, (size_t)i), (size_t)j), what);
}

/* mean (n) of one objective over ranks, as the learner has it: each rank is a leaf of the tree, and
 * what divides the loss is known before. */
static int mean_gradient(const struct json *ranks, size_t objective, float *mean, size_t n)
{
    struct comm *team = comm_alone();
    struct tree *tree = NULL;
    int leaves = 1, rc = RL_OK;

    while ((size_t)leaves < json_size(ranks))
        leaves *= 2;
    TRY(tree_create(&tree, team, n, leaves));
    for (int leaf = 0; leaf < leaves; leaf++) {
        const struct json *g = json_at(json_at(ranks, (size_t)leaf), objective);
        float *slot = tree_slot(tree, leaf);

        for (size_t i = 0; i < n && g; i++)
            slot[i] = (float)(item(g, i) / (double)json_size(ranks));
        tree_push(tree, leaf);
    }
    TRY(comm_tree_sum(tree, mean));
done:
    tree_destroy(tree);
    comm_stop(team);
    return rc;
}

static void check_shards(struct one *c, struct compute *k, float mean[][ROOM], int K)
{
    const struct json *shards = json_get(c->in, "shards");
    const struct json *parts = json_get(c->want, "partial_gram_per_shard");
    double pieces[64 * 64], H[COMBINE_MAX * COMBINE_MAX];
    size_t count = json_size(shards);

    golden_true(&c->g, count > 0 && count * gram_terms(K) <= 64 * 64, "%zu shards", count);
    for (size_t s = 0; s < count && count * gram_terms(K) <= 64 * 64; s++) {
        size_t from = (size_t)item(json_at(shards, s), 0), to = (size_t)item(json_at(shards, s), 1);
        const float *g[COMBINE_MAX];

        for (int i = 0; i < K; i++)
            g[i] = mean[i] + from;
        k->gram(k, pieces + s * gram_terms(K), g, K, to - from);
        gram_sum(pieces + s * gram_terms(K), 1, K, H);
        near_matrix(c, H, K, json_at(parts, s), "partial Gram");
    }
    gram_sum(pieces, count, K, H);
    near_matrix(c, H, K, json_get(c->want, "gram"), "gram");
}

static void check_gram(struct one *c)
{
    const struct json *ranks = json_get(c->in, "rank_gradients");
    const struct json *means = json_get(c->want, "mean_gradients");
    static float mean[COMBINE_MAX][ROOM];
    size_t K = json_size(json_at(ranks, 0)), n = json_size(json_at(json_at(ranks, 0), 0));
    struct compute *k = NULL;

    golden_true(&c->g, K >= 1 && K <= COMBINE_MAX && n >= 1 && n <= ROOM && json_size(ranks) <= 64,
                "%zu gradients of %zu", K, n);
    if (c->g.wrong || compute_open(&k, "auto", "fp32", 1) != RL_OK)
        return;
    for (size_t i = 0; i < K; i++) {
        golden_true(&c->g, mean_gradient(ranks, i, mean[i], n) == RL_OK, "no mean");
        for (size_t d = 0; d < n; d++)
            near_f32(c, (double)mean[i][d], json_at(json_at(means, i), d), "mean gradient");
    }
    check_shards(c, k, mean, (int)K);
    compute_close(k);
}

static void check_countsketch(struct one *c)
{
    const struct json *v = json_get(c->in, "v"), *want = json_get(c->want, "sketch");
    size_t m = (size_t)number(c, "m", 0), first = (size_t)number(c, "first_index", 0);
    uint64_t seed = (uint64_t)json_int(json_get(c->in, "seed"), 0);
    double sketch[ROOM] = { 0 };

    golden_true(&c->g, m > 0 && m <= ROOM && json_size(want) == m, "sketch of %zu", m);
    if (c->g.wrong)
        return;
    for (size_t i = 0; i < json_size(v); i++) {
        float x = (float)item(v, i);
        double sign;

        near(c, (double)sketch_place(seed, first + i, m, &sign),
             json_at(json_get(c->want, "bucket"), i), "bucket");
        near(c, sign, json_at(json_get(c->want, "sign"), i), "sign");
        sketch_add(sketch, m, seed, first + i, &x, 1);
    }
    for (size_t b = 0; b < m; b++)
        near_f32(c, sketch[b], json_at(want, b), "sketch");
}

/* ---- a model that is linear: Delta_b = x_b . theta */

struct linear { int K; size_t B, D; float g[COMBINE_MAX][ROOM]; double loss[COMBINE_MAX]; };

static double delta_of(const struct one *c, size_t b, size_t D)
{
    const struct json *theta = json_get(c->in, "theta"), *x = json_at(json_get(c->in, "x"), b);
    double sum = 0;

    for (size_t d = 0; d < D; d++)
        sum += item(x, d) * item(theta, d);
    return sum;
}

/* Loss and gradient of each objective: slopes from loss_signed, times dDelta_b / dtheta = x_b. */
static void linear_gradients(const struct one *c, struct linear *out)
{
    for (int i = 0; i < out->K; i++)
        for (size_t b = 0; b < out->B; b++) {
            const struct loss_settings set = { .beta = number(c, "beta", NAN) };
            struct pair_input in = { .S_w = delta_of(c, b, out->D), .n_w = 1, .n_l = 1,
                                     .target = 1, .set = &set };
            const struct json *signs = json_at(json_get(c->in, "sign"), (size_t)i);
            struct pair_output pair;

            loss_signed(loss_find("sigmoid"), &in, item(signs, b), &pair);
            out->loss[i] += pair.value / (double)out->B;
            for (size_t d = 0; d < out->D; d++)
                out->g[i][d] += (float)(pair.dS_w / (double)out->B *
                                        item(json_at(json_get(c->in, "x"), b), d));
        }
}

static void check_linear(struct one *c, const struct linear *net, const struct problem *p)
{
    const struct json *grads = json_get(json_get(c->want, "grads"), "theta");
    const struct json *coef = json_get(c->in, "coef_const");
    double loss = 0;

    for (int i = 0; i < p->K; i++) {
        loss += p->a[i] * net->loss[i];
        near_f32(c, p->report.p[i], json_at(json_get(c->want, "p"), (size_t)i), "p");
        near_f32(c, p->report.mix[i], json_at(json_get(c->want, "p_mix"), (size_t)i), "p_mix");
        near_f32(c, p->a[i], json_at(coef, (size_t)i), "coef");
        near(c, net->loss[i], json_at(json_get(c->want, "objective_losses"), (size_t)i), "loss");
    }
    near_f32(c, loss, json_get(c->want, "loss"), "combined loss");
    for (size_t d = 0; d < net->D; d++) {
        double sum = 0;

        for (int i = 0; i < p->K; i++)
            sum += p->a[i] * (double)net->g[i][d];
        near_f32(c, sum, json_at(grads, d), "theta");
    }
}

static void check_end_to_end(struct one *c)
{
    static struct linear net;
    double pieces[COMBINE_MAX * COMBINE_MAX], H[COMBINE_MAX * COMBINE_MAX];
    const float *g[COMBINE_MAX];
    struct compute *k = NULL;
    struct problem p;

    net = (struct linear){ .K = (int)json_size(json_get(c->in, "sign")),
                           .B = json_size(json_get(c->in, "x")),
                           .D = json_size(json_get(c->in, "theta")) };
    golden_true(&c->g, net.K >= 1 && net.K <= COMBINE_MAX && net.D <= ROOM, "%d objectives",
                net.K);
    if (!read_problem(c, json_get(c->want, "gram"), &p) || c->g.wrong ||
        compute_open(&k, "auto", "fp32", 1) != RL_OK)
        return;
    linear_gradients(c, &net);
    for (int i = 0; i < net.K; i++)
        g[i] = net.g[i];
    k->gram(k, pieces, g, net.K, net.D);
    gram_sum(pieces, 1, net.K, H);
    near_matrix(c, H, net.K, json_get(c->want, "gram"), "gram");
    combine_solve(combine_find("raco"), H, p.w, p.K, &p.set, p.a, &p.report);
    check_linear(c, &net, &p);
    compute_close(k);
}

const struct golden_op golden_raco[] = {
    { "raco", check_raco },
    { "raco_degenerate", check_raco_degenerate },
    { "mgda", check_mgda },
    { "pcgrad", check_pcgrad },
    { "gram_distributed", check_gram },
    { "countsketch", check_countsketch },
    { "raco_end_to_end", check_end_to_end },
    { NULL, NULL },
};
