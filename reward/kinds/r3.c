/* r3: relevance, length and variety of a response (arXiv 2402.03469); r3.h has the formulas.
 *
 * A prompt is constrained when its line has the field `field` (default "answer"), a text to be near
 * to; else it is open and the response should be about the prompt.  Words are runs of letters and
 * digits in lower case.  Relevance counts different words:
 *   open          the share of the prompt's words that the response has
 *   constrained   the harmonic mean of the shares each way (F1)
 * Trigrams are of the response's words.
 */
#include "reward/kinds/r3.h"

#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "data/utf8.h"
#include "reward/kinds/kinds.h"

struct wordlist {
    struct text text;                   /* in lower case */
    struct span { size_t begin, end; } *at;
    int count, room;
};

struct r3 {
    const char *field;
    double max_len;
    struct wordlist response, other;
    int *number;                        /* of a word of the response: equal words, equal numbers */
    struct trigram { int word[3]; } *trigrams;
    int room;
};

double r3_reward(const struct r3_input *in)
{
    double variety = in->total > 0 ? in->unique / in->total : 1;

    if (in->constrained)
        return in->relevance * (in->max_len / 100) / 3.5 * variety;
    return in->tokens / 100 * in->relevance * variety;
}

int r3_open(void **state, const struct config_reward *c, const char *where)
{
    struct r3 *r3 = calloc(1, sizeof *r3);

    *state = r3;
    if (!r3)
        return rl_error(RL_ENOFIT, "%s: r3: no memory", where);
    r3->field = c->field ? c->field : "answer";
    r3->max_len = c->max_len > 0 ? c->max_len : 512;
    return RL_OK;
}

void r3_close(void *state)
{
    struct r3 *r3 = state;

    if (!r3)
        return;
    text_free(&r3->response.text);
    text_free(&r3->other.text);
    free(r3->response.at);
    free(r3->other.at);
    free(r3->number);
    free(r3->trigrams);
    free(r3);
}

/* ---- words */

static int add_word(struct wordlist *w, size_t begin, size_t end)
{
    if (w->count == w->room) {
        int room = w->room ? 2 * w->room : 256;
        struct span *at = realloc(w->at, (size_t)room * sizeof *at);
        if (!at)
            return rl_error(RL_ENOFIT, "r3: no memory for %d words", room);
        w->at = at;
        w->room = room;
    }
    w->at[w->count++] = (struct span){ begin, end };
    return RL_OK;
}

static int words_of(struct wordlist *w, const char *s, size_t n)
{
    size_t begin = 0, at = 0;
    bool inside = false;
    int rc = RL_OK;

    w->count = 0;
    text_clear(&w->text);
    unicode_lowercase_any(s, n, &w->text);
    text_adds(&w->text, " ");                   /* ends the last word */
    while (at < w->text.size) {
        uint32_t c = 0;
        int bytes = utf8_next(w->text.data + at, w->text.size - at, &c);
        if (unicode_is_word(c) && !inside)
            begin = at;
        if (!unicode_is_word(c) && inside)
            TRY(add_word(w, begin, at));
        inside = unicode_is_word(c);
        at += (size_t)bytes;
    }
done:
    return rc;
}

static bool same(const struct wordlist *a, int i, const struct wordlist *b, int j)
{
    size_t n = a->at[i].end - a->at[i].begin;

    return n == b->at[j].end - b->at[j].begin &&
           memcmp(a->text.data + a->at[i].begin, b->text.data + b->at[j].begin, n) == 0;
}

static bool first_of_its_kind(const struct wordlist *w, int i)
{
    for (int j = 0; j < i; j++)
        if (same(w, i, w, j))
            return false;
    return true;
}

/* The share of the different words of a that b has too. */
static double share(const struct wordlist *a, const struct wordlist *b)
{
    int different = 0, common = 0;

    for (int i = 0; i < a->count; i++) {
        bool there = false;
        if (!first_of_its_kind(a, i))
            continue;
        for (int j = 0; j < b->count && !there; j++)
            there = same(a, i, b, j);
        different++;
        common += there;
    }
    return different ? (double)common / different : 0;
}

static double relevance(const struct r3 *r3, bool constrained)
{
    double recall = share(&r3->other, &r3->response), precision;

    if (!constrained)
        return recall;
    precision = share(&r3->response, &r3->other);
    return recall + precision > 0 ? 2 * recall * precision / (recall + precision) : 0;
}

/* ---- trigrams */

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trigram));
}

static int room_for(struct r3 *r3, int words)
{
    if (words <= r3->room)
        return RL_OK;
    free(r3->number);
    free(r3->trigrams);
    r3->number = malloc((size_t)words * sizeof *r3->number);
    r3->trigrams = malloc((size_t)words * sizeof *r3->trigrams);
    r3->room = r3->number && r3->trigrams ? words : 0;
    return r3->room ? RL_OK : rl_error(RL_ENOFIT, "r3: no memory for %d words", words);
}

static int count_trigrams(struct r3 *r3, struct r3_input *in)
{
    const struct wordlist *w = &r3->response;
    int total = w->count - 2, rc = RL_OK;

    in->unique = in->total = 0;
    if (total < 1)
        return RL_OK;
    TRY(room_for(r3, w->count));
    for (int i = 0; i < w->count; i++) {
        r3->number[i] = i;
        for (int j = 0; j < i && r3->number[i] == i; j++)
            if (same(w, i, w, j))
                r3->number[i] = j;
    }
    for (int i = 0; i < total; i++)
        memcpy(&r3->trigrams[i], r3->number + i, sizeof *r3->trigrams);
    qsort(r3->trigrams, (size_t)total, sizeof *r3->trigrams, compare);
    for (int i = 0; i < total; i++)
        in->unique += i == 0 || compare(&r3->trigrams[i - 1], &r3->trigrams[i]) != 0;
    in->total = total;
done:
    return rc;
}

int r3_score(void *state, const struct response *r, double *score)
{
    struct r3 *r3 = state;
    const struct json *reference = json_get(r->fields, r3->field);
    const char *other = json_string(reference, r->prompt ? r->prompt : "");
    struct r3_input in = { .tokens = r->count, .constrained = json_is_string(reference),
                           .max_len = r3->max_len };
    int rc = RL_OK;

    TRY(words_of(&r3->response, r->text, r->bytes));
    TRY(words_of(&r3->other, other, strlen(other)));
    in.relevance = relevance(r3, in.constrained);
    TRY(count_trigrams(r3, &in));
    *score = r3_reward(&in);
done:
    return rc;
}
