/* Defaults that depend on other keys; of most methods what its authors use, where one number does
 * not fit all. */
#include <stdlib.h>
#include <string.h>

#include "base/config_reader.h"
#include "base/status.h"

/* method: an algorithm or a dpo.loss.  An algorithm that has the name of a loss has that loss. */
static const struct { const char *method, *key, *standard; } defaults[] = {
    { "apo", "dpo.loss", "apo_zero" },
    { "cdpo", "dpo.label_smoothing", "0.1" },
    { "simpo", "beta", "2.5" },
    { "ln_dpo", "beta", "5" },
    { "cpo", "dpo.nll", "1" },
    { "slic", "dpo.nll", "0.5" },
    { "amopo", "dpo.loss", "simpo" },
    { "amopo", "dpo.gamma", "0" },          /* behind simpo's */
    { "amopo", "beta", "0.8" },
};

const char *config_standard(const struct config *c, const struct row *row)
{
    const char *standard = row->standard;

    if (strcmp(row->key, "refmodel") == 0)
        return c->model;
    if (strcmp(row->key, "dpo.pairing") == 0)
        return c->samples_per_prompt == 2 ? "pair" : "best_worst";
    if (strcmp(row->key, "dpo.loss") == 0 && config_row_allows(row, c->algorithm))
        return c->algorithm;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strcmp(defaults[i].key, row->key) == 0 &&
            (strcmp(defaults[i].method, c->algorithm) == 0 ||
             (strcmp(row->key, "dpo.loss") != 0 && strcmp(defaults[i].method, c->dpo.loss) == 0)))
            standard = defaults[i].standard;
    return standard;
}

/* A key that was not given, or given as not set. */
static int fill(struct config *c, const char *key)
{
    const struct row *row = config_row(config_rows, key);
    bool set = row->type != ROW_STRING || *(char **)((char *)c + row->offset);

    return *config_place(c, row) && set ? RL_OK
                                        : config_set_standard(row, c, config_standard(c, row));
}

/* One more reward, with the defaults of its rows. */
static int add_reward(struct config *c, const char *kind, const char *name, const char *column,
                      double weight)
{
    struct config_reward *more = realloc(c->rewards, ((size_t)c->n_rewards + 1) * sizeof *more);
    struct config_reward *one;
    int rc = RL_OK;

    if (!more)
        return config_no_memory();
    c->rewards = more;
    one = &more[c->n_rewards];
    memset(one, 0, sizeof *one);
    TRY(config_set_defaults(config_reward_rows, one));
    c->n_rewards++;                     /* from here on config_close frees it */
    TRY(config_set_word(&one->kind, kind));
    TRY(config_set_word(&one->name, name));
    TRY(config_set_word(&one->column, column));
    one->weight = weight;
done:
    return rc;
}

/* OSP brings its own judge.  Its verdicts are the score when nothing else is measured. */
static int add_judge(struct config *c)
{
    bool alone = c->n_rewards == 0;
    int rc = RL_OK;

    for (int i = 0; i < c->n_rewards; i++)
        if (strcmp(c->rewards[i].kind, "judge") == 0)
            return RL_OK;
    TRY(add_reward(c, "judge", "judge", "strength", alone));
    TRY(add_reward(c, "judge", "judge_bias", "bias", 0));
done:
    return rc;
}

int config_method_defaults(struct config *c)
{
    int rc = RL_OK;

    if (strcmp(c->algorithm, "osp") == 0)
        TRY(add_judge(c));
    TRY(fill(c, "refmodel"));
    TRY(fill(c, "dpo.pairing"));
    TRY(fill(c, "dpo.loss"));           /* which others follow */
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        TRY(fill(c, defaults[i].key));
done:
    return rc;
}
