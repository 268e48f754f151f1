/* Worked numbers of PPO and its relatives, all in double: learner/policy/. */
#include "learner/policy/advantage.h"
#include "learner/policy/gae.h"
#include "learner/policy/kl.h"
#include "learner/policy/score.h"
#include "learner/policy/surrogate.h"
#include "learner/policy/value.h"
#include "learner/policy/whiten.h"
#include "tests/golden_ops.h"

#define TOKENS 4096             /* in a row of a golden case, at most */

struct row { int T; double x[TOKENS]; };

static void read_row(struct one *c, struct row *row, const struct json *array)
{
    size_t T = json_size(array);

    golden_true(&c->g, T <= TOKENS, "a row of at most %d tokens", TOKENS);
    row->T = T <= TOKENS ? (int)T : 0;
    for (int t = 0; t < row->T; t++)
        row->x[t] = item(array, (size_t)t);
}

/* A case without a mask means every token. */
static int read_mask(const struct json *array, int T, bool mask[TOKENS])
{
    int n = 0;

    for (int t = 0; t < T; t++) {
        mask[t] = json_is_array(array) ? item(array, (size_t)t) > 0 : true;
        n += mask[t];
    }
    return n;
}

static double optional(const struct one *c, const char *key, double otherwise)
{
    return json_is_number(json_get(c->in, key)) ? number(c, key, otherwise) : otherwise;
}

/* ---- rewards */

static void check_kl(struct one *c)
{
    const struct kl_estimator *kl = kl_find(json_string(json_get(c->in, "kind"), "?"));
    double d = number(c, "logp", NAN) - number(c, "ref", NAN);

    golden_true(&c->g, kl != NULL, "an estimator of that name");
    if (!kl)
        return;
    near(c, kl->value(d), json_get(c->want, "loss"), "value");
    near(c, kl->slope(d), json_get(json_get(c->want, "grads"), "logp"), "slope");
}

static void check_shaped(struct one *c)
{
    const struct kl_estimator *kl = kl_find(json_string(json_get(c->in, "kl"), "k1"));
    const struct json *clip = json_get(c->in, "score_clip");
    double score = number(c, "score", NAN), low = json_number(json_at(clip, 0), -HUGE_VAL);
    double high = json_number(json_at(clip, 1), HUGE_VAL), reward[TOKENS];
    static struct row logp, ref;
    bool mask[TOKENS];

    golden_true(&c->g, kl != NULL, "an estimator of that name");
    read_row(c, &logp, json_get(c->in, "logp"));
    read_row(c, &ref, json_get(c->in, "ref"));
    read_mask(json_get(c->in, "mask"), logp.T, mask);
    if (!kl || logp.T != ref.T)
        return golden_true(&c->g, false, "as many ref as logp");
    for (int t = 0; t < logp.T; t++)
        logp.x[t] = kl->value(logp.x[t] - ref.x[t]);
    shaped_reward(reward, logp.x, mask, logp.T, number(c, "kl_coef", NAN),
                  score_clip(score, low, high));
    for (int t = 0; t < logp.T; t++)
        near(c, reward[t], json_at(json_get(c->want, "rewards"), (size_t)t), "rewards");
}

static void check_gae(struct one *c)
{
    struct gae start = { .gamma = number(c, "gamma", NAN), .lambda = number(c, "lam", NAN) };
    static struct row reward, value;
    static double adv[TOKENS], ret[TOKENS];
    const struct json *want_adv = json_get(c->want, "advantages");
    const struct json *want_ret = json_get(c->want, "returns");
    bool mask[TOKENS];

    read_row(c, &reward, json_get(c->in, "rewards"));
    read_row(c, &value, json_get(c->in, "values"));
    read_mask(json_get(c->in, "mask"), reward.T, mask);
    golden_true(&c->g, reward.T > 0 && reward.T == value.T, "as many values as rewards");
    if (c->g.wrong)
        return;
    gae_row(adv, ret, reward.x, value.x, mask, reward.T, start);
    for (int t = 0; t < reward.T; t++) {
        near(c, adv[t], json_at(want_adv, (size_t)t), "advantages");
        near(c, ret[t], json_at(want_ret, (size_t)t), "returns");
    }
}

/* ---- whitening */

static void check_whiten(struct one *c)
{
    struct whitening w = { .keep_mean = !json_bool(json_get(c->in, "shift_mean"), true),
                           .unbiased = json_bool(json_get(c->in, "unbiased"), false),
                           .eps = number(c, "eps", 1e-8) };
    static struct row values;
    bool mask[TOKENS];
    int n;

    read_row(c, &values, json_get(c->in, "values"));
    n = read_mask(json_get(c->in, "mask"), values.T, mask);
    golden_true(&c->g, values.T > 0, "values");
    whiten_mean(&w, n, whiten_row_sum(values.x, mask, values.T));
    whiten_spread(&w, whiten_row_squares(values.x, mask, values.T, w.mean));
    near(c, w.mean, json_get(c->want, "mean"), "mean");
    near(c, w.var, json_get(c->want, "var"), "var");
    whiten_row(&w, values.x, mask, values.T);
    for (int t = 0; t < values.T; t++)
        near(c, values.x[t], json_at(json_get(c->want, "out"), (size_t)t), "out");
}

/* A rank's values are a row: sums of rows, added in order. */
static void check_moments(struct one *c)
{
    const struct json *ranks = json_get(c->in, "per_rank_values");
    struct whitening w[2] = { { .unbiased = false }, { .unbiased = true } };
    static struct row values;
    double count = 0, sum = 0, squares = 0;

    for (size_t r = 0; r < json_size(ranks); r++) {
        read_row(c, &values, json_at(ranks, r));
        count += values.T;
        sum += whiten_row_sum(values.x, NULL, values.T);
    }
    for (int i = 0; i < 2; i++)
        whiten_mean(&w[i], count, sum);
    for (size_t r = 0; r < json_size(ranks); r++) {
        read_row(c, &values, json_at(ranks, r));
        squares += whiten_row_squares(values.x, NULL, values.T, w[0].mean);
    }
    for (int i = 0; i < 2; i++)
        whiten_spread(&w[i], squares);
    near(c, w[0].count, json_get(c->want, "count"), "count");
    near(c, w[0].mean, json_get(c->want, "mean"), "mean");
    near(c, w[0].var, json_get(c->want, "var_pop"), "var_pop");
    near(c, w[1].var, json_get(c->want, "var_unbiased"), "var_unbiased");
}

/* ---- losses */

static struct clipping clipping_of(const struct one *c)
{
    struct clipping clip = { .low = optional(c, "clip_low", INFINITY),
                             .dual = optional(c, "dual_clip", 0) };

    clip.high = optional(c, "clip_high", clip.low);
    return clip;
}

static struct totals totals_of(const struct one *c, const struct json *rows)
{
    struct totals all = { .length = optional(c, "const_len", 1) };
    bool mask[TOKENS];

    for (size_t n = 0; n < json_size(rows); n++) {
        int T = (int)json_size(json_at(rows, n));
        int count = read_mask(json_at(json_get(c->in, "mask"), n), T < TOKENS ? T : TOKENS, mask);
        all.tokens += count;
        all.rows += count > 0;
    }
    return all;
}

static void check_policy(struct one *c)
{
    const struct json *rows = json_get(c->in, "logp"), *grads = json_get(c->want, "grads");
    struct clipping clip = clipping_of(c);
    struct totals all = totals_of(c, rows);
    enum aggregation how = TOKEN_MEAN;
    static struct row logp, old, adv;
    bool mask[TOKENS];
    double loss = 0;

    golden_true(&c->g, aggregation_parse(&how, json_string(json_get(c->in, "agg"), "token-mean")),
                "an aggregation of that name");
    for (size_t n = 0; n < json_size(rows); n++) {
        const struct json *want = json_at(json_get(grads, "logp"), n);
        read_row(c, &logp, json_at(rows, n));
        read_row(c, &old, json_at(json_get(c->in, "old"), n));
        read_row(c, &adv, json_at(json_get(c->in, "adv"), n));
        double w = token_weight(how, &all, read_mask(json_at(json_get(c->in, "mask"), n), logp.T,
                                                     mask));
        for (int t = 0; t < logp.T; t++) {
            struct surrogate s = surrogate_token(logp.x[t], old.x[t], adv.x[t], &clip);
            loss += mask[t] ? w * s.value : 0;
            near(c, mask[t] ? w * s.slope : 0, json_at(want, (size_t)t), "logp");
        }
    }
    near(c, loss, json_get(c->want, "loss"), "loss");
}

static void check_gspo(struct one *c)
{
    const struct json *rows = json_get(c->in, "logp"), *grads = json_get(c->want, "grads");
    struct clipping clip = clipping_of(c);
    struct totals all = totals_of(c, rows);
    static struct row logp, old;
    bool mask[TOKENS];
    double loss = 0;

    for (size_t n = 0; n < json_size(rows); n++) {
        const struct json *want = json_at(json_get(grads, "logp"), n);
        double log_ratio = 0, w;
        read_row(c, &logp, json_at(rows, n));
        read_row(c, &old, json_at(json_get(c->in, "old"), n));
        int count = read_mask(json_at(json_get(c->in, "mask"), n), logp.T, mask);
        for (int t = 0; t < logp.T; t++)
            log_ratio += mask[t] ? logp.x[t] - old.x[t] : 0;
        struct surrogate s = surrogate_response(count > 0 ? log_ratio / count : 0,
                                                item(json_get(c->in, "adv"), n), &clip);
        w = token_weight(SEQ_MEAN_TOKEN_MEAN, &all, count);
        loss += w * count * s.value;
        for (int t = 0; t < logp.T; t++)
            near(c, mask[t] ? w * s.slope : 0, json_at(want, (size_t)t), "logp");
    }
    near(c, loss, json_get(c->want, "loss"), "loss");
}

static void check_value(struct one *c)
{
    const struct json *want = json_get(json_get(c->want, "grads"), "v");
    double loss = 0, clip = optional(c, "clip", INFINITY);
    static struct row v, old, ret;
    bool mask[TOKENS];
    int n;

    read_row(c, &v, json_get(c->in, "v"));
    read_row(c, &old, json_get(c->in, "old_v"));
    read_row(c, &ret, json_get(c->in, "ret"));
    n = read_mask(json_get(c->in, "mask"), v.T, mask);
    for (int t = 0; t < v.T; t++) {
        struct value_loss l = value_token(v.x[t], old.x[t], ret.x[t], clip);
        loss += mask[t] ? l.value / n : 0;
        near(c, mask[t] ? l.slope / n : 0, json_at(want, (size_t)t), "v");
    }
    near(c, loss, json_get(c->want, "loss"), "loss");
}

/* ---- controllers and scores */

static void check_adaptive_kl(struct one *c)
{
    const struct json *current = json_get(c->in, "current");
    double coef = number(c, "init", NAN);

    golden_true(&c->g, json_size(current) > 0, "current");
    for (size_t i = 0; i < json_size(current); i++) {
        coef = kl_adapt(coef, item(current, i), number(c, "target", NAN),
                        number(c, "horizon", NAN), number(c, "n_steps", NAN));
        near(c, coef, json_at(json_get(c->want, "coef"), i), "coef");
    }
}

static void check_affine(struct one *c)
{
    const struct json *raw = json_get(c->in, "raw");
    struct affine a = affine_to(number(c, "mean", NAN), number(c, "std", NAN),
                                number(c, "target_mean", 0), number(c, "target_std", 1));

    near(c, a.gain, json_get(c->want, "gain"), "gain");
    near(c, a.bias, json_get(c->want, "bias"), "bias");
    for (size_t i = 0; i < json_size(raw); i++)
        near(c, affine_apply(&a, item(raw, i)), json_at(json_get(c->want, "out"), i), "out");
}

static void check_overlong(struct one *c)
{
    const struct json *lengths = json_get(c->in, "lengths");

    golden_true(&c->g, json_size(lengths) > 0, "lengths");
    for (size_t i = 0; i < json_size(lengths); i++)
        near(c, overlong_penalty(item(lengths, i), number(c, "max_len", NAN),
                                 number(c, "cache", NAN)),
             json_at(json_get(c->want, "penalty"), i), "penalty");
}

static void check_dynamic(struct one *c)
{
    const struct json *groups = json_get(c->in, "groups");
    static struct row score;

    golden_true(&c->g, json_size(groups) > 0, "groups");
    for (size_t g = 0; g < json_size(groups); g++) {
        read_row(c, &score, json_at(groups, g));
        golden_true(&c->g, group_has_signal(score.x, score.T, number(c, "tol", 1e-8)) ==
                    json_bool(json_at(json_get(c->want, "keep"), g), false), "keep of group %zu",
                    g);
    }
}

/* ---- advantages */

static void check_groups(struct one *c, const char *name)
{
    const struct json *groups = json_get(c->in, "groups");
    static struct row score;
    static double adv[TOKENS];
    static int length[TOKENS];

    golden_true(&c->g, json_size(groups) > 0, "groups");
    for (size_t n = 0; n < json_size(groups); n++) {
        read_row(c, &score, json_at(groups, n));
        for (int i = 0; i < score.T; i++)
            length[i] = (int)json_int(json_at(json_at(json_get(c->in, "lengths"), n), (size_t)i),
                                      1);
        struct advantage_group g = { .score = score.x, .length = length, .G = score.T,
                                     .eps = number(c, "eps", 1e-6),
                                     .ddof = (int)number(c, "ddof", 1) };
        advantage_find(name)->group(&g, adv);
        for (int i = 0; i < score.T; i++)
            near(c, adv[i], json_at(json_at(json_get(c->want, "adv"), n), (size_t)i), "adv");
    }
}

static void check_rloo(struct one *c)
{
    check_groups(c, "rloo");
}

static void check_grpo(struct one *c)
{
    check_groups(c, "grpo");
}

static void check_group_mean(struct one *c)
{
    check_groups(c, "group_mean");
}

static void check_opo(struct one *c)
{
    check_groups(c, "opo");
}

/* Return-to-go is GAE without a critic. */
static void check_reinforce_pp(struct one *c)
{
    const struct json *rows = json_get(c->in, "kl_k1"), *masks = json_get(c->in, "mask");
    struct whitening w = { .floor = 1e-8 };
    struct gae start = { .gamma = number(c, "gamma", 1), .lambda = 1 };
    static struct row kl;
    static double adv[TOKENS], ret[TOKENS];
    static double reward[TOKENS];
    bool mask[TOKENS];

    for (int pass = 0; pass < 3; pass++) {
        double count = 0, sum = 0;
        for (size_t n = 0; n < json_size(rows); n++) {
            read_row(c, &kl, json_at(rows, n));
            count += read_mask(json_at(masks, n), kl.T, mask);
            shaped_reward(reward, kl.x, mask, kl.T, number(c, "beta", NAN),
                          item(json_get(c->in, "rewards"), n));
            gae_row(adv, ret, reward, NULL, mask, kl.T, start);
            sum += pass == 0 ? whiten_row_sum(adv, mask, kl.T)
                             : whiten_row_squares(adv, mask, kl.T, w.mean);
            if (pass == 2)
                whiten_row(&w, adv, mask, kl.T);
            for (int t = 0; t < kl.T && pass == 2; t++) {
                near(c, ret[t], json_at(json_at(json_get(c->want, "returns"), n), (size_t)t),
                         "returns");
                near(c, adv[t], json_at(json_at(json_get(c->want, "adv"), n), (size_t)t),
                         "adv");
            }
        }
        if (pass == 0)
            whiten_mean(&w, count, sum);
        if (pass == 1)
            whiten_spread(&w, sum);
    }
}

const struct golden_op golden_policy[] = {
    { "kl_estimator", check_kl },
    { "ppo_shaped_reward", check_shaped },
    { "gae", check_gae },
    { "masked_whiten", check_whiten },
    { "distributed_moments", check_moments },
    { "policy_loss", check_policy },
    { "gspo_loss", check_gspo },
    { "value_loss", check_value },
    { "adaptive_kl", check_adaptive_kl },
    { "reward_affine_norm", check_affine },
    { "overlong_penalty", check_overlong },
    { "dynamic_sampling_filter", check_dynamic },
    { "adv_rloo", check_rloo },
    { "adv_grpo", check_grpo },
    { "adv_group_mean", check_group_mean },
    { "adv_opo", check_opo },
    { "adv_reinforce_pp", check_reinforce_pp },
    { NULL, NULL },
};
