/* Statements, and the text that they write. */
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

/* ---- scopes */

struct scope *scope_open(struct render *r, struct scope *parent)
{
    struct scope *s = render_take(r, sizeof *s);

    s->parent = parent;
    return s;
}

static struct binding *find(struct render *r, const struct scope *s, struct value name)
{
    size_t passed = 0;

    for (; s; s = s->parent)
        for (struct binding *b = s->first; b; b = b->next, passed++)
            if (b->n == name.n && memcmp(b->name, name.s, name.n) == 0) {
                render_step(r, passed / 16);
                return b;
            }
    render_step(r, passed / 16);
    return NULL;
}

bool scope_get(struct render *r, const struct scope *s, struct value name, struct value *v)
{
    const struct binding *b = find(r, s, name);

    if (b)
        *v = b->value;
    return b != NULL;
}

void scope_set(struct render *r, struct scope *s, struct value name, struct value v)
{
    struct scope alone = { .first = s->first };
    struct binding *b = find(r, &alone, name);

    if (!b) {
        b = render_take(r, sizeof *b);
        *b = (struct binding){ .name = name.s, .n = name.n, .next = s->first };
        s->first = b;
    }
    b->value = v;
}

/* ---- set */

static void set(struct render *r, const struct node *target, struct value v);

static void set_each(struct render *r, const struct node *target, struct value v)
{
    struct value *items;
    size_t n, wanted = 0;

    for (const struct node *t = target->list; t; t = t->next)
        wanted++;
    if (!value_iterate(r, v, &items, &n))
        return;
    if (n != wanted) {
        render_fail(r, "%zu names for %zu values", wanted, n);
        return;
    }
    for (const struct node *t = target->list; t && r->rc == RL_OK; t = t->next)
        set(r, t, *items++);
}

static void set(struct render *r, const struct node *target, struct value v)
{
    struct value space;

    if (target->kind == E_TUPLE) {
        set_each(r, target, v);
    } else if (target->kind == E_NAME) {
        scope_set(r, r->scope, target->name, v);
    } else if (!scope_get(r, r->scope, target->name, &space) || space.kind != V_NAMESPACE) {
        render_fail(r, "'%s' is no namespace: only a namespace's attributes can be set",
                    utf8_show(target->name.s, target->name.n).text);
    } else if (target->value.s[0] == '_') {
        render_fail(r, "a namespace's names cannot begin with '_'");
    } else {
        scope_set(r, space.space, target->value, v);
    }
}

/* ---- bodies */

struct value render_capture(struct render *r, const struct node *body, struct scope *scope)
{
    struct text outer = r->out;
    struct scope *before = r->scope;
    struct value v;

    r->out = (struct text){ 0 };
    r->scope = scope;
    render_body(r, body);
    v = value_text(r, &r->out);
    r->out = outer;
    r->scope = before;
    return v;
}

/* The body, in a scope of its own, through the filters of a tag. */
static struct value filtered(struct render *r, const struct node *n, const struct node *filters)
{
    struct value outer = r->body, v = render_capture(r, n->body, scope_open(r, r->scope));

    r->body = v;
    if (r->rc == RL_OK)
        v = render_value(r, filters);
    r->body = outer;
    return v;
}

static void print(struct render *r, struct value v)
{
    if (r->rc == RL_OK)
        show(r, &r->out, v);
    render_room(r, r->out.size);
}

static struct value macro_of(struct render *r, const struct node *n)
{
    struct value v = { .kind = V_MACRO, .macro = render_take(r, sizeof *v.macro) };

    v.macro->node = n;
    v.macro->scope = r->scope;
    return v;
}

/* {% call(x) macro(...) %}: the macro with one more argument, the body as `caller`. */
static void call_block(struct render *r, const struct node *n)
{
    struct value callee = render_value(r, n->a->a);
    struct args a = render_args(r, n->a->list);
    struct pair *named = render_take(r, (size_t)(a.n_named + 1) * sizeof *named);

    if (a.n_named)
        memcpy(named, a.named, (size_t)a.n_named * sizeof *named);
    named[a.n_named++] = (struct pair){ n->name, macro_of(r, n) };
    a.named = named;
    r->line = n->line;
    if (r->rc == RL_OK && callee.kind != V_MACRO)
        render_fail(r, "call of what is no macro is not supported");
    if (r->rc == RL_OK)
        print(r, macro_call(r, callee.macro, &a));
}

static enum flow with(struct render *r, const struct node *n)
{
    struct scope *outer = r->scope, *inner = scope_open(r, outer);
    enum flow flow;

    for (const struct node *e = n->list; e && r->rc == RL_OK; e = e->next)
        scope_set(r, inner, e->a->name, render_value(r, e->b));
    r->scope = inner;
    flow = render_body(r, n->body);
    r->scope = outer;
    return flow;
}

/* ---- loops */

/* The elements that the loop's own `if` lets pass. */
static void pass(struct render *r, const struct node *n, struct value **items, size_t *count)
{
    struct value *kept = render_take(r, *count * sizeof *kept);
    struct scope *outer = r->scope;
    size_t k = 0;

    for (size_t i = 0; i < *count && r->rc == RL_OK; i++) {
        r->scope = scope_open(r, outer);
        set(r, n->a, (*items)[i]);
        if (r->rc == RL_OK && value_truth(render_value(r, n->c)))
            kept[k++] = (*items)[i];
    }
    r->scope = outer;
    *items = kept;
    *count = k;
}

static enum flow loop_once(struct render *r, const struct node *n, struct value loop,
                           struct scope *outer)
{
    enum flow flow = FLOW_ON;

    r->scope = scope_open(r, outer);
    set(r, n->a, loop.loop->items[loop.loop->at]);
    scope_set(r, r->scope, value_literal("loop"), loop);
    if (r->rc == RL_OK)
        flow = render_body(r, n->body);
    r->scope = outer;
    return flow;
}

static enum flow loop(struct render *r, const struct node *n)
{
    struct value over = render_value(r, n->b), v = { .kind = V_LOOP };
    struct scope *outer = r->scope;
    struct value *items;
    enum flow flow = FLOW_ON;
    size_t count;

    r->line = n->line;
    if (r->rc != RL_OK || !value_iterate(r, over, &items, &count))
        return FLOW_ON;
    if (n->c)
        pass(r, n, &items, &count);
    v.loop = render_take(r, sizeof *v.loop);
    v.loop->items = items;
    v.loop->n = count;
    for (; v.loop->at < count && r->rc == RL_OK; v.loop->at++)
        if (loop_once(r, n, v, outer) == FLOW_BREAK)
            break;
    if (count > 0 || !n->other || r->rc != RL_OK)
        return FLOW_ON;
    r->scope = scope_open(r, outer);
    flow = render_body(r, n->other);
    r->scope = outer;
    return flow;
}

static enum flow branch(struct render *r, const struct node *n)
{
    for (; n && r->rc == RL_OK; n = n->c)
        if (!n->a || value_truth(render_value(r, n->a)))
            return r->rc == RL_OK ? render_body(r, n->body) : FLOW_ON;
    return FLOW_ON;
}

static enum flow statement(struct render *r, const struct node *n)
{
    struct value v;

    switch (n->kind) {
    case S_TEXT:
        print(r, n->value);
        break;
    case S_PRINT:
        v = render_value(r, n->a);
        r->line = n->line;
        print(r, v);
        break;
    case S_IF:
        return branch(r, n);
    case S_FOR:
        return loop(r, n);
    case S_SET: case S_SET_BLOCK:
        v = n->kind == S_SET ? render_value(r, n->b) : filtered(r, n, n->b);
        r->line = n->line;
        if (r->rc == RL_OK)
            set(r, n->a, v);
        break;
    case S_MACRO:
        scope_set(r, r->scope, n->name, macro_of(r, n));
        break;
    case S_CALL:
        call_block(r, n);
        break;
    case S_FILTER:
        print(r, filtered(r, n, n->a));
        break;
    case S_WITH:
        return with(r, n);
    case S_SCOPE:
        print(r, render_capture(r, n->body, scope_open(r, r->scope)));
        break;
    default:
        return n->kind == S_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
    }
    return FLOW_ON;
}

enum flow render_body(struct render *r, const struct node *body)
{
    enum flow flow = FLOW_ON;

    if (!render_enter(r))
        return FLOW_ON;
    for (; body && r->rc == RL_OK && flow == FLOW_ON; body = body->next) {
        r->line = body->line;
        if (render_step(r, 1))
            flow = statement(r, body);
    }
    render_leave(r);
    return flow;
}
