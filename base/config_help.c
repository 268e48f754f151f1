/* The keys of the configuration as text: --help and docs/config.md. */
#include "base/config_rows.h"

#include <stdio.h>
#include <string.h>

static void add_range(const struct row *row, struct text *out)
{
    if (row->type == ROW_REAL && config_row_may_be_unset(row))
        text_addf(out, "0 to %.10g, or -1", row->max);
    else if (row->type == ROW_INT)
        text_addf(out, "%.0f to %.0f", row->min, row->max);
    else if (row->type == ROW_REAL)
        text_addf(out, "%.10g to %.10g", row->min, row->max);
    else if (row->type == ROW_BOOL)
        text_adds(out, "true, false");
    else if (row->type == ROW_STRINGS)
        text_adds(out, "strings");
    else if (row->type == ROW_INTS)
        text_adds(out, "integers");
    else if (row->type == ROW_REALS)
        text_adds(out, "numbers");
    else if (row->type == ROW_STRING && !row->choices)
        text_adds(out, "string");
    else if (row->type == ROW_STRING)
        for (const char *p = row->choices; *p; p++)
            text_addf(out, "%s%c", *p == ' ' ? "," : "", *p);
    else
        text_adds(out, row->type == ROW_ROLES ? "roles" : "groups");
}

static const char *shown_default(const struct row *row)
{
    return row->shown ? row->shown : row->standard[0] ? row->standard : "-";
}

/* Words of `text`, in lines that fit a terminal, all under the help. */
static void print_wrapped(FILE *out, const char *text)
{
    int column = 0;

    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column > 0 && column + 1 + n > 90) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%*s%.*s", column == 0 ? 27 : 1, "", n, text);
        column += 1 + n;
        text += n + (text[n] == ' ');
    }
    fputc('\n', out);
}

static void help_rows(FILE *out, const struct row *rows)
{
    struct text range = {0};

    for (; rows->help; rows++) {
        if (!rows->key) {
            fprintf(out, "\n%s\n", rows->help);
            continue;
        }
        text_clear(&range);
        text_adds(&range, "[");
        add_range(rows, &range);
        text_addf(&range, "] default: %s", shown_default(rows));
        fprintf(out, "  %-24s %s\n", rows->key, rows->help);
        print_wrapped(out, range.data);
    }
    text_free(&range);
}

void config_help(FILE *out)
{
    fputs("Keys of the configuration file, and of key=value on the command line:\n", out);
    help_rows(out, config_rows);
    fputs("\nA group of rewards\n", out);
    help_rows(out, config_reward_rows);
    fputs("\nA group of ranks\n", out);
    help_rows(out, config_ranks_rows);
}

static void markdown_head(FILE *out, const char *heading)
{
    fprintf(out, "\n## %s\n\n| key | values | default | fixed | meaning |\n"
                 "|---|---|---|---|---|\n", heading);
}

static void markdown_rows(FILE *out, const struct row *rows)
{
    struct text line = {0};

    for (; rows->help; rows++) {
        if (!rows->key) {
            markdown_head(out, rows->help);
            continue;
        }
        text_clear(&line);
        text_addf(&line, "| `%s` | ", rows->key);
        add_range(rows, &line);
        text_addf(&line, " | %s | %s | ", shown_default(rows),
                  rows->flags & ROW_FIXED ? "yes" : "");
        for (const char *p = rows->help; *p; p++)
            text_addf(&line, *p == '|' ? "\\%c" : "%c", *p);
        fprintf(out, "%s |\n", line.data);
    }
    text_free(&line);
}

void config_markdown(FILE *out)
{
    fputs("# Configuration\n\n"
          "Made from the table in `base/config_rows.c` (`REGENERATE=1 build/tests/test_config`).\n"
          "Files are libconfig: `key = value;`, groups `dpo = { loss = \"ipo\"; };`, lists\n"
          "`text = (\"a.txt\", \"b.txt\");`, comments `#`, `//` and `/* */`. A line\n"
          "`@include \"base.cfg\"` stands for the lines of that file. Paths are relative to the\n"
          "working directory. On the command line: `key=value`, `group.key=value`, in the same\n"
          "syntax; a bare word is a string. A key that nothing reads as the configuration stands\n"
          "(`ppo.lambda` without a critic) is refused, unless it is meant for others: in a file\n"
          "whose algorithm the command line replaced, or in an included file that names none, it\n"
          "is left out and said (`rewards` always, which other commands read).\n"
          "The smallest file:\n\n"
          "```\n"
          "algorithm = \"online_dpo\";\n"
          "model     = \"models/llama\";\n"
          "prompts   = \"prompts.jsonl\";\n"
          "rewards   = { kind = \"words\"; words = [\"happy\", \"kind\"]; };\n"
          "output    = \"runs/first\";\n"
          "```\n\n"
          "Required: `algorithm`, `model`, `output`; then `prompts` and `rewards`, `pairs` or\n"
          "`text`, as docs/algorithms.md says of each. A string set to `\"\"` is not set. *Fixed*\n"
          "keys are part of the\n"
          "numbers: a run that is resumed must have the same ones.\n", out);
    markdown_rows(out, config_rows);
    markdown_head(out, "A group of `rewards`");
    markdown_rows(out, config_reward_rows);
    markdown_head(out, "A group of `ranks`");
    markdown_rows(out, config_ranks_rows);
}
