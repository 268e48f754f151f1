/* Options by table; see options.h. */
#include "launch/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static const struct option_row *find(const struct option_row *rows, const char *word, size_t n)
{
    for (const struct option_row *row = rows; row->name; row++)
        if (strlen(row->name) == n && strncmp(row->name, word, n) == 0)
            return row;
    return NULL;
}

static const char *dashes(const struct option_row *row)
{
    return row->name[1] ? "--" : "-";
}

static int read_int(const struct option_row *row, char *text, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (*end || end == text || errno)
        return rl_error(RL_EINVAL, "%s%s: '%s' is not a whole number", dashes(row), row->name,
                        text);
    return RL_OK;
}

static int read_real(const struct option_row *row, char *text, double *out)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    if (*end || end == text || errno)
        return rl_error(RL_EINVAL, "%s%s: '%s' is not a number", dashes(row), row->name, text);
    return RL_OK;
}

static int too_often(const struct option_row *row)
{
    return rl_error(RL_EINVAL, "%s%s: given more than %d times", dashes(row), row->name,
                    OPTION_TIMES);
}

static int set_value(const struct option_row *row, char *text)
{
    struct option_ints *ints = row->place;
    struct option_texts *texts = row->place;

    switch (row->kind) {
    case OPTION_INT:
        return read_int(row, text, row->place);
    case OPTION_REAL:
        return read_real(row, text, row->place);
    case OPTION_INTS:
        return ints->count == OPTION_TIMES ? too_often(row)
                                           : read_int(row, text, &ints->items[ints->count++]);
    case OPTION_TEXTS:
        if (texts->count == OPTION_TIMES)
            return too_often(row);
        texts->items[texts->count++] = text;
        return RL_OK;
    default:
        *(const char **)row->place = text;
        return RL_OK;
    }
}

/* argv[*i] is an option: "--name", "--name=value", "-n" or "-nVALUE" is not taken. */
static int take(const struct option_row *rows, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    char *name = argv[*i] + (word[1] == '-' ? 2 : 1);
    char *equals = strchr(name, '=');
    const struct option_row *row =
        find(rows, name, equals ? (size_t)(equals - name) : strlen(name));

    if (!row)
        return rl_error(RL_EINVAL, "unknown option '%s' (--help lists them)", word);
    if (row->kind == OPTION_FLAG) {
        if (equals)
            return rl_error(RL_EINVAL, "%s%s takes no value", dashes(row), row->name);
        *(bool *)row->place = true;
        return RL_OK;
    }
    if (equals)
        return set_value(row, equals + 1);
    if (*i + 1 >= argc)
        return rl_error(RL_EINVAL, "%s%s needs a value (%s)", dashes(row), row->name, row->value);
    *i += 1;
    return set_value(row, argv[*i]);
}

int options_parse(const struct option_row *rows, int *argc, char **argv)
{
    int kept = 0, rc = RL_OK;
    bool only_words = false;

    for (int i = 0; i < *argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0)
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0')
            TRY(take(rows, *argc, argv, &i));
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
done:
    return rc;
}

void options_help(const struct option_row *rows, FILE *out)
{
    for (const struct option_row *row = rows; row->name; row++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s", dashes(row), row->name,
                 row->value ? " " : "", row->value ? row->value : "");
        fprintf(out, "  %-22s %s\n", left, row->help);
    }
}
