/* The configuration as text: config.cfg in the run folder, and the comparison with an earlier
 * one. */
#include <stdio.h>
#include <string.h>

#include "base/config_rows.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status.h"

static void add_quoted(struct text *out, const char *s)
{
    text_adds(out, "\"");
    for (; s && *s; s++) {
        if (*s == '"' || *s == '\\')
            text_addf(out, "\\%c", *s);
        else if (*s == '\n')
            text_adds(out, "\\n");
        else if ((unsigned char)*s < 0x20 || *s == 0x7f)
            text_addf(out, "\\x%02X", *s);
        else
            text_add(out, s, 1);
    }
    text_adds(out, "\"");
}

static void add_roles(struct text *out, unsigned roles)
{
    const char *between = "";

    text_adds(out, "[");
    for (unsigned role = 1; role <= ROLE_ALL; role <<= 1) {
        if (!(roles & role))
            continue;
        text_addf(out, "%s\"%s\"", between, role_name((enum role)role));
        between = ", ";
    }
    text_adds(out, "]");
}

static void add_group(struct text *out, const struct row *rows, const void *base)
{
    text_adds(out, "{");
    for (; rows->help; rows++) {
        text_addf(out, " %s = ", rows->key);
        config_row_value(rows, base, out);
        text_adds(out, ";");
    }
    text_adds(out, " }");
}

static void add_rewards(struct text *out, const struct config *c)
{
    text_adds(out, "(");
    for (int i = 0; i < c->n_rewards; i++) {
        text_adds(out, i ? ", " : "");
        add_group(out, config_reward_rows, &c->rewards[i]);
    }
    text_adds(out, ")");
}

static void add_ranks(struct text *out, const struct config *c)
{
    text_adds(out, "(");
    for (int i = 0; i < c->n_ranks; i++) {
        text_adds(out, i ? ", " : "");
        add_group(out, config_ranks_rows, &c->ranks[i]);
    }
    text_adds(out, ")");
}

static void add_strings(struct text *out, const struct strings *list)
{
    text_adds(out, "[");
    for (int i = 0; i < list->count; i++) {
        text_adds(out, i ? ", " : "");
        add_quoted(out, list->items[i]);
    }
    text_adds(out, "]");
}

static void add_reals(struct text *out, const struct reals *list)
{
    text_adds(out, "[");
    for (int i = 0; i < list->count; i++) {
        size_t begin;
        text_adds(out, i ? ", " : "");
        begin = out->size;
        json_add_number(out, list->items[i]);
        if (!strpbrk(out->data + begin, ".e"))      /* an array has elements of one type */
            text_adds(out, ".0");
    }
    text_adds(out, "]");
}

static void add_ints(struct text *out, const struct ints *list)
{
    text_adds(out, "[");
    for (int i = 0; i < list->count; i++)
        text_addf(out, "%s%d", i ? ", " : "", list->items[i]);
    text_adds(out, "]");
}

void config_row_value(const struct row *row, const void *base, struct text *out)
{
    const void *at = (const char *)base + row->offset;

    switch (row->type) {
    case ROW_INT:
        text_addf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case ROW_REAL:
        json_add_number(out, *(const double *)at);
        break;
    case ROW_BOOL:
        text_adds(out, *(const bool *)at ? "true" : "false");
        break;
    case ROW_STRING:
        add_quoted(out, *(char *const *)at);
        break;
    case ROW_STRINGS:
        add_strings(out, at);
        break;
    case ROW_REALS:
        add_reals(out, at);
        break;
    case ROW_INTS:
        add_ints(out, at);
        break;
    case ROW_ROLES:
        add_roles(out, *(const unsigned *)at);
        break;
    case ROW_REWARDS:
        add_rewards(out, base);
        break;
    case ROW_RANKS:
        add_ranks(out, base);
        break;
    }
}

/* "dpo." of "dpo.loss"; 0 bytes for a key without a group. */
static size_t group_size(const char *key)
{
    const char *dot = key ? strchr(key, '.') : NULL;

    return dot ? (size_t)(dot - key) + 1 : 0;
}

void config_text(const struct config *c, struct text *out)
{
    const char *open = "";      /* a key of the group whose braces are open */
    size_t n = 0;               /* bytes of that group's name and dot */

    for (const struct row *row = config_rows; row->help; row++) {
        if (n > 0 && (!row->key || strncmp(row->key, open, n) != 0)) {
            text_adds(out, "};\n");
            n = 0;
        }
        if (!row->key) {
            text_addf(out, "%s# ---- %s ----\n", out->size ? "\n" : "", row->help);
            continue;
        }
        if (n == 0 && group_size(row->key) > 0) {
            open = row->key;
            n = group_size(open);
            text_addf(out, "%.*s = {\n", (int)n - 1, open);
        }
        text_addf(out, "%s# %s\n", n ? "    " : "", row->help);
        text_addf(out, "%s%s = ", n ? "    " : "", row->key + n);
        config_row_value(row, c, out);
        text_adds(out, ";\n");
    }
}

int config_save(const struct config *c, const char *path)
{
    struct text text = {0};
    int rc;

    config_text(c, &text);
    rc = file_write(path, text.data, text.size);
    text_free(&text);
    return rc;
}

/* Two runs, and one key of them with both values. */
struct comparison {
    const struct config *now, *earlier;
    const char *earlier_name;
    struct text key, was, is;
};

/* The values are not the same.  row: of the key, or of the list that it is in. */
static int differ(struct comparison *c, const struct row *row, bool fixed)
{
    const char *where = config_where(c->now, row->key);

    if (fixed)
        return rl_error(RL_EINVAL, "%s: %s is %s, but the run in %s has %s; it is fixed for the "
                        "life of a run: give that value or another output", where, c->key.data,
                        c->is.data, c->earlier_name, c->was.data);
    log_info("%s: %s was %s in %s, now %s", where, c->key.data, c->was.data, c->earlier_name,
             c->is.data);
    return RL_OK;
}

/* The key of `row` at these two places; top: the row of the list that it is in, or the same. */
static int compare(struct comparison *c, const struct row *row, const struct row *top,
                   const void *earlier, const void *now)
{
    text_clear(&c->was);
    text_clear(&c->is);
    config_row_value(row, earlier, &c->was);
    config_row_value(row, now, &c->is);
    return strcmp(c->was.data, c->is.data) == 0 ? RL_OK
                                                : differ(c, top, row->flags & ROW_FIXED);
}

/* Lists of groups, group by group: a key is "rewards[1].weight". */
static int compare_lists(struct comparison *c, const struct row *list)
{
    const struct config *a = c->earlier, *b = c->now;
    bool rewards = list->type == ROW_REWARDS;
    int was = rewards ? a->n_rewards : a->n_ranks, is = rewards ? b->n_rewards : b->n_ranks;
    const struct row *rows = rewards ? config_reward_rows : config_ranks_rows;
    int rc = RL_OK;

    text_clear(&c->key);
    text_clear(&c->was);
    text_clear(&c->is);
    if (was != is) {
        text_addf(&c->key, "the number of groups of %s", list->key);
        text_addf(&c->was, "%d", was);
        text_addf(&c->is, "%d", is);
        return differ(c, list, list->flags & ROW_FIXED);
    }
    for (int i = 0; i < is; i++)
        for (const struct row *row = rows; row->help; row++) {
            text_clear(&c->key);
            text_addf(&c->key, "%s[%d].%s", list->key, i, row->key);
            TRY(compare(c, row, list, rewards ? (void *)&a->rewards[i] : (void *)&a->ranks[i],
                        rewards ? (void *)&b->rewards[i] : (void *)&b->ranks[i]));
        }
done:
    return rc;
}

int config_compare(const struct config *now, const struct config *earlier, const char *earlier_name)
{
    struct comparison c = { .now = now, .earlier = earlier, .earlier_name = earlier_name };
    int rc = RL_OK;

    for (const struct row *row = config_rows; row->help; row++) {
        if (!row->key)
            continue;
        text_clear(&c.key);
        text_adds(&c.key, row->key);
        TRY(row->type == ROW_REWARDS || row->type == ROW_RANKS
                ? compare_lists(&c, row) : compare(&c, row, row, earlier, now));
    }
done:
    text_free(&c.key);
    text_free(&c.was);
    text_free(&c.is);
    return rc;
}
