/* Tokens to statements. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/template/internal.h"
#include "data/utf8.h"

/* ---- what both pages of the parser use */

struct node *parse_node(struct parser *p, enum node_kind kind, int line)
{
    struct node *n = arena_take(p->arena, sizeof *n);

    n->kind = kind;
    n->line = line;
    return n;
}

/* The first failure is the one that is said; what it returns may be linked into the tree. */
void *parse_fail(struct parser *p, int line, const char *format, ...)
{
    char reason[400];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (p->rc == RL_OK)
        p->rc = rl_error(RL_EINVAL, "%s:%d: %s", p->path, line, reason);
    return parse_node(p, E_CONST, line);
}

bool parse_skip(struct parser *p, enum token_kind kind)
{
    if (p->at->kind != kind)
        return false;
    p->at++;
    return true;
}

bool parse_expect(struct parser *p, enum token_kind kind, const char *what)
{
    if (p->rc != RL_OK)
        return false;
    if (!parse_skip(p, kind))
        parse_fail(p, p->at->line, "expected %s, not %s", what, parse_name(p->at).text);
    return p->rc == RL_OK;
}

bool parse_word(const struct token *t, const char *word)
{
    return t->kind == T_NAME && value_is(t->value, word);
}

bool parse_skip_word(struct parser *p, const char *word)
{
    if (!parse_word(p->at, word))
        return false;
    p->at++;
    return true;
}

struct token_name parse_name(const struct token *t)
{
    static const char *const marks[] = {
        "'**'", "'//'", "'=='", "'!='", "'>='", "'<='", "'+'", "'-'", "'/'", "'*'", "'%'", "'~'",
        "'['", "']'", "'('", "')'", "'{'", "'}'", "'>'", "'<'", "'='", "'.'", "':'", "'|'", "','",
        "';'",
    };
    struct token_name name;
    const char *what = t->kind == T_END ? "the end of the template"
                     : t->kind == T_PRINT_END ? "'}}'"
                     : t->kind == T_BLOCK_END ? "'%}'"
                     : t->kind == T_STRING ? "a string"
                     : t->kind == T_INTEGER || t->kind == T_FLOAT ? "a number"
                     : t->kind >= T_POWER && t->kind <= T_SEMICOLON ? marks[t->kind - T_POWER]
                     : "text";

    if (t->kind == T_NAME)
        snprintf(name.text, sizeof name.text, "'%s'", utf8_show(t->value.s, t->value.n).text);
    else
        snprintf(name.text, sizeof name.text, "%s", what);
    return name;
}

/* ---- statements */

static struct node *statement(struct parser *p);

static bool ends(const struct token *t, const char *const *words)
{
    for (; *words; words++)
        if (parse_word(t, *words))
            return true;
    return false;
}

/* Statements up to a tag that begins with one of the words (NULL: the template's end), which is the
 * token that stands next. */
static struct node *statements(struct parser *p, const char *const *words, int from)
{
    struct node *first = NULL, **tail = &first;

    while (p->rc == RL_OK) {
        const struct token *t = p->at;
        if (t->kind == T_END) {
            if (words)
                parse_fail(p, from, "the template ends before %s", words[0]);
            break;
        }
        p->at++;
        if (t->kind == T_DATA) {
            *tail = parse_node(p, S_TEXT, t->line);
            (*tail)->value = t->value;
        } else if (t->kind == T_PRINT_BEGIN) {
            *tail = parse_node(p, S_PRINT, t->line);
            (*tail)->a = parse_tuple(p, true);
            parse_expect(p, T_PRINT_END, "'}}'");
        } else {
            if (words && ends(p->at, words))
                break;
            *tail = statement(p);
            parse_expect(p, T_BLOCK_END, "'%}'");
        }
        tail = &(*tail)->next;
    }
    return first;
}

/* The body of a block: behind the end of its tag. */
static struct node *block(struct parser *p, const char *const *words, int from)
{
    parse_expect(p, T_BLOCK_END, "'%}'");
    return statements(p, words, from);
}

/* The same up to its one end, which is read. */
static struct node *whole_block(struct parser *p, const char *end, int from)
{
    const char *const words[] = { end, NULL };
    struct node *body = block(p, words, from);

    parse_skip_word(p, end);
    return body;
}

static void parse_if(struct parser *p, struct node *n)
{
    static const char *const words[] = { "endif", "elif", "else", NULL };
    int from = n->line;

    for (;;) {
        n->a = parse_tuple(p, false);
        n->body = block(p, words, from);
        if (p->rc != RL_OK || !parse_skip_word(p, "elif"))
            break;
        n = n->c = parse_node(p, S_IF, p->at[-1].line);
    }
    if (parse_skip_word(p, "else")) {
        n->c = parse_node(p, S_IF, p->at[-1].line);
        n->c->body = whole_block(p, "endif", from);
    } else {
        parse_skip_word(p, "endif");
    }
}

static void parse_for(struct parser *p, struct node *n)
{
    static const char *const words[] = { "endfor", "else", NULL };

    n->a = parse_target(p, false);
    if (!parse_skip_word(p, "in"))
        parse_fail(p, p->at->line, "expected 'in', not %s", parse_name(p->at).text);
    n->b = parse_tuple(p, false);
    if (parse_skip_word(p, "if"))
        n->c = parse_value(p, true);
    if (parse_word(p->at, "recursive"))
        parse_fail(p, p->at->line, "recursive loops are not supported");
    p->loops++;
    n->body = block(p, words, n->line);
    p->loops--;
    if (parse_skip_word(p, "else"))
        n->other = whole_block(p, "endfor", n->line);
    else
        parse_skip_word(p, "endfor");
}

/* The body of a macro, call block, filter or block set: text of its own, and no loop around it. */
static void text_body(struct parser *p, struct node *n, const char *end)
{
    int loops = p->loops;

    p->loops = 0;
    n->body = whole_block(p, end, n->line);
    p->loops = loops;
}

static void function_body(struct parser *p, struct node *n, const char *end)
{
    struct node *outer = p->macro;

    p->macro = n;
    text_body(p, n, end);
    p->macro = outer;
}

static void parse_set(struct parser *p, struct node *n)
{
    n->a = parse_target(p, true);
    if (parse_skip(p, T_ASSIGN)) {
        n->b = parse_tuple(p, true);
        return;
    }
    n->kind = S_SET_BLOCK;
    n->b = parse_filters(p, parse_node(p, E_BODY, n->line), false);
    text_body(p, n, "endset");
}

static struct node *parameters(struct parser *p)
{
    struct node *first = NULL, **tail = &first;

    parse_expect(p, T_PAREN, "'('");
    while (p->rc == RL_OK && p->at->kind != T_PAREN_END) {
        if (first && !parse_expect(p, T_COMMA, "a comma"))
            break;
        *tail = parse_node(p, E_NAME, p->at->line);
        (*tail)->name = p->at->value;
        parse_expect(p, T_NAME, "the name of a parameter");
        if (parse_skip(p, T_ASSIGN))
            (*tail)->a = parse_value(p, true);
        tail = &(*tail)->next;
    }
    parse_expect(p, T_PAREN_END, "')'");
    return first;
}

static void parse_macro(struct parser *p, struct node *n)
{
    n->name = p->at->value;
    parse_expect(p, T_NAME, "the name of a macro");
    n->list = parameters(p);
    function_body(p, n, "endmacro");
}

static void parse_call_block(struct parser *p, struct node *n)
{
    n->name = value_literal("caller");
    if (p->at->kind == T_PAREN)
        n->list = parameters(p);
    n->a = parse_value(p, true);
    if (n->a->kind != E_CALL)
        parse_fail(p, n->line, "call without a call of a macro");
    function_body(p, n, "endcall");
}

static void parse_filter(struct parser *p, struct node *n)
{
    n->a = parse_filters(p, parse_node(p, E_BODY, n->line), true);
    text_body(p, n, "endfilter");
}

static void parse_with(struct parser *p, struct node *n)
{
    struct node **tail = &n->list;

    while (p->rc == RL_OK && p->at->kind != T_BLOCK_END) {
        if (n->list && !parse_expect(p, T_COMMA, "a comma"))
            break;
        *tail = parse_node(p, S_SET, p->at->line);
        (*tail)->a = parse_node(p, E_NAME, p->at->line);
        (*tail)->a->name = p->at->value;
        parse_expect(p, T_NAME, "a name");
        parse_expect(p, T_ASSIGN, "'='");
        (*tail)->b = parse_value(p, true);
        tail = &(*tail)->next;
    }
    n->body = whole_block(p, "endwith", n->line);
}

/* What the assistant said: to a renderer just a scope. */
static void parse_generation(struct parser *p, struct node *n)
{
    text_body(p, n, "endgeneration");
}

static void parse_jump(struct parser *p, struct node *n)
{
    if (p->loops == 0)
        parse_fail(p, n->line, "%s outside of a loop", n->kind == S_BREAK ? "break" : "continue");
}

static struct node *statement(struct parser *p)
{
    static const struct {
        const char *word;
        enum node_kind kind;
        void (*parse)(struct parser *p, struct node *n);
    } all[] = {
        { "if", S_IF, parse_if }, { "for", S_FOR, parse_for }, { "set", S_SET, parse_set },
        { "macro", S_MACRO, parse_macro }, { "call", S_CALL, parse_call_block },
        { "filter", S_FILTER, parse_filter }, { "with", S_WITH, parse_with },
        { "generation", S_SCOPE, parse_generation }, { "break", S_BREAK, parse_jump },
        { "continue", S_CONTINUE, parse_jump },
    };
    const struct token *t = p->at++;
    struct node *n = NULL;

    if (t->kind != T_NAME)
        return parse_fail(p, t->line, "expected a tag, not %s", parse_name(t).text);
    if (++p->depth > TEMPLATE_NESTING)
        return parse_fail(p, t->line, "nested more than %d deep", TEMPLATE_NESTING);
    for (size_t i = 0; i < sizeof all / sizeof *all && !n; i++)
        if (parse_word(t, all[i].word)) {
            n = parse_node(p, all[i].kind, t->line);
            all[i].parse(p, n);
        }
    if (!n)
        n = parse_fail(p, t->line, "the tag %s is not supported", parse_name(t).text);
    p->depth--;
    return n;
}

int template_parse(struct template *t, const struct token *tokens)
{
    struct parser p = { .arena = &t->arena, .path = t->path, .at = tokens };

    t->body = statements(&p, NULL, 1);
    return p.rc;
}
