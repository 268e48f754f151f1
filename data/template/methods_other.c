/* Methods of dicts, lists and loops, and how methods are found. */
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

/* ---- dicts */

static struct value get(struct render *r, struct value dict, const struct value *arg)
{
    const struct value *found = value_member(r, dict, arg[0]);

    return found ? *found : arg[1].kind == V_MISSING ? value_none() : arg[1];
}

static struct value items(struct render *r, struct value dict, const struct value *arg)
{
    struct value v = value_items(V_VIEW, render_take(r, dict.n * sizeof *v.items), dict.n);

    (void)arg;
    for (size_t i = 0; i < dict.n; i++) {
        struct value *both = render_take(r, 2 * sizeof *both);
        both[0] = dict.pairs[i].key;
        both[1] = dict.pairs[i].value;
        v.items[i] = value_items(V_TUPLE, both, 2);
    }
    return v;
}

static struct value keys(struct render *r, struct value dict, const struct value *arg)
{
    struct value v = { .kind = V_VIEW };

    (void)arg;
    value_iterate(r, dict, &v.items, &v.n);
    return v;
}

static struct value values(struct render *r, struct value dict, const struct value *arg)
{
    struct value v = value_items(V_VIEW, render_take(r, dict.n * sizeof *v.items), dict.n);

    (void)arg;
    for (size_t i = 0; i < dict.n; i++)
        v.items[i] = dict.pairs[i].value;
    return v;
}

static struct value copy(struct render *r, struct value v, const struct value *arg)
{
    (void)r;
    (void)arg;
    return v;                        /* values do not change */
}

/* ---- lists */

static struct value count(struct render *r, struct value list, const struct value *arg)
{
    int64_t n = 0;

    for (size_t i = 0; i < list.n && r->rc == RL_OK; i++)
        n += value_equal(r, list.items[i], arg[0]);
    return value_int(n);
}

static struct value index_of(struct render *r, struct value list, const struct value *arg)
{
    for (size_t i = 0; i < list.n && r->rc == RL_OK; i++)
        if (value_equal(r, list.items[i], arg[0]))
            return value_int((int64_t)i);
    return render_fail(r, "index of what the list does not hold");
}

/* ---- loops */

static struct value cycle(struct render *r, struct value loop, const struct args *a)
{
    if (a->n == 0 || a->n_named)
        return render_fail(r, "loop.cycle takes at least one value");
    return a->list[loop.loop->at % (size_t)a->n];
}

/* Is the value another than at the last call? */
static struct value changed(struct render *r, struct value loop, const struct args *a)
{
    struct value now = value_items(V_TUPLE, a->list, (size_t)a->n);
    bool same = loop.loop->last_changed.kind == V_TUPLE
        && value_equal(r, loop.loop->last_changed, now);

    loop.loop->last_changed = now;
    return value_bool(!same);
}

const struct method other_methods[] = {
    { V_DICT, { "get", get, 1, { "key", "default" }, NULL, false } },
    { V_DICT, { "items", items, 0, { NULL }, NULL, false } },
    { V_DICT, { "keys", keys, 0, { NULL }, NULL, false } },
    { V_DICT, { "values", values, 0, { NULL }, NULL, false } },
    { V_DICT, { "copy", copy, 0, { NULL }, NULL, false } },
    { V_LIST, { "copy", copy, 0, { NULL }, NULL, false } },
    { V_LIST, { "count", count, 1, { "value" }, NULL, false } },
    { V_LIST, { "index", index_of, 1, { "value" }, NULL, false } },
    { V_LOOP, { "cycle", NULL, 0, { NULL }, cycle, false } },
    { V_LOOP, { "changed", NULL, 0, { NULL }, changed, false } },
    { 0 },
};

/* Methods that Python's values have beside those above. */
static const char *const unsupported[][2] = {
    { "string", " casefold center encode expandtabs format format_map index isalnum isalpha "
                "isascii isdecimal isidentifier isnumeric isprintable istitle ljust maketrans "
                "partition rindex rjust rpartition swapcase translate zfill " },
    { "dict", " clear fromkeys pop popitem setdefault update " },
    { "list", " append clear extend insert pop remove reverse sort " },
    { "tuple", " count index " },
    { "range", " start stop step count index " },
    { "view of a dict", " isdisjoint mapping " },
    { "int", " bit_length bit_count conjugate denominator from_bytes imag numerator real to_bytes "
             "as_integer_ratio " },
    { "bool", " bit_length bit_count conjugate denominator from_bytes imag numerator real to_bytes "
              "as_integer_ratio " },
    { "float", " as_integer_ratio conjugate fromhex hex imag is_integer real " },
    { "generator", " close send throw " },
};

static bool is_unsupported(const char *type, struct value name)
{
    char word[64];

    if (name.n + 3 > sizeof word || memchr(name.s, ' ', name.n) || memchr(name.s, 0, name.n))
        return false;
    word[0] = ' ';
    memcpy(word + 1, name.s, name.n);
    memcpy(word + 1 + name.n, " ", 2);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (strcmp(unsupported[i][0], type) == 0 && strstr(unsupported[i][1], word))
            return true;
    return false;
}

bool method_find(struct render *r, struct value of, struct value name, struct value *out)
{
    const struct method *const tables[] = { string_methods, other_methods };

    for (int t = 0; t < 2; t++)
        for (const struct method *m = tables[t]; m->f.name; m++)
            if (m->of == of.kind && value_is(name, m->f.name)) {
                struct bound *b = render_take(r, sizeof *b);
                *b = (struct bound){ .self = of, .method = m };
                *out = (struct value){ .kind = V_METHOD, .bound = b };
                if (of.safe)
                    render_fail(r, "methods of an escaped string are not supported");
                return r->rc == RL_OK;
            }
    if (is_unsupported(value_type(of), name))
        render_fail(r, "the method %s of a %s is not supported", utf8_show(name.s, name.n).text,
                    value_type(of));
    return false;
}
