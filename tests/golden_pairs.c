/* Worked numbers of pairwise losses and labels: every case whose `op` the learner or the kernels
 * compute.
 *
 *   in double (tol of the case)     losses/, targets.c
 *   in fp32 (2e-6 (1 + |x|))        what goes through logits or tokens: compute/ref, gradients.c */
#include "learner/internal.h"
#include "tests/golden_ops.h"

static void check_log_sigmoid(struct one *c)
{
    const struct json *x = json_get(c->in, "x");

    golden_true(&c->g, json_size(x) > 0, "no x");
    for (size_t i = 0; i < json_size(x); i++) {
        near(c, -softplus(-item(x, i)), json_at(json_get(c->want, "value"), i), "value");
        near(c, sigmoid(-item(x, i)), json_at(json_get(c->want, "dvalue_dx"), i), "dvalue_dx");
    }
}

/* ---- one pair */

void golden_pair_of(const struct one *c, struct loss_settings *set, struct pair_input *in)
{
    *set = (struct loss_settings){
        .beta = number(c, "tau", number(c, "beta", NAN)), .base = loss_find("sigmoid"), .w_main = 1,
        .label_smoothing = number(c, "label_smoothing", 0),
    };
    *in = (struct pair_input){
        .S_w = number(c, "logp_w", NAN), .S_l = number(c, "logp_l", NAN),
        .R_w = number(c, "ref_w", NAN), .R_l = number(c, "ref_l", NAN),
        .n_w = (int)number(c, "n_w", 0), .n_l = (int)number(c, "n_l", 0),
        .target = number(c, "p", 1), .set = set,
    };
}

void golden_check_pair(struct one *c, const char *loss, const struct pair_input *in)
{
    const struct json *grads = json_get(c->want, "grads");
    struct pair_output out;

    loss_eval(loss_find(loss), in, &out);
    near(c, out.value, json_get(c->want, "loss"), "loss");
    near(c, out.dS_w, json_get(grads, "logp_w"), "logp_w");
    near(c, out.dS_l, json_get(grads, "logp_l"), "logp_l");
}

/* A loss that has nothing but beta. */
static void check_plain(struct one *c, const char *loss)
{
    struct loss_settings set;
    struct pair_input in;

    golden_pair_of(c, &set, &in);
    golden_check_pair(c, loss, &in);
}

static void check_sigmoid(struct one *c)
{
    check_plain(c, "sigmoid");
}

static void check_ipo_sum(struct one *c)
{
    check_plain(c, "ipo_sum");
}

static void check_ipo(struct one *c)
{
    check_plain(c, "ipo");
}

static void check_hinge(struct one *c)
{
    check_plain(c, "hinge");
}

/* ---- tokens: a batch of pairs, [pair][chosen, rejected][token] */

#define TOKENS 4096             /* in a row of a golden case, at most */

/* The sum over the masked runs of a row; when slope is given, its gradient is compared too. */
static double token_row(struct one *c, const char *key, size_t pair, size_t side, double *slope)
{
    const struct json *row = json_at(json_at(json_get(c->in, key), pair), side);
    const struct json *mask = json_at(json_at(json_get(c->in, "mask"), pair), side);
    const struct json *all = json_get(json_get(c->want, "grads"), key);
    const struct json *grads = json_at(json_at(all, pair), side);
    static float x[TOKENS], dx[TOKENS];
    double sum = 0;
    int T = (int)json_size(row);

    golden_true(&c->g, T > 0 && T <= TOKENS, "row of 1 to %d tokens", TOKENS);
    for (int t = 0; t < T && T <= TOKENS; t++) {
        x[t] = (float)item(row, (size_t)t);
        dx[t] = 0;
    }
    for (int from = 0, end; from < T && T <= TOKENS; from = end + 1) {
        for (end = from; end < T && item(mask, (size_t)end) > 0;)
            end++;
        sum += row_sum(x, from, end);
        if (slope)
            row_fill(dx, from, end, *slope);
    }
    for (int t = 0; slope && t < T && T <= TOKENS; t++) {
        near_f32(c, dx[t], json_at(grads, (size_t)t), key);
        golden_true(&c->g, item(mask, (size_t)t) > 0 || dx[t] == 0, "0 outside of the mask");
    }
    return sum;
}

static void check_tokens(struct one *c)
{
    size_t pairs = json_size(json_get(c->in, "logp"));
    double loss = 0;

    for (size_t p = 0; p < pairs; p++) {
        struct loss_settings set;
        struct pair_input in;
        struct pair_output out;
        golden_pair_of(c, &set, &in);
        in.S_w = token_row(c, "logp", p, 0, NULL);
        in.S_l = token_row(c, "logp", p, 1, NULL);
        in.R_w = token_row(c, "ref", p, 0, NULL);
        in.R_l = token_row(c, "ref", p, 1, NULL);
        loss_eval(loss_find("sigmoid"), &in, &out);
        loss += out.value / (double)pairs;
        out.dS_w /= (double)pairs;
        out.dS_l /= (double)pairs;
        token_row(c, "logp", p, 0, &out.dS_w);
        token_row(c, "logp", p, 1, &out.dS_l);
    }
    near_f32(c, loss, json_get(c->want, "loss"), "loss");
}

/* ---- logits, through the kernels */

struct logits {
    struct compute *k;
    int T, V;
    float *z, *logp, *entropy;
    int *targets;
    struct lse *state;
};

static void logits_free(struct logits *l)
{
    free(l->z);
    free(l->logp);
    free(l->targets);
    free(l->state);
    compute_close(l->k);
}

/* Rows of logits; targets and their log-probabilities at `temperature`. */
static bool logits_open(struct one *c, struct logits *l, const struct json *rows,
                        const struct json *tokens, double temperature)
{
    size_t T = json_size(rows), V = json_size(json_at(rows, 0));

    memset(l, 0, sizeof *l);
    golden_true(&c->g, T > 0 && T < 1 << 16 && V > 0 && V < 1 << 20, "rows of logits");
    if (c->g.wrong || compute_open(&l->k, "ref", "fp32", 1) != RL_OK)
        return false;
    l->T = (int)T, l->V = (int)V;
    l->z = calloc(T * V, sizeof *l->z);
    l->logp = calloc(3 * T, sizeof *l->logp);
    l->targets = calloc(T, sizeof *l->targets);
    l->state = calloc(T, sizeof *l->state);
    if (!l->z || !l->logp || !l->targets || !l->state) {
        golden_true(&c->g, false, "no memory");
        return false;
    }
    l->entropy = l->logp + 2 * T;
    for (size_t t = 0; t < T; t++) {
        for (size_t v = 0; v < V; v++)
            l->z[t * V + v] = (float)item(json_at(rows, t), v);
        l->targets[t] = (int)json_int(json_at(tokens, t), 0);
    }
    l->k->lse_forward(l->k, l->state, l->logp + T, l->z, l->targets, (float)temperature, 0, l->V,
                      l->T);
    l->k->lse_finish(l->k, l->logp, l->entropy, l->state, l->logp + T, l->T);
    return true;
}

/* z becomes its gradient, compared row by row. */
static void logits_backward(struct one *c, struct logits *l, const float *dlogp,
                            const float *dentropy, double temperature, const struct json *want)
{
    l->k->lse_backward(l->k, l->z, l->state, l->targets, dlogp, dentropy, (float)temperature, 0,
                       l->V, l->T);
    for (int i = 0; i < l->T * l->V; i++)
        near_f32(c, l->z[i], json_at(json_at(want, (size_t)(i / l->V)), (size_t)(i % l->V)),
                 "logits");
}

static void check_seq_logp(struct one *c)
{
    const struct json *mask = json_get(c->in, "mask");
    double temperature = number(c, "temperature", 1), sum = 0;
    struct logits l;

    if (logits_open(c, &l, json_get(c->in, "logits"), json_get(c->in, "tokens"), temperature)) {
        for (int t = 0; t < l.T; t++) {
            double counts = item(mask, (size_t)t);
            sum += counts > 0 ? (double)l.logp[t] : 0;
            l.logp[t] = (float)counts;          /* d sum / d logp */
        }
        near_f32(c, sum, json_get(c->want, "loss"), "sum");
        logits_backward(c, &l, l.logp, NULL, temperature, json_get(json_get(c->want, "grads"),
                                                                   "logits"));
    }
    logits_free(&l);
}

static void check_entropy(struct one *c)
{
    const struct json *grads = json_get(json_get(c->want, "grads"), "logits");
    struct json *rows = NULL, *want = NULL;
    struct text text = { 0 };
    struct logits l = { 0 };

    /* one row as a list of rows */
    text_adds(&text, "[");
    json_add(&text, json_get(c->in, "logits"));
    text_adds(&text, "]");
    rows = json_parse(text.data, text.size, c->g.name);
    text_clear(&text);
    text_adds(&text, "[");
    json_add(&text, grads);
    text_adds(&text, "]");
    want = json_parse(text.data, text.size, c->g.name);
    if (logits_open(c, &l, rows, NULL, 1)) {
        const float none = 0, whole = 1;
        near_f32(c, l.entropy[0], json_get(c->want, "loss"), "entropy");
        logits_backward(c, &l, &none, &whole, 1, want);
    }
    logits_free(&l);
    text_free(&text);
    json_free(rows);
    json_free(want);
}

static void check_logits(struct one *c)
{
    static const char *const sides[2][3] = { { "logits_w", "tok_w", "ref_w" },
                                             { "logits_l", "tok_l", "ref_l" } };
    double temperature = number(c, "temperature", 1), S[2];
    struct logits l[2] = { { 0 }, { 0 } };
    struct loss_settings set;
    struct pair_input in;
    struct pair_output out;

    golden_pair_of(c, &set, &in);
    for (int i = 0; i < 2; i++) {
        if (!logits_open(c, &l[i], json_get(c->in, sides[i][0]), json_get(c->in, sides[i][1]),
                         temperature))
            goto done;
        S[i] = row_sum(l[i].logp, 0, l[i].T);
    }
    in.S_w = S[0];
    in.S_l = S[1];
    loss_eval(loss_find("sigmoid"), &in, &out);
    near_f32(c, out.value, json_get(c->want, "loss"), "loss");
    for (int i = 0; i < 2; i++) {
        row_fill(l[i].logp, 0, l[i].T, i == 0 ? out.dS_w : out.dS_l);
        logits_backward(c, &l[i], l[i].logp, NULL, temperature,
                        json_get(json_get(c->want, "grads"), sides[i][0]));
    }
done:
    logits_free(&l[0]);
    logits_free(&l[1]);
}

/* ---- labels */

#define SCORES 1024

static int scores_of(struct one *c, double scores[SCORES], bool has_eos[SCORES])
{
    const struct json *rewards = json_get(c->in, "rewards");
    const struct json *eos = json_get(c->in, "contains_eos");
    size_t k = json_size(rewards);

    golden_true(&c->g, k > 0 && k <= SCORES, "1 to %d rewards", SCORES);
    for (size_t i = 0; i < k && k <= SCORES; i++) {
        scores[i] = item(rewards, i);
        has_eos[i] = json_bool(json_at(eos, i), true);
    }
    return k <= SCORES ? (int)k : 0;
}

static void check_labels(struct one *c)
{
    const struct json *pairs = json_get(c->in, "pairs");
    double scores[SCORES];
    bool has_eos[SCORES];
    enum tie_policy policy = TIE_DROP;
    int k = scores_of(c, scores, has_eos);

    golden_true(&c->g, tie_policy_parse(&policy, json_string(json_get(c->in, "tie_policy"),
                                                             "drop")) == RL_OK, "a tie policy");
    label_adjust(scores, has_eos, k, number(c, "missing_eos_penalty", 0));
    for (int i = 0; i < k; i++)
        near(c, scores[i], json_at(json_get(c->want, "adjusted"), (size_t)i), "adjusted");
    for (size_t p = 0; p < json_size(pairs); p++) {
        const struct json *want = json_at(json_get(c->want, "chosen_rejected"), p);
        int64_t i = json_int(json_at(json_at(pairs, p), 0), -1);
        int64_t j = json_int(json_at(json_at(pairs, p), 1), -1);
        if (i < 0 || j < 0 || i >= k || j >= k) {
            golden_true(&c->g, false, "pair %zu is outside of the rewards", p);
            continue;
        }
        struct pair got = label_pair(scores, (int)i, (int)j, policy,
                                     number(c, "tie_eps", 1e-6), false);
        near(c, got.winner, json_at(want, 0), "chosen");
        near(c, got.loser, json_at(want, 1), "rejected");
        near(c, got.weight, json_at(json_get(c->want, "weights"), p), "weight");
    }
}

static void check_best_worst(struct one *c)
{
    double scores[SCORES];
    bool has_eos[SCORES];
    int k = scores_of(c, scores, has_eos);

    if (k > 0) {
        near(c, label_best(scores, k), json_get(c->want, "best"), "best");
        near(c, label_worst(scores, k), json_get(c->want, "worst"), "worst");
    }
}
/* ---- the table */

const struct golden_op golden_pairs[] = {
    { "log_sigmoid", check_log_sigmoid },
    { "dpo_sigmoid", check_sigmoid },
    { "spce", check_sigmoid },          /* a target p is a soft label */
    { "ipo", check_ipo_sum },
    { "ipo_avg", check_ipo },
    { "dpo_hinge", check_hinge },
    { "dpo_sigmoid_tokens", check_tokens },
    { "dpo_sigmoid_logits", check_logits },
    { "seq_logp", check_seq_logp },
    { "entropy", check_entropy },
    { "online_dpo_label", check_labels },
    { "best_worst", check_best_worst },
    { NULL, NULL },
};
