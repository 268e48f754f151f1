/* Worked numbers of OSP: verdicts in both orders, ranked pairs, the soft loss of a group, and the
 * cross-entropy that teaches a judge (section 2). */
#include "data/verdict.h"
#include "learner/losses/loss.h"
#include "learner/osp/ranking.h"
#include "tests/golden_ops.h"
#include "compute/compute.h"

#define MOST 64                 /* responses of a case */

static const struct osp_settings plain = { .most = 6 };

static void check_debias(struct one *c)
{
    const struct json *first = json_get(c->in, "first"), *swapped = json_get(c->in, "swapped");
    struct osp_settings set = { .most = 1e9, .probability = true };
    struct said said = said_of(json_number(json_get(first, "A"), NAN),
                               json_number(json_get(first, "B"), NAN),
                               json_number(json_get(swapped, "A"), NAN),
                               json_number(json_get(swapped, "B"), NAN));

    near(c, said.lam, json_get(c->want, "logit_mean"), "logit_mean");
    near(c, sigmoid(said.lam), json_get(c->want, "u_logit"), "u_logit");
    near(c, sigmoid(osp_strength(&set, said.lam, said.bias)), json_get(c->want, "u_prob"),
         "u_prob");
    near(c, said.bias, json_get(c->want, "position_bias"), "position_bias");
}

/* lam of all responses; the baseline has no row of logits.  Returns k. */
static int verdicts_of(struct one *c, const struct osp_settings *set, double lam[MOST])
{
    const struct json *logits = json_get(c->in, "judge_logits");
    int k = (int)json_size(logits) + 1, baseline = (int)number(c, "baseline", 0), row = 0;

    golden_true(&c->g, k >= 2 && k <= MOST, "2 to %d responses", MOST);
    if (c->g.wrong)
        return 0;
    for (int i = 0; i < k; i++) {
        const struct json *four = i == baseline ? NULL : json_at(logits, (size_t)row++);
        struct said said = { 0, 0 };
        if (four)
            said = said_of(item(four, 0), item(four, 1), item(four, 2), item(four, 3));
        lam[i] = osp_strength(set, said.lam, said.bias);
    }
    return k;
}

static void check_ranking(struct one *c)
{
    static struct pair pair[MOST * MOST];
    const struct json *pairs = json_get(c->want, "pairs");
    struct osp_settings set = plain;
    double lam[MOST];
    int n[MOST] = { 0 }, order[MOST], kept, k;

    set.most = number(c, "max_abs_logit", 6);
    k = verdicts_of(c, &set, lam);
    for (int affine = 0; affine < 2 && k > 0; affine++) {
        set.affine = affine;
        kept = osp_rank(pair, &set, lam, n, k, (int)number(c, "baseline", 0), order);
        golden_true(&c->g, kept == (int)json_size(pairs), "%d pairs, golden %zu", kept,
                    json_size(pairs));
        for (int i = 0; i < kept && i < (int)json_size(pairs); i++) {
            const char *key = affine ? "p_affine" : "p_bt";
            near(c, pair[i].winner, json_at(json_at(pairs, (size_t)i), 0), "winner");
            near(c, pair[i].loser, json_at(json_at(pairs, (size_t)i), 1), "loser");
            near(c, pair[i].target, json_at(json_get(c->want, key), (size_t)i), key);
            golden_true(&c->g, fabs(pair[i].weight - 1.0 / kept) < 1e-15, "equal weights");
        }
    }
    for (int i = 0; i < k; i++) {
        near(c, sigmoid(lam[i]), json_at(json_get(c->want, "u"), (size_t)i), "u");
        near(c, order[i], json_at(json_get(c->want, "order_best_first"), (size_t)i), "order");
    }
}

static void check_group(struct one *c)
{
    const struct json *pairs = json_get(c->in, "pairs"), *p = json_get(c->in, "p");
    const struct json *grads = json_get(json_get(c->want, "grads"), "logp");
    size_t k = json_size(json_get(c->in, "logp")), count = json_size(pairs);
    struct loss_settings set = { .beta = number(c, "beta", NAN) };
    double slope[MOST] = { 0 }, loss = 0;

    golden_true(&c->g, count > 0 && k <= MOST, "pairs of at most %d responses", MOST);
    for (size_t i = 0; i < count && !c->g.wrong; i++) {
        size_t w = (size_t)item(json_at(pairs, i), 0), l = (size_t)item(json_at(pairs, i), 1);
        struct pair_input in = { .S_w = item(json_get(c->in, "logp"), w),
                                 .S_l = item(json_get(c->in, "logp"), l),
                                 .R_w = item(json_get(c->in, "ref"), w),
                                 .R_l = item(json_get(c->in, "ref"), l), .n_w = 1, .n_l = 1,
                                 .target = item(p, i), .set = &set };
        struct pair_output out;
        golden_true(&c->g, w < k && l < k, "pair %zu is outside of the responses", i);
        if (c->g.wrong)
            return;
        loss_eval(loss_find("sigmoid"), &in, &out);
        loss += out.value / (double)count;
        slope[w] += out.dS_w / (double)count;
        slope[l] += out.dS_l / (double)count;
    }
    near(c, loss, json_get(c->want, "loss"), "loss");
    for (size_t i = 0; i < k; i++)
        near(c, slope[i], json_at(grads, i), "logp");
}

/* The whole vocabulary competes for the one answer token. */
static void check_judge_sft(struct one *c)
{
    const struct json *logits = json_get(c->in, "logits");
    const struct json *grads = json_get(json_get(c->want, "grads"), "logits");
    bool is_A = strcmp(json_string(json_get(c->in, "target"), ""), "A") == 0;
    int target = (int)number(c, is_A ? "id_A" : "id_B", -1), V = (int)json_size(logits);
    float *z = calloc((size_t)V + 1, sizeof *z), logp = 0, at = 0, minus = -1;
    struct compute *k = NULL;
    struct lse state;

    golden_true(&c->g, z && V > 0 && target >= 0 && target < V, "an answer of the vocabulary");
    if (!c->g.wrong && compute_open(&k, "ref", "fp32", 1) == RL_OK) {
        for (int v = 0; v < V; v++)
            z[v] = (float)item(logits, (size_t)v);
        k->lse_forward(k, &state, &at, z, &target, 1, 0, V, 1);
        k->lse_finish(k, &logp, NULL, &state, &at, 1);
        near_f32(c, -(double)logp, json_get(c->want, "loss"), "loss");
        k->lse_backward(k, z, &state, &target, &minus, NULL, 1, 0, V, 1);
        for (int v = 0; v < V; v++)
            near_f32(c, (double)z[v], json_at(grads, (size_t)v), "logits");
    }
    compute_close(k);
    free(z);
}

const struct golden_op golden_osp[] = {
    { "osp_judge_debias", check_debias },
    { "osp_ranked_pairing", check_ranking },
    { "osp_spce_group", check_group },
    { "judge_sft_ce", check_judge_sft },
    { NULL, NULL },
};
