/* JSON behind one door: a struct json is a json_t of jansson, which keeps members in file order. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The library's json_string() is not called here; its name is ours. */
#define json_string library_json_string
#include <jansson.h>
#undef json_string
#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_number
#undef json_is_integer
#undef json_is_null

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"

static const json_t *inside(const struct json *v)
{
    return (const json_t *)v;
}

static bool is(const struct json *v, json_type type)
{
    return v && json_typeof(inside(v)) == type;
}

/* Does `where` end in ":number"? */
static bool names_a_line(const char *where)
{
    const char *end = where + strlen(where), *p = end;

    while (p > where && isdigit((unsigned char)p[-1]))
        p--;
    return p < end && p > where && p[-1] == ':';
}

struct json *json_try(const char *text, size_t bytes)
{
    json_error_t error;

    return (struct json *)json_loadb(text ? text : "", bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL,
                                     &error);
}

struct json *json_parse(const char *text, size_t bytes, const char *where)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t error;
    json_t *root = json_loadb(text ? text : "", bytes, flags, &error);

    if (root)
        return (struct json *)root;
    if (names_a_line(where))
        rl_error(RL_EINVAL, "%s: bad JSON: %s (column %d)", where, error.text, error.column);
    else
        rl_error(RL_EINVAL, "%s:%d: bad JSON: %s (column %d)", where,
                 error.line > 0 ? error.line : 1, error.text, error.column);
    return NULL;
}

struct json *json_read(const char *path)
{
    struct text text = {0};
    struct json *root = NULL;

    if (file_read(path, &text) == RL_OK)
        root = json_parse(text.data, text.size, path);
    text_free(&text);
    return root;
}

void json_free(struct json *root)
{
    json_decref((json_t *)root);
}

bool json_is_object(const struct json *v)
{
    return is(v, JSON_OBJECT);
}

bool json_is_array(const struct json *v)
{
    return is(v, JSON_ARRAY);
}

bool json_is_string(const struct json *v)
{
    return is(v, JSON_STRING);
}

bool json_is_number(const struct json *v)
{
    return is(v, JSON_INTEGER) || is(v, JSON_REAL);
}

bool json_is_integer(const struct json *v)
{
    return is(v, JSON_INTEGER);
}

bool json_is_null(const struct json *v)
{
    return !v || is(v, JSON_NULL);
}

const struct json *json_get(const struct json *object, const char *key)
{
    return (const struct json *)json_object_get(inside(object), key);
}

const struct json *json_at(const struct json *array, size_t i)
{
    return (const struct json *)json_array_get(inside(array), i);
}

size_t json_size(const struct json *v)
{
    return json_is_array(v) ? json_array_size(inside(v)) : json_object_size(inside(v));
}

bool json_next(const struct json *object, void **it, const char **key, const struct json **value)
{
    json_t *o = (json_t *)inside(object);

    if (!json_is_object(object))
        return false;
    *it = *it ? json_object_iter_next(o, *it) : json_object_iter(o);
    if (!*it)
        return false;
    *key = json_object_iter_key(*it);
    *value = (const struct json *)json_object_iter_value(*it);
    return true;
}

const char *json_string(const struct json *v, const char *otherwise)
{
    return json_is_string(v) ? json_string_value(inside(v)) : otherwise;
}

size_t json_string_size(const struct json *v)
{
    return json_string_length(inside(v));
}

double json_number(const struct json *v, double otherwise)
{
    return json_is_number(v) ? json_number_value(inside(v)) : otherwise;
}

int64_t json_int(const struct json *v, int64_t otherwise)
{
    double x;

    if (is(v, JSON_INTEGER))
        return json_integer_value(inside(v));
    if (!is(v, JSON_REAL))
        return otherwise;
    x = json_real_value(inside(v));
    return x >= -0x1p63 && x < 0x1p63 && x == floor(x) ? (int64_t)x : otherwise;
}

bool json_bool(const struct json *v, bool otherwise)
{
    return is(v, JSON_TRUE) || is(v, JSON_FALSE) ? is(v, JSON_TRUE) : otherwise;
}

/* ---- writing ---- */

/* Bytes of the UTF-8 character at s, or -k for k bytes that begin no valid one (Unicode 15, table
 * 3-7: no surrogates, nothing above 10FFFF, no long forms). */
static int utf8_length(const unsigned char *s, size_t n)
{
    unsigned char low = 0x80, high = 0xbf, c = s[0];
    int length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (length <= 1)
        return length == 1 ? 1 : -1;
    if (c == 0xe0)
        low = 0xa0;
    if (c == 0xed)
        high = 0x9f;
    if (c == 0xf0)
        low = 0x90;
    if (c == 0xf4)
        high = 0x8f;
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= n || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

void json_add_string(struct text *t, const char *s, size_t n)
{
    static const char plain[] = "\"\"\\\\\bb\ff\nn\rr\tt";     /* pairs: character, escape */

    text_add(t, "\"", 1);
    while (n > 0) {
        int length = utf8_length((const unsigned char *)s, n);
        const char *p = *s ? strchr(plain, *s) : NULL;
        if (length < 0)
            text_adds(t, "\xef\xbf\xbd");
        else if (p && ((p - plain) & 1) == 0)
            text_addf(t, "\\%c", p[1]);
        else if ((unsigned char)*s < 0x20)
            text_addf(t, "\\u%04x", *s);
        else
            text_add(t, s, (size_t)length);
        s += abs(length);
        n -= (size_t)abs(length);
    }
    text_add(t, "\"", 1);
}

void json_add_number(struct text *t, double x)
{
    char digits[40];
    /* A normal double that has a form of fewer digits shows it at 15; denormals hold fewer. */
    int precision = fabs(x) < 2.3e-308 ? 1 : 15;

    if (!isfinite(x)) {
        text_adds(t, "null");
        return;
    }
    if (x == 0) {
        text_adds(t, signbit(x) ? "-0.0" : "0");      /* readers take -0 for the integer */
        return;
    }
    do {
        snprintf(digits, sizeof digits, "%.*g", precision, x);
    } while (strtod(digits, NULL) != x && precision++ < 17);
    text_adds(t, digits);
}

static void add_members(struct text *t, const struct json *v)
{
    const struct json *value;
    const char *key, *between = "";
    void *it = NULL;

    text_adds(t, "{");
    while (json_next(v, &it, &key, &value)) {
        text_adds(t, between);
        json_add_string(t, key, strlen(key));
        text_adds(t, ": ");
        json_add(t, value);
        between = ", ";
    }
    text_adds(t, "}");
}

static void add_elements(struct text *t, const struct json *v)
{
    text_adds(t, "[");
    for (size_t i = 0; i < json_size(v); i++) {
        text_adds(t, i ? ", " : "");
        json_add(t, json_at(v, i));
    }
    text_adds(t, "]");
}

/* A real stays a real for the next reader: 3.0 must not come back as 3. */
static void add_real(struct text *t, double x)
{
    size_t begin = t->size;

    json_add_number(t, x);
    if (!strpbrk(t->data + begin, ".en"))
        text_adds(t, ".0");
}

void json_add(struct text *t, const struct json *v)
{
    if (json_is_object(v))
        add_members(t, v);
    else if (json_is_array(v))
        add_elements(t, v);
    else if (json_is_string(v))
        json_add_string(t, json_string(v, ""), json_string_size(v));
    else if (is(v, JSON_INTEGER))
        text_addf(t, "%lld", (long long)json_int(v, 0));
    else if (is(v, JSON_REAL))
        add_real(t, json_number(v, 0));
    else
        text_adds(t, json_is_null(v) ? "null" : json_bool(v, false) ? "true" : "false");
}
