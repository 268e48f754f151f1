/* Who reads which key.  A key that was given and that nothing reads as the configuration stands is
 * refused: its value would be taken for granted and change nothing.
 *
 *   ppo.lambda   <-  algorithm: as ppo   <-  ppo.advantage = "gae"
 *
 * Each row of reads[] that names the key must hold.  Keys that no row names are read always:
 * by training, by evaluation, or by `rankwise eval`. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "learner/internal.h"
#include "learner/policy/rules.h"

/* ---- on what it depends: a word that is in effect */

static const char *algorithm_word(const struct config *c, const struct algorithm *a)
{
    (void)c;
    return a->name;
}

static const char *source_word(const struct config *c, const struct algorithm *a)
{
    static const char *const words[] = { [SOURCE_PROMPTS] = "prompts", [SOURCE_PAIRS] = "pairs",
                                         [SOURCE_TEXT] = "text" };

    return words[algorithm_source(a, c)];
}

static const char *loss_word(const struct config *c, const struct algorithm *a)
{
    if (a->method == &method_dpo || a->method == &method_raco || a->method == &method_objectives)
        return c->dpo.loss;
    return a->method == &method_osp && strcmp(c->osp.link, "affine") == 0 ? "spce_affine" : "";
}

static const char *rule_word(const struct config *c, const struct algorithm *a)
{
    if (a->method != &method_raco)
        return "";
    return c->raco.combine ? c->raco.combine : a->variant;
}

/* The rules of a policy gradient; of others all zero. */
static struct policy_rules rules_of(const struct config *c, const struct algorithm *a)
{
    struct policy_rules r = { 0 };

    if (a->method != &method_policy || policy_rules(&r, c, a->variant) != RL_OK)
        memset(&r, 0, sizeof r);
    return r;
}

static const char *advantage_word(const struct config *c, const struct algorithm *a)
{
    struct policy_rules r = rules_of(c, a);

    return r.advantage ? r.advantage->name : "";
}

static const char *kl_word(const struct config *c, const struct algorithm *a)
{
    static const char *const words[] = { [KL_NOWHERE] = "none", [KL_IN_REWARD] = "reward",
                                         [KL_IN_LOSS] = "loss" };

    return words[rules_of(c, a).kl_in];
}

static const char *whitened_word(const struct config *c, const struct algorithm *a)
{
    struct policy_rules r = rules_of(c, a);

    return r.whiten || r.whiten_rewards ? "yes" : "";
}

static const char *overlong_word(const struct config *c, const struct algorithm *a)
{
    return rules_of(c, a).overlong > 0 ? "on" : "";
}

static const char *text_word(const struct config *c, const struct algorithm *a)
{
    return algorithm_source(a, c) == SOURCE_TEXT ? "lm"
           : rules_of(c, a).ptx_coef > 0         ? "ppo.ptx_coef" : "";
}

static const char *judge_word(const struct config *c, const struct algorithm *a)
{
    for (int i = 0; i < c->n_rewards; i++)
        if (strcmp(c->rewards[i].kind, "judge") == 0)
            return "reward";
    return a->method == &method_judge ? "algorithm" : "";
}

static const char *reference_word(const struct config *c, const struct algorithm *a)
{
    return algorithm_columns(a, c) & COL_REF_LOGP ? "yes" : "";
}

static bool is_sampled(const struct config *c, const struct algorithm *a)
{
    return algorithm_source(a, c) == SOURCE_PROMPTS || c->eval_prompts;
}

static const char *sampled_word(const struct config *c, const struct algorithm *a)
{
    return is_sampled(c, a) ? "yes" : "";
}

static const char *scored_word(const struct config *c, const struct algorithm *a)
{
    return is_sampled(c, a) || c->eval_pairs.count > 0 ? "yes" : "";
}

static const char *records_word(const struct config *c, const struct algorithm *a)
{
    return algorithm_source(a, c) == SOURCE_PAIRS || c->eval_pairs.count > 0 ? "yes" : "";
}

static const char *packed_word(const struct config *c, const struct algorithm *a)
{
    return c->eval_text.count > 0 || *text_word(c, a) ? "yes" : "";
}

/* The reference model of training, and what evaluation compares with. */
static const char *refmodel_word(const struct config *c, const struct algorithm *a)
{
    bool evaluated = c->eval_prompts || c->eval_pairs.count > 0 || c->eval_text.count > 0;

    return evaluated || *reference_word(c, a) ? "yes" : "";
}

/* Losses of pairs, lists and singles, the KL of a policy gradient, and margins of eval_pairs. */
static const char *beta_word(const struct config *c, const struct algorithm *a)
{
    const struct method *const methods[] = { &method_dpo, &method_raco, &method_objectives,
                                             &method_lists, &method_singles, &method_osp };
    bool read = c->eval_pairs.count > 0 ||
                (rules_of(c, a).kl_in != KL_NOWHERE && c->ppo.kl_coef < 0);

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        read |= a->method == methods[i];
    return read ? "yes" : "";
}

static const char *lag_word(const struct config *c, const struct algorithm *a)
{
    (void)a;
    return c->max_lag > 0 ? "1" : "0";
}

static const char *nll_word(const struct config *c, const struct algorithm *a)
{
    (void)a;
    return c->dpo.nll > 0 ? "on" : "";
}

static const char *length_word(const struct config *c, const struct algorithm *a)
{
    (void)a;
    return c->osp.length_penalty > 0 ? "on" : "";
}

/* Other selectors are keys, and the word is the key's value. */
static const struct selector {
    const char *name;           /* as the message has it */
    const char *choosers;       /* the keys that make the word what it is, beside the algorithm */
    const char *(*word)(const struct config *c, const struct algorithm *a);
} selectors[] = {
    { "algorithm", "algorithm", algorithm_word },
    { "source", "source", source_word },
    { "dpo.loss", "dpo.loss", loss_word },
    { "dpo.nll", "dpo.nll", nll_word },
    { "osp.length_penalty", "osp.length_penalty", length_word },
    { "raco.combine", "raco.combine", rule_word },
    { "ppo.advantage", "ppo.advantage", advantage_word },
    { "ppo.kl_in", "ppo.kl_in", kl_word },
    { "whiten", "ppo.whiten ppo.whiten_rewards", whitened_word },
    { "ppo.overlong", "ppo.overlong", overlong_word },
    { "text", "ppo.ptx_coef", text_word },
    { "judge", "rewards", judge_word },
    { "reference", "dpo.loss", reference_word },
    { "refmodel", "dpo.loss eval_prompts eval_pairs eval_text", refmodel_word },
    { "beta", "ppo.kl_in ppo.kl_coef eval_pairs", beta_word },
    { "sampled", "source eval_prompts", sampled_word },
    { "scored", "source eval_prompts eval_pairs", scored_word },
    { "records", "source eval_pairs", records_word },
    { "packed", "ppo.ptx_coef eval_text", packed_word },
    { "max_lag", "max_lag", lag_word },
    { NULL, NULL, NULL },
};

/* ---- the table */

#define METHOD NULL             /* words: an algorithm stands for all of its method */

/* keys, selector and words: with one space between.  "x.*" are all keys of x.  said: what to write
 * for it, where "selector = words" is nothing that can be written. */
static const struct reads { const char *keys, *selector, *words, *said; } reads[] = {
    { "trace_first trace_last", "trace", "true", NULL },
    { "prompts samples_per_prompt max_lag", "source", "prompts", NULL },
    { "pairs mix", "source", "pairs", NULL },
    { "text rows_per_step", "text", "lm ppo.ptx_coef", "algorithm = lm or ppo.ptx_coef above 0" },
    { "target_text", "algorithm", "reward_augmented", NULL },
    { "max_new rollout_rows temperature top_k top_p min_p repetition_penalty stop stop_tokens "
      "system chat_date",
      "sampled", "yes", "prompts or eval_prompts" },
    { "rewards", "scored", "yes", "prompts, eval_prompts or eval_pairs" },
    { "join append_eos bad_records", "records", "yes", "pairs or eval_pairs" },
    { "row_tokens", "packed", "yes", "algorithm = lm, ppo.ptx_coef above 0 or eval_text" },
    { "refmodel", "refmodel", "yes", "an algorithm or dpo.loss that has a reference model, or a "
      "held-out file" },
    { "beta", "beta", "yes", "a preference loss, eval_pairs, or ppo.kl_in = reward, loss and no "
      "ppo.kl_coef" },
    { "lr_min", "schedule", "linear cosine", NULL },

    { "dpo.loss dpo.pairing", METHOD, "dpo raco modpo", NULL },
    { "dpo.pairing dpo.missing_eos_penalty", "source", "prompts", NULL },
    { "dpo.missing_eos_penalty", METHOD, "dpo raco modpo", NULL },
    { "dpo.tie_policy", METHOD, "dpo modpo", NULL },
    { "dpo.label_smoothing dpo.nll dpo.nll_of", METHOD, "dpo raco modpo osp", NULL },
    { "dpo.nll_of", "dpo.nll", "on", "dpo.nll above 0" },
    { "dpo.epsilon", "dpo.loss", "rdpo", NULL },
    { "dpo.gamma", "dpo.loss", "simpo", NULL },
    { "dpo.lambda", "dpo.loss", "orpo", NULL },
    { "dpo.margin", "dpo.loss", "slic", NULL },
    { "dpo.zeta dpo.kappa", "dpo.loss", "mapo", NULL },
    { "dpo.affine_eps", "dpo.loss", "spce_affine", NULL },

    { "kto.lambda_d kto.lambda_u", "algorithm", "kto", NULL },
    { "kto.labels kto.threshold", METHOD, "kto", NULL },
    { "kto.labels kto.threshold", "source", "prompts", NULL },
    { "kto.threshold", "kto.labels", "threshold", NULL },
    { "bco.*", "algorithm", "bco", NULL },
    { "bco.udm_rows bco.udm_min bco.udm_max", "bco.udm", "true", NULL },
    { "list.labels", "algorithm", "lipo", NULL },
    { "list.temperature", "algorithm", "listwise_soft", NULL },
    { "list.preference list.eta", "algorithm", "gpo", NULL },
    { "list.sft", "algorithm", "pro", NULL },
    { "lcpo.*", "algorithm", "lcpo", NULL },
    { "spa.*", "algorithm", "spa", NULL },

    { "osp.template", "judge", "reward algorithm", "algorithm = judge or a reward of kind "
      "\"judge\"" },
    { "osp.judge osp.decay osp.baseline osp.gate osp.gate_accuracy osp.gate_bias", "judge",
      "reward", "a reward of kind \"judge\"" },
    { "osp.decay", "osp.judge", "ema", NULL },
    { "osp.gate_accuracy osp.gate_bias", "osp.gate", "true", NULL },
    { "osp.average osp.clamp osp.pairs osp.strength osp.min_strength osp.weight osp.link "
      "osp.length_penalty osp.length_ref", "algorithm", "osp", NULL },
    { "osp.length_ref", "osp.length_penalty", "on", "osp.length_penalty above 0" },
    { "judge_sft", "algorithm", "judge", NULL },
    { "ref.*", "reference", "yes", "an algorithm or dpo.loss that has a reference model" },
    { "ref.every", "ref.update", "every", NULL },
    { "ref.decay", "ref.update", "ema", NULL },

    { "raco.weights", METHOD, "raco modpo", NULL },
    { "raco.combine", METHOD, "raco", NULL },
    { "raco.c raco.rescale raco.k1_is_dpo", "raco.combine", "raco cagrad", NULL },
    { "raco.clip raco.guard", "raco.combine", "raco", NULL },
    { "raco.guard", "raco.clip", "true", NULL },
    { "raco.skip_empty", "raco.combine", "raco cagrad mgda", NULL },
    { "raco.pcgrad", "raco.combine", "pcgrad", NULL },
    { "raco.mode raco.gram_scope raco.solve raco.refresh raco.buckets", "raco.combine",
      "raco cagrad mgda pcgrad", NULL },
    { "raco.buckets", "raco.mode", "sketch", NULL },
    { "modpo.*", "algorithm", "modpo", NULL },
    { "amopo.*", "algorithm", "amopo", NULL },
    { "orchestrator.temperature", "algorithm", "orchestrator", NULL },

    { "ppo.*", METHOD, "ppo", NULL },
    { "ppo.gamma ppo.whiten_rewards", "ppo.advantage", "gae reinforce_pp", NULL },
    { "ppo.lambda ppo.bootstrap_truncated ppo.critic ppo.critic_lr ppo.value_clip ppo.vf_coef",
      "ppo.advantage", "gae", NULL },
    { "ppo.group_std", "ppo.advantage", "grpo", NULL },
    { "ppo.variance", "whiten", "yes", "ppo.whiten = yes or ppo.whiten_rewards = true" },
    { "ppo.kl ppo.kl_coef ppo.kl_control ppo.kl_target ppo.kl_horizon", "ppo.kl_in",
      "reward loss", NULL },
    { "ppo.kl_target ppo.kl_horizon", "ppo.kl_control", "adaptive", NULL },
    { "ppo.reward_rows", "ppo.reward_norm", "reference", NULL },
    { "ppo.overlong_cache", "ppo.overlong", "on", "ppo.overlong above 0" },
    { "ppo.tis ppo.tis_max", "max_lag", "1", NULL },
    { "ppo.tis_max", "ppo.tis", "token response", NULL },

    { "reward_model.*", METHOD, "reward_model more", NULL },
    { "reward_model.heads", "algorithm", "reward_model", NULL },
    { "reward_model.center", "algorithm", "reward_model more", NULL },
    { "reward_model.margin_scale", "reward_model.margin", "scores", NULL },
    { "more.*", "algorithm", "more", NULL },
    { "pal.*", "algorithm", "pal", NULL },
    { "pal.factor", "pal.distance", "cosine", NULL },
    { "gpm.*", "algorithm", "gpm", NULL },
};

/* ---- looking up */

/* The next of the words in *rest, its bytes in *n; NULL: no more. */
static const char *next_word(const char **rest, size_t *n)
{
    const char *word = *rest + strspn(*rest, " ");

    *n = strcspn(word, " ");
    *rest = word + *n;
    return *n > 0 ? word : NULL;
}

static bool names(const struct reads *row, const char *key)
{
    const char *rest = row->keys, *word;
    size_t n;

    while ((word = next_word(&rest, &n)))
        if (word[n - 1] == '*' ? strncmp(word, key, n - 1) == 0
                               : strlen(key) == n && strncmp(word, key, n) == 0)
            return true;
    return false;
}

static const struct algorithm *algorithm_of(const char *word, size_t n)
{
    const struct algorithm *a = algorithms;

    while (a->name && (strlen(a->name) != n || strncmp(a->name, word, n) != 0))
        a++;
    return a;
}

/* The row of a selector; NULL: it is a key. */
static const struct selector *selector_find(const char *name)
{
    for (const struct selector *s = selectors; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static const char *word_of(const char *selector, const struct config *c, const struct algorithm *a)
{
    const struct selector *s = selector_find(selector);

    return s ? s->word(c, a) : config_word(c, selector);
}

static bool holds(const struct reads *row, const struct config *c, const struct algorithm *a)
{
    const char *is = row->selector == METHOD ? "" : word_of(row->selector, c, a);
    const char *rest = row->words, *word;
    size_t n;

    while ((word = next_word(&rest, &n)))
        if (row->selector == METHOD ? algorithm_of(word, n)->method == a->method
                                    : strlen(is) == n && strncmp(word, is, n) == 0)
            return true;
    return false;
}

/* The row that says that nothing reads the key; NULL: something does. */
static const struct reads *unread(const char *key, const struct config *c,
                                  const struct algorithm *a)
{
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        if (names(&reads[i], key) && !holds(&reads[i], c, a))
            return &reads[i];
    return NULL;
}

/* ---- refused, or left out */

/* Bytes of the file in "file:line". */
static size_t file_size(const char *where)
{
    const char *colon = strrchr(where, ':');

    return colon ? (size_t)(colon - where) : strlen(where);
}

static bool same_file(const char *where, const char *file, size_t n)
{
    return file_size(where) == n && strncmp(where, file, n) == 0;
}

static bool is_argument(const struct config *c, const char *key)
{
    return strcmp(config_where(c, key), "argument") == 0;
}

/* One of these keys, with one space between. */
static bool any_is_argument(const struct config *c, const char *rest)
{
    char key[64];
    const char *word;
    size_t n;

    while ((word = next_word(&rest, &n))) {
        snprintf(key, sizeof key, "%.*s", (int)n, word);
        if (is_argument(c, key))
            return true;
    }
    return false;
}

/* May the key be meant for another algorithm?  In a file whose choice an argument has replaced, and
 * in an included file that names no algorithm, it may.  And rewards are read by other commands. */
static bool is_for_others(const struct config *c, const char *key, const struct reads *row)
{
    const char *where = config_where(c, key), *chosen = config_where(c, "algorithm");
    const struct selector *s = row->selector == METHOD ? NULL : selector_find(row->selector);
    const char *rest = row->selector == METHOD ? "" : s ? s->choosers : row->selector;

    if (strcmp(key, "rewards") == 0)
        return true;
    if (is_argument(c, key))
        return false;
    if (is_argument(c, "algorithm") || any_is_argument(c, rest))
        return true;
    return !same_file(where, c->path, strlen(c->path)) &&
           !same_file(where, chosen, file_size(chosen));
}

/* "algorithm = ppo, rloo, ...", or in words. */
static void add_readers(const struct reads *row, struct text *out)
{
    const char *rest = row->words, *word, *between = "";
    size_t n;

    if (row->said) {
        text_adds(out, row->said);
        return;
    }
    text_addf(out, "%s = ", row->selector == METHOD ? "algorithm" : row->selector);
    if (row->selector == METHOD) {
        while ((word = next_word(&rest, &n)))
            for (const struct algorithm *a = algorithms; a->name; a++)
                if (a->method == algorithm_of(word, n)->method) {
                    text_addf(out, "%s%s", between, a->name);
                    between = ", ";
                }
        return;
    }
    while ((word = next_word(&rest, &n))) {
        text_addf(out, "%s%.*s", between, (int)n, word);
        between = ", ";
    }
}

static int refuse(const struct config *c, const char *key, const struct reads *row)
{
    struct text readers = { 0 };
    int rc;

    add_readers(row, &readers);
    rc = rl_error(RL_EINVAL, "%s: %s: algorithm \"%s\" as it is set does not read it (only with "
                  "%s); remove it", config_where(c, key), key, c->algorithm, readers.data);
    text_free(&readers);
    return rc;
}

int keys_check(struct config *c, const struct algorithm *a)
{
    struct text others = { 0 };
    const char *key;
    int at = 0, rc = RL_OK;

    while ((key = config_given(c, &at))) {
        const struct reads *row = unread(key, c, a);

        if (!row)
            continue;
        if (!is_for_others(c, key, row)) {
            rc = refuse(c, key, row);
            goto done;
        }
        TRY(config_forget(c, key));
        text_addf(&others, " %s", key);
    }
    if (others.size > 0)
        log_info("%s: left out, as algorithm \"%s\" does not read them:%s", c->path, c->algorithm,
                 others.data);
done:
    text_free(&others);
    return rc;
}
