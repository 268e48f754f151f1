/* Puts one libconfig setting into its place in struct config, by its row, or says in one line why
 * it does not belong there. */
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_reader.h"
#include "base/status.h"

#define ROLE_WORDS "actor, learner, reward, refmodel"
#define NAME_LONGEST 40      /* of a reward: it becomes part of metric names */

static const struct { enum role role; const char *name; } roles[ROLES] = {
    { ROLE_ACTOR, "actor" }, { ROLE_LEARNER, "learner" },
    { ROLE_REWARD, "reward" }, { ROLE_REFMODEL, "refmodel" },
};

const char *role_name(enum role role)
{
    for (int i = 0; i < ROLES; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "unknown";
}

static const char *where(struct reader *r, const config_setting_t *s)
{
    if (r->argument)
        snprintf(r->where, sizeof r->where, "argument '%s'", r->argument);
    else
        source_where(r->source, (int)config_setting_source_line(s), r->where, sizeof r->where);
    return r->where;
}

static int line_of(const struct reader *r, const config_setting_t *s)
{
    int i = (int)config_setting_source_line(s) - 1;

    return r->argument || i < 0 || i >= r->source->count ? 0 : r->source->lines[i].line;
}

/* ---- one value ---- */

int config_no_memory(void)
{
    return rl_error(RL_ENOFIT, "cannot allocate the configuration");
}

static const char *type_name(const config_setting_t *s)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "an integer";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    case CONFIG_TYPE_GROUP:
        return "a group";
    default:
        return "a list";
    }
}

static int wrong_type(struct reader *r, const config_setting_t *s, const char *key,
                      const char *expected)
{
    const char *quoted = expected[strlen(expected) - 1] == 'g' &&
                         (config_setting_is_number(s) || config_setting_type(s) == CONFIG_TYPE_BOOL)
                             ? " (put it in \"quotes\")" : "";

    if (config_setting_type(s) == CONFIG_TYPE_STRING)
        return rl_error(RL_EINVAL, "%s: %s: expected %s, got \"%s\"", where(r, s), key, expected,
                        config_setting_get_string(s));
    return rl_error(RL_EINVAL, "%s: %s: expected %s, got %s%s", where(r, s), key, expected,
                    type_name(s), quoted);
}

static bool is_integer(const config_setting_t *s)
{
    return config_setting_type(s) == CONFIG_TYPE_INT || config_setting_type(s) == CONFIG_TYPE_INT64;
}

static int set_integer(struct reader *r, const struct row *row, int64_t *out,
                       const config_setting_t *s)
{
    int64_t value;

    if (!is_integer(s))
        return wrong_type(r, s, row->key, "an integer");
    value = config_setting_get_int64(s);
    if ((double)value < row->min || (double)value > row->max)
        return rl_error(RL_EINVAL, "%s: %s: %lld is out of range (%.0f to %.0f)", where(r, s),
                        row->key, (long long)value, row->min, row->max);
    *out = value;
    return RL_OK;
}

static int read_real(struct reader *r, const struct row *row, double *out,
                     const config_setting_t *s, const char *expected)
{
    double value;

    if (is_integer(s))
        value = (double)config_setting_get_int64(s);
    else if (config_setting_type(s) == CONFIG_TYPE_FLOAT)
        value = config_setting_get_float(s);
    else
        return wrong_type(r, s, row->key, expected);
    if (config_row_may_be_unset(row) && value < 0 && value != -1)
        return rl_error(RL_EINVAL, "%s: %s: %.10g is out of range (0 to %.10g; -1: %s)",
                        where(r, s), row->key, value, row->max, row->shown);
    if (!(value >= row->min && value <= row->max))
        return rl_error(RL_EINVAL, "%s: %s: %.10g is out of range (%.10g to %.10g)", where(r, s),
                        row->key, value, row->min, row->max);
    *out = value == 0 ? 0 : value;      /* -0 is 0 */
    return RL_OK;
}

static int set_real(struct reader *r, const struct row *row, double *out, const config_setting_t *s)
{
    return read_real(r, row, out, s, "a number");
}

/* A copy of s in place of *out; "" is NULL. */
int config_set_word(char **out, const char *s)
{
    char *copy = s[0] ? strdup(s) : NULL;

    if (s[0] && !copy)
        return config_no_memory();
    free(*out);
    *out = copy;
    return RL_OK;
}

static int set_string(struct reader *r, const struct row *row, char **out,
                      const config_setting_t *s)
{
    struct text words = {0};
    const char *value;
    int rc;

    if (config_setting_type(s) != CONFIG_TYPE_STRING)
        return wrong_type(r, s, row->key, "a string");
    value = config_setting_get_string(s);
    if (config_row_allows(row, value) || (!value[0] && !row->standard[0]))    /* not set */
        return config_set_word(out, value);
    for (const char *p = row->choices; *p; p++)
        text_addf(&words, "%s%c", *p == ' ' ? "," : "", *p);
    rc = rl_error(RL_EINVAL, "%s: %s: '%s' is not one of: %s", where(r, s), row->key, value,
                  words.data);
    text_free(&words);
    return rc;
}

static bool is_sequence(const config_setting_t *s)
{
    return config_setting_is_list(s) || config_setting_is_array(s);
}

/* A sequence has elements; anything else stands for a sequence of one. */
static int elements(const config_setting_t *s)
{
    return is_sequence(s) ? config_setting_length(s) : 1;
}

static const config_setting_t *element(const config_setting_t *s, int i)
{
    return is_sequence(s) ? config_setting_get_elem(s, (unsigned)i) : s;
}

static int set_strings(struct reader *r, const struct row *row, struct strings *out,
                       const config_setting_t *s)
{
    int n = elements(s), rc = RL_OK;
    struct strings list = { calloc((size_t)n + 1, sizeof *list.items), 0 };

    if (!list.items)
        return config_no_memory();
    for (int i = 0; i < n; i++) {
        const config_setting_t *item = element(s, i);
        if (config_setting_type(item) != CONFIG_TYPE_STRING) {
            rc = wrong_type(r, item, row->key, "a list of strings");
            goto done;
        }
        list.items[i] = strdup(config_setting_get_string(item));
        if (!list.items[i]) {
            rc = config_no_memory();
            goto done;
        }
        list.count++;
    }
done:
    if (rc == RL_OK) {
        config_free_strings(out);
        *out = list;
    } else {
        config_free_strings(&list);
    }
    return rc;
}

static int set_reals(struct reader *r, const struct row *row, struct reals *out,
                     const config_setting_t *s)
{
    int n = elements(s), rc = RL_OK;
    double *items = calloc((size_t)n + 1, sizeof *items);

    if (!items)
        return config_no_memory();
    for (int i = 0; i < n; i++)
        TRY(read_real(r, row, &items[i], element(s, i), "a list of numbers"));
    free(out->items);
    *out = (struct reals){ items, n };
    items = NULL;
done:
    free(items);
    return rc;
}

static int set_ints(struct reader *r, const struct row *row, struct ints *out,
                    const config_setting_t *s)
{
    int n = elements(s), *items = calloc((size_t)n + 1, sizeof *items), rc = RL_OK;

    if (!items)
        return config_no_memory();
    for (int i = 0; i < n; i++) {
        int64_t value = 0;
        if (!is_integer(element(s, i)))
            TRY(wrong_type(r, element(s, i), row->key, "a list of integers"));
        TRY(set_integer(r, row, &value, element(s, i)));
        items[i] = (int)value;
    }
    free(out->items);
    *out = (struct ints){ items, n };
    items = NULL;
done:
    free(items);
    return rc;
}

static int set_roles(struct reader *r, const struct row *row, unsigned *out,
                     const config_setting_t *s)
{
    *out = 0;
    for (int i = 0; i < elements(s); i++) {
        const config_setting_t *item = element(s, i);
        unsigned role = 0;
        if (config_setting_type(item) != CONFIG_TYPE_STRING)
            return wrong_type(r, item, row->key, "a list of role names, each a string");
        for (int k = 0; k < ROLES; k++)
            if (strcmp(roles[k].name, config_setting_get_string(item)) == 0)
                role = roles[k].role;
        if (!role)
            return rl_error(RL_EINVAL, "%s: %s: '%s' is not one of: " ROLE_WORDS,
                            where(r, item), row->key, config_setting_get_string(item));
        *out |= role;
    }
    if (*out == 0)
        return rl_error(RL_EINVAL, "%s: %s: name at least one of: " ROLE_WORDS,
                        where(r, s), row->key);
    return RL_OK;
}

static int set_rewards(struct reader *r, const struct row *row, const config_setting_t *s);
static int set_ranks(struct reader *r, const struct row *row, const config_setting_t *s);

static int set_value(struct reader *r, const struct row *row, void *base, const config_setting_t *s)
{
    void *at = (char *)base + row->offset;

    switch (row->type) {
    case ROW_INT:
        return set_integer(r, row, at, s);
    case ROW_REAL:
        return set_real(r, row, at, s);
    case ROW_BOOL:
        if (config_setting_type(s) != CONFIG_TYPE_BOOL)
            return wrong_type(r, s, row->key, "true or false");
        *(bool *)at = config_setting_get_bool(s);
        return RL_OK;
    case ROW_STRING:
        return set_string(r, row, at, s);
    case ROW_STRINGS:
        return set_strings(r, row, at, s);
    case ROW_REALS:
        return set_reals(r, row, at, s);
    case ROW_INTS:
        return set_ints(r, row, at, s);
    case ROW_ROLES:
        return set_roles(r, row, at, s);
    case ROW_REWARDS:
        return set_rewards(r, row, s);
    default:
        return set_ranks(r, row, s);
    }
}

/* ---- lists of groups ---- */

static int unknown_key(struct reader *r, const config_setting_t *s, const struct row *rows,
                       const char *group, const char *key)
{
    struct text hint = {0};
    int rc;

    config_row_hint(rows, group, key, &hint);
    rc = rl_error(RL_EINVAL, "%s: unknown key '%s%s%s'; %s", where(r, s), group,
                  group[0] ? "." : "", key, hint.data);
    text_free(&hint);
    return rc;
}

/* The members of one group of a list. */
static int set_members(struct reader *r, const struct row *list, const struct row *rows, void *base,
                       const config_setting_t *group)
{
    int rc = RL_OK;

    if (!config_setting_is_group(group))
        return wrong_type(r, group, list->key, "a list of groups, ({ key = value; }, ...)");
    TRY(config_set_defaults(rows, base));
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        const struct row *row = config_row(rows, config_setting_name(s));
        if (!row)
            return unknown_key(r, s, rows, list->key, config_setting_name(s));
        TRY(set_value(r, row, base, s));
    }
done:
    return rc;
}

/* Names become parts of metric names and of messages. */
static int check_reward(struct reader *r, const config_setting_t *s, struct config_reward *reward)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    int rc = RL_OK;

    TRY(config_set_word(&reward->where, r->argument ? "argument" : where(r, s)));
    if (!reward->kind)
        return rl_error(RL_EINVAL, "%s: rewards: a reward needs a kind: %s", where(r, s),
                        config_row(config_reward_rows, "kind")->help);
    if (!reward->name)
        TRY(config_set_word(&reward->name, reward->kind));
    if (!reward->unit)
        TRY(config_set_word(&reward->unit, "tokens"));
    if (reward->clip.count != 0 &&
        (reward->clip.count != 2 || reward->clip.items[0] > reward->clip.items[1]))
        return rl_error(RL_EINVAL, "%s: rewards: clip: expected two numbers, [low, high]",
                        where(r, s));
    if (strlen(reward->name) > NAME_LONGEST || reward->name[strspn(reward->name, allowed)])
        return rl_error(RL_EINVAL, "%s: rewards: the name '%s' is not of at most %d letters, "
                        "digits and _.-", where(r, s), reward->name, NAME_LONGEST);
done:
    return rc;
}

static int set_rewards(struct reader *r, const struct row *row, const config_setting_t *s)
{
    int n = elements(s), rc = RL_OK;
    struct config_reward *list = calloc((size_t)n + 1, sizeof *list);

    if (!list)
        return config_no_memory();
    for (int i = 0; i < n; i++) {
        const config_setting_t *group = element(s, i);
        TRY(set_members(r, row, config_reward_rows, &list[i], group));
        TRY(check_reward(r, group, &list[i]));
        for (int k = 0; k < i; k++)
            if (strcmp(list[k].name, list[i].name) == 0) {
                rc = rl_error(RL_EINVAL, "%s: rewards: two are named '%s'; give each a name",
                              where(r, group), list[i].name);
                goto done;
            }
    }
    config_free_rewards(r->c->rewards, r->c->n_rewards);
    r->c->rewards = list;
    r->c->n_rewards = n;
done:
    if (rc != RL_OK)
        config_free_rewards(list, n);
    return rc;
}

static int set_ranks(struct reader *r, const struct row *row, const config_setting_t *s)
{
    int n = elements(s), rc = RL_OK;
    struct config_ranks *list = calloc((size_t)n + 1, sizeof *list);

    if (!list)
        return config_no_memory();
    for (int i = 0; i < n; i++) {
        const config_setting_t *group = element(s, i);
        TRY(set_members(r, row, config_ranks_rows, &list[i], group));
        list[i].line = line_of(r, group);
        if (list[i].roles == 0) {
            rc = rl_error(RL_EINVAL, "%s: ranks: a group needs roles = [\"actor\", ...]",
                          where(r, group));
            goto done;
        }
    }
    free(r->c->ranks);
    r->c->ranks = list;
    r->c->n_ranks = n;
done:
    if (rc != RL_OK)
        free(list);
    return rc;
}

/* ---- keys ---- */

char **config_place(const struct config *c, const struct row *row)
{
    return &((struct places *)c->impl)->where[row - config_rows];
}

static int set_key(struct reader *r, const struct row *row, const config_setting_t *s)
{
    int rc = RL_OK;

    TRY(set_value(r, row, r->c, s));
    TRY(config_set_word(config_place(r->c, row), r->argument ? "argument" : where(r, s)));
done:
    return rc;
}

/* Does a group of keys ("dpo") have this name? */
static bool is_group_name(const char *name)
{
    size_t n = strlen(name);

    for (const struct row *row = config_rows; row->help; row++)
        if (row->key && strncmp(row->key, name, n) == 0 && row->key[n] == '.')
            return true;
    return false;
}

static int set_group(struct reader *r, const char *name, const config_setting_t *group)
{
    char key[128];
    int rc = RL_OK;

    if (!config_setting_is_group(group))
        return wrong_type(r, group, name, "a group, { key = value; }");
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        const struct row *row;
        int n = snprintf(key, sizeof key, "%s.%s", name, config_setting_name(s));
        row = n < (int)sizeof key ? config_row(config_rows, key) : NULL;
        if (!row)
            return unknown_key(r, s, config_rows, name, config_setting_name(s));
        TRY(set_key(r, row, s));
    }
done:
    return rc;
}

int config_set_named(struct reader *r, const char *name, const config_setting_t *s)
{
    const struct row *row = config_row(config_rows, name);

    if (row)
        return set_key(r, row, s);
    if (is_group_name(name))
        return set_group(r, name, s);
    if (r->argument && (strncmp(name, "rewards.", 8) == 0 || strncmp(name, "ranks.", 6) == 0))
        return rl_error(RL_EINVAL, "%s: unknown key '%s'; a list is given whole: "
                        "rewards=({kind=...;})", where(r, s), name);
    return unknown_key(r, s, config_rows, "", name);
}
