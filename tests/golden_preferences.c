/* Worked numbers of the preference methods: pairs, lists, labelled singles, noisy labels, ranking
 * (spec, sections 4.9 and 5.2 to 5.9), in double. */
#include <unistd.h>

#include "base/memory.h"
#include "data/records.h"
#include "learner/losses/list.h"
#include "learner/losses/loss.h"
#include "learner/losses/multi.h"
#include "learner/losses/noise.h"
#include "learner/losses/ranking.h"
#include "learner/losses/single.h"
#include "tests/golden_ops.h"

#define ITEMS 256               /* in a list of a golden case, at most */

/* The numbers of an array into x; returns how many. */
static int numbers(struct one *c, const char *key, double x[ITEMS])
{
    const struct json *array = json_get(c->in, key);
    size_t n = json_size(array);

    golden_true(&c->g, n > 0 && n <= ITEMS, "1 to %d numbers in %s", ITEMS, key);
    for (size_t i = 0; i < n && i < ITEMS; i++)
        x[i] = json_is_number(json_at(array, i)) ? item(array, i)
                                                 : json_bool(json_at(array, i), false);
    return n <= ITEMS ? (int)n : 0;
}

/* got(n) against the array `key` of the expected values. */
static void near_all(struct one *c, const double *got, int n, const struct json *want,
                     const char *what)
{
    golden_true(&c->g, json_size(want) == (size_t)n, "%d numbers of %s", n, what);
    for (int i = 0; i < n; i++)
        near(c, got[i], json_at(want, (size_t)i), what);
}

static const struct json *grad(const struct one *c, const char *key)
{
    return json_get(json_get(c->want, "grads"), key);
}

static void check_log1mexp(struct one *c)
{
    double a[ITEMS];
    int n = numbers(c, "a", a);

    for (int i = 0; i < n; i++)
        a[i] = log1mexp(a[i]);
    near_all(c, a, n, json_get(c->want, "value"), "value");
}

/* ---- pairs */

static void check_rdpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.epsilon = number(c, "epsilon", NAN);
    golden_check_pair(c, "rdpo", &in);
}

static void check_ln_dpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    golden_check_pair(c, "ln_dpo", &in);
}

static void check_simpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.gamma = number(c, "gamma", 0);
    golden_check_pair(c, "simpo", &in);
}

static void check_cpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.nll = number(c, "alpha_nll", 0);
    set.nll_sum = strcmp(json_string(json_get(c->in, "nll_mode"), "mean"), "sum") == 0;
    golden_check_pair(c, "cpo", &in);
}

static void check_orpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.lambda = number(c, "lam", NAN);
    golden_check_pair(c, "orpo", &in);
}

static void check_slic(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.margin = number(c, "delta_margin", NAN);
    set.nll = number(c, "lam", 0);
    golden_check_pair(c, "slic", &in);
}

static void check_mapo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.zeta = number(c, "zeta", NAN);
    set.kappa = number(c, "kappa", NAN);
    golden_check_pair(c, "mapo", &in);
}

static void check_nca(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    golden_check_pair(c, "nca", &in);
}

static void check_sppo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    golden_check_pair(c, "sppo", &in);
}

static void check_apo_zero(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    golden_check_pair(c, "apo_zero", &in);
}

/* DOVE is DPO on sums over prompt and response. */
static void check_dove(struct one *c)
{
    static const char *const sides[2][4] = { { "resp_w", "prompt_w", "ref_resp_w", "ref_prompt_w" },
                                             { "resp_l", "prompt_l", "ref_resp_l", "ref_prompt_l" }
                                           };
    struct loss_settings set = { .beta = number(c, "beta", NAN) };
    struct pair_input in = { .target = 1, .set = &set };
    struct pair_output out;
    double S[2], R[2];

    for (int i = 0; i < 2; i++) {
        S[i] = number(c, sides[i][0], NAN) + number(c, sides[i][1], NAN);
        R[i] = number(c, sides[i][2], NAN) + number(c, sides[i][3], NAN);
    }
    in.S_w = S[0], in.S_l = S[1], in.R_w = R[0], in.R_l = R[1];
    loss_eval(loss_find("sigmoid"), &in, &out);
    near(c, out.value, json_get(c->want, "loss"), "loss");
    for (int i = 0; i < 4; i++)
        near(c, i < 2 ? out.dS_w : out.dS_l, grad(c, sides[i / 2][i % 2]), sides[i / 2][i % 2]);
}

/* The mean over the pairs of a group of responses. */
static void check_spce_affine(struct one *c)
{
    const struct json *pairs = json_get(c->in, "pairs");
    double S[ITEMS], R[ITEMS], p[ITEMS], dS[ITEMS] = { 0 }, loss = 0;
    struct loss_settings set = { .beta = number(c, "beta", NAN),
                                 .affine_eps = number(c, "eps", 0.01) };
    int k = numbers(c, "logp", S), pairs_n = numbers(c, "p", p);

    golden_true(&c->g, numbers(c, "ref", R) == k && json_size(pairs) == (size_t)pairs_n, "sizes");
    for (int i = 0; i < pairs_n; i++) {
        int64_t w = json_int(json_at(json_at(pairs, (size_t)i), 0), -1);
        int64_t l = json_int(json_at(json_at(pairs, (size_t)i), 1), -1);
        struct pair_output out;
        if (w < 0 || l < 0 || w >= k || l >= k) {
            golden_true(&c->g, false, "pair %d is outside of the responses", i);
            return;
        }
        struct pair_input in = { .S_w = S[w], .S_l = S[l], .R_w = R[w], .R_l = R[l],
                                 .target = p[i], .set = &set };
        loss_eval(loss_find("spce_affine"), &in, &out);
        loss += out.value / pairs_n;
        dS[w] += out.dS_w / pairs_n;
        dS[l] += out.dS_l / pairs_n;
    }
    near(c, loss, json_get(c->want, "loss"), "loss");
    near_all(c, dS, k, grad(c, "logp"), "logp");
}

/* ---- several objectives */

static void check_modpo(struct one *c)
{
    double w[ITEMS], m_w[ITEMS], m_l[ITEMS];
    int n = numbers(c, "w_rest", w);
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.w_main = number(c, "w_main", NAN);
    golden_true(&c->g, numbers(c, "margin_w", m_w) == n && numbers(c, "margin_l", m_l) == n,
                "%d margins", n);
    in.margin = modpo_margin(w, m_w, m_l, n);
    golden_check_pair(c, "modpo", &in);
}

static void check_amopo(struct one *c)
{
    double alpha[ITEMS], sign[ITEMS];
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    set.base = loss_find("simpo");
    set.K = numbers(c, "alpha", alpha);
    set.alpha = alpha;
    in.sign = sign;
    golden_true(&c->g, numbers(c, "sign", sign) == set.K, "%d signs", set.K);
    golden_check_pair(c, "amopo", &in);
}

static void check_amopo_weight(struct one *c)
{
    double z_w[ITEMS], z_l[ITEMS], alpha[ITEMS];
    int K = numbers(c, "z_w", z_w);

    golden_true(&c->g, numbers(c, "z_l", z_l) == K, "%d draws", K);
    amopo_weights(alpha, z_w, z_l, K);
    near_all(c, alpha, K, json_get(c->want, "alpha"), "alpha");
}

/* ---- labels that may be wrong */

static void check_lcpo(struct one *c)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    in.confidence = lcpo_confidence(lcpo_likelihood(&in), number(c, "eta", NAN));
    near(c, in.confidence, json_get(c->in, "confidence_const"), "confidence");
    in.confidence = number(c, "confidence_const", NAN);
    golden_check_pair(c, "lcpo", &in);
}

static void check_lcpo_eta(struct one *c)
{
    double confidence[ITEMS], sum = 0;
    int n = numbers(c, "confidence", confidence);

    for (int i = 0; i < n; i++)
        sum += confidence[i];
    near(c, lcpo_eta(number(c, "eta", NAN), number(c, "alpha", NAN), sum / n),
         json_get(c->want, "eta_new"), "eta_new");
}

static void check_spa_label(struct one *c)
{
    double margin[ITEMS];
    int n = numbers(c, "margin_implicit", margin);

    for (int i = 0; i < n; i++)
        margin[i] = spa_label(margin[i], number(c, "threshold", NAN), number(c, "alpha", NAN));
    near_all(c, margin, n, json_get(c->want, "p"), "p");
}

static void check_spa_extrapolate(struct one *c)
{
    double h[ITEMS], before[ITEMS];
    int n = numbers(c, "h_policy", h);

    golden_true(&c->g, numbers(c, "h_prev", before) == n, "%d log-ratios", n);
    for (int i = 0; i < n; i++)
        h[i] = spa_extrapolate(h[i], before[i], number(c, "lam", NAN));
    near_all(c, h, n, json_get(c->want, "h_tilde"), "h_tilde");
}

static void check_spa_self_label(struct one *c)
{
    double beta = number(c, "beta", NAN), x1 = beta * number(c, "h1", NAN);
    double x2 = beta * number(c, "h2", NAN);

    near(c, sigmoid(x1 - x2), json_get(c->want, "p_first_preferred"), "p_first_preferred");
}

/* The rows that a line of records becomes, as text, "|" behind each. */
static int augmented_rows(const char *line, struct text *out)
{
    char path[] = "/tmp/rankwise-golden-XXXXXX", *paths[] = { path };
    struct records_settings set = { .view = VIEW_AUGMENTED, .target = "{score}:", .join = "",
                                    .vocabulary = 1 << 30, .max_tokens = 64, .eos = &(int){ 0 },
                                    .n_eos = 1 };
    struct memory memory = { 0 };
    struct batch b;
    struct records *r = NULL;
    int file = mkstemp(path), rc = RL_OK;

    if (file < 0 || write(file, line, strlen(line)) != (ssize_t)strlen(line) || close(file) != 0)
        return rl_error(RL_EIO, "cannot write %s", path);
    TRY(tokenizer_open(&set.tokenizer, "launch/demo/model/tokenizer.json"));
    TRY(records_open(&r, &(struct strings){ paths, 1 }, &set));
    memory_count(&memory);
    batch_layout(&b, &memory, 4, 4 * set.max_tokens, 1);
    TRY(memory_open(&memory));
    batch_layout(&b, &memory, 4, 4 * set.max_tokens, 1);
    b.P = b.k = b.groups = 2;
    TRY(records_next(r, false, 0, 0, &b));
    for (int n = 0; n < b.N; n++) {
        TRY(tokenizer_decode(set.tokenizer, b.tokens + b.start[n], b.start[n + 1] - b.start[n],
                             true, out));
        text_adds(out, "|");
    }
done:
    records_close(r);
    tokenizer_close(set.tokenizer);
    memory_close(&memory);
    unlink(path);
    return rc;
}

static void check_augmented(struct one *c)
{
    const struct json *pairs = json_get(c->want, "pairs");
    struct text line = { 0 }, got = { 0 };

    text_addf(&line, "{\"prompt\":\"p\",\"chosen\":\"w\",\"rejected\":\"l\","
              "\"score_chosen\":%.17g,\"score_rejected\":%.17g}\n", number(c, "score_w", NAN),
              number(c, "score_l", NAN));
    golden_true(&c->g, json_size(pairs) == 2 && augmented_rows(line.data, &got) == RL_OK,
                "two pairs");
    for (size_t i = 0; i < 2 && !c->g.wrong; i++) {
        const struct json *want = json_at(pairs, i);
        text_clear(&line);
        for (int row = 0; row < 2; row++)
            text_addf(&line, "%g:p%s|", json_number(json_get(want, "goal"), NAN),
                      json_string(json_get(want, row ? "rejected" : "chosen"), ""));
        golden_true(&c->g, strstr(got.data, line.data), "pair %zu: %s, rows %s", i, line.data,
                    got.data);
    }
    text_free(&line);
    text_free(&got);
}

/* ---- labelled singles: the mean of a batch */

static void check_singles(struct one *c, const char *loss, struct loss_settings *set, double shift)
{
    double h[ITEMS], label[ITEMS], weight[ITEMS], dh[ITEMS], sum = 0;
    int n = numbers(c, "h", h);

    golden_true(&c->g, numbers(c, "label", label) == n, "%d labels", n);
    for (int i = 0; i < n; i++)
        weight[i] = 1;
    if (json_get(c->in, "udm_weight"))
        golden_true(&c->g, numbers(c, "udm_weight", weight) == n, "%d weights", n);
    set->beta = number(c, "beta", NAN);
    for (int i = 0; i < n; i++) {
        struct single_input in = { .S = h[i], .desirable = label[i] > 0, .weight = weight[i],
                                   .shift = shift, .set = set };
        struct single_output out;
        single_find(loss)->eval(&in, &out);
        sum += out.value;
        dh[i] = out.dS / n;
    }
    near(c, sum / n, json_get(c->want, "loss"), "loss");
    near_all(c, dh, n, grad(c, "h"), "h");
}

static void check_kto(struct one *c)
{
    struct loss_settings set = { .lambda_d = number(c, "lambda_d", 1),
                                 .lambda_u = number(c, "lambda_u", 1) };

    check_singles(c, "kto", &set, number(c, "z0", NAN));
}

static void check_kto_z0(struct one *c)
{
    const struct json *ranks = json_get(c->in, "mismatched_h_per_rank");
    double sum = 0, count = 0;

    for (size_t i = 0; i < json_size(ranks); i++)
        for (size_t j = 0; j < json_size(json_at(ranks, i)); j++, count++)
            sum += item(json_at(ranks, i), j);
    near(c, sum / count, json_get(c->want, "raw_mean"), "raw_mean");
    near(c, kto_z0(sum, count), json_get(c->want, "z0"), "z0");
}

static void check_bco(struct one *c)
{
    struct loss_settings set = { 0 };

    check_singles(c, "bco", &set, number(c, "delta", NAN));
}

/* As exact as fp32: the worked numbers add 1e-8 to 1 - p, which the method does not. */
static void check_udm(struct one *c)
{
    double p[ITEMS];
    int n = numbers(c, "p_desirable", p);

    for (int i = 0; i < n; i++)
        near_f32(c, udm_weight(p[i], number(c, "min", 0.5), number(c, "max", 10)),
                 json_at(json_get(c->want, "weight"), (size_t)i), "weight");
}

/* ---- lists */

struct list { double S[ITEMS], R[ITEMS], label[ITEMS], dS[ITEMS], value; int n[ITEMS]; int k; };

static void list_eval(struct list *list, const char *loss, const struct loss_settings *set)
{
    struct list_input in = { .k = list->k, .S = list->S, .R = list->R, .n = list->n,
                             .label = list->label, .set = set };

    list_find(loss)->eval(&in, &list->value, list->dS);
}

/* Scores under `S`, labels; one token each. */
static bool list_of(struct one *c, struct list *list, const char *S, const char *label)
{
    memset(list, 0, sizeof *list);
    list->k = numbers(c, S, list->S);
    golden_true(&c->g, numbers(c, label, list->label) == list->k, "%d labels", list->k);
    for (int i = 0; i < list->k; i++)
        list->n[i] = 1;
    return list->k > 0;
}

static void check_lipo(struct one *c)
{
    const struct json *weights = json_get(c->in, "pair_weight_const");
    struct loss_settings set = { .beta = 1 };
    static struct list list;
    int rank[ITEMS];

    if (!list_of(c, &list, "s", "psi"))
        return;
    list_eval(&list, "lipo", &set);
    near(c, list.value, json_get(c->want, "loss"), "loss");
    near_all(c, list.dS, list.k, grad(c, "s"), "s");
    lipo_ranks(rank, list.S, list.k);
    for (int i = 0; i < list.k; i++) {
        near(c, rank[i], json_at(json_get(c->want, "rank"), (size_t)i), "rank");
        for (int j = 0; j < list.k && weights; j++)
            near(c, lipo_weight(list.label[i], list.label[j], rank[i], rank[j]),
                 json_at(json_at(weights, (size_t)i), (size_t)j), "weight");
    }
}

/* The ranking sees means, the likelihood of the best response its sum. */
static void check_pro(struct one *c)
{
    struct loss_settings set = { .sft = 0 };
    static struct list list;
    double ranking, likelihood = number(c, "sum_logp_best", NAN);

    if (!list_of(c, &list, "avg_logp", "reward"))
        return;
    list_eval(&list, "pro", &set);
    ranking = list.value;
    near_all(c, list.dS, list.k, grad(c, "avg_logp"), "avg_logp");
    set.sft = number(c, "sft_weight", NAN);
    for (int i = 0; i < list.k; i++)
        list.S[i] = i == 0 ? likelihood : 0, list.label[i] = 0;     /* the first of equals */
    list_eval(&list, "pro", &set);
    near(c, list.dS[0], grad(c, "sum_logp_best"), "sum_logp_best");
    set.sft = 0;
    likelihood = list.value;
    list_eval(&list, "pro", &set);
    near(c, ranking + (likelihood - list.value), json_get(c->want, "loss"), "loss");
}

static void check_listwise(struct one *c)
{
    struct loss_settings set = { .beta = number(c, "beta", NAN) };
    static struct list list;

    if (!list_of(c, &list, "h", "q"))
        return;
    list_eval(&list, "listwise_soft", &set);
    near(c, list.value, json_get(c->want, "loss"), "loss");
    near_all(c, list.dS, list.k, grad(c, "h"), "h");
}

static void check_gpo(struct one *c)
{
    const struct json *table = json_get(c->in, "pair_scores");
    struct loss_settings set = { .eta = number(c, "eta", NAN) };
    static double scores[ITEMS * ITEMS];
    static struct list list;

    if (!list_of(c, &list, "h", "score_hat"))
        return;
    for (int i = 0; table && i < list.k * list.k; i++)
        scores[i] = item(json_at(table, (size_t)(i / list.k)), (size_t)(i % list.k));
    if (table)
        gpo_scores(list.label, scores, list.k);
    near_all(c, list.label, list.k, json_get(c->in, "score_hat"), "score_hat");
    list_eval(&list, "gpo", &set);
    near(c, list.value, json_get(c->want, "loss"), "loss");
    near_all(c, list.dS, list.k, grad(c, "h"), "h");
}

/* ---- ranking */

static void check_ranking(struct one *c)
{
    double S_w[ITEMS], S_l[ITEMS], n_w[ITEMS], n_l[ITEMS], raw = 0, by_token = 0;
    int n = numbers(c, "logp_w", S_w);

    golden_true(&c->g, numbers(c, "logp_l", S_l) == n && numbers(c, "n_w", n_w) == n &&
                       numbers(c, "n_l", n_l) == n, "%d pairs", n);
    for (int i = 0; i < n; i++) {
        raw += ranks_right(S_w[i], S_l[i]);
        by_token += ranks_right_by_token(S_w[i], S_l[i], (int)n_w[i], (int)n_l[i]);
    }
    near(c, raw / n, json_get(c->want, "raw"), "raw");
    near(c, by_token / n, json_get(c->want, "length_normalised"), "length_normalised");
}

static void check_idealised(struct one *c)
{
    double R_w = number(c, "ref_w", NAN), R_l = number(c, "ref_l", NAN);
    double beta = number(c, "beta", NAN);
    struct loss_settings set = { .beta = beta };
    struct pair_output out;
    double ratio = ideal_log_ratio(R_w, R_l, number(c, "alpha", NAN), beta);

    near(c, ratio, json_get(c->want, "log_ratio"), "log_ratio");
    golden_true(&c->g, ranks_right(ratio, 0) == json_bool(json_get(c->want, "correct"), false),
                "ranked right or not");
    /* Ranked right: the DPO loss is at most that of S_w = S_l. */
    loss_eval(loss_find("sigmoid"), &(struct pair_input){ .R_w = R_w, .R_l = R_l, .n_w = 1,
                                                          .n_l = 1, .target = 1, .set = &set },
              &out);
    near(c, out.value, json_get(c->want, "loss_threshold"), "loss_threshold");
}

/* ---- the table */

const struct golden_op golden_preferences[] = {
    { "log1mexp", check_log1mexp },
    { "rdpo", check_rdpo },
    { "ln_dpo", check_ln_dpo },
    { "simpo", check_simpo },
    { "cpo", check_cpo },
    { "orpo", check_orpo },
    { "slic_hf", check_slic },
    { "mapo_text", check_mapo },
    { "nca_pair", check_nca },
    { "sppo_hard", check_sppo },
    { "apo_zero", check_apo_zero },
    { "dove_joint", check_dove },
    { "osp_spce_affine", check_spce_affine },
    { "modpo", check_modpo },
    { "amopo_static", check_amopo },
    { "amopo_weight", check_amopo_weight },
    { "lcpo_em", check_lcpo },
    { "lcpo_eta_ema", check_lcpo_eta },
    { "spa_label", check_spa_label },
    { "spa_extrapolate", check_spa_extrapolate },
    { "spa_self_label", check_spa_self_label },
    { "reward_augmented_pairs", check_augmented },
    { "kto", check_kto },
    { "kto_z0", check_kto_z0 },
    { "bco", check_bco },
    { "bco_udm_weight", check_udm },
    { "lipo_lambda", check_lipo },
    { "pro", check_pro },
    { "listwise_soft_dpo", check_listwise },
    { "gpo", check_gpo },
    { "ranking_accuracy", check_ranking },
    { "idealised_ranking", check_idealised },
    { NULL, NULL },
};
