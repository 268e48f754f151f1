/* Expressions, loosest first: if-else, or, and, not, comparisons, + -, ~, * / // %, **, signs, then
 * what stands behind a value: .name [item] (call) |filter is-test. */
#include <string.h>

#include "data/template/internal.h"

static struct node *parse_unary(struct parser *p, bool with_filters);
static struct node *postfix(struct parser *p, struct node *of);
static struct node *binary(struct parser *p, int level);

static struct node *pair_of(struct parser *p, enum node_kind kind, int line, struct node *a,
                            struct node *b)
{
    struct node *n = parse_node(p, kind, line);

    n->a = a;
    n->b = b;
    return n;
}

/* Elements up to `end`; a comma may stand behind the last. */
static struct node *elements(struct parser *p, enum token_kind end, bool pairs)
{
    struct node *first = NULL, **tail = &first;

    while (p->rc == RL_OK && p->at->kind != end) {
        if (first && !parse_expect(p, T_COMMA, "a comma"))
            break;
        if (p->at->kind == end)
            break;
        *tail = parse_value(p, true);
        tail = &(*tail)->next;
        if (!pairs)
            continue;
        parse_expect(p, T_COLON, "':'");
        *tail = parse_value(p, true);
        tail = &(*tail)->next;
    }
    parse_expect(p, end, end == T_BRACKET_END ? "']'" : "'}'");
    return first;
}

static struct node *arguments(struct parser *p)
{
    struct node *first = NULL, **tail = &first;
    bool named = false;

    parse_expect(p, T_PAREN, "'('");
    while (p->rc == RL_OK && p->at->kind != T_PAREN_END) {
        struct value name = { 0 };
        if (first && !parse_expect(p, T_COMMA, "a comma"))
            break;
        if (p->at->kind == T_PAREN_END)
            break;
        if (p->at->kind == T_STAR || p->at->kind == T_POWER)
            parse_fail(p, p->at->line, "an argument with * or ** before it is not supported");
        if (p->at->kind == T_NAME && p->at[1].kind == T_ASSIGN) {
            name = p->at->value;
            p->at += 2;
            named = true;
        } else if (named) {
            parse_fail(p, p->at->line, "an argument without a name behind one with a name");
        }
        *tail = pair_of(p, E_TUPLE, p->at->line, parse_value(p, true), NULL);
        (*tail)->name = name;
        tail = &(*tail)->next;
    }
    parse_expect(p, T_PAREN_END, "')'");
    return first;
}

static struct node *primary(struct parser *p, bool namespaces)
{
    const struct token *t = p->at;
    struct node *n = parse_node(p, E_CONST, t->line);
    bool yes = parse_word(t, "true") || parse_word(t, "True");

    if (t->kind == T_NAME) {
        p->at++;
        if (yes || parse_word(t, "false") || parse_word(t, "False")) {
            n->value = value_bool(yes);
        } else if (parse_word(t, "none") || parse_word(t, "None")) {
            n->value = value_none();
        } else if (namespaces && parse_skip(p, T_DOT)) {
            n->kind = E_NAMESPACE;
            n->name = t->value;
            n->value = p->at->value;
            parse_expect(p, T_NAME, "a name");
        } else {
            n->kind = E_NAME;
            n->name = t->value;
            if (p->macro) {
                p->macro->takes_more |= parse_word(t, "varargs");
                p->macro->takes_named |= parse_word(t, "kwargs");
            }
        }
    } else if (t->kind == T_STRING) {
        struct text all = { 0 };
        for (; p->at->kind == T_STRING; p->at++)
            text_add(&all, p->at->value.s, p->at->value.n);
        n->value = value_string(arena_copy(p->arena, all.data, all.size), all.size);
        text_free(&all);
    } else if (t->kind == T_INTEGER || t->kind == T_FLOAT) {
        p->at++;
        n->value = t->value;
    } else if (parse_skip(p, T_PAREN)) {
        if (parse_skip(p, T_PAREN_END)) {
            n->kind = E_TUPLE;
            return n;
        }
        n = parse_tuple(p, true);
        parse_expect(p, T_PAREN_END, "')'");
    } else if (parse_skip(p, T_BRACKET)) {
        n->kind = E_LIST;
        n->list = elements(p, T_BRACKET_END, false);
    } else if (parse_skip(p, T_BRACE)) {
        n->kind = E_DICT;
        n->list = elements(p, T_BRACE_END, true);
    } else {
        parse_fail(p, t->line, "expected a value, not %s", parse_name(t).text);
    }
    return n;
}

/* Behind '[': an index, or start:stop:step with any of them left out. */
static struct node *subscript(struct parser *p)
{
    struct node *n = parse_node(p, E_SLICE, p->at->line), **part[] = { &n->a, &n->b, &n->c };
    int colons = 0;

    for (;;) {
        if (p->at->kind != T_COLON && p->at->kind != T_BRACKET_END)
            *part[colons] = parse_value(p, true);
        if (p->rc != RL_OK || colons == 2 || !parse_skip(p, T_COLON))
            break;
        colons++;
    }
    if (colons == 0 && !n->a)
        parse_fail(p, n->line, "nothing between '[' and ']'");
    parse_expect(p, T_BRACKET_END, "']'");
    return colons ? n : n->a;
}

static struct node *call(struct parser *p, struct node *of)
{
    struct node *n = pair_of(p, E_CALL, p->at->line, of, NULL);

    n->list = arguments(p);
    return n;
}

static struct node *postfix(struct parser *p, struct node *of)
{
    while (p->rc == RL_OK) {
        int line = p->at->line;
        if (p->at->kind == T_PAREN) {
            of = call(p, of);
        } else if (parse_skip(p, T_BRACKET)) {
            of = pair_of(p, E_ITEM, line, of, subscript(p));
        } else if (parse_skip(p, T_DOT)) {
            const struct token *t = p->at++;
            of = pair_of(p, t->kind == T_NAME ? E_ATTRIBUTE : E_ITEM, line, of, NULL);
            of->name = t->value;
            if (t->kind == T_INTEGER) {
                of->b = parse_node(p, E_CONST, line);
                of->b->value = t->value;
            } else if (t->kind != T_NAME) {
                parse_fail(p, line, "expected a name behind '.', not %s", parse_name(t).text);
            }
        } else {
            break;
        }
    }
    return of;
}

struct node *parse_filters(struct parser *p, struct node *of, bool first_is_bare)
{
    while (p->rc == RL_OK && (first_is_bare || parse_skip(p, T_PIPE))) {
        struct node *n = pair_of(p, E_FILTER, p->at->line, of, NULL);
        n->name = p->at->value;
        parse_expect(p, T_NAME, "the name of a filter");
        if (p->at->kind == T_PAREN)
            n->list = arguments(p);
        of = n;
        first_is_bare = false;
    }
    return of;
}

static struct node *test(struct parser *p, struct node *of)
{
    bool not = parse_skip_word(p, "not");
    struct node *n = pair_of(p, E_TEST, p->at->line, of, NULL);
    enum token_kind k;

    n->name = p->at->value;
    parse_expect(p, T_NAME, "the name of a test");
    k = p->at->kind;
    if (parse_word(p->at, "is"))
        parse_fail(p, p->at->line, "one test with `is` behind another");
    if (k == T_PAREN)
        n->list = arguments(p);
    else if ((k == T_NAME || k == T_STRING || k == T_INTEGER || k == T_FLOAT || k == T_BRACKET
              || k == T_BRACE)
             && !parse_word(p->at, "else") && !parse_word(p->at, "or") && !parse_word(p->at, "and"))
        n->list = pair_of(p, E_TUPLE, p->at->line, postfix(p, primary(p, false)), NULL);
    return not ? pair_of(p, E_NOT, n->line, n, NULL) : n;
}

static struct node *filters_and_tests(struct parser *p, struct node *of)
{
    while (p->rc == RL_OK)
        if (p->at->kind == T_PIPE)
            of = parse_filters(p, of, false);
        else if (parse_skip_word(p, "is"))
            of = test(p, of);
        else if (p->at->kind == T_PAREN)
            of = call(p, of);
        else
            break;
    return of;
}

static struct node *parse_unary(struct parser *p, bool with_filters)
{
    const struct token *t = p->at;
    bool minus = parse_skip(p, T_MINUS);
    struct node *n;

    if (minus || parse_skip(p, T_PLUS)) {
        if (++p->depth > TEMPLATE_NESTING)
            return parse_fail(p, t->line, "nested more than %d deep", TEMPLATE_NESTING);
        n = pair_of(p, minus ? E_NEGATE : E_PLUS, t->line, parse_unary(p, false), NULL);
        p->depth--;
    } else {
        n = primary(p, false);
    }
    n = postfix(p, n);
    return with_filters ? filters_and_tests(p, n) : n;
}

/* a ~ b ~ c is one node. */
static struct node *concat(struct parser *p)
{
    struct node *first = binary(p, 1), *n, **tail;

    if (p->at->kind != T_TILDE)
        return first;
    n = parse_node(p, E_CONCAT, p->at->line);
    n->list = pair_of(p, E_TUPLE, n->line, first, NULL);
    tail = &n->list->next;
    while (p->rc == RL_OK && parse_skip(p, T_TILDE)) {
        *tail = pair_of(p, E_TUPLE, p->at->line, binary(p, 1), NULL);
        tail = &(*tail)->next;
    }
    return n;
}

static struct node *operand(struct parser *p, int level)
{
    return level == 0 ? concat(p) : level == 1 ? binary(p, 2) : parse_unary(p, true);
}

/* Operators that bind equally, from the left; level 0 binds least. */
static struct node *binary(struct parser *p, int level)
{
    static const enum token_kind ops[][5] = {
        { T_PLUS, T_MINUS }, { T_STAR, T_SLASH, T_FLOOR, T_PERCENT }, { T_POWER },
    };
    struct node *left = operand(p, level);

    while (p->rc == RL_OK) {
        const struct token *t = p->at;
        bool ours = false;
        for (int i = 0; i < 5 && ops[level][i]; i++)
            ours |= t->kind == ops[level][i];
        if (!ours)
            break;
        p->at++;
        left = pair_of(p, E_BINARY, t->line, left, NULL);
        left->op = t->kind;
        left->b = operand(p, level);
    }
    return left;
}

static enum token_kind comparison(struct parser *p)
{
    enum token_kind k = p->at->kind;

    if (k == T_EQUAL || k == T_UNEQUAL || k == T_MORE || k == T_LESS || k == T_AT_LEAST
        || k == T_AT_MOST) {
        p->at++;
        return k;
    }
    if (parse_skip_word(p, "in"))
        return T_IN;
    if (parse_word(p->at, "not") && parse_word(p->at + 1, "in")) {
        p->at += 2;
        return T_NOT_IN;
    }
    return T_END;
}

/* a < b <= c holds if both hold */
static struct node *compare(struct parser *p)
{
    struct node *first = binary(p, 0), *n = NULL, **tail = NULL;

    while (p->rc == RL_OK) {
        int line = p->at->line;
        enum token_kind op = comparison(p);
        if (op == T_END)
            break;
        if (!n) {
            n = pair_of(p, E_COMPARE, line, first, NULL);
            tail = &n->list;
        }
        *tail = pair_of(p, E_TUPLE, line, binary(p, 0), NULL);
        (*tail)->op = op;
        tail = &(*tail)->next;
    }
    return n ? n : first;
}

static struct node *negation(struct parser *p)
{
    int line = p->at->line, nots = 0;
    struct node *n;

    while (parse_skip_word(p, "not"))
        nots++;
    n = compare(p);
    if (nots > TEMPLATE_NESTING)
        return parse_fail(p, line, "nested more than %d deep", TEMPLATE_NESTING);
    while (nots-- > 0)
        n = pair_of(p, E_NOT, line, n, NULL);
    return n;
}

static struct node *logical(struct parser *p, bool or)
{
    struct node *left = or ? logical(p, false) : negation(p);

    while (p->rc == RL_OK && parse_word(p->at, or ? "or" : "and")) {
        int line = p->at++->line;
        left = pair_of(p, or ? E_OR : E_AND, line, left, or ? logical(p, false) : negation(p));
    }
    return left;
}

struct node *parse_value(struct parser *p, bool conditions)
{
    int line = p->at->line;
    struct node *n;

    if (++p->depth > TEMPLATE_NESTING)
        return parse_fail(p, line, "nested more than %d deep", TEMPLATE_NESTING);
    n = logical(p, true);
    while (conditions && p->rc == RL_OK && parse_skip_word(p, "if")) {
        struct node *test = logical(p, true);
        n = pair_of(p, E_CONDITION, line, test, n);
        n->c = parse_skip_word(p, "else") ? parse_value(p, true) : NULL;
    }
    p->depth--;
    return n;
}

/* Does a tuple end here: is there no further element behind its comma? */
static bool tuple_ends(const struct token *t)
{
    return t->kind == T_PRINT_END || t->kind == T_BLOCK_END || t->kind == T_PAREN_END
        || parse_word(t, "in") || parse_word(t, "recursive");
}

static struct node *tuple(struct parser *p, bool target, bool namespaces, bool conditions)
{
    struct node *n = parse_node(p, E_TUPLE, p->at->line), **tail = &n->list;
    bool comma = false;

    while (p->rc == RL_OK) {
        *tail = target ? primary(p, namespaces) : parse_value(p, conditions);
        tail = &(*tail)->next;
        if (!parse_skip(p, T_COMMA))
            break;
        comma = true;
        if (tuple_ends(p->at))
            break;
    }
    return comma || !n->list ? n : n->list;        /* never NULL, after a failure either */
}

struct node *parse_tuple(struct parser *p, bool conditions)
{
    return tuple(p, false, false, conditions);
}

static void check_target(struct parser *p, const struct node *n)
{
    if (n->kind == E_TUPLE)
        for (const struct node *e = n->list; e; e = e->next)
            check_target(p, e);
    else if (n->kind != E_NAME && n->kind != E_NAMESPACE)
        parse_fail(p, n->line, "only names, or a namespace's, can be set");
}

struct node *parse_target(struct parser *p, bool namespaces)
{
    struct node *n = tuple(p, true, namespaces, false);

    if (p->rc == RL_OK)
        check_target(p, n);
    return n;
}
