/* The algorithms: one row each.  A new one is the parts it lacks and a row here. */
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

#define ROLLOUTS (COL_TOKENS | COL_ACTOR_LOGP | COL_REF_LOGP | COL_REWARD)
#define RECORDS (COL_TOKENS | COL_REWARD | COL_LABEL)

/* Rows that learn from samples for prompts, and from records; `source` may say otherwise. */
#define SAMPLED(name, method, columns, variant) \
    { name, &method, SOURCE_PROMPTS, columns, variant }
#define RECORDED(name, method, columns, variant) \
    { name, &method, SOURCE_PAIRS, columns, variant }

const struct algorithm algorithms[] = {
    SAMPLED("online_dpo",            method_dpo,     0,        NULL),
    RECORDED("dpo",               method_dpo,          0,       NULL),
    RECORDED("cdpo",              method_dpo,          0,       "sigmoid"),
    RECORDED("ipo",               method_dpo,          0,       "ipo ipo_sum"),
    RECORDED("rdpo",              method_dpo,          0,       "rdpo"),
    RECORDED("ln_dpo",            method_dpo,          0,       "ln_dpo"),
    RECORDED("simpo",             method_dpo,          0,       "simpo"),
    RECORDED("cpo",               method_dpo,          0,       "cpo"),
    RECORDED("orpo",              method_dpo,          0,       "orpo"),
    RECORDED("slic",              method_dpo,          0,       "slic"),
    RECORDED("mapo",              method_dpo,          0,       "mapo"),
    RECORDED("nca",               method_dpo,          0,       "nca"),
    RECORDED("sppo",              method_dpo,          0,       "sppo"),
    RECORDED("apo",               method_dpo,          0,       "apo_zero"),
    RECORDED("lcpo",              method_dpo,          0,       NULL),
    RECORDED("spa",               method_dpo,          0,       "sigmoid"),
    RECORDED("reward_augmented",  method_dpo,          0,       NULL),
    RECORDED("dove",              method_dpo,          0,       NULL),
    RECORDED("mapl",              method_dpo,          0,       NULL),
    RECORDED("lipo",              method_lists,        0,       "lipo"),
    RECORDED("pro",               method_lists,        0,       "pro"),
    RECORDED("listwise_soft",     method_lists,        0,       "listwise_soft"),
    RECORDED("gpo",               method_lists,        0,       "gpo"),
    RECORDED("kto",               method_singles,      0,       "kto"),
    RECORDED("bco",               method_singles,      0,       "bco"),
    SAMPLED("ppo",                   method_policy,  ROLLOUTS, "ppo"),
    SAMPLED("rloo",                  method_policy,  ROLLOUTS, "rloo"),
    SAMPLED("grpo",                  method_policy,  ROLLOUTS, "grpo"),
    SAMPLED("dr_grpo",               method_policy,  ROLLOUTS, "dr_grpo"),
    SAMPLED("dapo",                  method_policy,  ROLLOUTS, "dapo"),
    SAMPLED("reinforce_pp",          method_policy,  ROLLOUTS, "reinforce_pp"),
    SAMPLED("reinforce_pp_baseline", method_policy,  ROLLOUTS, "reinforce_pp_baseline"),
    SAMPLED("gspo",                  method_policy,  ROLLOUTS, "gspo"),
    SAMPLED("opo",                   method_policy,  ROLLOUTS, "opo"),
    SAMPLED("raco",                  method_raco,    ROLLOUTS, "raco"),
    SAMPLED("cagrad",                method_raco,    ROLLOUTS, "cagrad"),
    SAMPLED("mgda",                  method_raco,    ROLLOUTS, "mgda"),
    SAMPLED("pcgrad",                method_raco,    ROLLOUTS, "pcgrad"),
    SAMPLED("weighted_sum",          method_raco,    ROLLOUTS, "weighted_sum"),
    RECORDED("modpo",             method_objectives,   0,       "sigmoid"),
    RECORDED("amopo",             method_objectives,   0,       "simpo orpo"),
    RECORDED("reward_model",      method_reward_model, RECORDS, "reward_model"),
    RECORDED("more",              method_more,         RECORDS, "more"),
    RECORDED("pal",               method_reward_model, RECORDS, "pal"),
    RECORDED("gpm",               method_reward_model, RECORDS, "gpm"),
    SAMPLED("osp",                   method_osp,     ROLLOUTS, NULL),
    SAMPLED("orchestrator",          method_orchestrator,
            ROLLOUTS & ~(unsigned)COL_REF_LOGP, NULL),
    RECORDED("judge",             method_judge,        COL_TOKENS | COL_LABEL, NULL),
    RECORDED("sft",               method_lm,           COL_TOKENS, NULL),
    { "lm", &method_lm, SOURCE_TEXT, COL_TOKENS, NULL },
    { NULL, NULL, SOURCE_PROMPTS, 0, NULL },
};

const struct algorithm *algorithm_find(const char *name)
{
    for (const struct algorithm *a = algorithms; a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

void algorithm_names(struct text *out, const char *between)
{
    for (const struct algorithm *a = algorithms; a->name; a++)
        text_addf(out, "%s%s", a == algorithms ? "" : between, a->name);
}

/* One line that offers the nearest. */
static int unknown(const struct config *c)
{
    const struct algorithm *nearest = algorithms;

    for (const struct algorithm *a = algorithms; a->name; a++)
        if (text_edits(c->algorithm, a->name) < text_edits(c->algorithm, nearest->name))
            nearest = a;
    return rl_error(RL_EINVAL, "%s: algorithm: there is no '%s'; the nearest is '%s' (all of them: "
                    "rankwise train --algorithms)", config_where(c, "algorithm"), c->algorithm,
                    nearest->name);
}

/* The first reward of kind judge, -1: there is none. */
static int judge_of(const struct config *c)
{
    for (int i = 0; i < c->n_rewards; i++)
        if (c->rewards[i].kind && strcmp(c->rewards[i].kind, "judge") == 0)
            return i;
    return -1;
}

/* A reward of kind judge, in whatever algorithm: can the gate test it, and is there its model? */
static int check_judge(const struct config *c, const struct algorithm *a, unsigned columns)
{
    bool frozen = c->osp.judge && strcmp(c->osp.judge, "frozen") == 0;
    int judge = judge_of(c);

    if (judge < 0)
        return RL_OK;
    if (frozen && !(columns & COL_REF_LOGP))
        return rl_error(RL_EINVAL, "%s: osp.judge: a frozen judge is refmodel, and %s as it is set "
                        "has none", config_where(c, "osp.judge"), a->name);
    if (c->osp.gate && c->eval_pairs.count == 0)
        return rl_error(RL_EINVAL, "%s: rewards[%d]: a judge is tested on held-out pairs before "
                        "anything is learned from it: set eval_pairs, or osp.gate = false",
                        c->rewards[judge].where ? c->rewards[judge].where : "default", judge);
    if (c->osp.gate && frozen && strcmp(c->refmodel, c->model) != 0)
        return rl_error(RL_EINVAL, "%s: osp.gate: a frozen judge is refmodel, and the gate tests "
                        "model: make them the same, or set osp.gate = false",
                        config_where(c, "osp.gate"));
    return RL_OK;
}

/* Are there scores for an orchestrator to weigh, and does the algorithm add them up? */
static int check_orchestrator(const struct config *c, const struct algorithm *a)
{
    const char *where = config_where(c, "orchestrator.model");
    bool scored = algorithm_source(a, c) == SOURCE_PROMPTS && algorithm_columns(a, c) & COL_REWARD;

    if (!c->orchestrator.model)
        return RL_OK;
    if (!scored)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: it weighs the rewards of sampled "
                        "responses, and %s as it is set has none", where, a->name);
    if (a->method == &method_orchestrator || a->method->judges)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: %s does not learn from a weighted sum "
                        "of rewards", where, a->name);
    if (c->n_rewards < 2)
        return rl_error(RL_EINVAL, "%s: orchestrator.model: one reward needs no weights; name more "
                        "rewards or leave it out", where);
    return RL_OK;
}

static int check_rollouts(const struct config *c, unsigned columns)
{
    if (!c->prompts)
        return config_missing(c, "prompts");
    if (columns & COL_REWARD && c->n_rewards == 0)
        return config_missing(c, "rewards");
    if (c->temperature == 0)
        return rl_error(RL_EINVAL, "%s: temperature: %s samples and needs more than 0",
                        config_where(c, "temperature"), c->algorithm);
    return RL_OK;
}

/* Is `source` one that the algorithm can learn from? */
static int check_source(const struct config *c, const struct algorithm *a)
{
    enum rows_from from = algorithm_source(a, c);

    if (from == a->source || a->method->sources & 1u << from)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: source: %s cannot learn from %s", config_where(c, "source"),
                    a->name, from == SOURCE_PAIRS ? "pairs" : "prompts");
}

int algorithm_check(struct config *c)
{
    const struct algorithm *a = algorithm_find(c->algorithm);
    enum rows_from from;
    int rc = RL_OK;

    if (!a)
        return unknown(c);
    from = algorithm_source(a, c);
    TRY(check_source(c, a));
    if (from == SOURCE_PAIRS && c->pairs.count == 0)
        return config_missing(c, "pairs");
    if (from == SOURCE_TEXT && c->text.count == 0)
        return config_missing(c, "text");
    if (from == SOURCE_PROMPTS) {
        TRY(check_rollouts(c, algorithm_columns(a, c)));
        TRY(check_judge(c, a, algorithm_columns(a, c)));
    }
    TRY(check_orchestrator(c, a));
    if (a->method->check)
        TRY(a->method->check(c, a));
    TRY(keys_check(c, a));
done:
    return rc;
}

enum rows_from algorithm_source(const struct algorithm *a, const struct config *c)
{
    if (!c->source)
        return a->source;
    return strcmp(c->source, "pairs") == 0 ? SOURCE_PAIRS : SOURCE_PROMPTS;
}

unsigned algorithm_columns(const struct algorithm *a, const struct config *c)
{
    unsigned columns = a->method->columns ? a->method->columns(c, a) : a->columns;

    if (algorithm_source(a, c) == SOURCE_PAIRS)         /* no actor, but a label */
        columns = (columns & ~(unsigned)COL_ACTOR_LOGP) | COL_LABEL;
    return columns | (c->orchestrator.model ? COL_MIX : 0);
}

enum view algorithm_view(const struct algorithm *a, const struct config *c)
{
    return a->method->view ? a->method->view(c, a) : VIEW_PAIRS;
}

enum view algorithm_held_out_view(const struct algorithm *a, const struct config *c)
{
    return a->method->held_out ? algorithm_view(a, c) : VIEW_PAIRS;
}

int algorithm_adapter(const struct algorithm *a, const struct config *c)
{
    return a->method == &method_orchestrator ? c->n_rewards : 0;
}

bool algorithm_judges(const struct algorithm *a)
{
    return a->method->judges;
}

double algorithm_temperature(const struct algorithm *a, const struct config *c)
{
    return a->method->sampling_temperature ? c->temperature : 1;
}
