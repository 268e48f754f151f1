/* What a value can be, and what Python says of two of them. */
#include <math.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

struct value value_undefined(struct value name)
{
    return (struct value){ .kind = V_UNDEFINED, .s = name.s, .n = name.n };
}

struct value value_none(void)
{
    return (struct value){ .kind = V_NONE };
}

struct value value_bool(bool b)
{
    return (struct value){ .kind = V_BOOL, .b = b };
}

struct value value_int(int64_t i)
{
    return (struct value){ .kind = V_INT, .i = i };
}

struct value value_float(double f)
{
    return (struct value){ .kind = V_FLOAT, .f = f };
}

struct value value_string(const char *s, size_t n)
{
    return (struct value){ .kind = V_STRING, .s = s, .n = n };
}

struct value value_literal(const char *s)
{
    return value_string(s, strlen(s));
}

struct value value_copy(struct render *r, const char *s, size_t n)
{
    char *copy = render_take(r, n + 1);

    if (n)
        memcpy(copy, s, n);
    return value_string(copy, n);
}

struct value value_text(struct render *r, struct text *t)
{
    struct value v = value_literal("");

    if (r->rc == RL_OK && render_room(r, t->size))
        v = value_copy(r, t->data, t->size);
    text_free(t);
    return v;
}

struct value value_items(enum value_kind kind, struct value *items, size_t n)
{
    return (struct value){ .kind = kind, .items = items, .n = n };
}

struct value value_iterator(struct render *r, struct value *items, size_t n)
{
    struct iterator *it = render_take(r, sizeof *it);

    *it = (struct iterator){ .items = items, .n = n };
    return (struct value){ .kind = V_ITERATOR, .iterator = it };
}

static struct value of_object(struct render *r, const struct json *j)
{
    struct value v = { .kind = V_DICT, .pairs = render_take(r, json_size(j) * sizeof *v.pairs) };
    const struct json *member;
    const char *key;
    void *it = NULL;

    while (json_next(j, &it, &key, &member)) {
        v.pairs[v.n].key = value_copy(r, key, strlen(key));
        v.pairs[v.n++].value = value_json(r, member);
    }
    return v;
}

struct value value_json(struct render *r, const struct json *j)
{
    struct value v = value_none();

    if (!render_step(r, 1) || !render_room(r, json_size(j) * sizeof *v.pairs)
        || !render_room(r, json_is_string(j) ? json_string_size(j) : 0) || !render_enter(r))
        return v;
    if (json_is_string(j)) {
        v = value_copy(r, json_string(j, ""), json_string_size(j));
    } else if (json_is_integer(j)) {
        v = value_int(json_int(j, 0));
    } else if (json_is_number(j)) {
        v = value_float(json_number(j, 0));
    } else if (json_is_object(j)) {
        v = of_object(r, j);
    } else if (json_is_array(j)) {
        v = value_items(V_LIST, render_take(r, json_size(j) * sizeof *v.items), json_size(j));
        for (size_t i = 0; i < v.n; i++)
            v.items[i] = value_json(r, json_at(j, i));
    } else if (!json_is_null(j)) {
        v = value_bool(json_bool(j, false));
    }
    render_leave(r);
    return v;
}

/* ---- questions */

bool value_is(struct value v, const char *word)
{
    return v.kind == V_STRING && v.n == strlen(word) && memcmp(v.s, word, v.n) == 0;
}

bool value_is_sequence(struct value v)
{
    return v.kind >= V_LIST && v.kind <= V_VIEW;
}

bool value_is_number(struct value v)
{
    return v.kind >= V_BOOL && v.kind <= V_FLOAT;
}

double value_number(struct value v)
{
    return v.kind == V_FLOAT ? v.f : v.kind == V_INT ? (double)v.i : v.b;
}

int64_t value_whole(struct value v)
{
    return v.kind == V_INT ? v.i : v.b;
}

bool value_truth(struct value v)
{
    if (value_is_number(v))
        return v.kind == V_FLOAT ? v.f != 0 : value_whole(v) != 0;
    if (v.kind == V_STRING || v.kind == V_DICT || value_is_sequence(v))
        return v.n > 0;
    return v.kind > V_DICT;
}

const char *value_type(struct value v)
{
    static const char *const names[] = {
        [V_MISSING] = "nothing", [V_UNDEFINED] = "undefined", [V_NONE] = "none",
        [V_BOOL] = "bool", [V_INT] = "int", [V_FLOAT] = "float", [V_STRING] = "string",
        [V_LIST] = "list", [V_TUPLE] = "tuple", [V_RANGE] = "range", [V_VIEW] = "view of a dict",
        [V_DICT] = "dict", [V_ITERATOR] = "generator", [V_NAMESPACE] = "namespace",
        [V_LOOP] = "loop", [V_MACRO] = "macro", [V_FUNCTION] = "function", [V_METHOD] = "method",
    };

    return names[v.kind];
}

static bool dicts_equal(struct render *r, struct value a, struct value b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n && r->rc == RL_OK; i++) {
        const struct value *other = value_member(r, b, a.pairs[i].key);
        if (!other || !value_equal(r, a.pairs[i].value, *other))
            return false;
    }
    return true;
}

static bool items_equal(struct render *r, struct value a, struct value b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n && r->rc == RL_OK; i++)
        if (!value_equal(r, a.items[i], b.items[i]))
            return false;
    return true;
}

bool value_equal(struct render *r, struct value a, struct value b)
{
    bool equal = false;

    if (!render_step(r, 1 + (a.kind == V_STRING ? a.n / 64 : 0)))
        return false;
    if (value_is_number(a) && value_is_number(b))
        return a.kind == V_FLOAT || b.kind == V_FLOAT ? value_number(a) == value_number(b)
                                                      : value_whole(a) == value_whole(b);
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case V_UNDEFINED: case V_NONE:
        return true;
    case V_STRING:
        return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
    case V_LIST: case V_TUPLE: case V_RANGE: case V_DICT:
        if (render_enter(r)) {
            equal = a.kind == V_DICT ? dicts_equal(r, a, b) : items_equal(r, a, b);
            render_leave(r);
        }
        return equal;
    case V_VIEW:
        render_fail(r, "comparing views of dicts is not supported");
        return false;
    default:
        return a.items == b.items;             /* the same thing */
    }
}

int value_order(struct render *r, struct value a, struct value b)
{
    int order = 0;

    if (!render_step(r, 1))
        return 0;
    if (value_is_number(a) && value_is_number(b)) {
        if (a.kind != V_FLOAT && b.kind != V_FLOAT)
            return (value_whole(a) > value_whole(b)) - (value_whole(a) < value_whole(b));
        if (isnan(value_number(a)) || isnan(value_number(b)))
            render_fail(r, "the order of nan is not supported");
        return (value_number(a) > value_number(b)) - (value_number(a) < value_number(b));
    }
    if (a.kind == V_STRING && b.kind == V_STRING) {      /* UTF-8 sorts as its characters do */
        order = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);
        render_step(r, a.n / 64);
        return order ? order : (a.n > b.n) - (a.n < b.n);
    }
    if (a.kind != b.kind || (a.kind != V_LIST && a.kind != V_TUPLE)) {
        render_fail(r, "no order between a %s and a %s", value_type(a), value_type(b));
        return 0;
    }
    if (!render_enter(r))
        return 0;
    for (size_t i = 0; i < a.n && i < b.n && r->rc == RL_OK && order == 0; i++)
        if (!value_equal(r, a.items[i], b.items[i]))
            order = value_order(r, a.items[i], b.items[i]);
    render_leave(r);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* ---- what is inside */

bool value_can_iterate(struct value v)
{
    return v.kind == V_UNDEFINED || v.kind == V_STRING || value_is_sequence(v) || v.kind == V_DICT
        || v.kind == V_ITERATOR || v.kind == V_LOOP;
}

static void characters(struct render *r, struct value s, struct value **items, size_t *n)
{
    size_t at = 0;

    *n = string_characters(s);
    if (!render_room(r, *n * sizeof **items)) {
        *n = 0;
        return;
    }
    *items = render_take(r, *n * sizeof **items);
    for (size_t i = 0; i < *n; i++) {
        int bytes = utf8_next(s.s + at, s.n - at, NULL);
        (*items)[i] = value_string(s.s + at, (size_t)bytes);
        at += (size_t)bytes;
    }
}

bool value_iterate(struct render *r, struct value v, struct value **items, size_t *n)
{
    *items = NULL;
    *n = 0;
    if (value_is_sequence(v)) {
        *items = v.items;
        *n = v.n;
    } else if (v.kind == V_STRING) {
        characters(r, v, items, n);
    } else if (v.kind == V_DICT) {
        *n = v.n;
        *items = render_take(r, v.n * sizeof **items);
        for (size_t i = 0; i < v.n; i++)
            (*items)[i] = v.pairs[i].key;
    } else if (v.kind == V_ITERATOR) {
        *items = v.iterator->items;
        *n = v.iterator->used ? 0 : v.iterator->n;
        v.iterator->used = true;
    } else if (v.kind == V_LOOP) {
        render_fail(r, "reading a loop's elements from the loop is not supported");
    } else if (v.kind != V_UNDEFINED) {
        render_fail(r, "a %s has no elements to go through", value_type(v));
    }
    return render_step(r, *n / 16);
}

bool value_contains(struct render *r, struct value in, struct value v)
{
    struct value *items;
    size_t n;

    if (in.kind == V_STRING) {
        if (v.kind != V_STRING)
            render_fail(r, "`in` a string asks for a string, not a %s", value_type(v));
        render_step(r, in.n / 64);
        return v.kind == V_STRING && string_find(in, v, 0) >= 0;
    }
    if (in.kind == V_DICT)
        return value_member(r, in, v) != NULL;
    if (!value_iterate(r, in, &items, &n))
        return false;
    for (size_t i = 0; i < n && r->rc == RL_OK; i++)
        if (value_equal(r, items[i], v))
            return true;
    return false;
}

bool value_length(struct value v, size_t *n)
{
    *n = v.kind == V_STRING ? string_characters(v) : v.kind == V_LOOP ? v.loop->n : v.n;
    if (v.kind == V_UNDEFINED)
        *n = 0;
    return v.kind == V_UNDEFINED || v.kind == V_STRING || value_is_sequence(v) || v.kind == V_DICT
        || v.kind == V_LOOP;
}

const struct value *value_member(struct render *r, struct value dict, struct value key)
{
    if (key.kind == V_LIST || key.kind == V_DICT) {
        render_fail(r, "a %s cannot be the key of a dict", value_type(key));
        return NULL;
    }
    render_step(r, dict.n / 16);
    for (size_t i = 0; i < dict.n && r->rc == RL_OK; i++) {
        const struct value *k = &dict.pairs[i].key;
        if (key.kind == V_STRING ? k->kind == V_STRING && k->n == key.n
                                       && memcmp(k->s, key.s, key.n) == 0
                                 : value_equal(r, *k, key))
            return &dict.pairs[i].value;
    }
    return NULL;
}

/* An element by its index, negative ones from the end; false: there is none. */
static bool element(struct value of, int64_t i, struct value *out)
{
    int64_t n = (int64_t)(of.kind == V_STRING ? string_characters(of) : of.n);

    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return false;
    if (of.kind == V_STRING) {
        size_t at = string_offset(of, (size_t)i);
        *out = value_string(of.s + at, (size_t)utf8_next(of.s + at, of.n - at, NULL));
        out->safe = of.safe;
    } else {
        *out = of.items[i];
    }
    return true;
}

static struct value loop_part(struct render *r, const struct loop *l, struct value name)
{
    const struct { const char *name; int64_t value; } counts[] = {
        { "index", (int64_t)l->at + 1 }, { "index0", (int64_t)l->at },
        { "length", (int64_t)l->n }, { "revindex", (int64_t)(l->n - l->at) },
        { "revindex0", (int64_t)(l->n - l->at) - 1 }, { "depth", 1 }, { "depth0", 0 },
    };

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (value_is(name, counts[i].name))
            return value_int(counts[i].value);
    if (value_is(name, "first"))
        return value_bool(l->at == 0);
    if (value_is(name, "last"))
        return value_bool(l->at + 1 == l->n);
    if (value_is(name, "previtem"))
        return l->at > 0 ? l->items[l->at - 1] : value_undefined(name);
    if (value_is(name, "nextitem"))
        return l->at + 1 < l->n ? l->items[l->at + 1] : value_undefined(name);
    return render_fail(r, "loop.%s is not supported", utf8_show(name.s, name.n).text);
}

static struct value undefined_of(struct render *r, struct value of, struct value key)
{
    return render_fail(r, "'%s' is undefined, and so has no '%s'", utf8_show(of.s, of.n).text,
                       key.kind == V_STRING ? utf8_show(key.s, key.n).text : "element");
}

struct value value_item(struct render *r, struct value of, struct value key)
{
    struct value found;
    const struct value *member = NULL;

    if (of.kind == V_UNDEFINED)
        return undefined_of(r, of, key);
    if (of.kind == V_DICT && key.kind != V_UNDEFINED && key.kind != V_LIST && key.kind != V_DICT)
        member = value_member(r, of, key);
    if (member)
        return *member;
    if ((of.kind == V_STRING || (value_is_sequence(of) && of.kind != V_VIEW))
        && (key.kind == V_INT || key.kind == V_BOOL)) {
        render_step(r, of.kind == V_STRING ? of.n / 64 : 0);
        if (element(of, value_whole(key), &found))
            return found;
    }
    if (key.kind == V_STRING && of.kind != V_DICT && of.kind != V_STRING && !value_is_sequence(of))
        return value_attribute(r, of, key);
    if (key.kind == V_STRING && r->rc == RL_OK && method_find(r, of, key, &found))
        return found;
    return value_undefined(key.kind == V_STRING ? key : value_literal("element"));
}

struct value value_attribute(struct render *r, struct value of, struct value name)
{
    const struct value *member = NULL;
    struct value found;

    if (of.kind == V_UNDEFINED)
        return undefined_of(r, of, name);
    if (name.n >= 2 && memcmp(name.s, "__", 2) == 0)
        return render_fail(r, "the attribute '%s' is not supported",
                           utf8_show(name.s, name.n).text);
    if (of.kind == V_NAMESPACE) {
        struct scope alone = { .first = of.space->first };
        return scope_get(r, &alone, name, &found) ? found : value_undefined(name);
    }
    if (of.kind == V_LOOP && !method_find(r, of, name, &found))
        return loop_part(r, of.loop, name);
    if (r->rc == RL_OK && method_find(r, of, name, &found))
        return found;
    if (of.kind == V_DICT)
        member = value_member(r, of, name);
    if (of.kind == V_MACRO || of.kind == V_FUNCTION || of.kind == V_METHOD)
        return render_fail(r, "attributes of a %s are not supported", value_type(of));
    return member ? *member : value_undefined(name);
}

struct value value_path(struct render *r, struct value of, struct value path)
{
    size_t begin = 0;

    if (path.kind == V_INT)
        return value_item(r, of, path);
    if (path.kind != V_STRING)
        return render_fail(r, "the name of an attribute is a %s", value_type(path));
    for (size_t i = 0; i <= path.n && r->rc == RL_OK; i++) {
        struct value part;
        int64_t index;
        if (i < path.n && path.s[i] != '.')
            continue;
        part = string_part(path, begin, i);
        if (part.n > 0 && part.s[0] >= '0' && part.s[0] <= '9' && string_integer(part, 10, &index))
            part = value_int(index);
        of = value_item(r, of, part);
        begin = i + 1;
    }
    return of;
}

int64_t value_integer(struct render *r, struct value v, int64_t otherwise, const char *what)
{
    if (v.kind == V_MISSING || v.kind == V_NONE)
        return otherwise;
    if (v.kind == V_INT || v.kind == V_BOOL)
        return value_whole(v);
    render_fail(r, "%s is a %s, not an int", what, value_type(v));
    return otherwise;
}
