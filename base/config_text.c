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

/* Those of the rows that have all of `flags`. */
static void add_group(struct text *out, const struct row *rows, const void *base, unsigned flags)
{
    text_adds(out, "{");
    for (; rows->help; rows++) {
        if ((rows->flags & flags) != flags)
            continue;
        text_addf(out, " %s = ", rows->key);
        config_row_value(rows, base, out);
        text_adds(out, ";");
    }
    text_adds(out, " }");
}

static void add_rewards(struct text *out, const struct config *c, unsigned flags)
{
    text_adds(out, "(");
    for (int i = 0; i < c->n_rewards; i++) {
        text_adds(out, i ? ", " : "");
        add_group(out, config_reward_rows, &c->rewards[i], flags);
    }
    text_adds(out, ")");
}

static void add_ranks(struct text *out, const struct config *c)
{
    text_adds(out, "(");
    for (int i = 0; i < c->n_ranks; i++) {
        text_adds(out, i ? ", " : "");
        add_group(out, config_ranks_rows, &c->ranks[i], 0);
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
    case ROW_ROLES:
        add_roles(out, *(const unsigned *)at);
        break;
    case ROW_REWARDS:
        add_rewards(out, base, 0);
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

/* Do lists of rewards differ only in keys that may change, like the address of a server? */
static bool same_numbers(const struct row *row, const struct config *a, const struct config *b)
{
    struct text one = {0}, other = {0};
    bool same;

    if (row->type != ROW_REWARDS)
        return false;
    add_rewards(&one, a, ROW_FIXED);
    add_rewards(&other, b, ROW_FIXED);
    same = strcmp(one.data, other.data) == 0;
    text_free(&one);
    text_free(&other);
    return same;
}

/* One key of two runs.  `was` and `is` are scratch. */
static int compare(const struct row *row, const struct config *earlier, const char *earlier_name,
                   const struct config *now, struct text *was, struct text *is)
{
    text_clear(was);
    text_clear(is);
    config_row_value(row, earlier, was);
    config_row_value(row, now, is);
    if (strcmp(was->data, is->data) == 0)
        return RL_OK;
    if (row->flags & ROW_FIXED && !same_numbers(row, earlier, now))
        return rl_error(RL_EINVAL, "%s: %s is %s, but the run in %s has %s; it is fixed for the "
                        "life of a run: give that value or another output",
                        config_where(now, row->key), row->key, is->data, earlier_name, was->data);
    log_info("%s: %s was %s in %s, now %s", config_where(now, row->key), row->key, was->data,
             earlier_name, is->data);
    return RL_OK;
}

int config_compare(const struct config *now, const struct config *earlier, const char *earlier_name)
{
    struct text was = {0}, is = {0};
    int rc = RL_OK;

    for (const struct row *row = config_rows; row->help; row++)
        if (row->key)
            TRY(compare(row, earlier, earlier_name, now, &was, &is));
done:
    text_free(&was);
    text_free(&is);
    return rc;
}
