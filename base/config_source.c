/* Reads configuration text token by token, as libconfig's scanner does, to put includes in and to
 * refuse what that scanner would get wrong in silence. */
#include "base/config_source.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"

#define INCLUDE_DEPTH 10
#define GROUP_DEPTH 16
#define FILES 1000
#define PATH_ROOM 4096

/* Where the scan of one file stands. */
struct scan {
    struct source *s;
    const char *p;          /* ends with a zero byte */
    int file, line;
    int include;            /* depth; -1: no includes here */
    int group;              /* depth of brackets, */
    char open[GROUP_DEPTH]; /* and which they are */
};

static int mistake(struct scan *at, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int mistake(struct scan *at, const char *format, ...)
{
    struct source *s = at->s;
    va_list args;
    int n;

    /* Text that is no file (an argument) is one line: its name is enough. */
    if (at->include < 0)
        n = snprintf(s->error, sizeof s->error, "%s: ", s->files[at->file]);
    else
        n = snprintf(s->error, sizeof s->error, "%s:%d: ", s->files[at->file], at->line);
    if (n > 0 && n < (int)sizeof s->error) {
        va_start(args, format);
        vsnprintf(s->error + n, sizeof s->error - (size_t)n, format, args);
        va_end(args);
    }
    return RL_EINVAL;
}

static int out_of_memory(struct source *s)
{
    snprintf(s->error, sizeof s->error, "cannot allocate the configuration");
    return RL_ENOFIT;
}

/* The line of text ends here, and came from here. */
static int newline(struct scan *at)
{
    struct source *s = at->s;

    if (s->count == s->room) {
        int room = s->room ? 2 * s->room : 256;
        struct source_line *lines = realloc(s->lines, (size_t)room * sizeof *lines);
        if (!lines)
            return out_of_memory(s);
        s->lines = lines;
        s->room = room;
    }
    s->lines[s->count++] = (struct source_line){ at->file, at->line };
    text_add(&s->text, "\n", 1);
    return RL_OK;
}

static int scan_newline(struct scan *at)
{
    int rc = newline(at);

    at->line++;
    at->p++;
    return rc;
}

static int scan_comment(struct scan *at)
{
    int rc = RL_OK, begin = at->line;

    text_add(&at->s->text, " ", 1);
    if (at->p[0] == '#' || at->p[1] == '/') {
        at->p += strcspn(at->p, "\n");
        return RL_OK;
    }
    for (at->p += 2; at->p[0] != '*' || at->p[1] != '/';) {
        if (*at->p == 0) {
            at->line = begin;
            return mistake(at, "the comment that begins here does not end");
        }
        if (*at->p == '\n')
            TRY(scan_newline(at));
        else
            at->p++;
    }
    at->p += 2;
done:
    return rc;
}

static int scan_string(struct scan *at)
{
    int rc = RL_OK, begin = at->line;

    text_add(&at->s->text, at->p++, 1);
    while (*at->p != '"') {
        size_t n = *at->p == '\\' && at->p[1] && at->p[1] != '\n' ? 2 : 1;
        if (*at->p == 0) {
            at->line = begin;
            return mistake(at, "the string that begins here does not end");
        }
        if (n == 2 && (at->p[1] == 'x' || at->p[1] == 'X') && at->p[2] == '0' && at->p[3] == '0')
            return mistake(at, "a string cannot hold a zero byte (\\x00)");
        if (*at->p == '\n') {
            TRY(scan_newline(at));
            continue;
        }
        text_add(&at->s->text, at->p, n);
        at->p += n;
    }
    text_add(&at->s->text, at->p++, 1);
done:
    return rc;
}

/* Numbers that libconfig would cut, wrap or read as 0. */
static int scan_number(struct scan *at)
{
    char word[64], *end;
    size_t n = strspn(at->p, "+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
    bool hex, is_long, fits;
    int64_t value;

    if (n >= sizeof word)
        return mistake(at, "bad number '%.40s...'", at->p);
    snprintf(word, sizeof word, "%.*s", (int)n, at->p);
    hex = word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    errno = 0;
    value = strtoll(word, &end, hex ? 16 : 10);
    is_long = strcmp(end, "L") == 0 || strcmp(end, "LL") == 0;
    fits = errno == 0;
    if (*end && !is_long) {                     /* no integer: a real? */
        double x = strtod(word, &end);
        fits = isfinite(x);
        if (hex || *end || strpbrk(word, "nNiIpPxX") || end == word)
            return mistake(at, "bad number '%s'", word);
        value = 0;
    }
    if (!fits)
        return mistake(at, "the number %s is too big", word);
    text_add(&at->s->text, at->p, n);
    if (!is_long && (value < INT_MIN || value > INT_MAX))
        text_adds(&at->s->text, "L");           /* without it libconfig keeps 32 bits */
    at->p += n;
    return RL_OK;
}

static int scan_name(struct scan *at)
{
    size_t n = 1;

    while (isalnum((unsigned char)at->p[n]) || (at->p[n] && strchr("*_-", at->p[n])))
        n++;
    if (at->p[n] == '.')
        return mistake(at, "'%.*s.' with a dot is for the command line; in a file write "
                       "%.*s = { key = value; };", (int)n, at->p, (int)n, at->p);
    text_add(&at->s->text, at->p, n);
    at->p += n;
    return RL_OK;
}

static int scan_file(struct source *s, const char *path, int depth);

/* @include "path" at the start of a line. */
static int scan_include(struct scan *at)
{
    char path[PATH_ROOM];
    size_t n;

    at->p += strlen("@include");
    at->p += strspn(at->p, " \t");
    if (*at->p != '"' || strcspn(at->p + 1, "\"\n") == 0)
        return mistake(at, "expected @include \"file\"");
    n = strcspn(++at->p, "\"\n");
    if (at->p[n] != '"' || n >= sizeof path)
        return mistake(at, "expected @include \"file\"");
    snprintf(path, sizeof path, "%.*s", (int)n, at->p);
    at->p += n + 1;
    if (at->include < 0)
        return mistake(at, "@include is for files");
    if (at->include + 1 >= INCLUDE_DEPTH || at->s->n_files >= FILES)
        return mistake(at, "@include \"%s\" goes deeper than %d files: does a file include itself?",
                       path, INCLUDE_DEPTH);
    if (folder_exists(path) || access(path, R_OK) != 0)
        return mistake(at, "@include \"%s\": %s", path,
                       folder_exists(path) ? "it is a folder" : strerror(errno));
    return scan_file(at->s, path, at->include + 1);
}

/* An array becomes a list: libconfig holds arrays to one type, also to integers or reals, and calls
 * the rest a syntax error; of a list's elements config_set.c says which one is wrong. */
static int scan_bracket(struct scan *at)
{
    char c = *at->p++, begins = c == ')' ? '(' : c == ']' ? '[' : '{';

    if (strchr("({[", c)) {
        if (at->group == GROUP_DEPTH)
            return mistake(at, "more than %d brackets inside each other", GROUP_DEPTH);
        at->open[at->group++] = c;
    } else if (at->group > 0 && at->open[--at->group] != begins) {
        return mistake(at, "'%c' closes '%c'", c, at->open[at->group]);
    }
    text_adds(&at->s->text, c == '[' ? "(" : c == ']' ? ")" : (char[]){ c, 0 });
    return RL_OK;
}

/* One token, or one character that stands for itself. */
static int scan_token(struct scan *at)
{
    const char *p = at->p;

    if (*p == '\n')
        return scan_newline(at);
    if (*p == '#' || (p[0] == '/' && (p[1] == '/' || p[1] == '*')))
        return scan_comment(at);
    if (*p == '"')
        return scan_string(at);
    if (isdigit((unsigned char)*p) || strchr("+-.", *p))
        return scan_number(at);
    if (isalpha((unsigned char)*p) || *p == '*')
        return scan_name(at);
    if (strchr("(){}[]", *p))
        return scan_bracket(at);
    text_add(&at->s->text, at->p++, 1);
    return RL_OK;
}

static int scan_all(struct scan *at)
{
    int rc = RL_OK;

    while (*at->p) {
        bool starts = at->s->text.size == 0 || at->s->text.data[at->s->text.size - 1] == '\n';
        const char *word = at->p + strspn(at->p, " \t");
        if (starts && strncmp(word, "@include", strlen("@include")) == 0) {
            at->p = word;
            TRY(scan_include(at));
        } else {
            TRY(scan_token(at));
        }
    }
    TRY(newline(at));
done:
    return rc;
}

static int add_file(struct source *s, const char *name)
{
    char **files = realloc(s->files, (size_t)(s->n_files + 1) * sizeof *files);

    if (!files)
        return out_of_memory(s);
    s->files = files;
    files[s->n_files] = strdup(name);
    if (!files[s->n_files])
        return out_of_memory(s);
    s->n_files++;
    return RL_OK;
}

static int scan_file(struct source *s, const char *path, int depth)
{
    struct scan at = { .s = s, .file = s->n_files, .line = 1, .include = depth };
    struct text text = {0};
    int rc = RL_OK;

    TRY(add_file(s, path));
    TRY(file_read(path, &text));        /* which says what is wrong */
    if (memchr(text.data, 0, text.size)) {
        for (const char *p = text.data; *p; p++)
            at.line += *p == '\n';
        rc = mistake(&at, "a zero byte: is this a text file?");
        goto done;
    }
    at.p = text.data;
    TRY(scan_all(&at));
done:
    text_free(&text);
    return rc;
}

int source_read(struct source *s, const char *path)
{
    return scan_file(s, path, 0);
}

int source_scan(struct source *s, const char *name, const char *text)
{
    struct scan at = { .s = s, .p = text, .file = s->n_files, .line = 1, .include = -1 };
    int rc = add_file(s, name);

    return rc == RL_OK ? scan_all(&at) : rc;
}

void source_free(struct source *s)
{
    text_free(&s->text);
    free(s->lines);
    for (int i = 0; i < s->n_files; i++)
        free(s->files[i]);
    free(s->files);
    memset(s, 0, sizeof *s);
}

void source_where(const struct source *s, int line, char *out, size_t room)
{
    int i = line > s->count ? s->count - 1 : line - 1;

    if (i < 0)
        snprintf(out, room, "%s", s->n_files ? s->files[0] : "configuration");
    else
        snprintf(out, room, "%s:%d", s->files[s->lines[i].file], s->lines[i].line);
}
