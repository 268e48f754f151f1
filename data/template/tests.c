/* What stands behind `is`. */
#include "data/template/internal.h"
#include "data/utf8.h"

static bool comparison(struct value name, enum token_kind *op)
{
    static const struct { const char *name; enum token_kind op; } all[] = {
        { "==", T_EQUAL }, { "eq", T_EQUAL }, { "equalto", T_EQUAL }, { "!=", T_UNEQUAL },
        { "ne", T_UNEQUAL }, { ">", T_MORE }, { "gt", T_MORE }, { "greaterthan", T_MORE },
        { ">=", T_AT_LEAST }, { "ge", T_AT_LEAST }, { "<", T_LESS }, { "lt", T_LESS },
        { "lessthan", T_LESS }, { "<=", T_AT_MOST }, { "le", T_AT_MOST }, { "in", T_IN },
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (value_is(name, all[i].name)) {
            *op = all[i].op;
            return true;
        }
    return false;
}

/* The remainder of an integer, as a test asks for it. */
static bool leaves(struct render *r, struct value v, struct value by, int64_t rest)
{
    struct value left = render_binary(r, T_PERCENT, v, by);

    return r->rc == RL_OK && value_equal(r, left, value_int(rest));
}

static bool same(struct render *r, struct value a, struct value b)
{
    if (a.kind != b.kind)
        return false;
    if (a.kind == V_NONE || a.kind == V_BOOL)
        return a.kind == V_NONE || a.b == b.b;
    render_fail(r, "sameas of other than none, true and false is not supported");
    return false;
}

static bool is_defined(struct value v) { return v.kind != V_UNDEFINED; }
static bool is_undefined(struct value v) { return v.kind == V_UNDEFINED; }
static bool is_none(struct value v) { return v.kind == V_NONE; }
static bool is_bool(struct value v) { return v.kind == V_BOOL; }
static bool is_true(struct value v) { return v.kind == V_BOOL && v.b; }
static bool is_false(struct value v) { return v.kind == V_BOOL && !v.b; }
static bool is_integer(struct value v) { return v.kind == V_INT; }
static bool is_float(struct value v) { return v.kind == V_FLOAT; }
static bool is_string(struct value v) { return v.kind == V_STRING; }
static bool is_mapping(struct value v) { return v.kind == V_DICT; }
static bool is_escaped(struct value v) { return v.kind == V_STRING && v.safe; }
static bool is_callable(struct value v) { return v.kind >= V_MACRO || v.kind == V_UNDEFINED; }

static bool is_sequence(struct value v)
{
    return v.kind == V_UNDEFINED || v.kind == V_STRING || v.kind == V_DICT
        || (value_is_sequence(v) && v.kind != V_VIEW);
}

bool test_call(struct render *r, struct value name, struct value in, const struct args *a)
{
    static const struct { const char *name; bool (*is)(struct value v); } plain[] = {
        { "defined", is_defined }, { "undefined", is_undefined }, { "none", is_none },
        { "boolean", is_bool }, { "true", is_true }, { "false", is_false },
        { "integer", is_integer }, { "float", is_float }, { "number", value_is_number },
        { "string", is_string }, { "mapping", is_mapping }, { "iterable", value_can_iterate },
        { "sequence", is_sequence }, { "callable", is_callable }, { "escaped", is_escaped },
    };
    bool by = value_is(name, "divisibleby"), same_as = value_is(name, "sameas");
    bool odd = value_is(name, "odd"), upper = value_is(name, "upper");
    enum token_kind op = T_END;

    if (a->n_named || a->n != (comparison(name, &op) || by || same_as ? 1 : 0)) {
        render_fail(r, "the test '%s' with %d arguments is not supported",
                    utf8_show(name.s, name.n).text, a->n + a->n_named);
        return false;
    }
    if (op != T_END)
        return render_compare(r, op, in, a->list[0]);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (value_is(name, plain[i].name))
            return plain[i].is(in);
    if (by)
        return leaves(r, in, a->list[0], 0);
    if (odd || value_is(name, "even"))
        return leaves(r, in, value_int(2), odd);
    if (upper || value_is(name, "lower"))
        return string_is_case(value_shown(r, in), upper);
    if (same_as)
        return same(r, in, a->list[0]);
    render_fail(r, "the test '%s' is not supported", utf8_show(name.s, name.n).text);
    return false;
}
