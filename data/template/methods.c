/* Methods of strings, dicts, lists and loops, as Python's. */
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

static bool given(struct value v)
{
    return v.kind != V_MISSING && v.kind != V_NONE;
}

static bool is_string(struct render *r, const char *what, struct value v)
{
    if (v.kind != V_STRING)
        render_fail(r, "%s: a %s is no string", what, value_type(v));
    return v.kind == V_STRING;
}

/* ---- strings */

static struct value strip_sides(struct render *r, struct value s, const struct value *arg,
                                int sides)
{
    if (given(arg[0]) && !is_string(r, "strip", arg[0]))
        return s;
    return string_strip(s, given(arg[0]) ? arg : NULL, sides);
}

static struct value strip(struct render *r, struct value s, const struct value *arg)
{
    return strip_sides(r, s, arg, STRIP_LEFT | STRIP_RIGHT);
}

static struct value lstrip(struct render *r, struct value s, const struct value *arg)
{
    return strip_sides(r, s, arg, STRIP_LEFT);
}

static struct value rstrip(struct render *r, struct value s, const struct value *arg)
{
    return strip_sides(r, s, arg, STRIP_RIGHT);
}

static struct value upper(struct render *r, struct value s, const struct value *arg)
{
    (void)arg;
    return string_case(r, s, CASE_UPPER);
}

static struct value lower(struct render *r, struct value s, const struct value *arg)
{
    (void)arg;
    return string_case(r, s, CASE_LOWER);
}

static struct value title(struct render *r, struct value s, const struct value *arg)
{
    (void)arg;
    return string_case(r, s, CASE_TITLE);
}

static struct value capitalize(struct render *r, struct value s, const struct value *arg)
{
    (void)arg;
    return string_case(r, s, CASE_CAPITAL);
}

/* Pieces are collected here. */
struct pieces { struct render *r; struct value v; size_t room; };

static void piece(struct pieces *p, struct value v)
{
    if (p->v.n == p->room) {
        size_t room = p->room ? 2 * p->room : 8;
        struct value *more = render_take(p->r, room * sizeof *more);
        if (p->v.n)
            memcpy(more, p->v.items, p->v.n * sizeof *more);
        p->v.items = more;
        p->room = room;
    }
    p->v.items[p->v.n++] = v;
}

/* Offset of the next white space at or behind `at`, or of what is none. */
static size_t space_at(struct value s, size_t at, bool space)
{
    uint32_t c;

    while (at < s.n) {
        int n = utf8_next(s.s + at, s.n - at, &c);
        if (string_is_space(c) == space)
            break;
        at += (size_t)n;
    }
    return at;
}

static struct value split(struct render *r, struct value s, const struct value *arg)
{
    int64_t most = value_integer(r, arg[1], -1, "split: maxsplit");
    struct pieces p = { .r = r, .v = { .kind = V_LIST } };
    size_t at = 0;
    ptrdiff_t found;

    if (!given(arg[0])) {                       /* words; no empty ones */
        for (at = space_at(s, 0, false); at < s.n && r->rc == RL_OK; most--) {
            size_t end = most == 0 ? s.n : space_at(s, at, true);
            piece(&p, string_part(s, at, end));
            at = space_at(s, end, false);
        }
        return p.v;
    }
    if (!is_string(r, "split", arg[0]) || arg[0].n == 0)
        return render_fail(r, "split at an empty string");
    for (; most != 0 && r->rc == RL_OK && (found = string_find(s, arg[0], at)) >= 0; most--) {
        piece(&p, string_part(s, at, (size_t)found));
        at = (size_t)found + arg[0].n;
    }
    piece(&p, string_part(s, at, s.n));
    return p.v;
}

/* The last occurrence that ends at or before `end`. */
static ptrdiff_t find_last(struct value s, struct value part, size_t end)
{
    for (size_t at = end; at + 1 > part.n; at--)
        if (memcmp(s.s + at - part.n, part.s, part.n) == 0)
            return (ptrdiff_t)(at - part.n);
    return -1;
}

static struct value rsplit(struct render *r, struct value s, const struct value *arg)
{
    int64_t most = value_integer(r, arg[1], -1, "rsplit: maxsplit");
    struct pieces p = { .r = r, .v = { .kind = V_LIST } };
    size_t end = s.n;
    ptrdiff_t found;

    if (most < 0)
        return split(r, s, arg);
    if (!given(arg[0]))
        return render_fail(r, "rsplit at white space with maxsplit is not supported");
    if (!is_string(r, "rsplit", arg[0]) || arg[0].n == 0)
        return render_fail(r, "rsplit at an empty string");
    for (; most != 0 && r->rc == RL_OK && (found = find_last(s, arg[0], end)) >= 0; most--) {
        piece(&p, string_part(s, (size_t)found + arg[0].n, end));
        end = (size_t)found;
    }
    piece(&p, string_part(s, 0, end));
    for (size_t i = 0; i < p.v.n / 2; i++) {
        struct value swap = p.v.items[i];
        p.v.items[i] = p.v.items[p.v.n - 1 - i];
        p.v.items[p.v.n - 1 - i] = swap;
    }
    return p.v;
}

static struct value splitlines(struct render *r, struct value s, const struct value *arg)
{
    struct pieces p = { .r = r, .v = { .kind = V_LIST } };
    bool keep = arg[0].kind != V_MISSING && value_truth(arg[0]);

    for (size_t at = 0, end, next; at < s.n && r->rc == RL_OK; at = next) {
        end = string_line(s, at, &next);
        piece(&p, string_part(s, at, keep ? next : end));
    }
    return p.v;
}

/* Does s begin, or end, with the string, or with one of a tuple? */
static bool has_end(struct render *r, struct value s, struct value with, bool begins)
{
    bool any = false;

    if (with.kind == V_TUPLE) {
        for (size_t i = 0; i < with.n && !any; i++)
            any = with.items[i].kind != V_TUPLE && has_end(r, s, with.items[i], begins);
        return any;
    }
    return is_string(r, begins ? "startswith" : "endswith", with) && with.n <= s.n
        && memcmp(begins ? s.s : s.s + s.n - with.n, with.s, with.n) == 0;
}

static struct value startswith(struct render *r, struct value s, const struct value *arg)
{
    return value_bool(has_end(r, s, arg[0], true));
}

static struct value endswith(struct render *r, struct value s, const struct value *arg)
{
    return value_bool(has_end(r, s, arg[0], false));
}

static struct value removeprefix(struct render *r, struct value s, const struct value *arg)
{
    return is_string(r, "removeprefix", arg[0]) && has_end(r, s, arg[0], true)
        ? string_part(s, arg[0].n, s.n) : s;
}

static struct value removesuffix(struct render *r, struct value s, const struct value *arg)
{
    return is_string(r, "removesuffix", arg[0]) && has_end(r, s, arg[0], false)
        ? string_part(s, 0, s.n - arg[0].n) : s;
}

static struct value replace(struct render *r, struct value s, const struct value *arg)
{
    if (!is_string(r, "replace", arg[0]) || !is_string(r, "replace", arg[1]))
        return s;
    return string_replace(r, s, arg[0], arg[1], value_integer(r, arg[2], -1, "replace: count"));
}

/* Characters before an offset in bytes. */
static struct value characters(struct value s, ptrdiff_t bytes)
{
    return value_int(bytes < 0 ? -1
                               : (int64_t)string_characters(string_part(s, 0, (size_t)bytes)));
}

static struct value find(struct render *r, struct value s, const struct value *arg)
{
    int64_t from = value_integer(r, arg[1], 0, "find: start");

    if (!is_string(r, "find", arg[0]))
        return s;
    if (from < 0)
        return render_fail(r, "find from a negative start is not supported");
    if ((size_t)from > string_characters(s))
        return value_int(-1);
    return characters(s, string_find(s, arg[0], string_offset(s, (size_t)from)));
}

static struct value rfind(struct render *r, struct value s, const struct value *arg)
{
    if (!is_string(r, "rfind", arg[0]))
        return s;
    return characters(s, find_last(s, arg[0], s.n));
}

static struct value count(struct render *r, struct value s, const struct value *arg)
{
    int64_t n = 0;
    ptrdiff_t found;

    if (!is_string(r, "count", arg[0]))
        return s;
    if (arg[0].n == 0)
        return value_int((int64_t)string_characters(s) + 1);
    for (size_t at = 0; (found = string_find(s, arg[0], at)) >= 0; n++)
        at = (size_t)found + arg[0].n;
    return value_int(n);
}

static struct value join(struct render *r, struct value s, const struct value *arg)
{
    struct text out = { 0 };
    struct value *items;
    size_t n;

    value_iterate(r, arg[0], &items, &n);
    for (size_t i = 0; i < n && render_room(r, out.size) && is_string(r, "join", items[i]); i++) {
        if (i)
            text_add(&out, s.s, s.n);
        text_add(&out, items[i].s, items[i].n);
    }
    return value_text(r, &out);
}

static struct value is_space(struct render *r, struct value s, const struct value *arg)
{
    (void)r;
    (void)arg;
    return value_bool(s.n > 0 && space_at(s, 0, false) == s.n);
}

static struct value is_upper(struct render *r, struct value s, const struct value *arg)
{
    (void)r;
    (void)arg;
    return value_bool(string_is_case(s, true));
}

static struct value is_lower(struct render *r, struct value s, const struct value *arg)
{
    (void)r;
    (void)arg;
    return value_bool(string_is_case(s, false));
}

static struct value is_digit(struct render *r, struct value s, const struct value *arg)
{
    bool all = s.n > 0;

    (void)arg;
    for (size_t i = 0; i < s.n && r->rc == RL_OK; i++) {
        if (s.s[i] & 0x80)
            render_fail(r, "isdigit of other than ASCII is not supported");
        all &= s.s[i] >= '0' && s.s[i] <= '9';
    }
    return value_bool(all);
}

const struct method string_methods[] = {
    { V_STRING, { "strip", strip, 0, { "chars" }, NULL, false } },
    { V_STRING, { "lstrip", lstrip, 0, { "chars" }, NULL, false } },
    { V_STRING, { "rstrip", rstrip, 0, { "chars" }, NULL, false } },
    { V_STRING, { "upper", upper, 0, { NULL }, NULL, false } },
    { V_STRING, { "lower", lower, 0, { NULL }, NULL, false } },
    { V_STRING, { "title", title, 0, { NULL }, NULL, false } },
    { V_STRING, { "capitalize", capitalize, 0, { NULL }, NULL, false } },
    { V_STRING, { "split", split, 0, { "sep", "maxsplit" }, NULL, false } },
    { V_STRING, { "rsplit", rsplit, 0, { "sep", "maxsplit" }, NULL, false } },
    { V_STRING, { "splitlines", splitlines, 0, { "keepends" }, NULL, false } },
    { V_STRING, { "startswith", startswith, 1, { "prefix" }, NULL, false } },
    { V_STRING, { "endswith", endswith, 1, { "suffix" }, NULL, false } },
    { V_STRING, { "removeprefix", removeprefix, 1, { "prefix" }, NULL, false } },
    { V_STRING, { "removesuffix", removesuffix, 1, { "suffix" }, NULL, false } },
    { V_STRING, { "replace", replace, 2, { "old", "new", "count" }, NULL, false } },
    { V_STRING, { "find", find, 1, { "sub", "start" }, NULL, false } },
    { V_STRING, { "rfind", rfind, 1, { "sub" }, NULL, false } },
    { V_STRING, { "count", count, 1, { "sub" }, NULL, false } },
    { V_STRING, { "join", join, 1, { "iterable" }, NULL, false } },
    { V_STRING, { "isspace", is_space, 0, { NULL }, NULL, false } },
    { V_STRING, { "isdigit", is_digit, 0, { NULL }, NULL, false } },
    { V_STRING, { "isupper", is_upper, 0, { NULL }, NULL, false } },
    { V_STRING, { "islower", is_lower, 0, { NULL }, NULL, false } },
    { 0 },
};
