/* Text to tokens.  White space around tags goes as the transformers library has it: a tag or a
 * comment takes the blanks before it on its line (lstrip_blocks) and the newline behind it
 * (trim_blocks), {{ }} takes neither; `-` takes all white space on its side, `+` none; a newline at
 * the very end of the template is dropped. */
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

struct lexer {
    struct arena *arena;
    const char *path, *s, *end, *at;
    int line;
    bool line_starts;                    /* what came before ended its line */
    struct token *tokens;
    size_t n, room;
    char open[TEMPLATE_NESTING];         /* brackets, innermost last */
    int depth, rc;
};

#define fail(x, ...) ((x)->rc = rl_error(RL_EINVAL, "%s:%d: " __VA_ARGS__))

static struct token *emit(struct lexer *x, enum token_kind kind)
{
    if (x->n == x->room) {
        size_t room = x->room ? 2 * x->room : 64;
        struct token *more = arena_take(x->arena, room * sizeof *more);
        if (x->n)
            memcpy(more, x->tokens, x->n * sizeof *more);
        x->tokens = more;
        x->room = room;
    }
    x->tokens[x->n] = (struct token){ .kind = kind, .line = x->line };
    return &x->tokens[x->n++];
}

/* Move on, counting lines. */
static void go(struct lexer *x, const char *to)
{
    for (; x->at < to; x->at++)
        x->line += *x->at == '\n';
}

static const char *behind_space(const struct lexer *x, const char *p)
{
    uint32_t c;
    int n;

    while (p < x->end && (n = utf8_next(p, (size_t)(x->end - p), &c)) > 0 && string_is_space(c))
        p += n;
    return p;
}

static bool begins(const struct lexer *x, const char *p, const char *with)
{
    size_t n = strlen(with);

    return (size_t)(x->end - p) >= n && memcmp(p, with, n) == 0;
}

/* The text up to a tag whose sign is given, without the white space that the tag takes. */
static void data_add(struct lexer *x, const char *end, char sign, bool strips_line)
{
    struct value text = value_string(x->at, (size_t)(end - x->at));

    if (sign == '-') {
        text = string_strip(text, NULL, STRIP_RIGHT);
    } else if (sign != '+' && strips_line) {
        size_t line = text.n;
        while (line > 0 && text.s[line - 1] != '\n')
            line--;
        if ((line > 0 || x->line_starts) && behind_space(x, text.s + line) >= end)
            text.n = line;
    }
    if (text.n)
        emit(x, T_DATA)->value = text;
    go(x, end);
}

/* Behind the end of a tag at p: what the sign before it, or trim_blocks, takes along. */
static void tag_end(struct lexer *x, const char *p, char sign, bool trims)
{
    p += 2;
    if (sign == '-')
        p = behind_space(x, p);
    else if (sign != '+' && trims && p < x->end && *p == '\n')
        p++;
    x->line_starts = p[-1] == '\n';
    go(x, p);
}

static char sign_at(const struct lexer *x, const char *p)
{
    return p < x->end && (*p == '-' || *p == '+') ? *p : 0;
}

static void comment(struct lexer *x, const char *start)
{
    const char *content = start + 2 + (sign_at(x, start + 2) != 0);

    for (const char *p = content; p + 1 < x->end; p++)
        if (p[0] == '#' && p[1] == '}') {
            tag_end(x, p, p > content ? sign_at(x, p - 1) : 0, true);
            return;
        }
    fail(x, "a comment without its end, '#}'", x->path, x->line);
}

/* p: behind {% and its sign.  Is it the word, and nothing else?  *end: behind the tag. */
static bool only_word(const struct lexer *x, const char *p, const char *word, const char **end,
                      char *sign)
{
    p = behind_space(x, p);
    if (!begins(x, p, word))
        return false;
    p = behind_space(x, p + strlen(word));
    *sign = sign_at(x, p);
    p += *sign != 0;
    *end = p;
    return begins(x, p, "%}");
}

/* {% raw %} ... {% endraw %} at `start`: its text as it is.  False: it is another tag. */
static bool raw(struct lexer *x, const char *start)
{
    const char *p = start + 2 + (sign_at(x, start + 2) != 0), *end;
    char sign, begin_sign;

    if (!only_word(x, p, "raw", &end, &sign) || sign == '+')
        return false;
    data_add(x, start, sign_at(x, start + 2), true);
    tag_end(x, end, sign, false);
    for (p = x->at; p < x->end; p++) {
        if (!begins(x, p, "{%"))
            continue;
        begin_sign = sign_at(x, p + 2);
        if (!only_word(x, p + 2 + (begin_sign != 0), "endraw", &end, &sign))
            continue;
        data_add(x, p, begin_sign, true);
        tag_end(x, end, sign, true);
        return true;
    }
    fail(x, "raw without its endraw", x->path, x->line);
    return true;
}

/* ---- between {{ and }}, {% and %} */

static int hex(struct lexer *x, const char *p, const char *end, int digits, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < digits; i++) {
        const char *all = "0123456789abcdef", *d;
        if (p + i >= end || !p[i] || !(d = strchr(all, p[i] | 0x20)) || (p[i] < '0'))
            return fail(x, "an escape of %d hexadecimal digits is cut short", x->path, x->line,
                        digits);
        *code = *code << 4 | (uint32_t)(d - all);
    }
    return RL_OK;
}

static int utf8_put(char *out, uint32_t c)
{
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

    for (int i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
    return n;
}

/* One escape at p, behind its backslash; writes at most 4 bytes and returns what lies behind. */
static const char *unescape(struct lexer *x, const char *p, const char *end, char **out)
{
    static const char from[] = "nrtabfv\\'\"", to[] = "\n\r\t\a\b\f\v\\'\"";
    const char *simple = *p ? strchr(from, *p) : NULL;
    uint32_t code = 0;
    int digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;

    if (simple) {
        *(*out)++ = to[simple - from];
        return p + 1;
    }
    if (*p == '\n')
        return p + 1;
    if (*p >= '0' && *p <= '7') {
        const char *q = p;
        while (q < end && q < p + 3 && *q >= '0' && *q <= '7')
            code = code * 8 + (uint32_t)(*q++ - '0');
        *out += utf8_put(*out, code);
        return q;
    }
    if (*p == 'N')
        fail(x, "the escape \\N is not supported", x->path, x->line);
    if (digits == 0 || x->rc != RL_OK) {          /* none: the backslash stays */
        *(*out)++ = '\\';
        return p;
    }
    if (hex(x, p + 1, end, digits, &code) == RL_OK
        && (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        fail(x, "an escape for a character that is none", x->path, x->line);
    if (x->rc == RL_OK)
        *out += utf8_put(*out, code);
    return p + 1 + digits;
}

static void string(struct lexer *x)
{
    char quote = *x->at, *made, *out;
    const char *p = x->at + 1, *end = p;

    while (end < x->end && *end != quote)
        end += *end == '\\' ? 2 : 1;
    if (end >= x->end) {
        fail(x, "a string without its end", x->path, x->line);
        return;
    }
    made = out = arena_take(x->arena, (size_t)(end - p) + 1);
    while (p < end && x->rc == RL_OK)
        if (*p == '\\')
            p = unescape(x, p + 1, end, &out);
        else
            *out++ = *p++;
    emit(x, T_STRING)->value = value_string(made, (size_t)(out - made));
    go(x, end + 1);
}

static const char *digits(const struct lexer *x, const char *p)
{
    while (p < x->end && ((*p >= '0' && *p <= '9')
                          || (*p == '_' && p + 1 < x->end && p[1] >= '0' && p[1] <= '9')))
        p++;
    return p;
}

static void number(struct lexer *x)
{
    const char *p = digits(x, x->at), *q = p, *e;
    char text[64];
    size_t n = 0;
    struct token *t;

    if (x->at == x->s || x->at[-1] != '.') {       /* a.1.2 has no fractions */
        if (p + 1 < x->end && *p == '.' && p[1] >= '0' && p[1] <= '9')
            q = digits(x, p + 1);
        e = q;
        if (e < x->end && (*e == 'e' || *e == 'E')) {
            e += 1 + (e + 1 < x->end && (e[1] == '+' || e[1] == '-'));
            if (e < x->end && *e >= '0' && *e <= '9')
                q = digits(x, e);
        }
    }
    for (const char *c = x->at; c < q; c++)
        if (*c != '_' && n < sizeof text - 1)
            text[n++] = *c;
    text[n] = 0;
    t = emit(x, q > p ? T_FLOAT : T_INTEGER);
    if (q > p)
        t->value = value_float(strtod(text, NULL));
    else if (n > 18 || (n > 1 && text[0] == '0' && strspn(text, "0") < n))
        fail(x, "the number %s is not supported", x->path, x->line, text);
    else
        t->value = value_int(strtoll(text, NULL, 10));
    go(x, q);
}

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void name(struct lexer *x)
{
    const char *p = x->at;

    while (p < x->end && (begins_name(*p) || (*p >= '0' && *p <= '9')))
        p++;
    emit(x, T_NAME)->value = value_string(x->at, (size_t)(p - x->at));
    go(x, p);
}

static void bracket(struct lexer *x, char c)
{
    static const char begin[] = "([{", close[] = ")]}";
    const char *opened = strchr(begin, c), *closed = strchr(close, c);

    if (opened && x->depth == TEMPLATE_NESTING)
        fail(x, "brackets nested more than %d deep", x->path, x->line, TEMPLATE_NESTING);
    else if (opened)
        x->open[x->depth++] = close[opened - begin];
    else if (closed && (x->depth == 0 || x->open[--x->depth] != c))
        fail(x, "'%c' closes nothing", x->path, x->line, c);
}

static void operator(struct lexer *x)
{
    static const char *const all[] = { "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%",
                                       "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":",
                                       "|", ",", ";" };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (begins(x, x->at, all[i])) {
            bracket(x, *all[i]);
            emit(x, (enum token_kind)(T_POWER + (int)i));
            go(x, x->at + strlen(all[i]));
            return;
        }
    fail(x, "unexpected character '%s'", x->path, x->line,
         utf8_show(x->at, (size_t)(utf8_next(x->at, (size_t)(x->end - x->at), NULL))).text);
}

/* The tokens of a tag up to its end, which lies outside of any brackets. */
static void tag(struct lexer *x, bool print)
{
    const char *close = print ? "}}" : "%}";

    x->depth = 0;
    emit(x, print ? T_PRINT_BEGIN : T_BLOCK_BEGIN);
    go(x, x->at + 2 + (sign_at(x, x->at + 2) != 0));
    while (x->rc == RL_OK) {
        char sign;
        go(x, behind_space(x, x->at));
        if (x->at >= x->end) {
            fail(x, "a tag without its end, '%s'", x->path, x->line, close);
            return;
        }
        sign = sign_at(x, x->at);
        if (x->depth == 0 && (!sign || sign == '-' || !print)
            && begins(x, x->at + (sign != 0), close)) {
            emit(x, print ? T_PRINT_END : T_BLOCK_END);
            tag_end(x, x->at + (sign != 0), sign, !print);
            return;
        }
        if (*x->at >= '0' && *x->at <= '9')
            number(x);
        else if (begins_name(*x->at))
            name(x);
        else if (*x->at == '\'' || *x->at == '"')
            string(x);
        else
            operator(x);
    }
}

static void tokens(struct lexer *x)
{
    while (x->rc == RL_OK) {
        const char *p = x->at;
        while (p + 1 < x->end && !(*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')))
            p++;
        if (p + 1 >= x->end) {
            data_add(x, x->end, '+', false);
            return;
        }
        if (p[1] == '%' && raw(x, p))
            continue;
        data_add(x, p, sign_at(x, p + 2), p[1] != '{');
        if (p[1] == '#')
            comment(x, p);
        else
            tag(x, p[1] == '{');
    }
}

struct token *template_lex(struct arena *arena, const char *text, size_t n, const char *path)
{
    char *plain = arena_take(arena, n + 1);      /* with newlines that are one character */
    size_t size = 0;
    struct lexer x = { .arena = arena, .path = path, .s = plain, .at = plain, .line = 1,
                       .line_starts = true };

    for (size_t i = 0; i < n; i++)
        if (text[i] != '\r')
            plain[size++] = text[i];
        else if (i + 1 == n || text[i + 1] != '\n')
            plain[size++] = '\n';
    if (size > 0 && plain[size - 1] == '\n')
        size--;
    x.end = plain + size;
    if (utf8_valid(plain, size) < size)
        fail(&x, "not UTF-8", path, 1);
    tokens(&x);
    emit(&x, T_END);
    return x.rc == RL_OK ? x.tokens : NULL;
}
