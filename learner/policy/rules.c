/* The presets of the algorithms, and the keys over them.  See rules.h. */
#include "learner/policy/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "learner/internal.h"

#define SAME_SCORE 1e-8         /* scores of a group this close teach nothing */
#define SAMPLES 1024            /* of a prompt, at most: samples_per_prompt */

/* Every cell is a key of `ppo`; 0 of a clip is none. */
static const struct preset {
    const char *name, *advantage, *agg, *ratio;
    double clip_low, clip_high, dual_clip;
    int epochs, minibatches;
    const char *whiten, *kl_in, *kl;
    double overlong;
    int max_resample;
} presets[] = {
    { "ppo", "gae", "token-mean", "token", 0.2, 0.2, 0, 2, 2, "yes", "reward", "k1", 0, 0 },
    { "rloo", "rloo", "seq-mean-token-sum", "token", 0, 0, 0, 1, 1, "no", "reward", "k1", 0, 0 },
    { "grpo", "grpo", "seq-mean-token-mean", "token", 0.2, 0.2, 0, 1, 1, "no", "loss", "k3", 0, 0 },
    { "dr_grpo", "group_mean", "seq-mean-token-sum-norm", "token", 0.2, 0.2, 0, 1, 1, "no", "none",
      "k3", 0, 0 },
    { "dapo", "grpo", "token-mean", "token", 0.2, 0.28, 0, 1, 2, "no", "none", "k3", 1, 3 },
    { "reinforce_pp", "reinforce_pp", "token-mean", "token", 0.2, 0.2, 0, 1, 1, "yes", "reward",
      "k1", 0, 0 },
    { "reinforce_pp_baseline", "reinforce_pp_baseline", "token-mean", "token", 0.2, 0.2, 0, 1, 1,
      "yes", "loss", "k2", 0, 0 },
    { "gspo", "grpo", "seq-mean-token-mean", "response", 3e-4, 4e-4, 0, 1, 2, "no", "none", "k3", 0,
      0 },
    { "opo", "opo", "token-mean", "token", 0.2, 0.2, 0, 1, 1, "no", "none", "k3", 0, 0 },
};

static const struct preset *preset_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

static const char *word(const char *given, const char *preset)
{
    return given ? given : preset;
}

static double number(double given, double preset)
{
    return given >= 0 ? given : preset;
}

/* 0 stands for no bound. */
static double bound(double x)
{
    return x > 0 ? x : INFINITY;
}

static bool is(const char *word, const char *value)
{
    return strcmp(word, value) == 0;
}

/* ---- words that name rows of tables */

static int find_words(struct policy_rules *r, const struct config *c, const struct preset *p)
{
    const char *advantage = word(c->ppo.advantage, p->advantage), *agg = word(c->ppo.agg, p->agg);

    r->advantage = advantage_find(advantage);
    r->kl = kl_find(word(c->ppo.kl, p->kl));
    if (!r->advantage)
        return rl_error(RL_EINVAL, "%s: ppo.advantage: there is no '%s': it is one of gae, "
                        "reinforce_pp, rloo, grpo, group_mean, opo, reinforce_pp_baseline",
                        config_where(c, "ppo.advantage"), advantage);
    if (!aggregation_parse(&r->agg, agg))
        return rl_error(RL_EINVAL, "%s: ppo.agg: there is no '%s': it is one of token-mean, "
                        "seq-mean-token-mean, seq-mean-token-sum, seq-mean-token-sum-norm",
                        config_where(c, "ppo.agg"), agg);
    return RL_OK;
}

static void set_loss(struct policy_rules *r, const struct config *c, const struct preset *p)
{
    const char *kl_in = word(c->ppo.kl_in, p->kl_in);

    r->std_eps = 1e-6;
    r->ddof = is(c->ppo.group_std, "unbiased");
    r->length = (double)c->max_new;
    r->per_response = is(word(c->ppo.ratio, p->ratio), "response");
    r->clip = (struct clipping){ bound(number(c->ppo.clip_low, p->clip_low)),
                                 bound(number(c->ppo.clip_high, p->clip_high)),
                                 number(c->ppo.dual_clip, p->dual_clip) };
    r->epochs = c->ppo.epochs > 0 ? (int)c->ppo.epochs : p->epochs;
    r->minibatches = c->ppo.minibatches > 0 ? (int)c->ppo.minibatches : p->minibatches;
    r->kl_in = is(kl_in, "none") ? KL_NOWHERE : is(kl_in, "loss") ? KL_IN_LOSS : KL_IN_REWARD;
    r->kl_coef = number(c->ppo.kl_coef, c->beta);
    r->kl_adapts = is(c->ppo.kl_control, "adaptive");
    r->kl_target = c->ppo.kl_target;
    r->kl_horizon = c->ppo.kl_horizon;
    r->entropy_coef = c->ppo.entropy_coef;
    r->ptx_coef = c->ppo.ptx_coef;
    r->tis = is(c->ppo.tis, "off") ? TIS_OFF : is(c->ppo.tis, "token") ? TIS_TOKEN : TIS_RESPONSE;
    r->tis_max = c->ppo.tis_max;
}

static void set_advantages(struct policy_rules *r, const struct config *c, const struct preset *p)
{
    r->gamma = c->ppo.gamma;
    r->lambda = r->advantage->critic ? c->ppo.lambda : 1;
    r->bootstrap = c->ppo.bootstrap_truncated;
    r->critic = r->advantage->critic;
    r->shared = r->critic && is(c->ppo.critic, "shared");
    r->value_clip = bound(c->ppo.value_clip);
    r->vf_coef = c->ppo.vf_coef;
    r->whiten = is(word(c->ppo.whiten, p->whiten), "yes");
    r->whiten_rewards = c->ppo.whiten_rewards;
    r->unbiased = is(c->ppo.variance, "unbiased");
}

static void set_rewards(struct policy_rules *r, const struct config *c, const struct preset *p)
{
    r->norm = is(c->ppo.reward_norm, "none") ? NORM_NONE
            : is(c->ppo.reward_norm, "running") ? NORM_RUNNING : NORM_REFERENCE;
    r->reward_clip = bound(c->ppo.reward_clip);
    r->eos = (struct eos_rule){ c->ppo.missing_eos_penalty, c->ppo.missing_eos_score > -1e30,
                                c->ppo.missing_eos_score };
    r->max_new = (double)c->max_new;
    r->overlong = number(c->ppo.overlong, p->overlong);
    r->overlong_cache = c->ppo.overlong_cache > 0 ? (double)c->ppo.overlong_cache
                                                  : (double)(c->max_new / 5);
    r->overlong_filter = is(word(c->ppo.overlong_filter, "no"), "yes");
    r->max_resample = c->ppo.max_resample >= 0 ? (int)c->ppo.max_resample : p->max_resample;
}

/* ---- keys that do not go together */

static int check(const struct policy_rules *r, const struct config *c)
{
    if (r->advantage->group && c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: samples_per_prompt: advantage %s compares responses and "
                        "needs 2 or more", config_where(c, "samples_per_prompt"),
                        r->advantage->name);
    if (r->per_response && !r->advantage->group)
        return rl_error(RL_EINVAL, "%s: ppo.ratio: one ratio for a response needs one advantage "
                        "for it, not %s", config_where(c, "ppo.ratio"), r->advantage->name);
    if (r->clip.dual > 0 && r->clip.dual <= 1)
        return rl_error(RL_EINVAL, "%s: ppo.dual_clip: %g is not above 1",
                        config_where(c, "ppo.dual_clip"), r->clip.dual);
    if (r->minibatches > c->prompts_per_step * c->samples_per_prompt)
        return rl_error(RL_EINVAL, "%s: ppo.minibatches: %d of %lld responses",
                        config_where(c, "ppo.minibatches"), r->minibatches,
                        (long long)(c->prompts_per_step * c->samples_per_prompt));
    if (r->ptx_coef > 0 && c->text.count == 0)
        return rl_error(RL_EINVAL, "%s: ppo.ptx_coef: trains on text beside the rollouts, and "
                        "there is none: name its files in text", config_where(c, "ppo.ptx_coef"));
    if (r->max_resample > 0 && c->samples_per_prompt < 2)
        return rl_error(RL_EINVAL, "%s: ppo.max_resample: compares responses; samples_per_prompt "
                        "must be 2 or more", config_where(c, "ppo.max_resample"));
    if (r->shared && c->ppo.critic_lr >= 0)
        return rl_error(RL_EINVAL, "%s: ppo.critic_lr: a shared critic is trained with lr",
                        config_where(c, "ppo.critic_lr"));
    return RL_OK;
}

int policy_rules(struct policy_rules *out, const struct config *c, const char *preset)
{
    const struct preset *p = preset_find(preset);
    int rc = RL_OK;

    *out = (struct policy_rules){ 0 };
    if (!p)
        return rl_error(RL_EBUG, "there is no preset '%s'", preset ? preset : "");
    TRY(find_words(out, c, p));
    set_loss(out, c, p);
    set_advantages(out, c, p);
    set_rewards(out, c, p);
    TRY(check(out, c));
done:
    return rc;
}

/* ---- what others do for it */

struct policy_wants policy_wants(const struct config *c)
{
    const struct algorithm *a = algorithm_find(c->algorithm);
    struct policy_wants w = { 0 };
    struct policy_rules r;

    if (!a || a->method != &method_policy || policy_rules(&r, c, a->variant) != RL_OK)
        return w;
    w.policy = true;
    w.critic = r.critic;
    w.shared = r.shared;
    if (r.critic && !r.shared)
        w.critic_from = is(c->ppo.critic, "own") ? c->model : c->ppo.critic;
    w.rounds = r.max_resample;
    w.text_rows = r.ptx_coef > 0 ? (int)c->rows_per_step : 0;
    w.reference_rows = r.norm == NORM_REFERENCE ? c->ppo.reward_rows : 0;
    return w;
}

bool policy_signal(const struct config *c, const struct batch *b, int g)
{
    double score[SAMPLES];

    for (int i = 0; i < b->k; i++)
        score[i] = score_given(c, b, g * b->k + i);
    return group_has_signal(score, b->k, SAME_SCORE);
}
