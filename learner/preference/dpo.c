/* DPO and its relatives: pairs of responses, labelled by scores (online; Guo et al. 2024), by
 * people or programs (offline), or by the policy itself (SPA), with any loss of losses/.
 *
 *   rollouts   rewards -> scores -> pairs            records   the first row of a group is chosen
 *
 * See pairs.h for the loss of a step. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "learner/preference/doubt.h"
#include "learner/preference/pairs.h"
#include "learner/preference/rows.h"

struct dpo {
    struct pairs pairs;
    enum pairing pairing;
    enum tie_policy tie_policy;
    struct doubt doubt;
    double *scores;             /* (k) of one group, adjusted */
    bool *has_eos;              /* (k) */
};

static enum doubts doubts_of(const struct algorithm *a)
{
    return strcmp(a->name, "lcpo") == 0  ? DOUBT_LCPO
           : strcmp(a->name, "spa") == 0 ? DOUBT_SPA : DOUBT_NONE;
}

/* ---- settings */

static int check_rollouts(const struct config *c, const struct algorithm *a)
{
    static const char *const recorded[] = { "dove", "mapl", "reward_augmented" };

    for (int i = 0; i < 3; i++)
        if (strcmp(a->name, recorded[i]) == 0)
            return rl_error(RL_EINVAL, "%s: source: %s is about the prompts of records and cannot "
                            "learn from \"prompts\"", config_where(c, "source"), a->name);
    if (doubts_of(a) == DOUBT_SPA && strcmp(c->refmodel, c->model) == 0)
        return rl_error(RL_EINVAL, "%s: refmodel: spa labels its own responses by what the model "
                        "prefers more than refmodel, and they are the same; name the model from "
                        "before its first preferences", config_where(c, "refmodel"));
    return RL_OK;
}

static int dpo_check(const struct config *c, const struct algorithm *a)
{
    int rc = RL_OK;

    TRY(pairs_check_loss(c, a));
    if (c->dpo.label_smoothing > 0 && strcmp(c->dpo.loss, "sigmoid") != 0)
        return rl_error(RL_EINVAL, "%s: dpo.label_smoothing: smooths dpo.loss = \"sigmoid\" only; "
                        "it is \"%s\" (%s)", config_where(c, "dpo.label_smoothing"),
                        c->dpo.loss, config_where(c, "dpo.loss"));
    if (algorithm_source(a, c) == SOURCE_PROMPTS) {
        TRY(pairs_check_rollouts(c, a));
        TRY(check_rollouts(c, a));
    }
done:
    return rc;
}

static enum view dpo_view(const struct config *c, const struct algorithm *a)
{
    (void)c;
    if (strcmp(a->name, "dove") == 0)           /* prompts are learned too */
        return VIEW_JOINT;
    return strcmp(a->name, "reward_augmented") == 0 ? VIEW_AUGMENTED : VIEW_PAIRS;
}

static unsigned dpo_columns(const struct config *c, const struct algorithm *a)
{
    const struct loss *loss = loss_find(c->dpo.loss);
    bool rollouts = algorithm_source(a, c) == SOURCE_PROMPTS;
    unsigned columns = COL_TOKENS | (rollouts ? COL_ACTOR_LOGP : COL_LABEL | COL_REWARD);

    if (rollouts && doubts_of(a) != DOUBT_SPA)          /* spa is its own judge */
        columns |= COL_REWARD;
    if (!loss || loss->needs & LOSS_REF || doubts_of(a) == DOUBT_SPA)
        columns |= COL_REF_LOGP;
    return columns;
}

static int dpo_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct dpo *d = ln->state;
    bool rollouts = algorithm_source(ln->algorithm, c) == SOURCE_PROMPTS;
    int rc = RL_OK;

    TRY(tie_policy_parse(&d->tie_policy, c->dpo.tie_policy));
    d->pairing = PAIRING_PAIR;
    if (rollouts)
        TRY(pairing_parse(&d->pairing, c->dpo.pairing));
    loss_settings_fill(&d->pairs.set, c);
    d->pairs.loss = loss_find(c->dpo.loss);
    doubt_setup(&d->doubt, c, doubts_of(ln->algorithm));
    if (d->doubt.kind == DOUBT_LCPO) {
        d->pairs.set.base = d->pairs.loss;
        d->pairs.loss = loss_find("lcpo");
    }
    pairs_setup(ln, &d->pairs, label_pairs(d->pairing, ln->k));
done:
    return rc;
}

static void dpo_layout(struct learner *ln, struct memory *memory)
{
    struct dpo *d = ln->state;

    pairs_layout(ln, &d->pairs, memory);
    doubt_layout(&d->doubt, memory, (size_t)ln->P * d->pairs.per_group);
    d->scores = memory_take(memory, (size_t)ln->k * sizeof *d->scores);
    d->has_eos = memory_take(memory, (size_t)ln->k * sizeof *d->has_eos);
}

static int dpo_values(struct learner *ln, struct learner_value *out)
{
    struct dpo *d = ln->state;

    return doubt_values(&d->doubt, out);
}

/* ---- targets */

/* The policy's own verdict on a rollout, in nats: it prefers the first of two with
 * probability sigmoid of their difference (SPA). */
static double self_score(const struct learner *ln, const struct batch *b, int n)
{
    int from, end = row_response(b, n, &from);

    return ln->config->beta * (row_sum(b->actor_logp, from, end) - row_sum(b->ref_logp, from, end));
}

static void label_rollouts(struct learner *ln, const struct batch *b, int g)
{
    const struct config *c = ln->config;
    struct dpo *d = ln->state;
    struct group_rows rows = { b, g * b->k };

    for (int s = 0; s < b->k; s++) {
        int n = rows.first + s;
        d->scores[s] = d->doubt.kind == DOUBT_SPA ? self_score(ln, b, n) : row_label(ln, b, n);
        d->has_eos[s] = row_ended(b, n);
    }
    label_adjust(d->scores, d->has_eos, b->k, c->dpo.missing_eos_penalty);
    label_group(d->pairs.pair + (size_t)g * d->pairs.per_group, d->scores, b->k, d->pairing,
                d->tie_policy, c->dpo.tie_eps, same_row, &rows);
}

/* The first row is the chosen one, whatever the scores (a goal that is low prefers the lower);
 * scores that are equal are a tie.  Signs of several objectives do not say who is chosen. */
static void label_record(struct learner *ln, const struct batch *b, int g)
{
    struct dpo *d = ln->state;
    struct group_rows rows = { b, g * b->k };
    struct pair *pair = &d->pairs.pair[g];
    double order[2] = { 1, 0 }, eps = ln->config->dpo.tie_eps;

    d->scores[0] = row_label(ln, b, rows.first);
    d->scores[1] = row_label(ln, b, rows.first + 1);
    if (b->R == 1 && fabs(d->scores[0] - d->scores[1]) <= eps)
        order[1] = 1;
    *pair = label_pair(order, 0, 1, d->tie_policy, 0, same_row(0, 1, &rows));
    pair->weight *= row_weight(b, rows.first);
}

static int dpo_targets(struct learner *ln, const struct batch *b)
{
    struct dpo *d = ln->state;
    int rc = RL_OK;

    TRY(doubt_begin(ln, &d->doubt, b));
    for (int g = 0; g < b->groups; g++) {
        if (b->filled & COL_LABEL)
            label_record(ln, b, g);
        else
            label_rollouts(ln, b, g);
        pairs_mark(ln, &d->pairs, b, g, d->scores);
    }
done:
    return rc;
}

/* ---- loss */

static void know(struct learner *ln, const struct batch *b, int g, int i, struct pair_input *in,
                 double *terms)
{
    const struct dpo *d = ln->state;
    const struct pair *pair = &d->pairs.pair[(size_t)g * d->pairs.per_group + i];

    doubt_pair(ln, &d->doubt, b, g * b->k + pair->winner, g * b->k + pair->loser, in, terms);
}

static int dpo_count(struct learner *ln, const struct batch *b)
{
    struct dpo *d = ln->state;

    d->pairs.know = d->doubt.kind == DOUBT_NONE ? NULL : know;
    return pairs_count(ln, &d->pairs, b);
}

static int dpo_loss(struct learner *ln, const struct batch *b)
{
    struct dpo *d = ln->state;

    return pairs_loss(ln, &d->pairs, b);
}

static int dpo_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct dpo *d = ln->state;
    double loss;
    int rc = RL_OK;

    TRY(pairs_report(ln, &d->pairs, b, m, &loss));
    doubt_report(ln, &d->doubt, b->P * d->pairs.per_group, m);
    TRY(pairs_check_start(ln, &d->pairs, b, m, loss));
done:
    return rc;
}

static int dpo_finish(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct dpo *d = ln->state;

    (void)b;
    (void)m;
    doubt_end(&d->doubt, ln->config);
    return RL_OK;
}

const struct method method_dpo = {
    .state = sizeof(struct dpo), .sources = 1u << SOURCE_PROMPTS | 1u << SOURCE_PAIRS,
    .view = dpo_view, .check = dpo_check, .columns = dpo_columns, .setup = dpo_setup,
    .layout = dpo_layout, .values = dpo_values, .targets = dpo_targets, .count = dpo_count,
    .loss = dpo_loss, .report = dpo_report, .finish = dpo_finish,
};
