/* The value of an expression. */
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

static struct value name(struct render *r, const struct node *n)
{
    struct value v;

    if (scope_get(r, r->scope, n->name, &v))
        return v;
    if (value_is(n->name, "strftime_now") && !r->now)
        return value_undefined(n->name);
    if (function_find(n->name))
        return (struct value){ .kind = V_FUNCTION, .function = function_find(n->name) };
    return value_undefined(n->name);
}

static struct value list(struct render *r, const struct node *n)
{
    size_t count = 0;
    struct value v;

    for (const struct node *e = n->list; e; e = e->next)
        count++;
    v = value_items(n->kind == E_LIST ? V_LIST : V_TUPLE,
                    render_take(r, count * sizeof *v.items), count);
    for (const struct node *e = n->list; e; e = e->next)
        v.items[v.n - count--] = render_value(r, e);
    return v;
}

static struct value dict(struct render *r, const struct node *n)
{
    struct value v = { .kind = V_DICT };
    size_t count = 0;

    for (const struct node *e = n->list; e; e = e->next)
        count++;
    v.pairs = render_take(r, count / 2 * sizeof *v.pairs);
    for (const struct node *e = n->list; e && r->rc == RL_OK; e = e->next->next) {
        struct value key = render_value(r, e), value = render_value(r, e->next);
        struct value *member = (struct value *)value_member(r, v, key);    /* ours, being made */
        if (member)
            *member = value;
        else
            v.pairs[v.n++] = (struct pair){ key, value };
    }
    return v;
}

static struct value item(struct render *r, const struct node *n)
{
    struct value of = render_value(r, n->a), bounds[3];
    const struct node *const part[] = { n->b->a, n->b->b, n->b->c };

    if (n->b->kind != E_SLICE) {
        struct value key = render_value(r, n->b);
        r->line = n->line;
        return r->rc == RL_OK ? value_item(r, of, key) : value_none();
    }
    for (int i = 0; i < 3; i++)
        bounds[i] = part[i] ? render_value(r, part[i]) : value_none();
    r->line = n->line;
    return r->rc == RL_OK ? render_slice(r, of, bounds) : value_none();
}

static struct value filter(struct render *r, const struct node *n)
{
    struct value in = render_value(r, n->a);
    struct args a = render_args(r, n->list);

    r->line = n->line;
    return r->rc == RL_OK ? filter_call(r, n->name, in, &a) : value_none();
}

static struct value test(struct render *r, const struct node *n)
{
    struct value in = render_value(r, n->a);
    struct args a = render_args(r, n->list);

    r->line = n->line;
    return value_bool(r->rc == RL_OK && test_call(r, n->name, in, &a));
}

static struct value call(struct render *r, const struct node *n)
{
    struct value callee = render_value(r, n->a);
    struct args a = render_args(r, n->list);

    r->line = n->line;
    return r->rc == RL_OK ? render_call(r, callee, &a) : value_none();
}

static struct value attribute(struct render *r, const struct node *n)
{
    struct value of = render_value(r, n->a);

    r->line = n->line;
    return r->rc == RL_OK ? value_attribute(r, of, n->name) : value_none();
}

static struct value sign(struct render *r, const struct node *n)
{
    struct value v = render_value(r, n->a);

    r->line = n->line;
    if (r->rc == RL_OK && !value_is_number(v))
        return render_fail(r, "a sign before a %s", value_type(v));
    if (v.kind == V_FLOAT)
        return value_float(n->kind == E_NEGATE ? -v.f : v.f);
    return render_binary(r, n->kind == E_NEGATE ? T_MINUS : T_PLUS, value_int(0), v);
}

static struct value logical(struct render *r, const struct node *n)
{
    struct value left = render_value(r, n->a);

    return r->rc == RL_OK && value_truth(left) == (n->kind == E_AND) ? render_value(r, n->b) : left;
}

static struct value condition(struct render *r, const struct node *n)
{
    bool yes = value_truth(render_value(r, n->a));

    if (r->rc != RL_OK)
        return value_none();
    if (!yes && !n->c)
        return value_undefined(value_literal("what `if` without `else` leaves"));
    return render_value(r, yes ? n->b : n->c);
}

static struct value compare(struct render *r, const struct node *n)
{
    struct value left = render_value(r, n->a);

    for (const struct node *e = n->list; e && r->rc == RL_OK; e = e->next) {
        struct value right = render_value(r, e->a);
        r->line = n->line;
        if (r->rc != RL_OK || !render_compare(r, e->op, left, right))
            return value_bool(false);
        left = right;
    }
    return value_bool(true);
}

static struct value binary(struct render *r, const struct node *n)
{
    struct value a = render_value(r, n->a), b = render_value(r, n->b);

    r->line = n->line;
    return r->rc == RL_OK ? render_binary(r, n->op, a, b) : value_none();
}

static struct value concat(struct render *r, const struct node *n)
{
    struct text out = { 0 };

    for (const struct node *e = n->list; e && r->rc == RL_OK; e = e->next)
        show(r, &out, render_value(r, e->a));
    r->line = n->line;
    return value_text(r, &out);
}

static struct value evaluate(struct render *r, const struct node *n)
{
    switch (n->kind) {
    case E_CONST:
        return n->value;
    case E_BODY:
        return r->body;
    case E_NAME:
        return name(r, n);
    case E_TUPLE: case E_LIST:
        return list(r, n);
    case E_DICT:
        return dict(r, n);
    case E_ATTRIBUTE:
        return attribute(r, n);
    case E_ITEM:
        return item(r, n);
    case E_CALL:
        return call(r, n);
    case E_FILTER:
        return filter(r, n);
    case E_TEST:
        return test(r, n);
    case E_NOT:
        return value_bool(!value_truth(render_value(r, n->a)));
    case E_NEGATE: case E_PLUS:
        return sign(r, n);
    case E_AND: case E_OR:
        return logical(r, n);
    case E_CONDITION:
        return condition(r, n);
    case E_COMPARE:
        return compare(r, n);
    case E_BINARY:
        return binary(r, n);
    case E_CONCAT:
        return concat(r, n);
    default:
        return render_fail(r, "not an expression");
    }
}

struct value render_value(struct render *r, const struct node *n)
{
    struct value v = value_none();

    r->line = n->line;
    if (render_step(r, 1) && render_enter(r)) {
        v = evaluate(r, n);
        render_leave(r);
    }
    return v;
}
