/* RACO (arXiv 2602.02495), CAGrad, MGDA, PCGrad and the weighted sum: one method.
 *
 *   pairs with signs -> K gradients -> H -> a -> G0 = sum_i a_i g_i -> clip -> AdamW
 *
 * Where a is known before any gradient is (the weighted sum; c = 0; one objective; a step between
 * two solves) there is one ordinary backward pass with sum_i a_i dL_i/dS: RACO of one objective has
 * the bits of DPO. */
#include "learner/raco/raco.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "learner/preference/pairs.h"

/* ---- settings */

static int check_loss(const struct config *c)
{
    const struct loss *loss = loss_find(c->dpo.loss);

    if (!loss)
        return rl_error(RL_EINVAL, "%s: dpo.loss: there is no '%s'", config_where(c, "dpo.loss"),
                        c->dpo.loss);
    if (loss->needs & (LOSS_MARGIN | LOSS_SIGNS | LOSS_CONFIDENCE))
        return rl_error(RL_EINVAL, "%s: dpo.loss: an objective's loss must be of the pair alone; "
                        "'%s' needs more", config_where(c, "dpo.loss"), c->dpo.loss);
    return RL_OK;
}

static const char *rule_name(const struct config *c, const struct algorithm *a)
{
    return c->raco.combine ? c->raco.combine : a->variant;
}

static enum raco_mode mode_of(const char *name)
{
    if (strcmp(name, "two_pass") == 0)
        return MODE_TWO_PASS;
    return strcmp(name, "sketch") == 0 ? MODE_SKETCH : MODE_STORE;
}

static int raco_check(const struct config *c, const struct algorithm *a)
{
    int rc = RL_OK;

    TRY(check_loss(c));
    TRY(check_objective_weights(c, a));
    if (objective_count(c) > COMBINE_MAX)
        return rl_error(RL_EINVAL, "%s: raco.weights: %d objectives; %s takes %d at most",
                        config_where(c, "raco.weights"), objective_count(c), a->name,
                        COMBINE_MAX);
    if (strcmp(a->variant, "raco") != 0 && strcmp(rule_name(c, a), a->variant) != 0)
        return rl_error(RL_EINVAL, "%s: raco.combine: \"%s\" does not go with algorithm \"%s\" "
                        "(%s)", config_where(c, "raco.combine"), c->raco.combine, a->name,
                        config_where(c, "algorithm"));
    if (strcmp(c->raco.solve, "leaf") == 0 &&
        (mode_of(c->raco.mode) != MODE_STORE || c->raco.refresh > 1))
        return rl_error(RL_EINVAL, "%s: raco.solve: \"leaf\" goes with raco.mode = \"store\" and "
                        "raco.refresh = 1 only", config_where(c, "raco.solve"));
    if (algorithm_source(a, c) == SOURCE_PROMPTS)
        TRY(pairs_check_rollouts(c, a));
done:
    return rc;
}

static void fill_settings(struct raco *r, const struct config *c)
{
    const char *rescale = c->raco.rescale, *sum = c->raco.pcgrad;

    r->set = (struct combine_settings){
        .c = c->raco.c, .clip = c->raco.clip, .clip_guard = c->raco.guard,
        .k1_is_dpo = c->raco.k1_is_dpo, .skip_empty = c->raco.skip_empty,
        .rescale = strcmp(rescale, "linear") == 0   ? RESCALE_LINEAR
                   : strcmp(rescale, "square") == 0 ? RESCALE_SQUARE
                                                    : RESCALE_NONE,
        .pcgrad = strcmp(sum, "mean") == 0  ? PCGRAD_MEAN
                  : strcmp(sum, "sum") == 0 ? PCGRAD_TOTAL
                                            : PCGRAD_WEIGHTED,
    };
}

/* Is a = w whatever the gradients are? */
static bool always_weights(const struct raco *r)
{
    bool cagrad = strcmp(r->rule->name, "raco") == 0 || strcmp(r->rule->name, "cagrad") == 0;

    if (strcmp(r->rule->name, "weighted_sum") == 0)
        return true;
    return (cagrad && r->set.c == 0) || (r->K == 1 && (!cagrad || r->set.k1_is_dpo));
}

/* Signs or data sets of the records, against the weights. */
static int name_objectives(struct learner *ln)
{
    const struct config *c = ln->config;
    struct raco *r = ln->state;

    if (algorithm_source(ln->algorithm, c) != SOURCE_PAIRS)
        return RL_OK;
    if (ln->records)
        records_objectives(ln->records, &r->names);
    return check_recorded_objectives(ln, true);
}

static int raco_setup(struct learner *ln)
{
    const struct config *c = ln->config;
    struct raco *r = ln->state;
    int rc = RL_OK;

    TRY(name_objectives(ln));
    TRY(pairing_parse(&r->pairing, c->dpo.pairing));
    r->rule = combine_find(rule_name(c, ln->algorithm));
    fill_settings(r, c);
    loss_settings_fill(&r->pair_set, c);
    r->loss = loss_find(c->dpo.loss);
    r->K = objective_count(c);
    for (int i = 0; i < r->K; i++)
        r->w[i] = r->a[i] = objective_weight(c, i);
    r->solves = !always_weights(r);
    r->mode = mode_of(c->raco.mode);
    r->each_leaf = strcmp(c->raco.solve, "leaf") == 0;
    r->buckets = (size_t)c->raco.buckets;
    r->pairs_per_group = label_pairs(r->pairing, ln->k);
    r->stride = RACO_TERMS + 2 * r->K;
    ln->used_rows = r->pairing == PAIRING_ALL ? ln->k : 2;
    ln->group_terms = (size_t)r->pairs_per_group * (size_t)r->stride;
    if (r->solves && r->mode != MODE_STORE) {
        ln->blocks = true;
        ln->pass_rows = blocks_rows(ln);
    }
done:
    return rc;
}

/* ---- memory */

static void raco_layout(struct learner *ln, struct memory *memory)
{
    struct raco *r = ln->state;
    size_t pairs = (size_t)ln->P * (size_t)r->pairs_per_group, k = (size_t)ln->k;

    r->pairs = memory_take(memory, pairs * sizeof *r->pairs);
    r->terms = memory_take(memory, pairs * (size_t)r->stride * sizeof *r->terms);
    r->scores = memory_take(memory, k * (size_t)(r->K + 1) * sizeof *r->scores);
    r->kind = memory_take(memory, (size_t)ln->P);
    if (!r->solves)
        return;
    gram_layout(ln, memory);
    if (r->mode != MODE_STORE)
        blocks_layout_raco(ln, memory);
    if (r->each_leaf)
        leaves_layout(ln, memory);
    for (int i = 0; i < r->K && r->mode == MODE_STORE; i++)
        r->g[i] = memory_take(memory, model_size(&ln->shape) * sizeof(float));
}

static int raco_open(struct learner *ln)
{
    struct raco *r = ln->state;

    if (!r->solves)
        return RL_OK;
    gram_list(ln);
    if (r->each_leaf)
        return RL_OK;               /* g_i is of one leaf at a time */
    return r->mode == MODE_STORE ? store_open(ln) : blocks_open(ln);
}

static void raco_close(struct learner *ln)
{
    struct raco *r = ln->state;

    for (int i = 0; i < r->K; i++)
        tree_destroy(r->own[i]);
    tree_destroy(r->block_tree);
}

static size_t raco_bytes(const struct learner *ln, const struct learner_size *size)
{
    const struct raco *r = ln->state;

    if (!r->solves || r->each_leaf)
        return 0;
    if (r->mode != MODE_STORE)
        return blocks_bytes(ln, size);
    return (size_t)r->K * tree_bytes(model_size(&ln->shape), ln->leaves, size->ranks, size->rank);
}

static int raco_values(struct learner *ln, struct learner_value *out)
{
    struct raco *r = ln->state;

    out[0] = (struct learner_value){ "raco_coefficients", r->a, (size_t)r->K };
    return 1;
}

static unsigned raco_columns(const struct config *c, const struct algorithm *a)
{
    const struct loss *loss = loss_find(c->dpo.loss);

    return loss && !(loss->needs & LOSS_REF) ? a->columns & ~(unsigned)COL_REF_LOGP : a->columns;
}

/* ---- the steps of an update */

/* The weights of the step are the mean of an orchestrator's over its prompts. */
static void set_weights(struct learner *ln)
{
    struct raco *r = ln->state;

    for (int i = 0; i < r->K; i++) {
        r->w[i] = ln->rewards.mix[i];
        if (!r->solves)
            r->a[i] = r->w[i];
    }
}

static int raco_targets(struct learner *ln, const struct batch *b)
{
    if (ln->config->orchestrator.model)
        set_weights(ln);
    for (int g = 0; g < b->groups; g++)
        raco_label(ln, b, g);
    raco_mark(ln, b, KIND_ANY);
    return RL_OK;
}

/* Nothing of the step teaches anything: the first pair of each group is run all the same, without
 * effect, so that actor and learner are compared in every step. */
static void run_first_pairs(struct learner *ln, const struct batch *b)
{
    const struct raco *r = ln->state;

    for (int g = 0; g < b->groups; g++) {
        const struct pair *pair = &r->pairs[g * r->pairs_per_group];

        ln->place[g * b->k + pair->winner] = ln->place[g * b->k + pair->loser] = 0;
    }
}

static int raco_count(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    size_t per_group = (size_t)r->pairs_per_group * (size_t)r->stride;
    int rc = RL_OK;

    TRY(gradients_count(ln, b));
    TRY(stats_gather(&ln->stats, r->terms, per_group));
    memset(r->B, 0, sizeof r->B);
    r->kinds = 0;
    for (int g = 0; g < b->P; g++) {
        const double *t = ln->stats.all + (size_t)g * per_group;

        r->kinds |= (int)raco_kind(r, t);
        for (int p = 0; p < r->pairs_per_group; p++, t += r->stride)
            for (int i = 0; i < r->K; i++)
                r->B[i] += isnan(t[RACO_TERMS + i]) ? 0 : t[RACO_WEIGHT];
    }
    ln->total = r->kinds ? 1 : 0;       /* slopes are over each objective's own count */
    if (!r->kinds)
        run_first_pairs(ln, b);
done:
    return rc;
}

/* One backward pass with the coefficients that there are. */
static int weighed_gradient(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    struct trace t;
    int rc = RL_OK;

    memcpy(r->coef, r->a, sizeof r->coef);
    TRY(comm_agree(ln->team, gradients_add(ln, b)));
    t = trace_begin("reduce");
    TRY(comm_tree_sum(ln->policy.tree, ln->policy.grads));
    ln->seconds[SECONDS_REDUCE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

static int raco_gradients(struct learner *ln, const struct batch *b)
{
    struct raco *r = ln->state;
    int rc = RL_OK;

    r->solved = false;
    r->compare = true;
    if (!r->solves || !(ln->total > 0) || ln->version % ln->config->raco.refresh != 0)
        return weighed_gradient(ln, b);
    if (r->each_leaf)
        return leaves_gradient(ln, b);
    if (r->mode == MODE_STORE)
        TRY(store_gradients(ln, b));
    else
        TRY(blocks_gradients(ln, b));
    TRY(gram_solve(ln));
    if (r->report.path == COMBINE_SKIP)
        return RL_OK;
    if (r->mode == MODE_STORE) {
        store_combine(ln, r->a, ln->policy.grads);
        return RL_OK;
    }
    r->compare = false;
    raco_mark(ln, b, KIND_ANY);
    rc = weighed_gradient(ln, b);
done:
    return rc;
}

const struct method method_raco = {
    .state = sizeof(struct raco), .sources = 1u << SOURCE_PAIRS, .columns = raco_columns,
    .check = raco_check,
    .setup = raco_setup, .layout = raco_layout, .open = raco_open, .close = raco_close,
    .bytes = raco_bytes, .values = raco_values, .targets = raco_targets, .count = raco_count,
    .loss = raco_loss, .gradients = raco_gradients, .report = raco_report,
};
