/* Values as text: str() and repr() of Python, and its json.dumps. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/unicode.h"
#include "data/utf8.h"

static bool fits(struct render *r, const struct text *out)
{
    return render_room(r, out->size);
}

/* The shortest digits that read back, with an exponent below 1e-4 and from 1e16 on. */
void show_float(struct text *out, double f)
{
    char digits[40], *mark;
    int precision = 0, exponent;

    if (isnan(f) || isinf(f)) {
        text_adds(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    do {
        snprintf(digits, sizeof digits, "%.*e", precision, f);
    } while (strtod(digits, NULL) != f && ++precision < 17);
    mark = strchr(digits, 'e');
    exponent = atoi(mark + 1);
    if (exponent < -4 || exponent >= 16) {
        text_add(out, digits, (size_t)(mark - digits));
        text_addf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        text_addf(out, "%.*f", precision > exponent ? precision - exponent : 0, f);
        if (precision <= exponent)
            text_adds(out, ".0");
    }
}

static void show_character(struct text *out, const char *s, int bytes, uint32_t c, char quote)
{
    if (c == '\\' || c == (uint32_t)quote)
        text_addf(out, "\\%c", (int)c);
    else if (c == '\n' || c == '\r' || c == '\t')
        text_adds(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    else if (unicode_is_printable(c))
        text_add(out, s, (size_t)bytes);
    else
        text_addf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

static void show_quoted(struct text *out, struct value s)
{
    bool single = memchr(s.s, '\'', s.n) && !memchr(s.s, '"', s.n);
    char quote = single ? '"' : '\'';

    text_adds(out, s.safe ? "Markup(" : "");
    text_add(out, &quote, 1);
    for (size_t at = 0; at < s.n;) {
        uint32_t c;
        int bytes = utf8_next(s.s + at, s.n - at, &c);
        show_character(out, s.s + at, bytes, c, quote);
        at += (size_t)bytes;
    }
    text_add(out, &quote, 1);
    text_adds(out, s.safe ? ")" : "");
}

static void show_inner(struct render *r, struct text *out, struct value v)
{
    if (v.kind == V_STRING)
        show_quoted(out, v);
    else if (v.kind == V_UNDEFINED)
        text_adds(out, "Undefined");
    else
        show(r, out, v);
}

static void show_parts(struct render *r, struct text *out, struct value v)
{
    text_adds(out, v.kind == V_DICT ? "{" : v.kind == V_LIST ? "[" : "(");
    for (size_t i = 0; i < v.n && fits(r, out); i++) {
        text_adds(out, i ? ", " : "");
        if (v.kind == V_DICT) {
            show_inner(r, out, v.pairs[i].key);
            text_adds(out, ": ");
            show_inner(r, out, v.pairs[i].value);
        } else {
            show_inner(r, out, v.items[i]);
        }
    }
    text_adds(out, v.kind == V_TUPLE && v.n == 1 ? "," : "");
    text_adds(out, v.kind == V_DICT ? "}" : v.kind == V_LIST ? "]" : ")");
}

void show(struct render *r, struct text *out, struct value v)
{
    if (!render_step(r, 1 + (v.kind == V_STRING ? v.n / 64 : 0)) || !fits(r, out))
        return;
    switch (v.kind) {
    case V_UNDEFINED:
        break;
    case V_NONE:
        text_adds(out, "None");
        break;
    case V_BOOL:
        text_adds(out, v.b ? "True" : "False");
        break;
    case V_INT:
        text_addf(out, "%lld", (long long)v.i);
        break;
    case V_FLOAT:
        show_float(out, v.f);
        break;
    case V_STRING:
        text_add(out, v.s, v.n);
        break;
    case V_LIST: case V_TUPLE: case V_DICT:
        if (render_enter(r)) {
            show_parts(r, out, v);
            render_leave(r);
        }
        break;
    default:
        render_fail(r, "writing a %s as text is not supported", value_type(v));
    }
}

struct value value_shown(struct render *r, struct value v)
{
    struct text out = { 0 };

    if (v.kind == V_STRING)
        return v;
    show(r, &out, v);
    return value_text(r, &out);
}

/* ---- JSON */

static void json_quoted(struct text *out, struct value s, bool ascii)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";

    text_adds(out, "\"");
    for (size_t at = 0; at < s.n;) {
        uint32_t c;
        int bytes = utf8_next(s.s + at, s.n - at, &c);
        const char *simple = c && c < 0x80 ? strchr(from, (int)c) : NULL;
        if (simple)
            text_addf(out, "\\%c", to[simple - from]);
        else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000))
            text_addf(out, "\\u%04x", (unsigned)c);
        else if (ascii && c >= 0x10000)
            text_addf(out, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                      (unsigned)(0xdc00 + (c & 0x3ff)));
        else
            text_add(out, s.s + at, (size_t)bytes);
        at += (size_t)bytes;
    }
    text_adds(out, "\"");
}

static void json_line(struct text *out, const struct json_style *style, int level)
{
    if (style->indent.kind != V_STRING)
        return;
    text_adds(out, "\n");
    for (int i = 0; i < level; i++)
        text_add(out, style->indent.s, style->indent.n);
}

static void json_key(struct render *r, struct text *out, struct value key,
                     const struct json_style *style)
{
    if (key.kind == V_STRING) {
        json_quoted(out, key, style->ascii);
    } else if (key.kind == V_NONE || value_is_number(key)) {
        text_adds(out, "\"");
        show_json(r, out, key, style, 0);
        text_adds(out, "\"");
    } else {
        render_fail(r, "tojson: a %s as a key", value_type(key));
    }
}

/* Pairs by their keys: a stable sort by insertion, which their number is small enough for. */
static struct value sorted(struct render *r, struct value v)
{
    struct value copy = v;

    copy.pairs = render_take(r, v.n * sizeof *v.pairs);
    for (size_t i = 0, at; i < v.n && r->rc == RL_OK; i++) {
        for (at = i; at > 0 && value_order(r, copy.pairs[at - 1].key, v.pairs[i].key) > 0; at--)
            copy.pairs[at] = copy.pairs[at - 1];
        copy.pairs[at] = v.pairs[i];
    }
    return copy;
}

static void json_parts(struct render *r, struct text *out, struct value v,
                       const struct json_style *style, int level)
{
    bool dict = v.kind == V_DICT;

    if (dict && style->sort)
        v = sorted(r, v);
    text_adds(out, dict ? "{" : "[");
    for (size_t i = 0; i < v.n && fits(r, out); i++) {
        if (i)
            text_add(out, style->comma.s, style->comma.n);
        json_line(out, style, level + 1);
        if (dict) {
            json_key(r, out, v.pairs[i].key, style);
            text_add(out, style->colon.s, style->colon.n);
        }
        show_json(r, out, dict ? v.pairs[i].value : v.items[i], style, level + 1);
    }
    if (v.n)
        json_line(out, style, level);
    text_adds(out, dict ? "}" : "]");
}

void show_json(struct render *r, struct text *out, struct value v, const struct json_style *style,
               int level)
{
    if (!render_step(r, 1 + (v.kind == V_STRING ? v.n / 64 : 0)) || !fits(r, out))
        return;
    if (v.kind == V_STRING) {
        json_quoted(out, v, style->ascii);
    } else if (v.kind == V_NONE) {
        text_adds(out, "null");
    } else if (v.kind == V_BOOL) {
        text_adds(out, v.b ? "true" : "false");
    } else if (v.kind == V_FLOAT && (isnan(v.f) || isinf(v.f))) {
        text_adds(out, isnan(v.f) ? "NaN" : v.f > 0 ? "Infinity" : "-Infinity");
    } else if (v.kind == V_INT || v.kind == V_FLOAT) {
        show(r, out, v);
    } else if (v.kind == V_LIST || v.kind == V_TUPLE || v.kind == V_DICT) {
        if (render_enter(r)) {
            json_parts(r, out, v, style, level);
            render_leave(r);
        }
    } else {
        render_fail(r, "tojson: %s is no JSON", value_type(v));
    }
}
