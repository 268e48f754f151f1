/* See data/template.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/template/internal.h"

int template_open(struct template **t, const char *text, size_t bytes, const char *path)
{
    struct template *made = calloc(1, sizeof *made);
    const struct token *tokens;
    int rc = RL_OK;

    *t = NULL;
    if (!made)
        return rl_error(RL_ENOFIT, "%s: no memory for a chat template", path);
    made->path = arena_copy(&made->arena, path, strlen(path));
    if (bytes > TEMPLATE_SOURCE)
        rc = rl_error(RL_EINVAL, "%s: a chat template of %zu bytes; at most %d", path, bytes,
                      TEMPLATE_SOURCE);
    if (rc == RL_OK) {
        tokens = template_lex(&made->arena, text, bytes, made->path);
        rc = tokens ? template_parse(made, tokens) : RL_EINVAL;
    }
    if (rc == RL_OK)
        *t = made;
    else
        template_close(made);
    return rc;
}

void template_close(struct template *t)
{
    if (!t)
        return;
    arena_free(&t->arena);
    free(t);
}

/* ---- what all pages of a render use */

struct value render_fail(struct render *r, const char *format, ...)
{
    char reason[600];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (r->rc == RL_OK)
        r->rc = rl_error(RL_EINVAL, "%s:%d: %s", r->t->path, r->line, reason);
    return value_none();
}

bool render_step(struct render *r, size_t n)
{
    r->steps += (int64_t)n;
    if (r->steps > TEMPLATE_STEPS)
        render_fail(r, "the template does not end within %d steps", TEMPLATE_STEPS);
    return r->rc == RL_OK;
}

bool render_room(struct render *r, size_t bytes)
{
    if (bytes > TEMPLATE_BYTES)
        render_fail(r, "the template makes a text or list of more than %d MiB",
                    TEMPLATE_BYTES >> 20);
    return r->rc == RL_OK;
}

void *render_take(struct render *r, size_t bytes)
{
    if (r->arena.total > TEMPLATE_MEMORY)
        render_fail(r, "the template takes more than %d MiB", TEMPLATE_MEMORY >> 20);
    r->steps += (int64_t)(bytes / 64);
    return arena_take(&r->arena, bytes);
}

bool render_enter(struct render *r)
{
    if (r->calls >= TEMPLATE_CALLS)
        render_fail(r, "the template calls itself, or nests, more than %d deep", TEMPLATE_CALLS);
    else if (r->rc == RL_OK)
        r->calls++;
    return r->rc == RL_OK;
}

void render_leave(struct render *r)
{
    r->calls--;
}

/* ---- a render */

static void set(struct render *r, const char *name, struct value v)
{
    scope_set(r, r->scope, value_literal(name), v);
}

/* A model's thoughts have three names; templates ask for the first or the second. */
static struct value thoughts(const struct json *message)
{
    static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };

    for (int i = 0; i < 3; i++)
        if (!json_is_null(json_get(message, names[i])))
            return value_literal(names[i]);
    return value_undefined(value_literal(""));
}

static struct value message(struct render *r, const struct json *j)
{
    struct value all = value_json(r, j), v = all, of = thoughts(j), thinking = { 0 };
    const struct value *found;

    v.pairs = render_take(r, (all.n + 2) * sizeof *v.pairs);
    v.n = 0;
    found = of.kind == V_STRING ? value_member(r, all, of) : NULL;
    if (found)
        thinking = *found;
    if (found && json_is_null(json_get(j, "thinking")))
        v.pairs[v.n++] = (struct pair){ value_literal("thinking"), thinking };
    for (size_t i = 0; i < all.n; i++)
        if (all.pairs[i].value.kind != V_NONE)
            v.pairs[v.n++] = all.pairs[i];
    if (found && !value_is(of, "reasoning_content"))
        v.pairs[v.n++] = (struct pair){ value_literal("reasoning_content"), thinking };
    return v;
}

static void variables(struct render *r, const struct json *messages,
                      const struct template_settings *s)
{
    struct value list = value_items(V_LIST, NULL, json_size(messages));
    const struct json *member;
    const char *name;
    void *it = NULL;

    list.items = render_take(r, list.n * sizeof *list.items);
    for (size_t i = 0; i < list.n && r->rc == RL_OK; i++) {
        if (!json_is_object(json_at(messages, i)))
            render_fail(r, "message %zu is no object", i + 1);
        else
            list.items[i] = message(r, json_at(messages, i));
    }
    if (s->bos_token)
        set(r, "bos_token", value_literal(s->bos_token));
    if (s->eos_token)
        set(r, "eos_token", value_literal(s->eos_token));
    while (s->variables && json_next(s->variables, &it, &name, &member))
        set(r, name, value_json(r, member));
    set(r, "messages", list);
    set(r, "tools", s->tools ? value_json(r, s->tools) : value_none());
    set(r, "documents", value_none());
    set(r, "add_generation_prompt", value_bool(s->add_generation_prompt));
}

int template_render(const struct template *t, const struct json *messages,
                    const struct template_settings *settings, struct text *out)
{
    struct render r = { .t = t, .now = settings->now, .line = 1 };

    if (!json_is_array(messages))
        return rl_error(RL_EINVAL, "%s: the messages are no list", t->path);
    r.scope = scope_open(&r, NULL);
    variables(&r, messages, settings);
    if (r.rc == RL_OK) {
        r.scope = scope_open(&r, r.scope);
        render_body(&r, t->body);
    }
    if (r.rc == RL_OK)
        text_add(out, r.out.data ? r.out.data : "", r.out.size);
    text_free(&r.out);
    arena_free(&r.arena);
    return r.rc;
}
