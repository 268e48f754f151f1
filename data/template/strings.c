/* Strings by character, as Python's methods have it. */
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/unicode.h"
#include "data/utf8.h"

bool string_is_space(uint32_t c)
{
    return unicode_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

size_t string_characters(struct value s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += (s.s[i] & 0xc0) != 0x80;
    return n;
}

size_t string_offset(struct value s, size_t character)
{
    size_t at = 0;

    while (at < s.n && character-- > 0)
        at += (size_t)utf8_next(s.s + at, s.n - at, NULL);
    return at;
}

struct value string_part(struct value s, size_t begin, size_t end)
{
    return value_string(s.s + begin, end > begin ? end - begin : 0);
}

static bool strips(const char *c, int bytes, uint32_t code, const struct value *characters)
{
    if (!characters)
        return string_is_space(code);
    return string_find(*characters, value_string(c, (size_t)bytes), 0) >= 0;
}

struct value string_strip(struct value s, const struct value *characters, int sides)
{
    uint32_t c;

    while ((sides & STRIP_LEFT) && s.n > 0) {
        int n = utf8_next(s.s, s.n, &c);
        if (!strips(s.s, n, c, characters))
            break;
        s.s += n;
        s.n -= (size_t)n;
    }
    while ((sides & STRIP_RIGHT) && s.n > 0) {
        int n = utf8_last(s.s, s.n, &c);
        if (!strips(s.s + s.n - n, n, c, characters))
            break;
        s.n -= (size_t)n;
    }
    return value_string(s.s, s.n);
}

ptrdiff_t string_find(struct value s, struct value part, size_t from)
{
    const char *at;

    if (part.n == 0)
        return from <= s.n ? (ptrdiff_t)from : -1;
    if (from + part.n > s.n)
        return -1;
    at = memmem(s.s + from, s.n - from, part.s, part.n);
    return at ? at - s.s : -1;
}

size_t string_line(struct value s, size_t at, size_t *next)
{
    uint32_t c;

    for (size_t n; at < s.n; at += n) {
        n = (size_t)utf8_next(s.s + at, s.n - at, &c);
        if ((c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028
            || c == 0x2029) {
            *next = at + n + (c == '\r' && at + 1 < s.n && s.s[at + 1] == '\n');
            return at;
        }
    }
    return *next = s.n;
}

/* Between all characters, where `old` is empty. */
static void insert(struct text *out, struct value s, struct value new, int64_t count)
{
    size_t at = 0;

    for (; count != 0 && at <= s.n && out->size <= TEMPLATE_BYTES; count--) {
        size_t n = at < s.n ? (size_t)utf8_next(s.s + at, s.n - at, NULL) : 0;
        text_add(out, new.s, new.n);
        text_add(out, s.s + at, n);
        at += n ? n : 1;
    }
    if (at < s.n)
        text_add(out, s.s + at, s.n - at);
}

struct value string_replace(struct render *r, struct value s, struct value old, struct value new,
                            int64_t count)
{
    struct text out = { 0 };
    size_t at = 0;
    ptrdiff_t found;

    if (old.n == 0) {
        insert(&out, s, new, count);
        return value_text(r, &out);
    }
    while (count-- != 0 && out.size <= TEMPLATE_BYTES && (found = string_find(s, old, at)) >= 0) {
        text_add(&out, s.s + at, (size_t)found - at);
        text_add(&out, new.s, new.n);
        at = (size_t)found + old.n;
    }
    text_add(&out, s.s + at, s.n - at);
    return value_text(r, &out);
}

struct value string_escape(struct render *r, struct value s)
{
    static const char marks[] = "&<>'\"";
    static const char *const names[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
    struct text out = { 0 };

    for (size_t i = 0; i < s.n && !s.safe; i++) {
        const char *mark = s.s[i] ? strchr(marks, s.s[i]) : NULL;
        if (mark)
            text_adds(&out, names[mark - marks]);
        else
            text_add(&out, s.s + i, 1);
    }
    if (!s.safe)
        s = value_text(r, &out);
    s.safe = true;
    return s;
}

/* ---- upper and lower case */

/* The small sigma at the end of a word is another one: a cased letter before it, none behind. */
static bool ends_a_word(struct value s, size_t at, size_t behind)
{
    uint32_t c = 0;
    bool cased = false;

    while (at > 0) {
        at -= (size_t)utf8_last(s.s, at, &c);
        if (unicode_is_case_ignorable(c))
            continue;
        cased = unicode_is_cased(c);
        break;
    }
    if (!cased)
        return false;
    while (behind < s.n) {
        behind += (size_t)utf8_next(s.s + behind, s.n - behind, &c);
        if (!unicode_is_case_ignorable(c))
            return !unicode_is_cased(c);
    }
    return true;
}

struct value string_case(struct render *r, struct value s, enum letter_case to)
{
    struct text out = { 0 };
    bool within = false;               /* a word, or for CASE_CAPITAL the text */
    size_t n;

    for (size_t at = 0; at < s.n; at += n) {
        uint32_t c;
        n = (size_t)utf8_next(s.s + at, s.n - at, &c);
        if (to == CASE_UPPER)
            unicode_upper(c, &out);
        else if (to != CASE_LOWER && !within)
            unicode_title(c, &out);
        else if (c == 0x3a3 && ends_a_word(s, at, at + n))
            text_adds(&out, "\xcf\x82");
        else
            unicode_lowercase(s.s + at, n, &out);
        within = to == CASE_CAPITAL || unicode_is_cased(c);
    }
    return value_text(r, &out);
}

bool string_is_case(struct value s, bool upper)
{
    bool any = false;
    uint32_t c;

    for (size_t at = 0; at < s.n;) {
        at += (size_t)utf8_next(s.s + at, s.n - at, &c);
        if (!unicode_is_cased(c))
            continue;
        if (unicode_is_capital(c) != upper || unicode_is_titlecase(c))
            return false;
        any = true;
    }
    return any;
}

/* ---- numbers in strings */

/* Digits, signs and letters of s without the underscores between digits; false: not a number's. */
static bool number_text(struct value s, char *out, size_t room)
{
    size_t n = 0;

    s = string_strip(s, NULL, STRIP_LEFT | STRIP_RIGHT);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.s[i];
        bool digit = c >= '0' && c <= '9', letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (c == '_' && n > 0 && s.s[i - 1] != '_' && i + 1 < s.n && s.s[i + 1] != '_')
            continue;
        if (n + 1 == room || !(digit || letter || c == '+' || c == '-' || c == '.'))
            return false;
        out[n++] = c;
    }
    out[n] = 0;
    return n > 0;
}

bool string_number(struct value s, double *f)
{
    char text[512], *end;

    if (!number_text(s, text, sizeof text) || strpbrk(text, "xXpP("))
        return false;
    *f = strtod(text, &end);
    return *end == 0;
}

bool string_integer(struct value s, int base, int64_t *i)
{
    char text[128], *end, *p = text;
    long long value;

    if (!number_text(s, text, sizeof text))
        return false;
    p += *p == '-' || *p == '+';
    if (*p == '0' && ((base == 8 && (p[1] | 0x20) == 'o') || (base == 2 && (p[1] | 0x20) == 'b')))
        memmove(p, p + 2, strlen(p + 2) + 1);
    if (*p == '-' || *p == '+' || !*p || strlen(p) > 18)
        return false;
    value = strtoll(text, &end, base);
    *i = value;
    return *end == 0;
}
