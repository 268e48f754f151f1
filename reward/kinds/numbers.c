/* Numbers in text; see numbers.h. */
#include "reward/kinds/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 300             /* digits and points of a number; longer ones are infinite */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static size_t digits_at(const char *s, size_t n, size_t at)
{
    size_t i = at;

    while (i < n && is_digit(s[i]))
        i++;
    return i - at;
}

static bool starts(const char *s, size_t n, size_t at, const char *word)
{
    size_t length = strlen(word);

    return n - at >= length && memcmp(s + at, word, length) == 0;
}

/* Does a group of thousands, ",ddd" and no fourth digit, stand at `at`? */
static bool is_group(const char *s, size_t n, size_t at)
{
    return at < n && s[at] == ',' && digits_at(s, n, at + 1) == 3;
}

/* Digits, groups of thousands and a decimal part.  Returns its end. */
static size_t read_decimal(const char *s, size_t n, size_t at, double *value)
{
    char plain[LONGEST + 4];
    size_t used = 0, i = at, head = digits_at(s, n, at);
    bool grouped = head >= 1 && head <= 3;

    for (; i < n && used < LONGEST; i++) {
        if (is_digit(s[i]))
            plain[used++] = s[i];
        else if (!(grouped && is_group(s, n, i)))
            break;
    }
    if (i + 1 < n && s[i] == '.' && is_digit(s[i + 1])) {
        plain[used++] = '.';
        for (i++; i < n && is_digit(s[i]) && used < LONGEST; i++)
            plain[used++] = s[i];
    }
    plain[used] = 0;
    *value = used < LONGEST ? strtod(plain, NULL) : INFINITY;
    return i + digits_at(s, n, i);
}

/* "/4" behind a number, or " 1/2" behind a whole one.  Returns the end, `at` if there is none. */
static size_t read_over(const char *s, size_t n, size_t at, double *value)
{
    size_t i = at, top = 0, bottom;
    double upper = *value, lower;

    if (i < n && s[i] == ' ') {
        top = digits_at(s, n, i + 1);
        if (top == 0 || *value != floor(*value))
            return at;
        i = read_decimal(s, n, i + 1, &upper);
    }
    if (i >= n || s[i] != '/')
        return at;
    bottom = digits_at(s, n, i + 1);
    if (bottom == 0)
        return at;
    i = read_decimal(s, n, i + 1, &lower);
    *value = top ? *value + upper / lower : upper / lower;
    return i;
}

/* \frac{3}{4}; returns the end, `at` if it is none. */
static size_t read_frac(const char *s, size_t n, size_t at, double *value)
{
    static const char *const names[] = { "\\frac{", "\\dfrac{", "\\tfrac{" };
    double upper, lower;
    size_t i = at;

    for (int k = 0; k < 3; k++)
        if (starts(s, n, at, names[k]))
            i = at + strlen(names[k]);
    if (i == at || !digits_at(s, n, i))
        return at;
    i = read_decimal(s, n, i, &upper);
    if (!starts(s, n, i, "}{") || !digits_at(s, n, i + 2))
        return at;
    i = read_decimal(s, n, i + 2, &lower);
    if (!starts(s, n, i, "}"))
        return at;
    *value = upper / lower;
    return i + 1;
}

/* The bytes of a sign of currency that end at s + n, 0: none. */
static size_t currency_before(const char *s, size_t n)
{
    static const char *const signs[] = { "\\$", "$", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5" };

    for (size_t k = 0; k < sizeof signs / sizeof *signs; k++) {
        size_t length = strlen(signs[k]);
        if (n >= length && memcmp(s + n - length, signs[k], length) == 0)
            return length;
    }
    return 0;
}

/* The bytes of a minus that ends at s + n and can be a sign, 0: none. */
static size_t minus_before(const char *s, size_t n)
{
    size_t length = 0;

    if (n >= 1 && s[n - 1] == '-')
        length = 1;
    else if (n >= 3 && memcmp(s + n - 3, "\xe2\x88\x92", 3) == 0)
        length = 3;
    if (length == 0 || n == length)
        return length;
    n -= length;
    return is_digit(s[n - 1]) || is_letter(s[n - 1]) || strchr(")]}", s[n - 1]) ? 0 : length;
}

/* What stands before the digits at `begin`: "-$", "$-", "$ ", ... */
static size_t read_signs(const char *s, size_t begin, bool *negative)
{
    size_t at = begin, currency;

    *negative = minus_before(s, at) > 0;
    at -= minus_before(s, at);
    currency = currency_before(s, at);
    if (!currency && at == begin && at > 0 && s[at - 1] == ' ') {
        currency = currency_before(s, at - 1);
        at -= currency ? 1 : 0;
    }
    at -= currency;
    if (currency && !*negative) {
        *negative = minus_before(s, at) > 0;
        at -= minus_before(s, at);
    }
    return at;
}

static size_t read_percent(const char *s, size_t n, size_t at, bool *percent)
{
    size_t i = at < n && s[at] == ' ' ? at + 1 : at;

    i += i < n && s[i] == '\\' ? 1 : 0;
    *percent = i < n && s[i] == '%';
    return *percent ? i + 1 : at;
}

bool number_find(const char *s, size_t n, size_t from, struct found *found)
{
    for (size_t i = from; i < n; i++) {
        bool point = s[i] == '.' && i + 1 < n && is_digit(s[i + 1]), negative;
        size_t end = read_frac(s, n, i, &found->value);
        if (end == i && !is_digit(s[i]) && !point)
            continue;
        if (end == i && i > 0 && is_letter(s[i - 1])) {         /* H2, x1: a name */
            i += digits_at(s, n, i);
            continue;
        }
        if (end == i) {
            end = read_decimal(s, n, i, &found->value);
            end = read_over(s, n, end, &found->value);
        }
        found->begin = read_signs(s, i, &negative);
        found->end = read_percent(s, n, end, &found->percent);
        if (negative)
            found->value = -found->value;
        return true;
    }
    return false;
}

bool number_last(const char *s, size_t n, struct found *found)
{
    struct found next;
    bool any = false;

    for (size_t at = 0; number_find(s, n, at, &next); at = next.end) {
        *found = next;
        any = true;
    }
    return any;
}
