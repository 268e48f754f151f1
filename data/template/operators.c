/* Operators as Python's: // and % round down, + joins strings and lists, * repeats them. */
#include <math.h>
#include <string.h>

#include "data/template/internal.h"

static struct value refuse(struct render *r, const char *op, struct value a, struct value b)
{
    for (int i = 0; i < 2; i++) {
        struct value v = i ? b : a;
        if (v.kind == V_UNDEFINED)
            return render_fail(r, "'%.*s' is undefined, and stands beside %s", (int)v.n, v.s, op);
    }
    return render_fail(r, "%s between a %s and a %s", op, value_type(a), value_type(b));
}

static struct value integers(struct render *r, enum token_kind op, int64_t a, int64_t b)
{
    int64_t x = 0;
    bool beyond = false;

    if ((op == T_FLOOR || op == T_PERCENT) && b == 0)
        return render_fail(r, "division by zero");
    switch (op) {
    case T_PLUS:
        beyond = __builtin_add_overflow(a, b, &x);
        break;
    case T_MINUS:
        beyond = __builtin_sub_overflow(a, b, &x);
        break;
    case T_STAR:
        beyond = __builtin_mul_overflow(a, b, &x);
        break;
    case T_FLOOR:
        beyond = a == INT64_MIN && b == -1;
        x = beyond ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case T_PERCENT:
        x = b == -1 ? 0 : a % b;
        x += x != 0 && (x < 0) != (b < 0) ? b : 0;
        break;
    default:                                          /* T_POWER, b >= 0 */
        x = 1;
        for (; b > 0 && !beyond; b--) {
            beyond = __builtin_mul_overflow(x, a, &x);
            if (a == 0 || a == 1 || a == -1)          /* which no power makes larger */
                b = b % 2 ? 1 : 2;
        }
    }
    return beyond ? render_fail(r, "an integer beyond 64 bits is not supported") : value_int(x);
}

static struct value reals(struct render *r, enum token_kind op, double a, double b)
{
    double m, div;

    if (b == 0 && op != T_PLUS && op != T_MINUS && op != T_STAR && op != T_POWER)
        return render_fail(r, "division by zero");
    switch (op) {
    case T_PLUS:
        return value_float(a + b);
    case T_MINUS:
        return value_float(a - b);
    case T_STAR:
        return value_float(a * b);
    case T_SLASH:
        return value_float(a / b);
    case T_FLOOR: case T_PERCENT:
        m = fmod(a, b);
        div = (a - m) / b;
        if (m != 0 && (m < 0) != (b < 0)) {
            m += b;
            div -= 1;
        }
        if (op == T_PERCENT)
            return value_float(m == 0 ? copysign(0, b) : m);
        return value_float(div == 0 ? copysign(0, a / b) : floor(div) + (div - floor(div) > 0.5));
    default:
        return render_fail(r, "** of other than integers is not supported");
    }
}

static struct value arithmetic(struct render *r, enum token_kind op, struct value a,
                               struct value b)
{
    bool whole = a.kind != V_FLOAT && b.kind != V_FLOAT && op != T_SLASH;

    if (whole && (op != T_POWER || value_whole(b) >= 0))
        return integers(r, op, value_whole(a), value_whole(b));
    return reals(r, op, value_number(a), value_number(b));
}

static struct value join(struct render *r, struct value a, struct value b)
{
    size_t size = a.kind == V_STRING ? 1 : sizeof *a.items;
    struct value v;

    if (a.kind == V_STRING && a.safe != b.safe) {        /* an escaped string escapes the other */
        a = string_escape(r, a);
        b = string_escape(r, b);
    }
    v = a;
    if (!render_room(r, (a.n + b.n) * size))
        return v;
    if (a.kind == V_STRING) {
        char *s = render_take(r, a.n + b.n + 1);
        memcpy(s, a.s, a.n);
        memcpy(s + a.n, b.s, b.n);
        v.s = s;
    } else {
        v.items = render_take(r, (a.n + b.n) * size);
        if (a.n)
            memcpy(v.items, a.items, a.n * size);
        if (b.n)
            memcpy(v.items + a.n, b.items, b.n * size);
    }
    v.n = a.n + b.n;
    return v;
}

static struct value repeat(struct render *r, struct value a, int64_t times)
{
    size_t size = a.kind == V_STRING ? 1 : sizeof *a.items, n = times > 0 ? (size_t)times : 0;
    const char *from = a.kind == V_STRING ? a.s : (const char *)a.items;
    char *out;

    if (a.n == 0)
        n = 0;
    if (!render_room(r, n > TEMPLATE_BYTES ? n : a.n * size * n))
        return a;
    out = render_take(r, a.n * size * n + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * a.n * size, from, a.n * size);
    if (a.kind == V_STRING)
        a.s = out;
    else
        a.items = (struct value *)(void *)out;
    a.n *= n;
    return a;
}

static bool is_whole(struct value v)
{
    return v.kind == V_INT || v.kind == V_BOOL;
}

static bool repeats(struct value v)
{
    return v.kind == V_STRING || v.kind == V_LIST || v.kind == V_TUPLE;
}

struct value render_binary(struct render *r, enum token_kind op, struct value a, struct value b)
{
    static const char *const names[] = {
        [T_PLUS] = "+", [T_MINUS] = "-", [T_STAR] = "*", [T_SLASH] = "/", [T_FLOOR] = "//",
        [T_PERCENT] = "%", [T_POWER] = "**",
    };

    if (r->rc != RL_OK)
        return value_none();
    if (value_is_number(a) && value_is_number(b))
        return arithmetic(r, op, a, b);
    if (op == T_PLUS && a.kind == b.kind && repeats(a))
        return join(r, a, b);
    if (op == T_STAR && repeats(a) && is_whole(b))
        return repeat(r, a, value_whole(b));
    if (op == T_STAR && is_whole(a) && repeats(b))
        return repeat(r, b, value_whole(a));
    if (op == T_PERCENT && a.kind == V_STRING)
        return render_fail(r, "a string before %% (formatting) is not supported");
    return refuse(r, names[op], a, b);
}

bool render_compare(struct render *r, enum token_kind op, struct value a, struct value b)
{
    int order;

    if (op == T_EQUAL || op == T_UNEQUAL)
        return value_equal(r, a, b) == (op == T_EQUAL);
    if (op == T_IN || op == T_NOT_IN)
        return value_contains(r, b, a) == (op == T_IN);
    if (a.kind == V_UNDEFINED || b.kind == V_UNDEFINED) {
        refuse(r, "a comparison", a, b);
        return false;
    }
    order = value_order(r, a, b);
    return op == T_LESS ? order < 0 : op == T_MORE ? order > 0 : op == T_AT_MOST ? order <= 0
                                                                                 : order >= 0;
}

/* ---- slices */

/* A bound as Python reads it, for steps up or down. */
static int64_t bound_at(struct render *r, struct value v, int64_t n, bool down, bool is_stop)
{
    int64_t otherwise = is_stop ? (down ? -1 : n) : (down ? n - 1 : 0), i;

    if (v.kind == V_NONE)
        return otherwise;
    i = value_integer(r, v, 0, "a bound of a slice");
    if (i < 0)
        i += n;
    if (i < 0)
        return down ? -1 : 0;
    return i >= n ? (down ? n - 1 : n) : i;
}

struct value render_slice(struct render *r, struct value of, struct value *bound)
{
    int64_t step = value_integer(r, bound[2], 1, "the step of a slice"), n, begin, end, count;
    struct value all = of, v = of;

    if (of.kind == V_UNDEFINED)
        return refuse(r, "a slice", of, of);
    if (step == 0)
        return render_fail(r, "a slice with steps of zero");
    step = step < -INT64_MAX ? -INT64_MAX : step;
    if (of.kind != V_STRING && (!value_is_sequence(of) || of.kind == V_VIEW))
        return render_fail(r, "a slice of a %s", value_type(of));
    n = (int64_t)(of.kind == V_STRING ? string_characters(of) : of.n);
    begin = bound_at(r, bound[0], n, step < 0, false);
    end = bound_at(r, bound[1], n, step < 0, true);
    if (r->rc != RL_OK || !render_step(r, of.n / 64))
        return value_none();
    count = step > 0 ? (end > begin ? (end - begin - 1) / step + 1 : 0)
                     : (begin > end ? (begin - end - 1) / -step + 1 : 0);
    if (of.kind == V_STRING && step == 1) {
        v = string_part(of, string_offset(of, (size_t)begin),
                        string_offset(of, (size_t)(begin + count)));
        v.safe = of.safe;
        return v;
    }
    if (of.kind == V_STRING && !value_iterate(r, of, &all.items, &all.n))
        return value_none();
    if (of.kind == V_STRING) {                        /* by characters, then joined */
        struct text out = { 0 };
        for (int64_t i = 0; i < count; i++)
            text_add(&out, all.items[begin + i * step].s, all.items[begin + i * step].n);
        v = value_text(r, &out);
        v.safe = of.safe;
        return v;
    }
    v.items = render_take(r, (size_t)count * sizeof *v.items);
    v.n = (size_t)count;
    for (int64_t i = 0; i < count; i++)
        v.items[i] = of.items[begin + i * step];
    return v;
}
