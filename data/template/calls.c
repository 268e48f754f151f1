/* Calls: of macros, of functions, of methods and filters by their tables. */
#include <stdio.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

struct args render_args(struct render *r, const struct node *list)
{
    struct args a = { 0 };
    int named = 0, n = 0;

    for (const struct node *e = list; e; e = e->next)
        *(e->name.kind == V_STRING ? &named : &n) += 1;
    a.list = render_take(r, (size_t)n * sizeof *a.list);
    a.named = render_take(r, (size_t)named * sizeof *a.named);
    for (const struct node *e = list; e && r->rc == RL_OK; e = e->next)
        if (e->name.kind == V_STRING)
            a.named[a.n_named++] = (struct pair){ e->name, render_value(r, e->a) };
        else
            a.list[a.n++] = render_value(r, e->a);
    return a;
}

static int find(const char *const *names, struct value name)
{
    for (int i = 0; i < PARAMETERS && names[i]; i++)
        if (value_is(name, names[i]))
            return i;
    return -1;
}

bool args_bind(struct render *r, const char *what, const struct args *a, const char *const *names,
               struct value *out)
{
    int n = 0;

    while (n < PARAMETERS && names[n])
        n++;
    if (a->n > n)
        render_fail(r, "%s takes at most %d arguments, not %d", what, n, a->n);
    for (int i = 0; i < PARAMETERS; i++)
        out[i] = i < a->n ? a->list[i] : (struct value){ .kind = V_MISSING };
    for (int i = 0; i < a->n_named && r->rc == RL_OK; i++) {
        struct value name = a->named[i].key;
        int at = find(names, name);
        if (at < 0 || out[at].kind != V_MISSING)
            render_fail(r, "%s: the argument '%s' is %s", what, utf8_show(name.s, name.n).text,
                        at < 0 ? "not supported" : "there twice");
        else
            out[at] = a->named[i].value;
    }
    return r->rc == RL_OK;
}

struct value table_call(struct render *r, const struct filter *f, const char *kind,
                        struct value in, const struct args *a)
{
    struct value arg[PARAMETERS];
    char what[64];

    if (in.kind == V_STRING && !render_step(r, in.n / 64))
        return value_none();
    if (f->any)
        return f->any(r, in, a);
    snprintf(what, sizeof what, "%s %s", kind, f->name);
    if (!args_bind(r, what, a, f->parameters, arg))
        return value_none();
    for (int i = 0; i < f->need; i++)
        if (arg[i].kind == V_MISSING)
            return render_fail(r, "%s: the argument '%s' is missing", what, f->parameters[i]);
    return f->call(r, in, arg);
}

/* ---- macros */

static bool has_parameter(const struct node *n, struct value name)
{
    for (const struct node *p = n->list; p; p = p->next)
        if (p->name.n == name.n && memcmp(p->name.s, name.s, name.n) == 0)
            return true;
    return false;
}

/* Named arguments that no parameter has: `caller`, those of kwargs, or a mistake. */
static void bind_others(struct render *r, const struct node *n, struct scope *s,
                        const struct args *a)
{
    struct value others = { .kind = V_DICT };

    others.pairs = render_take(r, (size_t)a->n_named * sizeof *others.pairs);
    for (int i = 0; i < a->n_named && r->rc == RL_OK; i++) {
        struct value name = a->named[i].key;
        if (has_parameter(n, name))
            continue;
        if (value_is(name, "caller"))
            scope_set(r, s, name, a->named[i].value);
        else if (n->takes_named)
            others.pairs[others.n++] = a->named[i];
        else
            render_fail(r, "%s: there is no parameter '%s'",
                        utf8_show(n->name.s, n->name.n).text, utf8_show(name.s, name.n).text);
    }
    if (n->takes_named)
        scope_set(r, s, value_literal("kwargs"), others);
}

static void bind_parameter(struct render *r, const struct node *p, struct scope *s,
                           const struct args *a, int at)
{
    const struct value *v = at < a->n ? &a->list[at] : NULL;

    for (int i = 0; i < a->n_named; i++) {
        struct value name = a->named[i].key;
        if (name.n != p->name.n || memcmp(name.s, p->name.s, name.n) != 0)
            continue;
        if (v)
            render_fail(r, "the argument '%s' is there twice", utf8_show(name.s, name.n).text);
        v = &a->named[i].value;
    }
    if (v)
        scope_set(r, s, p->name, *v);
    else
        scope_set(r, s, p->name, p->a ? render_value(r, p->a) : value_undefined(p->name));
}

struct value macro_call(struct render *r, const struct macro *m, const struct args *a)
{
    struct scope *s = scope_open(r, m->scope), *outer = r->scope;
    const struct node *n = m->node;
    struct value v = value_literal("");
    int count = 0;

    if (!render_enter(r))
        return v;
    r->scope = s;                              /* defaults see the parameters before them */
    for (const struct node *p = n->list; p && r->rc == RL_OK; p = p->next)
        bind_parameter(r, p, s, a, count++);
    if (a->n > count && n->takes_more)
        scope_set(r, s, value_literal("varargs"),
                  value_items(V_TUPLE, a->list + count, (size_t)(a->n - count)));
    else if (n->takes_more)
        scope_set(r, s, value_literal("varargs"), value_items(V_TUPLE, NULL, 0));
    else if (a->n > count)
        render_fail(r, "%s takes at most %d arguments, not %d",
                    utf8_show(n->name.s, n->name.n).text, count, a->n);
    bind_others(r, n, s, a);
    if (r->rc == RL_OK)
        v = render_capture(r, n->body, s);
    r->scope = outer;
    render_leave(r);
    return v;
}

/* ---- functions */

static struct value call_range(struct render *r, const struct args *a)
{
    static const char *const names[] = { "start", "stop", "step", NULL, NULL };
    struct value arg[PARAMETERS], v = { .kind = V_RANGE };
    int64_t begin, end, step, n;

    if (!args_bind(r, "range", a, names, arg))
        return v;
    begin = value_integer(r, arg[0], 0, "range: an argument");
    end = value_integer(r, arg[1], begin, "range: an argument");
    step = value_integer(r, arg[2], 1, "range: an argument");
    if (a->n == 0 || a->n_named || step == 0)
        return render_fail(r, "range takes one to three integers, and no step of 0");
    if (arg[1].kind == V_MISSING)
        begin = 0;
    if (begin < -INT32_MAX || begin > INT32_MAX || end < -INT32_MAX || end > INT32_MAX
        || step < -INT32_MAX || step > INT32_MAX)
        return render_fail(r, "range: numbers beyond 32 bits are not supported");
    n = step > 0 ? (end > begin ? (end - begin - 1) / step + 1 : 0)
                 : (begin > end ? (begin - end - 1) / -step + 1 : 0);
    if (n > 100000)
        return render_fail(r, "range of more than 100000 numbers");
    v.items = render_take(r, (size_t)n * sizeof *v.items);
    v.n = (size_t)n;
    for (int64_t i = 0; i < n; i++)
        v.items[i] = value_int(begin + i * step);
    return v;
}

/* A dict to begin with, then names. */
static struct value call_dict(struct render *r, const struct args *a)
{
    struct value v = { .kind = V_DICT };
    size_t first = a->n == 1 && a->list[0].kind == V_DICT ? a->list[0].n : 0;

    if (a->n > 1 || (a->n == 1 && a->list[0].kind != V_DICT))
        return render_fail(r, "dict of other than a dict and named arguments is not supported");
    v.pairs = render_take(r, (first + (size_t)a->n_named) * sizeof *v.pairs);
    v.n = first;
    if (first)
        memcpy(v.pairs, a->list[0].pairs, first * sizeof *v.pairs);
    for (int i = 0; i < a->n_named; i++) {
        struct value *old = (struct value *)value_member(r, v, a->named[i].key);
        if (old)
            *old = a->named[i].value;
        else
            v.pairs[v.n++] = a->named[i];
    }
    return v;
}

static struct value call_namespace(struct render *r, const struct args *a)
{
    struct value from = call_dict(r, a), v = { .kind = V_NAMESPACE };

    v.space = scope_open(r, NULL);
    for (size_t i = 0; i < from.n && r->rc == RL_OK; i++)
        if (from.pairs[i].key.kind == V_STRING)
            scope_set(r, v.space, from.pairs[i].key, from.pairs[i].value);
        else
            render_fail(r, "a namespace's name is a %s", value_type(from.pairs[i].key));
    return v;
}

static struct value call_raise(struct render *r, const struct args *a)
{
    static const char *const names[] = { "message", NULL, NULL, NULL, NULL };
    struct value arg[PARAMETERS], text;

    if (!args_bind(r, "raise_exception", a, names, arg))
        return value_none();
    text = arg[0].kind == V_MISSING ? value_literal("") : value_shown(r, arg[0]);
    return render_fail(r, "the template refuses the messages: %.*s", (int)text.n, text.s);
}

static struct value call_strftime(struct render *r, const struct args *a)
{
    static const char *const names[] = { "format", NULL, NULL, NULL, NULL };
    struct value arg[PARAMETERS];
    char format[128], out[512];
    size_t n;

    if (!args_bind(r, "strftime_now", a, names, arg))
        return value_none();
    if (arg[0].kind != V_STRING || arg[0].n >= sizeof format || memchr(arg[0].s, 0, arg[0].n))
        return render_fail(r, "strftime_now takes a format of at most %zu bytes",
                           sizeof format - 1);
    memcpy(format, arg[0].s, arg[0].n);
    format[arg[0].n] = 0;
    n = strftime(out, sizeof out, format, r->now);
    if (n == 0 && format[0])
        return render_fail(r, "strftime_now: the format '%s' is not supported", format);
    return value_copy(r, out, n);
}

const struct function *function_find(struct value name)
{
    static const struct function functions[] = {
        { "range", call_range }, { "dict", call_dict }, { "namespace", call_namespace },
        { "raise_exception", call_raise }, { "strftime_now", call_strftime },
        { "cycler", NULL }, { "joiner", NULL }, { "lipsum", NULL },
        { "self", NULL },
    };

    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (value_is(name, functions[i].name))
            return &functions[i];
    return NULL;
}

struct value render_call(struct render *r, struct value callee, const struct args *a)
{
    const struct bound *b = callee.bound;

    switch (callee.kind) {
    case V_MACRO:
        return macro_call(r, callee.macro, a);
    case V_METHOD:
        return table_call(r, &b->method->f, "the method", b->self, a);
    case V_FUNCTION:
        if (callee.function->call)
            return callee.function->call(r, a);
        return render_fail(r, "the function %s is not supported", callee.function->name);
    case V_UNDEFINED:
        if (value_is(value_string(callee.s, callee.n), "strftime_now"))
            return render_fail(r, "the template asks for the date: give one (chat_date in a run, "
                               "--date in tokenize)");
        return render_fail(r, "'%s' is undefined, and cannot be called",
                           utf8_show(callee.s, callee.n).text);
    default:
        return render_fail(r, "a %s cannot be called", value_type(callee));
    }
}
