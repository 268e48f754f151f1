/* The reward-model stage: a score head in place of the vocabulary head, trained on pairs of answers
 * of which one is better (Ouyang et al. 2022; Touvron et al. 2023 for the margin).
 *
 *   r = outputs at a row's last token        L = sum over pairs of w value(r_w, r_l) / sum of w
 *
 * `pal` and `gpm` are the same with other verdicts (duel.h), `more` with other weights (more.c). */
#include "learner/reward_model/method.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* ---- what the configuration asks for */

static bool is(const struct config *c, const char *variant)
{
    return strcmp(algorithm_find(c->algorithm)->variant, variant) == 0;
}

bool algorithm_scores(const struct algorithm *a, const struct config *c, int objectives,
                      int annotators, struct verdict *v, int *scores)
{
    memset(v, 0, sizeof *v);
    if (a->method != &method_reward_model && a->method != &method_more)
        return false;
    if (is(c, "pal"))
        *v = (struct verdict){ .kind = VERDICT_POINT, .dim = (int)c->pal.dim,
                               .prototypes = (int)c->pal.prototypes,
                               .users = annotators > 1 ? annotators : 1,
                               .of_prompt = strcmp(c->pal.model, "b") == 0,
                               .cosine = strcmp(c->pal.distance, "cosine") == 0,
                               .factor = c->pal.factor };
    if (is(c, "gpm"))
        *v = (struct verdict){ .kind = VERDICT_GENERAL, .planes = (int)c->gpm.dim / 2,
                               .tau = c->gpm.tau, .unit = c->gpm.unit,
                               .scale = strcmp(c->gpm.scale, "learned") == 0  ? GPM_LEARNED
                                        : strcmp(c->gpm.scale, "prompt") == 0 ? GPM_PROMPT
                                                                              : GPM_FIXED };
    *scores = verdict_outputs(v, strcmp(c->reward_model.heads, "objectives") == 0 ? objectives : 1);
    return true;
}

static enum view rm_view(const struct config *c, const struct algorithm *a)
{
    (void)c;
    (void)a;
    return VIEW_RANKED;                 /* a pair is a list of two */
}

static int rm_check(const struct config *c, const struct algorithm *a)
{
    struct verdict v;
    int scores = 0;

    algorithm_scores(a, c, 1, 1, &v, &scores);
    if (scores > VERDICT_MOST)
        return rl_error(RL_EINVAL, "%s: pal.dim: %d outputs, with those of the prompt's "
                        "prototypes, are more than %d", config_where(c, "pal.dim"), scores,
                        VERDICT_MOST);
    if (c->gpm.dim % 2)
        return rl_error(RL_EINVAL, "%s: gpm.dim: must be even, not %lld",
                        config_where(c, "gpm.dim"), (long long)c->gpm.dim);
    return RL_OK;
}

static int rm_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct reward_model *rm = ln->state;
    int rc = RL_OK;

    if (ln->k < 2)
        return rl_error(RL_EINVAL, "%s: pairs: records of one answer; %s compares two or more",
                        config_where(c, "pairs"), c->algorithm);
    if (ln->scores < 1 || ln->shape.lm)
        return rl_error(RL_EBUG, "a reward model of %d scores compares %d rows", ln->scores, ln->k);
    rm->verdict = &ln->shape.verdict;
    rm->link = strcmp(c->reward_model.link, "hinge") == 0 ? LINK_HINGE : LINK_LOGISTIC;
    rm->margin = strcmp(c->reward_model.margin, "given") == 0    ? MARGIN_GIVEN
                 : strcmp(c->reward_model.margin, "scores") == 0 ? MARGIN_SCORES
                                                                 : MARGIN_NONE;
    rm->room = rm_room(ln, ln->k);
    rm->groups = ln->rows / ln->k;
    rm->temperature = 1;
    ln->outputs = OUT_SCORE;
    ln->group_terms = (size_t)rm->room * RM_TERMS;
    rm->more.on = strcmp(ln->algorithm->variant, "more") == 0;
    TRY(more_setup(ln));
done:
    return rc;
}

static void rm_layout(struct learner *ln, struct memory *memory)
{
    struct reward_model *rm = ln->state;
    size_t pairs = (size_t)rm->groups * rm->room;

    rm->pairs = memory_take(memory, pairs * sizeof *rm->pairs);
    rm->count = memory_take(memory, (size_t)rm->groups * sizeof *rm->count);
    rm->terms = memory_take(memory, pairs * RM_TERMS * sizeof *rm->terms);
    rm->scratch = memory_take(memory, duel_scratch(rm->verdict) * sizeof *rm->scratch);
    more_layout(ln, memory);
}

/* Which weights are trained: all of them, or the head and its parameters, or the users'. */
static int rm_open(struct learner *ln)
{
    const struct config *c = ln->config;
    const struct array *from = NULL;
    size_t n = model_size(&ln->shape);

    if (strcmp(c->reward_model.train, "head") == 0)
        from = model_array(ln->policy.model, SCORE_WEIGHT);
    if (is(c, "pal") && strcmp(c->pal.fit, "users") == 0) {
        from = model_array(ln->policy.model, PAL_USERS);
        ln->parameters_only = true;
    }
    if (from)                   /* what belongs to the head lies behind it */
        optimizer_only(ln->policy.optimizer, from->offset, n - from->offset);
    return RL_OK;
}

static int rm_values(struct learner *ln, struct learner_value *out)
{
    struct reward_model *rm = ln->state;
    int n = 0;

    out[n++] = (struct learner_value){ "rm_temperature", &rm->temperature, 1 };
    if (rm->more.on) {
        out[n++] = (struct learner_value){ "more_gradients", rm->more.mean,
                                           (size_t)rm->more.K * rm->more.C };
        out[n++] = (struct learner_value){ "more_seen", rm->more.seen, (size_t)rm->more.K };
    }
    return n;
}

/* ---- loss */

static int rm_targets(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;

    more_begin(ln, b);
    memset(rm->terms, 0, (size_t)rm->groups * rm->room * RM_TERMS * sizeof *rm->terms);
    for (int n = 0; n < b->N; n++)
        ln->place[n] = -1;
    for (int g = 0; g < b->groups; g++) {
        struct rm_pair *pairs = rm->pairs + (size_t)g * rm->room;

        rm->count[g] = rm_pairs(ln, b, g, pairs);
        for (int p = 0; p < rm->count[g]; p++) {
            rm->terms[((size_t)g * rm->room + p) * RM_TERMS + RM_WEIGHT] = pairs[p].weight;
            ln->place[g * b->k + pairs[p].w] = ln->place[g * b->k + pairs[p].l] = 0;
        }
    }
    return RL_OK;
}

/* What divides the loss: all weights; with MORE data sets have divided already. */
static int rm_count(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, rm->terms, (size_t)rm->room * RM_TERMS));
    ln->total = 0;
    for (size_t p = 0; p < (size_t)b->P * rm->room; p++)
        ln->total += ln->stats.all[p * RM_TERMS + RM_WEIGHT];
done:
    return rc;
}

static struct seat seat_of(struct learner *ln, const struct batch *b, int n, int place, bool slopes)
{
    struct micro *micro = &ln->micro;
    size_t S = (size_t)ln->scores, last = (size_t)micro->start[place + 1] - 1;
    size_t prompt = (size_t)micro->start[place] + (b->prompt_len[n] > 0 ? b->prompt_len[n] - 1 : 0);

    return (struct seat){
        .last = micro->score + last * S, .prompt = micro->score + prompt * S,
        .d_last = slopes ? micro->dscore + last * S : NULL,
        .d_prompt = slopes ? micro->dscore + prompt * S : NULL,
    };
}

static const float *parameters(const struct model *m, const char *name)
{
    const struct array *a = model_array(m, name);

    return a ? a->data : NULL;
}

static float *slopes_of(const struct learner *ln, const char *name)
{
    const struct array *a = model_array(ln->policy.model, name);

    return a && ln->leaf_grads ? ln->leaf_grads + a->offset : NULL;
}

struct duel rm_duel(struct learner *ln, const struct batch *b, int g, const struct rm_pair *pair,
                    const int place[2], double factor)
{
    const struct reward_model *rm = ln->state;
    const struct model *m = ln->policy.model;
    int row_w = g * b->k + pair->w, row_l = g * b->k + pair->l;
    bool slopes = factor != 0;
    struct duel duel = {
        .verdict = rm->verdict, .link = rm->link, .head = pair->head, .margin = pair->margin,
        .center = ln->config->reward_model.center, .factor = factor,
        .w = seat_of(ln, b, row_w, place[0], slopes), .l = seat_of(ln, b, row_l, place[1], slopes),
        .user = rm->verdict->kind == VERDICT_POINT ? b->annotator[row_w] : 0,
        .at = { .prototypes = parameters(m, PAL_PROTOTYPES), .users = parameters(m, PAL_USERS),
                .scale = parameters(m, GPM_SCALE) },
    };

    if (slopes) {
        duel.at.d_prototypes = slopes_of(ln, PAL_PROTOTYPES);
        duel.at.d_users = slopes_of(ln, PAL_USERS);
        duel.at.d_scale = slopes_of(ln, GPM_SCALE);
    }
    return duel;
}

static int pair_loss(struct learner *ln, const struct batch *b, int g, int p)
{
    struct reward_model *rm = ln->state;
    const struct rm_pair *pair = &rm->pairs[(size_t)g * rm->room + p];
    double *terms = rm->terms + ((size_t)g * rm->room + p) * RM_TERMS;
    int row_w = g * b->k + pair->w, row_l = g * b->k + pair->l;
    int place[2] = { ln->place[row_w], ln->place[row_l] };
    struct duel duel = rm_duel(ln, b, g, pair, place, terms[RM_WEIGHT] / ln->total);
    struct duel_result r;

    if (duel.user < 0 || (rm->verdict->kind == VERDICT_POINT && duel.user >= rm->verdict->users))
        return rl_error(RL_EBUG, "step %lld: annotator %d of a model of %d users",
                        (long long)b->step + 1, duel.user, rm->verdict->users);
    r = duel_eval(&duel, rm->scratch);
    if (!isfinite(r.value))
        return rl_error(RL_ENAN, "step %lld: the loss of record %lld is %g (margin of rewards %g)",
                        (long long)b->step + 1, (long long)b->prompt[row_w] + 1, r.value, r.gap);
    terms[RM_VALUE] = r.value;
    terms[RM_GAP] = r.gap;
    return RL_OK;
}

static int rm_loss(struct learner *ln, const struct batch *b)
{
    struct reward_model *rm = ln->state;
    int rc = RL_OK;

    for (int g = ln->micro.group; g < ln->micro.group + ln->micro.groups; g++)
        for (int p = 0; p < rm->count[g]; p++)
            if (rm->terms[((size_t)g * rm->room + p) * RM_TERMS + RM_WEIGHT] > 0)
                TRY(pair_loss(ln, b, g, p));
done:
    return rc;
}

/* ---- report */

static int rm_report(struct learner *ln, const struct batch *b, struct metrics *m)
{
    struct reward_model *rm = ln->state;
    double loss = 0, right = 0, gap = 0;
    int empty = 0, rc = RL_OK;

    TRY(stats_gather(&ln->stats, rm->terms, (size_t)rm->room * RM_TERMS));
    for (int g = 0; g < b->P; g++) {
        const double *t = ln->stats.all + (size_t)g * rm->room * RM_TERMS;
        double weight = 0;

        for (int p = 0; p < rm->room; p++, t += RM_TERMS) {
            weight += t[RM_WEIGHT];
            loss += t[RM_WEIGHT] * t[RM_VALUE];
            right += t[RM_WEIGHT] * (t[RM_GAP] > 0);
            gap += t[RM_WEIGHT] * t[RM_GAP];
        }
        empty += weight == 0;
    }
    if (ln->total > 0) {
        metrics_set(m, "loss", loss / ln->total);
        metrics_set(m, "rm/train_accuracy", right / ln->total);
        metrics_set(m, "rm/train_margin", gap / ln->total);
    }
    metrics_set(m, "data/dropped_frac", (double)empty / b->P);
    more_report(ln, m);
done:
    return rc;
}

static void rm_close(struct learner *ln)
{
    struct reward_model *rm = ln->state;

    if (rm)
        free(rm->gaps);
}

const struct method method_reward_model = {
    .state = sizeof(struct reward_model), .view = rm_view, .check = rm_check, .setup = rm_setup,
    .layout = rm_layout, .open = rm_open, .close = rm_close, .values = rm_values,
    .targets = rm_targets, .count = rm_count, .loss = rm_loss, .report = rm_report,
    .held_out = rm_held_out,
};

const struct method method_more = {
    .state = sizeof(struct reward_model), .view = rm_view, .check = rm_check, .setup = rm_setup,
    .layout = rm_layout, .open = rm_open, .close = rm_close, .values = rm_values,
    .targets = rm_targets, .look = more_look, .prepare = more_prepare, .count = rm_count,
    .loss = rm_loss, .report = rm_report, .held_out = rm_held_out,
};
