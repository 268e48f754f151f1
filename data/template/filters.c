/* Filters of strings and numbers, and how filters are found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

struct value filter_call(struct render *r, struct value name, struct value in,
                         const struct args *a)
{
    const struct filter *const tables[] = { string_filters, list_filters, choice_filters };

    for (int t = 0; t < 3; t++)
        for (const struct filter *f = tables[t]; f->name; f++) {
            if (!value_is(name, f->name))
                continue;
            if (in.kind == V_STRING && in.safe && f->changes_text)
                return render_fail(r, "%s of an escaped string is not supported", f->name);
            return table_call(r, f, "the filter", in, a);
        }
    return render_fail(r, "the filter '%s' is not supported", utf8_show(name.s, name.n).text);
}

static bool given(struct value v)
{
    return v.kind != V_MISSING && v.kind != V_NONE;
}

static struct value upper(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    return string_case(r, value_shown(r, in), CASE_UPPER);
}

static struct value lower(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    return string_case(r, value_shown(r, in), CASE_LOWER);
}

static struct value capitalize(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    return string_case(r, value_shown(r, in), CASE_CAPITAL);
}

/* Words begin at white space, '-' and brackets that open; unlike str.title, not behind an
 * apostrophe. */
static struct value title(struct render *r, struct value in, const struct value *arg)
{
    struct value s = value_shown(r, in), part;
    struct text out = { 0 };
    bool begins = true, before = true;

    (void)arg;
    for (size_t at = 0, end; at < s.n; at = end) {
        uint32_t c;
        end = at;
        before = begins;
        do {
            size_t n = (size_t)utf8_next(s.s + end, s.n - end, &c);
            begins = string_is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
            end += n;
        } while (end < s.n && !begins && !before);
        part = string_case(r, string_part(s, at, end), before ? CASE_UPPER : CASE_LOWER);
        text_add(&out, part.s, part.n);
    }
    return value_text(r, &out);
}

static struct value trim(struct render *r, struct value in, const struct value *arg)
{
    if (given(arg[0]) && arg[0].kind != V_STRING)
        return render_fail(r, "the filter trim: chars is a %s", value_type(arg[0]));
    return string_strip(value_shown(r, in), given(arg[0]) ? arg : NULL, STRIP_LEFT | STRIP_RIGHT);
}

static struct value replace(struct render *r, struct value in, const struct value *arg)
{
    return string_replace(r, value_shown(r, in), value_shown(r, arg[0]), value_shown(r, arg[1]),
                          value_integer(r, arg[2], -1, "replace: count"));
}

static struct value string(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    return value_shown(r, in);
}

static struct value safe(struct render *r, struct value in, const struct value *arg)
{
    struct value s = value_shown(r, in);

    (void)arg;
    s.safe = true;
    return s;
}

static struct value escape(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    return string_escape(r, value_shown(r, in));
}

/* Lines after the first go in by `width` blanks or that string, empty ones only with `blank`. */
static struct value indent(struct render *r, struct value in, const struct value *arg)
{
    struct value s = value_shown(r, in), pad = arg[0];
    struct text out = { 0 };
    bool first = arg[1].kind != V_MISSING && value_truth(arg[1]);
    bool blank = arg[2].kind != V_MISSING && value_truth(arg[2]);

    if (pad.kind != V_STRING) {
        int64_t width = value_integer(r, pad, 4, "indent: width");
        pad = value_literal(" ");
        pad = render_binary(r, T_STAR, pad, value_int(width));
    }
    if (first)
        text_add(&out, pad.s, pad.n);
    for (size_t at = 0, end, next; render_room(r, out.size); at = next) {
        end = string_line(s, at, &next);
        if (at > 0)
            text_adds(&out, "\n");
        if (at > 0 && (blank || end > at))
            text_add(&out, pad.s, pad.n);
        text_add(&out, s.s + at, end - at);
        if (next == end)
            break;
    }
    return value_text(r, &out);
}

static struct value tojson(struct render *r, struct value in, const struct value *arg)
{
    struct json_style style = { .comma = value_literal(", "), .colon = value_literal(": "),
                                .ascii = arg[0].kind != V_MISSING && value_truth(arg[0]),
                                .sort = arg[3].kind != V_MISSING && value_truth(arg[3]) };
    struct text out = { 0 };

    if (given(arg[1])) {
        style.comma = value_literal(",");
        style.indent = arg[1].kind == V_STRING
            ? arg[1] : render_binary(r, T_STAR, value_literal(" "),
                                     value_int(value_integer(r, arg[1], 0, "tojson: indent")));
    }
    if (given(arg[2])) {
        if ((arg[2].kind != V_TUPLE && arg[2].kind != V_LIST) || arg[2].n != 2
            || arg[2].items[0].kind != V_STRING || arg[2].items[1].kind != V_STRING)
            return render_fail(r, "tojson: separators are two strings");
        style.comma = arg[2].items[0];
        style.colon = arg[2].items[1];
    }
    show_json(r, &out, in, &style, 0);
    return value_text(r, &out);
}

/* ---- numbers */

static struct value to_int(struct render *r, struct value in, const struct value *arg)
{
    int64_t base = value_integer(r, arg[1], 10, "int: base"), i;
    double f;

    if (in.kind == V_UNDEFINED)
        return render_fail(r, "int of '%s', which is undefined", utf8_show(in.s, in.n).text);
    if (base < 2 || base > 36)
        return render_fail(r, "int: a base of %lld is not supported", (long long)base);
    if (in.kind == V_STRING && string_integer(in, (int)base, &i))
        return value_int(i);
    if (in.kind == V_INT || in.kind == V_BOOL)
        return value_int(in.kind == V_INT ? in.i : in.b);
    f = in.kind == V_FLOAT ? in.f : NAN;
    if ((in.kind == V_FLOAT || (in.kind == V_STRING && string_number(in, &f))) && isfinite(f)) {
        if (fabs(f) >= 0x1p63)
            return render_fail(r, "an integer beyond 64 bits is not supported");
        return value_int((int64_t)f);
    }
    return arg[0].kind == V_MISSING ? value_int(0) : arg[0];
}

static struct value to_float(struct render *r, struct value in, const struct value *arg)
{
    double f;

    if (in.kind == V_UNDEFINED)
        return render_fail(r, "float of '%s', which is undefined", utf8_show(in.s, in.n).text);
    if (value_is_number(in))
        return value_float(value_number(in));
    if (in.kind == V_STRING && string_number(in, &f))
        return value_float(f);
    return arg[0].kind == V_MISSING ? value_float(0) : arg[0];
}

static struct value absolute(struct render *r, struct value in, const struct value *arg)
{
    (void)arg;
    if (!value_is_number(in))
        return render_fail(r, "abs of a %s", value_type(in));
    if (in.kind == V_FLOAT)
        return value_float(fabs(in.f));
    return value_order(r, in, value_int(0)) < 0 ? render_binary(r, T_MINUS, value_int(0), in)
                                               : render_binary(r, T_PLUS, value_int(0), in);
}

/* Python rounds the decimal that a float exactly is, halves to even: so does printf. */
static struct value round_to(struct render *r, struct value in, const struct value *arg)
{
    int64_t places = value_integer(r, arg[0], 0, "round: precision");
    struct text digits = { 0 };
    double f;

    if (!value_is_number(in))
        return render_fail(r, "round of a %s", value_type(in));
    if (places < 0 || places > 15)
        return render_fail(r, "round: a precision of %lld is not supported", (long long)places);
    if (arg[1].kind != V_MISSING && !value_is(arg[1], "common")) {
        double scale = 1;
        for (int64_t i = 0; i < places; i++)
            scale *= 10;
        if (!value_is(arg[1], "ceil") && !value_is(arg[1], "floor"))
            return render_fail(r, "round: the method is common, ceil or floor");
        f = value_number(in) * scale;
        return value_float((value_is(arg[1], "ceil") ? ceil(f) : floor(f)) / scale);
    }
    if (in.kind != V_FLOAT)            /* an int stays one */
        return value_int(in.kind == V_INT ? in.i : in.b);
    text_addf(&digits, "%.*f", (int)places, in.f);
    f = strtod(digits.data, NULL);
    text_free(&digits);
    return value_float(f);
}

const struct filter string_filters[] = {
    { "upper", upper, 0, { NULL }, NULL, true },
    { "lower", lower, 0, { NULL }, NULL, true },
    { "capitalize", capitalize, 0, { NULL }, NULL, true },
    { "title", title, 0, { NULL }, NULL, true },
    { "trim", trim, 0, { "chars" }, NULL, true },
    { "replace", replace, 2, { "old", "new", "count" }, NULL, true },
    { "string", string, 0, { NULL }, NULL, false },
    { "safe", safe, 0, { NULL }, NULL, false },
    { "escape", escape, 0, { NULL }, NULL, false },
    { "e", escape, 0, { NULL }, NULL, false },
    { "indent", indent, 0, { "width", "first", "blank" }, NULL, true },
    { "tojson", tojson, 0, { "ensure_ascii", "indent", "separators", "sort_keys" }, NULL, false },
    { "int", to_int, 0, { "default", "base" }, NULL, false },
    { "float", to_float, 0, { "default" }, NULL, false },
    { "abs", absolute, 0, { NULL }, NULL, false },
    { "round", round_to, 0, { "precision", "method" }, NULL, false },
    { 0 },
};
