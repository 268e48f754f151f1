/* The pages of the template interpreter:
 *
 *   lexer.c        text -> tokens, white space around tags
 *   parser.c       tokens -> statements       parse_expression.c   -> expressions
 *   statements.c   statements -> text         expressions.c, operators.c   -> values
 *   calls.c        macros, functions          filters*.c, methods*.c, tests.c   their tables
 *   values.c       what a value can be        show.c   values -> text and JSON
 *   strings.c      by character, as Python    template.c   opens and renders
 *
 * Failures stick: the first one says its line and is kept in render.rc; from then on values are
 * empty, and loops end. */
#ifndef DATA_TEMPLATE_INTERNAL_H
#define DATA_TEMPLATE_INTERNAL_H

#include <stdint.h>

#include "base/status.h"
#include "data/template.h"

/* ---- memory: taken piece by piece, freed at once */

struct arena { struct arena_block *blocks; size_t total; };
void *arena_take(struct arena *a, size_t bytes);          /* zeroed; never NULL */
const char *arena_copy(struct arena *a, const char *s, size_t n);
void arena_free(struct arena *a);

/* ---- values; none changes once it is made, but for namespaces and iterators */

enum value_kind {
    V_MISSING,                /* an argument that was not given; never seen by a template */
    V_UNDEFINED,              /* s, n: what it was to be */
    V_NONE, V_BOOL, V_INT, V_FLOAT,
    V_STRING,                 /* s, n bytes of UTF-8 */
    V_LIST, V_TUPLE, V_RANGE, /* items, n */
    V_VIEW,                   /* items, n: of dict.items() and its like, not to be indexed */
    V_DICT,                   /* pairs, n */
    V_ITERATOR,               /* read once */
    V_NAMESPACE, V_LOOP, V_MACRO, V_FUNCTION, V_METHOD,
};

struct value {
    enum value_kind kind;
    bool safe;                /* a string that came from `escape` or `safe` */
    size_t n;
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        struct value *items;
        struct pair *pairs;
        struct iterator *iterator;
        struct scope *space;
        struct loop *loop;
        struct macro *macro;
        const struct function *function;
        struct bound *bound;
    };
};

struct pair { struct value key, value; };
struct iterator { struct value *items; size_t n; bool used; };
struct bound { struct value self; const struct method *method; };
struct loop { struct value *items, last_changed; size_t n, at; int depth; };
struct macro { const struct node *node; struct scope *scope; };

/* Variables; inner scopes see those of outer ones. */
struct binding { const char *name; size_t n; struct value value; struct binding *next; };
struct scope { struct scope *parent; struct binding *first; };

/* ---- the tree */

enum node_kind {
    S_TEXT, S_PRINT, S_IF, S_FOR, S_SET, S_SET_BLOCK, S_MACRO, S_CALL, S_FILTER, S_WITH, S_SCOPE,
    S_BREAK, S_CONTINUE,
    E_CONST, E_NAME, E_TUPLE, E_LIST, E_DICT, E_ATTRIBUTE, E_ITEM, E_SLICE, E_CALL, E_FILTER,
    E_TEST, E_NOT, E_NEGATE, E_PLUS, E_AND, E_OR, E_CONDITION, E_COMPARE, E_BINARY, E_CONCAT,
    E_NAMESPACE, E_BODY,
};

enum token_kind {
    T_END, T_DATA, T_PRINT_BEGIN, T_PRINT_END, T_BLOCK_BEGIN, T_BLOCK_END, T_NAME, T_STRING,
    T_INTEGER, T_FLOAT,
    T_POWER, T_FLOOR, T_EQUAL, T_UNEQUAL, T_AT_LEAST, T_AT_MOST, T_PLUS, T_MINUS, T_SLASH, T_STAR,
    T_PERCENT, T_TILDE, T_BRACKET, T_BRACKET_END, T_PAREN, T_PAREN_END, T_BRACE, T_BRACE_END,
    T_MORE, T_LESS, T_ASSIGN, T_DOT, T_COLON, T_PIPE, T_COMMA, T_SEMICOLON,
    T_IN, T_NOT_IN,           /* operators of comparisons, not tokens */
};

struct token { enum token_kind kind; int line; struct value value; };

struct node {
    enum node_kind kind;
    enum token_kind op;              /* of comparisons and E_BINARY */
    int line;
    bool takes_more, takes_named;    /* a macro's body says varargs, kwargs */
    struct value name;               /* a string: of names, attributes, filters, tests, macros */
    struct value value;              /* constants, data */
    struct node *a, *b, *c;          /* S_IF: test, -, elif or else; S_FOR: target, iterable, test;
                                      * S_SET: target, value; slices: start, stop, step; conditions:
                                      * test, then, else; others: what it is of */
    struct node *body, *other;       /* statements; `other` is a for's else */
    struct node *list;               /* elements, arguments, parameters; named ones have a name */
    struct node *next;               /* the next of a list or body */
};

struct template {
    const char *path;
    struct arena arena;
    struct node *body;
};

/* Tokens of text until T_END.  NULL: an error was said. */
struct token *template_lex(struct arena *arena, const char *text, size_t n, const char *path);
int template_parse(struct template *t, const struct token *tokens);

struct parser {
    struct arena *arena;
    const char *path;
    const struct token *at;
    int rc, depth, loops;
    struct node *macro;              /* whose body is read */
};
void *parse_fail(struct parser *p, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct node *parse_node(struct parser *p, enum node_kind kind, int line);
bool parse_skip(struct parser *p, enum token_kind kind);
bool parse_expect(struct parser *p, enum token_kind kind, const char *what);
bool parse_word(const struct token *t, const char *word);
bool parse_skip_word(struct parser *p, const char *word);
/* What a token is, for messages. */
struct token_name { char text[64]; };
struct token_name parse_name(const struct token *t);
struct node *parse_value(struct parser *p, bool conditions);
struct node *parse_tuple(struct parser *p, bool conditions);
struct node *parse_target(struct parser *p, bool namespaces);
struct node *parse_filters(struct parser *p, struct node *of, bool first_is_bare);

/* ---- a render */

struct render {
    const struct template *t;
    struct arena arena;
    struct text out;
    struct scope *scope;
    struct value body;               /* of the filter block or block set: E_BODY */
    const struct tm *now;
    int rc, line, calls, loops;
    int64_t steps;
};

struct value render_fail(struct render *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* False once it has failed.  Counts n steps. */
bool render_step(struct render *r, size_t n);
/* False, and a failure, if so many bytes more are too many. */
bool render_room(struct render *r, size_t bytes);
void *render_take(struct render *r, size_t bytes);
bool render_enter(struct render *r);             /* one call deeper; false: too deep */
void render_leave(struct render *r);

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };
enum flow render_body(struct render *r, const struct node *body);
/* The text of a body in a scope of its own. */
struct value render_capture(struct render *r, const struct node *body, struct scope *scope);
struct value render_value(struct render *r, const struct node *n);
struct value render_binary(struct render *r, enum token_kind op, struct value a, struct value b);
bool render_compare(struct render *r, enum token_kind op, struct value a, struct value b);
struct value render_slice(struct render *r, struct value of, struct value *bound);

struct scope *scope_open(struct render *r, struct scope *parent);
void scope_set(struct render *r, struct scope *s, struct value name, struct value v);
bool scope_get(struct render *r, const struct scope *s, struct value name, struct value *v);

/* ---- calls: positional arguments, then named ones */

struct args { struct value *list; int n; struct pair *named; int n_named; };
#define PARAMETERS 5
/* Arguments in the order of `names`, V_MISSING where not given. */
bool args_bind(struct render *r, const char *what, const struct args *a, const char *const *names,
               struct value *out);
struct args render_args(struct render *r, const struct node *list);
struct value render_call(struct render *r, struct value callee, const struct args *a);
struct value macro_call(struct render *r, const struct macro *m, const struct args *a);
const struct function *function_find(struct value name);

struct function {
    const char *name;
    struct value (*call)(struct render *r, const struct args *a);
};
/* A filter or a method: `need` arguments at least.  With `any` instead of `call` it takes what it
 * is given. */
struct filter {
    const char *name;
    struct value (*call)(struct render *r, struct value in, const struct value *arg);
    int need;
    const char *parameters[PARAMETERS + 1];
    struct value (*any)(struct render *r, struct value in, const struct args *a);
    bool changes_text;                   /* of strings; escaped ones are refused */
};
struct method { enum value_kind of; struct filter f; };
extern const struct filter string_filters[], list_filters[], choice_filters[];
extern const struct method string_methods[], other_methods[];
struct value filter_call(struct render *r, struct value name, struct value in,
                         const struct args *a);
struct value table_call(struct render *r, const struct filter *f, const char *kind,
                        struct value in, const struct args *a);
bool test_call(struct render *r, struct value name, struct value in, const struct args *a);
/* The method of a value; false: it has none.  Fails where Python has one and we do not. */
bool method_find(struct render *r, struct value of, struct value name, struct value *out);

/* ---- values.c */

struct value value_undefined(struct value name);
struct value value_none(void);
struct value value_bool(bool b);
struct value value_int(int64_t i);
struct value value_float(double f);
struct value value_string(const char *s, size_t n);        /* not copied */
struct value value_literal(const char *s);
struct value value_copy(struct render *r, const char *s, size_t n);
/* The text's bytes, copied; the text is freed. */
struct value value_text(struct render *r, struct text *t);
struct value value_items(enum value_kind kind, struct value *items, size_t n);
struct value value_iterator(struct render *r, struct value *items, size_t n);
struct value value_json(struct render *r, const struct json *j);

bool value_is(struct value v, const char *word);           /* a string with this text */
bool value_is_sequence(struct value v);                    /* with items: lists to views */
bool value_is_number(struct value v);                      /* bool included, as in Python */
double value_number(struct value v);
int64_t value_whole(struct value v);                       /* of an int or bool */
bool value_truth(struct value v);
const char *value_type(struct value v);                    /* as Python calls it */
bool value_equal(struct render *r, struct value a, struct value b);
/* < 0, 0, > 0; fails where Python has no order. */
int value_order(struct render *r, struct value a, struct value b);
/* Elements of whatever can be iterated; fails for what cannot. */
bool value_iterate(struct render *r, struct value v, struct value **items, size_t *n);
bool value_can_iterate(struct value v);
bool value_contains(struct render *r, struct value in, struct value v);
/* len(); false: it has none. */
bool value_length(struct value v, size_t *n);
const struct value *value_member(struct render *r, struct value dict, struct value key);
struct value value_item(struct render *r, struct value of, struct value key);         /* a[key] */
struct value value_attribute(struct render *r, struct value of, struct value name);   /* a.name */
/* "a.b.0", as filters name attributes */
struct value value_path(struct render *r, struct value of, struct value path);
/* An integer argument; `otherwise` if missing or none. */
int64_t value_integer(struct render *r, struct value v, int64_t otherwise, const char *what);

/* ---- show.c */

void show(struct render *r, struct text *out, struct value v);        /* str() */
struct value value_shown(struct render *r, struct value v);           /* a string */
void show_float(struct text *out, double f);
struct json_style { struct value indent, comma, colon; bool ascii, sort; };
void show_json(struct render *r, struct text *out, struct value v, const struct json_style *style,
               int level);

/* ---- strings.c: indices count characters */

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
bool string_is_space(uint32_t c);                          /* as str.isspace */
size_t string_characters(struct value s);
size_t string_offset(struct value s, size_t character);    /* in bytes; its size when beyond */
struct value string_part(struct value s, size_t begin, size_t end);       /* by bytes */
struct value string_strip(struct value s, const struct value *characters, int sides);
/* Offset of the first occurrence at or behind `from`, -1: none. */
ptrdiff_t string_find(struct value s, struct value part, size_t from);
/* The end of the line that begins at `at`, of any of Unicode's; *next is behind its break, or equal
 * where there is none. */
size_t string_line(struct value s, size_t at, size_t *next);
struct value string_replace(struct render *r, struct value s, struct value old, struct value new,
                            int64_t count);
struct value string_escape(struct render *r, struct value s);     /* & < > ' " */
enum letter_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITAL };
struct value string_case(struct render *r, struct value s, enum letter_case to);
bool string_is_case(struct value s, bool upper);           /* str.isupper, str.islower */
bool string_number(struct value s, double *f);             /* as float() reads it */
bool string_integer(struct value s, int base, int64_t *i);

#endif
