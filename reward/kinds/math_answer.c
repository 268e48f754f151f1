/* math_answer: 1 when the response ends in the right number, else 0.
 *
 * The response's answer is the first number behind its last "####" (GSM8K), else the last number in
 * its last \boxed{...}, else its last number.  The right one is the field `field` of the prompt's
 * line, a number or a text with one (numbers.h says which forms).  They are equal when they differ
 * by no more than a millionth; "40%" is 40 and 0.4.
 */
#include "reward/kinds/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reward/kinds/numbers.h"

int math_answer_open(void **state, const struct config_reward *c, const char *where)
{
    (void)where;
    *state = (void *)(c->field ? c->field : "answer");
    return RL_OK;
}

/* Where `word` begins the last time, or NULL. */
static const char *last_of(const char *s, size_t n, const char *word)
{
    size_t length = strlen(word);
    const char *last = NULL;

    for (const char *p = s; (p = memmem(p, n - (size_t)(p - s), word, length)); p++)
        last = p;
    return last;
}

/* The end of what the brace before s opened; n if it is never closed. */
static size_t closing_brace(const char *s, size_t n)
{
    int open = 1;

    for (size_t i = 0; i < n; i++) {
        open += s[i] == '{' ? 1 : s[i] == '}' ? -1 : 0;
        if (open == 0)
            return i;
    }
    return n;
}

static bool given_answer(const struct response *r, struct found *found)
{
    const char *end = r->text + r->bytes, *at;

    if ((at = last_of(r->text, r->bytes, "####")))
        return number_find(at + 4, (size_t)(end - at) - 4, 0, found);
    if ((at = last_of(r->text, r->bytes, "\\boxed{")))
        return number_last(at + 7, closing_brace(at + 7, (size_t)(end - at) - 7), found);
    return number_last(r->text, r->bytes, found);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fmax(1, fabs(b));
}

int math_answer_score(void *state, const struct response *r, double *score)
{
    const char *field = state;
    const struct json *right = json_get(r->fields, field);
    const char *text = json_string(right, "");
    struct found got, want = { .value = json_number(right, NAN) };

    if (!json_is_number(right) && !number_find(text, strlen(text), 0, &want))
        return bad_prompt(r, "has no number in \"%s\", which math_answer compares with", field);
    *score = 0;
    if (given_answer(r, &got))
        *score = near(got.value, want.value) ||
                 (got.percent && !want.percent && near(got.value / 100, want.value)) ||
                 (want.percent && !got.percent && near(got.value, want.value / 100));
    return RL_OK;
}

void math_answer_close(void *state)
{
    (void)state;
}
