/* Several objectives on one pair in one loss: MODPO and AMoPO.
 *
 *   objective i    y_i = reward column i (shaped, times its weight), w_i of raco.weights or of an
 *                  orchestrator for the prompt
 *
 *   modpo   pairs are labelled by one objective (modpo.objective); what the others already explain
 *           is taken off: margin = sum over i != main of w_i (y_i of chosen - y_i of rejected)
 *   amopo   sum over i of alpha_i l(s_i), s_i = sign(y_i of the first - y_i of the second); the
 *           pair is ordered by sum w_i y_i.  alpha is w, or (adaptive) drawn anew for each pair:
 *           softmax of z_i of both responses, z ~ N(mean, std) of their tokens' log-probabilities
 *
 * A pair on which no objective has a side weighs 0.  Of several data sets a pair counts for its own
 * objective alone (amopo). */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "learner/losses/multi.h"
#include "learner/preference/pairs.h"
#include "learner/preference/rows.h"

struct objectives {
    struct pairs pairs;
    enum pairing pairing;
    enum tie_policy tie_policy;
    bool modpo, adaptive;
    int K, main;
    double *w, *alpha;          /* (K) */
    double *rest, *y_w, *y_l;   /* (K) modpo: w without main; scores of a pair */
    double *sign, *z_w, *z_l;   /* (K) amopo: of a pair */
    double *scores;             /* (k) of one group */
    bool *has_eos;              /* (k) */
};

/* ---- settings */

int check_objective_weights(const struct config *c, const struct algorithm *a)
{
    const struct reals *w = &c->raco.weights;
    bool rollouts = algorithm_source(a, c) == SOURCE_PROMPTS;
    double sum = 0;

    if (c->orchestrator.model && w->count > 0)
        return rl_error(RL_EINVAL, "%s: raco.weights: orchestrator.model weighs the objectives; "
                        "leave one of the two out", config_where(c, "raco.weights"));
    if (c->orchestrator.model)
        return RL_OK;
    if (w->count == 0)
        return rl_error(RL_EINVAL, "%s: missing key 'raco.weights': %s needs a weight for each "
                        "objective, of sum 1", c->path, a->name);
    if (rollouts && w->count != c->n_rewards)
        return rl_error(RL_EINVAL, "%s: raco.weights: %d weights for %d rewards",
                        config_where(c, "raco.weights"), w->count, c->n_rewards);
    for (int i = 0; i < w->count; i++)
        sum += w->items[i];
    if (!(fabs(sum - 1) <= 1e-6))
        return rl_error(RL_EINVAL, "%s: raco.weights: they sum to %.9g and must sum to 1",
                        config_where(c, "raco.weights"), sum);
    return RL_OK;
}

int check_recorded_objectives(const struct learner *ln, bool sets)
{
    const struct config *c = ln->config;
    int n = c->raco.weights.count, there = ln->objectives;

    if (!sets)
        there = records_columns(ln->records);
    if (there == 1 && n > 1 && ln->records && !records_signed(ln->records))
        return rl_error(RL_EINVAL, "%s: pairs: the records of %s have no signs of objectives, and "
                        "raco.weights weighs %d (docs/formats.md)", config_where(c, "pairs"),
                        c->pairs.items[0], n);
    if (there != n)
        return rl_error(RL_EINVAL, "%s: raco.weights: %d weights for the %d objectives of the "
                        "pairs (%s)", config_where(c, "raco.weights"), n, there,
                        sets ? "their signs, or the files" : "their signs");
    return RL_OK;
}

int objective_count(const struct config *c)
{
    return c->orchestrator.model ? c->n_rewards : c->raco.weights.count;
}

double objective_weight(const struct config *c, int i)
{
    return c->orchestrator.model ? 1.0 / c->n_rewards : c->raco.weights.items[i];
}

static int check_main(const struct config *c)
{
    int64_t main = c->modpo.objective;

    if (main >= objective_count(c))
        return rl_error(RL_EINVAL, "%s: modpo.objective: there are %d objectives, counted from 0",
                        config_where(c, "modpo.objective"), objective_count(c));
    if (!(objective_weight(c, (int)main) > 0))
        return rl_error(RL_EINVAL, "%s: raco.weights: that of modpo.objective, %lld, divides and "
                        "must be above 0", config_where(c, "raco.weights"), (long long)main);
    return RL_OK;
}

static int objectives_check(const struct config *c, const struct algorithm *a)
{
    int rc = RL_OK;

    TRY(pairs_check_loss(c, a));
    TRY(check_objective_weights(c, a));
    if (strcmp(a->name, "modpo") == 0)
        TRY(check_main(c));
    if (algorithm_source(a, c) == SOURCE_PROMPTS)
        TRY(pairs_check_rollouts(c, a));
done:
    return rc;
}

static unsigned objectives_columns(const struct config *c, const struct algorithm *a)
{
    unsigned from = algorithm_source(a, c) == SOURCE_PROMPTS ? COL_ACTOR_LOGP : COL_LABEL;

    return COL_TOKENS | COL_REWARD | from | (strcmp(a->name, "modpo") == 0 ? COL_REF_LOGP : 0);
}

static int objectives_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct objectives *o = ln->state;
    int rc = RL_OK;

    TRY(tie_policy_parse(&o->tie_policy, c->dpo.tie_policy));
    o->pairing = PAIRING_PAIR;
    if (algorithm_source(ln->algorithm, c) == SOURCE_PROMPTS)
        TRY(pairing_parse(&o->pairing, c->dpo.pairing));
    o->modpo = strcmp(ln->algorithm->name, "modpo") == 0;
    o->adaptive = strcmp(c->amopo.alpha, "adaptive") == 0;
    o->K = objective_count(c);
    o->main = (int)c->modpo.objective;
    loss_settings_fill(&o->pairs.set, c);
    o->pairs.set.base = loss_find(c->dpo.loss);
    o->pairs.set.K = o->K;
    o->pairs.loss = loss_find(ln->algorithm->name);
    if (ln->records && o->K > 1)
        TRY(check_recorded_objectives(ln, !o->modpo));
    if (o->modpo)
        o->pairs.set.w_main = objective_weight(c, o->main);
    pairs_setup(ln, &o->pairs, label_pairs(o->pairing, ln->k));
done:
    return rc;
}

static void objectives_layout(struct learner *ln, struct memory *memory)
{
    struct objectives *o = ln->state;
    double **const rows[] = { &o->w, &o->alpha, &o->rest, &o->y_w, &o->y_l, &o->sign, &o->z_w,
                              &o->z_l };

    pairs_layout(ln, &o->pairs, memory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        *rows[i] = memory_take(memory, (size_t)o->K * sizeof(double));
    o->scores = memory_take(memory, (size_t)ln->k * sizeof *o->scores);
    o->has_eos = memory_take(memory, (size_t)ln->k * sizeof *o->has_eos);
}

/* ---- targets */

/* y of objective i of row n; NAN: it has no opinion. */
static double objective(const struct learner *ln, const struct batch *b, int n, int i)
{
    const struct objectives *o = ln->state;
    const double *column = b->reward + (size_t)n * b->R;

    if (!(b->filled & COL_LABEL))
        return ln->config->rewards[i].weight * row_reward(ln, b, n, i);
    if (b->R == 1 && o->K > 1)              /* data sets */
        return b->objective[n] == i ? column[0] : NAN;
    return column[i];
}

/* The objectives' weights for the prompt of row n. */
static void weigh(struct learner *ln, const struct batch *b, int n)
{
    struct objectives *o = ln->state;

    for (int i = 0; i < o->K; i++) {
        o->w[i] = o->alpha[i] = row_mix(b, n, i, objective_weight(ln->config, i));
        o->rest[i] = i == o->main ? 0 : o->w[i];
    }
    if (o->modpo)
        o->pairs.set.w_main = o->w[o->main];
}

/* What orders the responses of a group: the main objective, or the weighted sum of those that have
 * an opinion; a failed reward of a rollout fails the response. */
static double score(const struct learner *ln, const struct batch *b, int n)
{
    const struct objectives *o = ln->state;
    double sum = 0;

    if (o->modpo)
        return objective(ln, b, n, o->main);
    for (int i = 0; i < o->K; i++) {
        double y = objective(ln, b, n, i);
        sum += !(b->filled & COL_LABEL) || isfinite(y) ? o->w[i] * y : 0;
    }
    return sum;
}

static void read_pair(const struct learner *ln, const struct batch *b, int row_w, int row_l)
{
    const struct objectives *o = ln->state;

    for (int i = 0; i < o->K; i++) {
        o->y_w[i] = objective(ln, b, row_w, i);
        o->y_l[i] = objective(ln, b, row_l, i);
    }
}

/* Signs of the pair that was read; does any objective have a side? */
static bool read_signs(const struct objectives *o, double eps)
{
    bool some = false;

    for (int i = 0; i < o->K; i++) {
        double gap = o->y_w[i] - o->y_l[i];
        o->sign[i] = !(fabs(gap) > eps) ? 0 : gap > 0 ? 1 : -1;     /* a NaN has none */
        some |= o->sign[i] != 0;
    }
    return some;
}

/* amopo: weights of objectives may cancel, so that a tie is a pair without any side. */
static void judge_ties(struct learner *ln, const struct batch *b, int g)
{
    const struct objectives *o = ln->state;
    double eps = ln->config->dpo.tie_eps;

    for (int i = 0; i < o->pairs.per_group; i++) {
        struct pair *pair = &o->pairs.pair[(size_t)g * o->pairs.per_group + i];
        read_pair(ln, b, g * b->k + pair->winner, g * b->k + pair->loser);
        pair->tie = !read_signs(o, eps);
        if (pair->tie && o->tie_policy == TIE_DROP)
            pair->weight = 0;
    }
}

static void label(struct learner *ln, const struct batch *b, int g)
{
    const struct config *c = ln->config;
    struct objectives *o = ln->state;
    struct group_rows rows = { b, g * b->k };
    struct pair *pairs = o->pairs.pair + (size_t)g * o->pairs.per_group;

    weigh(ln, b, rows.first);
    for (int s = 0; s < b->k; s++) {
        o->scores[s] = score(ln, b, rows.first + s);
        o->has_eos[s] = b->filled & COL_LABEL || row_ended(b, rows.first + s);
    }
    label_adjust(o->scores, o->has_eos, b->k, c->dpo.missing_eos_penalty);
    label_group(pairs, o->scores, b->k, o->pairing, o->modpo ? o->tie_policy : TIE_FIRST,
                c->dpo.tie_eps, same_row, &rows);
    for (int i = 0; i < o->pairs.per_group; i++)
        pairs[i].weight *= row_weight(b, rows.first);
    if (!o->modpo)
        judge_ties(ln, b, g);
}

static int objectives_targets(struct learner *ln, const struct batch *b)
{
    struct objectives *o = ln->state;

    o->pairs.set.alpha = o->alpha;
    for (int g = 0; g < b->groups; g++) {
        label(ln, b, g);
        pairs_mark(ln, &o->pairs, b, g, o->scores);
    }
    return RL_OK;
}

/* ---- loss */

/* Mean and spread of the log-probabilities of the response of row n, one of the micro-batch. */
static void spread(const struct learner *ln, const struct batch *b, int n, double *mean,
                   double *std)
{
    const struct micro *micro = &ln->micro;
    int from, end = row_response(b, n, &from), shift = micro->start[ln->place[n]] - b->start[n];
    double count = tokens_of(end - from), squares = 0;

    *mean = row_sum(micro->logp, from + shift, end + shift) / count;
    for (int t = from + shift; t < end + shift; t++)
        squares += ((double)micro->logp[t] - *mean) * ((double)micro->logp[t] - *mean);
    *std = sqrt(squares / count);
}

/* One draw an objective: by seed, step, group, pair and objective. */
static void draw_alpha(const struct learner *ln, const struct batch *b, int g, int i, int row_w,
                       int row_l)
{
    const struct objectives *o = ln->state;
    double mean_w, std_w, mean_l, std_l;
    uint32_t words[4];

    spread(ln, b, row_w, &mean_w, &std_w);
    spread(ln, b, row_l, &mean_l, &std_l);
    for (int k = 0; k < o->K; k++) {
        struct counter c = { .seed = (uint64_t)ln->config->seed, .purpose = PURPOSE_ALPHA,
                             .step = (uint32_t)b->step, .prompt = (uint32_t)(b->group + g),
                             .sample = (uint32_t)k, .position = (uint32_t)i };
        random_words(&c, words);
        o->z_w[k] = mean_w + std_w * random_normal(words[0], words[1]);
        o->z_l[k] = mean_l + std_l * random_normal(words[2], words[3]);
    }
    amopo_weights(o->alpha, o->z_w, o->z_l, o->K);
}

static void know(struct learner *ln, const struct batch *b, int g, int i, struct pair_input *in,
                 double *terms)
{
    struct objectives *o = ln->state;
    const struct pair *pair = &o->pairs.pair[(size_t)g * o->pairs.per_group + i];
    int row_w = g * b->k + pair->winner, row_l = g * b->k + pair->loser;

    weigh(ln, b, row_w);
    read_pair(ln, b, row_w, row_l);
    if (o->modpo) {
        in->margin = modpo_margin(o->rest, o->y_w, o->y_l, o->K);
        terms[PAIR_OWN] = in->margin;
        return;
    }
    read_signs(o, ln->config->dpo.tie_eps);
    if (o->adaptive)
        draw_alpha(ln, b, g, i, row_w, row_l);
    in->sign = o->sign;
    for (int k = 0; k < o->K; k++)          /* do the objectives agree? */
        terms[PAIR_OWN] += o->alpha[k] * o->sign[k];
}

static int objectives_count(struct learner *ln, const struct batch *b)
{
    struct objectives *o = ln->state;

    o->pairs.know = know;
    return pairs_count(ln, &o->pairs, b);
}

static int objectives_loss(struct learner *ln, const struct batch *b)
{
    struct objectives *o = ln->state;

    return pairs_loss(ln, &o->pairs, b);
}

static int objectives_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct objectives *o = ln->state;
    double loss, own = 0;
    bool start;
    int kept = 0, rc = RL_OK;

    TRY(pairs_report(ln, &o->pairs, b, m, &loss));
    for (int i = 0; i < b->P * o->pairs.per_group; i++) {
        const double *t = ln->stats.all + (size_t)i * PAIR_TERMS;
        own += t[PAIR_WEIGHT] > 0 ? t[PAIR_OWN] : 0;
        kept += t[PAIR_WEIGHT] > 0;
    }
    if (kept > 0)
        metrics_set(m, o->modpo ? "modpo/margin" : "amopo/agreement", own / kept);
    TRY(rows_report(ln, b, m, &start));
done:
    return rc;
}

const struct method method_objectives = {
    .state = sizeof(struct objectives), .sources = 1u << SOURCE_PROMPTS | 1u << SOURCE_PAIRS,
    .check = objectives_check, .columns = objectives_columns, .setup = objectives_setup,
    .layout = objectives_layout, .targets = objectives_targets, .count = objectives_count,
    .loss = objectives_loss, .report = objectives_report,
};
