/* The configuration: a file, then arguments over it, then checks of keys against each other.
 *
 *   path --> source (includes, lines) --> libconfig --> rows --> struct config
 *   key=value ----------------------------^
 */
#include "base/config.h"

#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config_reader.h"
#include "base/config_source.h"
#include "base/file.h"
#include "base/status.h"

/* ---- files and arguments ---- */

/* One line for what libconfig could not read; `line` of it is shown, since that names the key. */
static int syntax_error(const struct source *s, const config_t *file)
{
    char where[WHERE_ROOM];
    const char *p = s->text.data, *text = config_error_text(file);
    int line = config_error_line(file);

    source_where(s, line, where, sizeof where);
    for (int i = 1; i < line && p; i++) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    p = p ? p + strspn(p, " \t\r") : "";
    return rl_error(RL_EINVAL, "%s: %s near '%.*s'", where,
                    text && strstr(text, "duplicate") ? "key given twice" : "syntax error",
                    (int)(strcspn(p, "\r\n") > 60 ? 60 : strcspn(p, "\r\n")), p);
}

static int read_root(struct reader *r, const config_t *file)
{
    const config_setting_t *root = config_root_setting(file);
    int rc = RL_OK;

    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *s = config_setting_get_elem(root, (unsigned)i);
        TRY(config_set_named(r, config_setting_name(s), s));
    }
done:
    return rc;
}

static int read_source(struct config *c, const struct source *source)
{
    struct reader r = { .c = c, .source = source };
    config_t file;
    int rc;

    config_init(&file);
    if (config_read_string(&file, source->text.data) == CONFIG_TRUE)
        rc = read_root(&r, &file);
    else
        rc = syntax_error(source, &file);
    config_destroy(&file);
    return rc;
}

/* The value of an argument as libconfig reads it; RL_EINVAL, and no message, if it does not. */
static int parse_value(config_t *value, const char *text)
{
    struct source source = {0};
    struct text line = {0};
    int rc;

    text_addf(&line, "v = %s\n", text);
    rc = source_scan(&source, "argument", line.data);
    if (rc == RL_OK && (config_read_string(value, source.text.data) != CONFIG_TRUE ||
                        config_setting_length(config_root_setting(value)) != 1))
        rc = RL_EINVAL;
    text_free(&line);
    source_free(&source);
    return rc;
}

static int read_argument(struct config *c, const char *argument)
{
    struct reader r = { .c = c, .argument = argument };
    const char *equals = strchr(argument, '=');
    config_setting_t *setting;
    config_t value;
    char key[128];
    int rc;

    if (!equals || equals == argument || equals - argument >= (int)sizeof key)
        return rl_error(RL_EINVAL, "argument '%s': expected key=value", argument);
    snprintf(key, sizeof key, "%.*s", (int)(equals - argument), argument);
    config_init(&value);
    rc = parse_value(&value, equals + 1);
    if (rc == RL_OK) {
        rc = config_set_named(&r, key, config_setting_get_elem(config_root_setting(&value), 0));
    } else if (rc == RL_EINVAL && equals[1] && strchr("\"({[", equals[1])) {
        rc = rl_error(RL_EINVAL, "argument '%s': %s: syntax error", argument, key);
    } else if (rc == RL_EINVAL) {               /* a bare word, a path */
        config_destroy(&value);
        config_init(&value);
        setting = config_setting_add(config_root_setting(&value), "v", CONFIG_TYPE_STRING);
        if (!setting || config_setting_set_string(setting, equals + 1) != CONFIG_TRUE)
            rc = config_no_memory();
        else
            rc = config_set_named(&r, key, setting);
    }
    config_destroy(&value);
    return rc;
}

/* ---- keys that need each other ---- */

int config_missing(const struct config *c, const char *key)
{
    const struct row *row = config_row(config_rows, key);

    return rl_error(RL_EINVAL, "%s: missing key '%s': %s", c->path, key, row->help);
}

bool config_reward_speaks(const struct config *c, int r, int k)
{
    const char *kind = c->rewards[r].kind;

    return k > 1 || c->osp.baseline || !kind || strcmp(kind, "judge") != 0;
}

static int readable(const struct config *c, const char *key, const char *path)
{
    bool folder = folder_exists(path);

    if (!folder && access(path, R_OK) == 0)
        return RL_OK;
    return rl_error(RL_EINVAL, "%s: %s: %s: %s", config_where(c, key), key, path,
                    strerror(folder ? EISDIR : errno));
}

int config_readable(const struct config *c, const char *key)
{
    const struct row *row = config_row(config_rows, key);
    const void *at = (const char *)c + row->offset;
    int rc = RL_OK;

    if (row->type == ROW_STRING)
        return readable(c, key, *(char *const *)at);
    for (int i = 0; i < ((const struct strings *)at)->count; i++)
        TRY(readable(c, key, ((const struct strings *)at)->items[i]));
done:
    return rc;
}

static int check_required(const struct config *c)
{
    if (!c->algorithm)
        return config_missing(c, "algorithm");
    if (!c->model)
        return config_missing(c, "model");
    if (!c->output)
        return config_missing(c, "output");
    return RL_OK;
}

static int check_pairs(const struct config *c)
{
    int64_t leaves = c->reduction_leaves;

    if (leaves & (leaves - 1))
        return rl_error(RL_EINVAL, "%s: reduction_leaves: %lld is not a power of two",
                        config_where(c, "reduction_leaves"), (long long)leaves);
    if (c->lr_min > c->lr)
        return rl_error(RL_EINVAL, "%s: lr_min: %g is more than lr = %g", config_where(c, "lr_min"),
                        c->lr_min, c->lr);
    if (c->trace_first > c->steps)
        return rl_error(RL_EINVAL, "%s: trace_first: %lld is after the last step: steps = %lld",
                        config_where(c, "trace_first"), (long long)c->trace_first,
                        (long long)c->steps);
    if (c->trace_last > 0 && c->trace_first > c->trace_last)
        return rl_error(RL_EINVAL, "%s: trace_first: %lld is after trace_last = %lld",
                        config_where(c, "trace_first"), (long long)c->trace_first,
                        (long long)c->trace_last);
    return RL_OK;
}

/* ---- opening and closing ---- */

static int create(struct config **out, const char *path)
{
    struct config *c = calloc(1, sizeof *c);
    int rc = RL_OK;

    *out = c;
    if (!c)
        return config_no_memory();
    c->impl = calloc(1, sizeof(struct places));
    if (!c->impl)
        return config_no_memory();
    TRY(config_set_word(&c->path, path));
    TRY(config_set_defaults(config_rows, c));
done:
    return rc;
}

static int finish(struct config *c)
{
    int rc = RL_OK;

    TRY(check_required(c));
    TRY(config_method_defaults(c));
    TRY(check_pairs(c));
    for (int i = 0; i < c->n_rewards; i++)
        c->rewards[i].deadline = c->deadline;
done:
    return rc;
}

int config_open(struct config **c, const char *path, char *const *assignments, int n)
{
    struct source source = {0};
    int rc = RL_OK;

    TRY(create(c, path));
    rc = source_read(&source, path);
    if (source.error[0])
        rl_error(rc, "%s", source.error);
    TRY(rc);
    TRY(read_source(*c, &source));
    for (int i = 0; i < n; i++)
        TRY(read_argument(*c, assignments[i]));
    TRY(finish(*c));
done:
    source_free(&source);
    if (rc != RL_OK) {
        config_close(*c);
        *c = NULL;
    }
    return rc;
}

void config_close(struct config *c)
{
    struct places *places;

    if (!c)
        return;
    places = c->impl;
    config_free_rows(config_rows, c);
    config_free_rewards(c->rewards, c->n_rewards);
    free(c->ranks);
    free(c->path);
    for (int i = 0; places && i < (int)(sizeof places->where / sizeof places->where[0]); i++)
        free(places->where[i]);
    free(places);
    free(c);
}

const char *config_where(const struct config *c, const char *key)
{
    const struct row *row = c->impl ? config_row(config_rows, key) : NULL;

    return row && *config_place(c, row) ? *config_place(c, row) : "default";
}

int config_compatible(const struct config *now, const char *earlier_text, const char *earlier_name)
{
    struct source source = {0};
    struct config *earlier;
    int rc = RL_OK;

    TRY(create(&earlier, earlier_name));
    rc = source_scan(&source, earlier_name, earlier_text);
    if (source.error[0])
        rl_error(rc, "%s", source.error);
    TRY(rc);
    TRY(read_source(earlier, &source));
    TRY(finish(earlier));
    TRY(config_compare(now, earlier, earlier_name));
done:
    source_free(&source);
    config_close(earlier);
    return rc;
}
