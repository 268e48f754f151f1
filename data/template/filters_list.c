/* Filters of lists and dicts. */
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

static bool yes(struct value v)
{
    return v.kind != V_MISSING && value_truth(v);
}

static bool given(struct value v)
{
    return v.kind != V_MISSING && v.kind != V_NONE;
}

static struct value length(struct render *r, struct value in, const struct value *arg)
{
    size_t n;

    (void)arg;
    if (!value_length(in, &n))
        return render_fail(r, "a %s has no length", value_type(in));
    return value_int((int64_t)n);
}

static struct value first(struct render *r, struct value in, const struct value *arg)
{
    struct value *items;
    size_t n;

    (void)arg;
    if (!value_iterate(r, in, &items, &n) || n == 0)
        return value_undefined(value_literal("first of nothing"));
    return items[0];
}

static struct value last(struct render *r, struct value in, const struct value *arg)
{
    struct value *items;
    size_t n;

    (void)arg;
    if (in.kind == V_ITERATOR)
        return render_fail(r, "last of a generator");
    if (!value_iterate(r, in, &items, &n) || n == 0)
        return value_undefined(value_literal("last of nothing"));
    return items[n - 1];
}

static struct value list(struct render *r, struct value in, const struct value *arg)
{
    struct value v = { .kind = V_LIST };

    (void)arg;
    value_iterate(r, in, &v.items, &v.n);
    return v;
}

static struct value join(struct render *r, struct value in, const struct value *arg)
{
    struct value between = arg[0].kind == V_MISSING ? value_literal("") : value_shown(r, arg[0]);
    struct value *items;
    struct text out = { 0 };
    size_t n;

    value_iterate(r, in, &items, &n);
    for (size_t i = 0; i < n && r->rc == RL_OK; i++) {
        if (i)
            text_add(&out, between.s, between.n);
        show(r, &out, given(arg[1]) ? value_path(r, items[i], arg[1]) : items[i]);
    }
    return value_text(r, &out);
}

static struct value reverse(struct render *r, struct value in, const struct value *arg)
{
    struct value step[3] = { value_none(), value_none(), value_int(-1) }, *items, *out;
    size_t n;

    (void)arg;
    if (in.kind == V_STRING)
        return render_slice(r, in, step);
    if (!value_iterate(r, in, &items, &n))
        return value_none();
    out = render_take(r, n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = items[n - 1 - i];
    return in.kind == V_ITERATOR ? value_items(V_LIST, out, n) : value_iterator(r, out, n);
}

static struct value sum(struct render *r, struct value in, const struct value *arg)
{
    struct value total = arg[1].kind == V_MISSING ? value_int(0) : arg[1], *items;
    size_t n;

    value_iterate(r, in, &items, &n);
    for (size_t i = 0; i < n && r->rc == RL_OK; i++)
        total = render_binary(r, T_PLUS, total,
                              given(arg[0]) ? value_path(r, items[i], arg[0]) : items[i]);
    return total;
}

static struct value batch(struct render *r, struct value in, const struct value *arg)
{
    int64_t size = value_integer(r, arg[0], 0, "batch: linecount");
    struct value *items, *out;
    size_t n, count;

    if (size < 1 || size > TEMPLATE_BYTES / (int64_t)sizeof *items)
        return render_fail(r, "batch of %lld", (long long)size);
    if (!value_iterate(r, in, &items, &n))
        return value_none();
    count = (n + (size_t)size - 1) / (size_t)size;
    out = render_take(r, count * sizeof *out);
    for (size_t i = 0; i < count && r->rc == RL_OK; i++) {
        size_t begin = i * (size_t)size, here = n - begin < (size_t)size ? n - begin : (size_t)size;
        out[i] = value_items(V_LIST, items + begin, here);
        if (here == (size_t)size || !given(arg[1]))
            continue;
        out[i].n = (size_t)size;
        out[i].items = render_take(r, (size_t)size * sizeof *items);
        for (size_t j = 0; j < (size_t)size; j++)
            out[i].items[j] = j < here ? items[begin + j] : arg[1];
    }
    return value_iterator(r, out, count);
}

/* ---- dicts */

static struct value items(struct render *r, struct value in, const struct value *arg)
{
    struct value found;

    (void)arg;
    if (in.kind == V_UNDEFINED)
        return value_iterator(r, NULL, 0);
    if (in.kind != V_DICT)
        return render_fail(r, "items of a %s", value_type(in));
    if (!method_find(r, in, value_literal("items"), &found))
        return value_none();
    found = render_call(r, found, &(struct args){ 0 });
    return value_iterator(r, found.items, found.n);
}

/* ---- order */

/* What an element is ordered by: itself or an attribute, in small letters unless case counts. */
static struct value key_of(struct render *r, struct value v, struct value attribute, bool cased)
{
    if (given(attribute)) {
        if (attribute.kind == V_STRING && memchr(attribute.s, ',', attribute.n))
            return render_fail(r, "an order by several attributes is not supported");
        v = value_path(r, v, attribute);
    }
    return v.kind == V_STRING && !cased ? string_case(r, v, CASE_LOWER) : v;
}

struct keyed { struct value key, value; };

/* Merges of runs that double, so that equal ones stay in order, backwards too. */
static struct keyed *sort_keyed(struct render *r, struct keyed *from, size_t n, bool reverse)
{
    struct keyed *to = render_take(r, n * sizeof *to), *swap;

    for (size_t run = 1; run < n && r->rc == RL_OK; run *= 2) {
        for (size_t begin = 0; begin < n && r->rc == RL_OK; begin += 2 * run) {
            size_t middle = begin + run < n ? begin + run : n;
            size_t end = middle + run < n ? middle + run : n, a = begin, b = middle;
            for (size_t i = begin; i < end; i++) {
                int order = a < middle && b < end ? value_order(r, from[a].key, from[b].key) : 0;
                bool right = a == middle || (b < end && (reverse ? order < 0 : order > 0));
                to[i] = right ? from[b++] : from[a++];
            }
        }
        swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static struct value sorted(struct render *r, struct value *items, size_t n, struct value attribute,
                           bool cased, bool reverse)
{
    struct keyed *all = render_take(r, n * sizeof *all);
    struct value v = value_items(V_LIST, render_take(r, n * sizeof *v.items), n);

    for (size_t i = 0; i < n && r->rc == RL_OK; i++)
        all[i] = (struct keyed){ key_of(r, items[i], attribute, cased), items[i] };
    if (r->rc == RL_OK)
        all = sort_keyed(r, all, n, reverse);
    for (size_t i = 0; i < n; i++)
        v.items[i] = all[i].value;
    return v;
}

static struct value sort(struct render *r, struct value in, const struct value *arg)
{
    struct value *items;
    size_t n;

    if (!value_iterate(r, in, &items, &n))
        return value_none();
    return sorted(r, items, n, arg[2], yes(arg[1]), yes(arg[0]));
}

static struct value dictsort(struct render *r, struct value in, const struct value *arg)
{
    struct value all = in.kind == V_DICT ? items(r, in, arg)
                                         : render_fail(r, "dictsort of a %s", value_type(in));
    bool by_value = arg[1].kind == V_STRING && value_is(arg[1], "value");

    if (r->rc != RL_OK)
        return value_none();
    if (arg[1].kind != V_MISSING && !by_value && !value_is(arg[1], "key"))
        return render_fail(r, "dictsort: by is key or value");
    return sorted(r, all.iterator->items, all.iterator->n, value_int(by_value), yes(arg[0]),
                  yes(arg[2]));
}

static struct value unique(struct render *r, struct value in, const struct value *arg)
{
    struct value *items, *keys, *out;
    size_t n, kept = 0;

    if (!value_iterate(r, in, &items, &n))
        return value_none();
    keys = render_take(r, n * sizeof *keys);
    out = render_take(r, n * sizeof *out);
    for (size_t i = 0; i < n && r->rc == RL_OK; i++) {
        struct value key = key_of(r, items[i], arg[1], yes(arg[0]));
        size_t at = 0;
        while (at < kept && !value_equal(r, keys[at], key))
            at++;
        if (at < kept)
            continue;
        keys[kept] = key;
        out[kept++] = items[i];
    }
    return value_iterator(r, out, kept);
}

/* The first of the least, or of the greatest. */
static struct value extreme(struct render *r, struct value in, const struct value *arg, int sign)
{
    struct value *items, best = { 0 };
    size_t n, at = 0;

    if (!value_iterate(r, in, &items, &n) || n == 0)
        return value_undefined(value_literal("the least or greatest of nothing"));
    for (size_t i = 0; i < n && r->rc == RL_OK; i++) {
        struct value key = key_of(r, items[i], arg[1], yes(arg[0]));
        if (i > 0 && value_order(r, key, best) * sign <= 0)
            continue;
        best = key;
        at = i;
    }
    return items[at];
}

static struct value least(struct render *r, struct value in, const struct value *arg)
{
    return extreme(r, in, arg, -1);
}

static struct value greatest(struct render *r, struct value in, const struct value *arg)
{
    return extreme(r, in, arg, 1);
}

static struct value otherwise(struct render *r, struct value in, const struct value *arg)
{
    (void)r;
    if (in.kind != V_UNDEFINED && !(yes(arg[1]) && !value_truth(in)))
        return in;
    return arg[0].kind == V_MISSING ? value_literal("") : arg[0];
}

const struct filter list_filters[] = {
    { "length", length, 0, { NULL }, NULL, false },
    { "count", length, 0, { NULL }, NULL, false },
    { "first", first, 0, { NULL }, NULL, false },
    { "last", last, 0, { NULL }, NULL, false },
    { "list", list, 0, { NULL }, NULL, false },
    { "join", join, 0, { "d", "attribute" }, NULL, false },
    { "reverse", reverse, 0, { NULL }, NULL, false },
    { "sum", sum, 0, { "attribute", "start" }, NULL, false },
    { "batch", batch, 1, { "linecount", "fill_with" }, NULL, false },
    { "items", items, 0, { NULL }, NULL, false },
    { "dictsort", dictsort, 0, { "case_sensitive", "by", "reverse" }, NULL, false },
    { "sort", sort, 0, { "reverse", "case_sensitive", "attribute" }, NULL, false },
    { "unique", unique, 0, { "case_sensitive", "attribute" }, NULL, false },
    { "min", least, 0, { "case_sensitive", "attribute" }, NULL, false },
    { "max", greatest, 0, { "case_sensitive", "attribute" }, NULL, false },
    { "default", otherwise, 0, { "default_value", "boolean" }, NULL, false },
    { "d", otherwise, 0, { "default_value", "boolean" }, NULL, false },
    { 0 },
};

/* ---- filters that are told another filter or test */

static struct value map(struct render *r, struct value in, const struct args *a)
{
    static const char *const names[] = { "attribute", "default", NULL, NULL, NULL };
    struct value arg[PARAMETERS] = { 0 }, *items, *out;
    struct args rest = *a;
    size_t n;

    if (a->n == 0 && !args_bind(r, "the filter map", a, names, arg))
        return value_none();
    if (a->n == 0 ? arg[0].kind == V_MISSING : a->list[0].kind != V_STRING)
        return render_fail(r, "map takes the name of a filter, or attribute=...");
    rest.list++;
    rest.n--;
    if (!value_iterate(r, in, &items, &n))
        return value_none();
    out = render_take(r, n * sizeof *out);
    for (size_t i = 0; i < n && r->rc == RL_OK; i++) {
        out[i] = a->n ? filter_call(r, a->list[0], items[i], &rest)
                      : value_path(r, items[i], arg[0]);
        if (!a->n && out[i].kind == V_UNDEFINED && given(arg[1]))
            out[i] = arg[1];
    }
    return value_iterator(r, out, n);
}

/* The elements that (whose attribute) pass a test, or are true; or the others. */
static struct value choose(struct render *r, struct value in, const struct args *a, bool attribute,
                           bool keep)
{
    struct value *items, *out;
    struct args rest = { .named = a->named, .n_named = a->n_named };
    int used = attribute ? 1 : 0;
    size_t n, kept = 0;

    if (a->n < used)
        return render_fail(r, "selectattr and rejectattr take the name of an attribute");
    if (a->n > used && a->list[used].kind != V_STRING)
        return render_fail(r, "the name of a test is a %s", value_type(a->list[used]));
    if (a->n > used + 1) {
        rest.list = a->list + used + 1;
        rest.n = a->n - used - 1;
    }
    if (!value_iterate(r, in, &items, &n))
        return value_none();
    out = render_take(r, n * sizeof *out);
    for (size_t i = 0; i < n && r->rc == RL_OK; i++) {
        struct value v = attribute ? value_path(r, items[i], a->list[0]) : items[i];
        bool passes = a->n > used ? test_call(r, a->list[used], v, &rest) : value_truth(v);
        if (passes == keep)
            out[kept++] = items[i];
    }
    return value_iterator(r, out, kept);
}

static struct value select_those(struct render *r, struct value in, const struct args *a)
{
    return choose(r, in, a, false, true);
}

static struct value reject(struct render *r, struct value in, const struct args *a)
{
    return choose(r, in, a, false, false);
}

static struct value selectattr(struct render *r, struct value in, const struct args *a)
{
    return choose(r, in, a, true, true);
}

static struct value rejectattr(struct render *r, struct value in, const struct args *a)
{
    return choose(r, in, a, true, false);
}

const struct filter choice_filters[] = {
    { "map", NULL, 0, { NULL }, map, false },
    { "select", NULL, 0, { NULL }, select_those, false },
    { "reject", NULL, 0, { NULL }, reject, false },
    { "selectattr", NULL, 0, { NULL }, selectattr, false },
    { "rejectattr", NULL, 0, { NULL }, rejectattr, false },
    { 0 },
};
