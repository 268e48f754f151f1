/* words: how many different words of a list occur in the response, at most `cap` (0: no cap).
 *
 * A word occurs where its characters stand in the text and no word goes on at either side.  A-Z and
 * a-z are the same letters; other characters must be equal.  A word goes on at a side when the next
 * character there is
 *   - a letter (A-Z, a-z, or a code point U+00C0 to U+1FFF but the signs of times and division)
 *     or a digit 0-9, or
 *   - an apostrophe (' or U+2019) with a letter or a digit behind it.
 * So "fun" occurs in "Fun!", "'fun'" and "fun-fair", not in "funny" or "fun's".  Words of the list
 * that differ in nothing but case are one word.
 */
#include "reward/kinds/kinds.h"

#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"

struct words {
    struct text *items;          /* the different words, in lower case */
    int count;
    int64_t cap;
    struct text lower;           /* the response, in lower case */
};

static void lower_add(struct text *t, const char *s, size_t n)
{
    size_t from = t->size;

    text_add(t, s, n);
    for (size_t i = from; i < t->size; i++)
        if (t->data[i] >= 'A' && t->data[i] <= 'Z')
            t->data[i] = (char)(t->data[i] - 'A' + 'a');
}

/* Add a word to the list, unless it is there. */
static void list_add(struct words *w, const char *word)
{
    struct text *item = &w->items[w->count];

    lower_add(item, word, strlen(word));
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->items[i].data, item->data) == 0) {
            text_free(item);
            return;
        }
    w->count++;
}

int words_open(void **state, const struct config_reward *c, const char *where)
{
    struct words *w;

    *state = NULL;
    if (c->words.count < 1)
        return rl_error(RL_EINVAL, "%s: words: the list is missing or empty", where);
    for (int i = 0; i < c->words.count; i++)
        if (!c->words.items[i][0])
            return rl_error(RL_EINVAL, "%s: words: word %d of the list is empty", where, i + 1);
    if (c->cap < 0)
        return rl_error(RL_EINVAL, "%s: cap: must be 0 (no cap) or more", where);
    w = calloc(1, sizeof *w);
    if (w)
        w->items = calloc((size_t)c->words.count, sizeof *w->items);
    if (!w || !w->items) {
        free(w);
        return rl_error(RL_ENOFIT, "%s: words: no memory for the list", where);
    }
    w->cap = c->cap;
    for (int i = 0; i < c->words.count; i++)
        list_add(w, c->words.items[i]);
    *state = w;
    return RL_OK;
}

/* ---- where a word ends */

static bool is_letter(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
        || (c >= 0xc0 && c < 0x2000 && c != 0xd7 && c != 0xf7);
}

static bool is_apostrophe(uint32_t c)
{
    return c == '\'' || c == 0x2019;
}

static bool goes_on_after(const char *s, size_t n)
{
    uint32_t c = 0, behind = 0;
    int bytes = utf8_next(s, n, &c);

    if (is_apostrophe(c))
        utf8_next(s + bytes, n - (size_t)bytes, &behind);
    return is_letter(c) || is_letter(behind);
}

static bool goes_on_before(const char *s, size_t n)
{
    uint32_t c = 0, behind = 0;
    size_t bytes = n > 0 ? (size_t)utf8_last(s, n, &c) : 0;

    if (is_apostrophe(c) && n > bytes)
        utf8_last(s, n - bytes, &behind);
    return is_letter(c) || is_letter(behind);
}

static bool occurs(const struct text *text, const struct text *word)
{
    const char *s = text->data;
    size_t n = text->size, at = 0;

    while (n - at >= word->size) {
        const char *hit = memmem(s + at, n - at, word->data, word->size);
        if (!hit)
            return false;
        at = (size_t)(hit - s);
        if (!goes_on_before(s, at) && !goes_on_after(hit + word->size, n - at - word->size))
            return true;
        at++;
    }
    return false;
}

int words_score(void *state, const struct response *r, double *score)
{
    struct words *w = state;
    int64_t found = 0;

    text_clear(&w->lower);
    lower_add(&w->lower, r->text, r->bytes);
    for (int i = 0; i < w->count && (w->cap == 0 || found < w->cap); i++)
        found += w->lower.size > 0 && occurs(&w->lower, &w->items[i]);
    *score = (double)found;
    return RL_OK;
}

void words_close(void *state)
{
    struct words *w = state;

    if (!w)
        return;
    for (int i = 0; i < w->count; i++)
        text_free(&w->items[i]);
    text_free(&w->lower);
    free(w->items);
    free(w);
}
