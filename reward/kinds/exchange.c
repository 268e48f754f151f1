/* See exchange.h. */
#include "reward/kinds/exchange.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

int exchange_begin(struct exchange *e, const struct response *responses, int n, double *scores)
{
    e->first += e->n;
    e->n = 0;
    if (n > e->room) {
        free(e->answered);
        e->answered = malloc((size_t)n * sizeof *e->answered);
        e->room = e->answered ? n : 0;
        if (!e->answered)
            return rl_error(RL_ENOFIT, "no memory for the scores of %d responses", n);
    }
    e->responses = responses;
    e->scores = scores;
    e->n = e->left = n;
    for (int i = 0; i < n; i++) {
        e->answered[i] = false;
        scores[i] = NAN;
    }
    return RL_OK;
}

void exchange_free(struct exchange *e)
{
    free(e->answered);
    memset(e, 0, sizeof *e);
}

static void add_text(struct text *out, const char *key, const char *s, size_t n)
{
    text_addf(out, ",\"%s\":", key);
    if (s)
        json_add_string(out, s, n);
    else
        text_adds(out, "null");
}

void exchange_ask(const struct exchange *e, int i, int left, struct text *out)
{
    static const char *const finish[] = { "", "eos", "stop", "length" };
    const struct response *r = &e->responses[i];

    text_addf(out, "{\"id\":%lld,\"left\":%d", (long long)(e->first + i), left);
    add_text(out, "prompt", r->prompt, r->prompt ? strlen(r->prompt) : 0);
    add_text(out, "completion", r->text, r->bytes);
    text_addf(out, ",\"finish\":\"%s\",\"tokens\":%d",
              r->finish >= 0 && r->finish < 4 ? finish[r->finish] : "", r->count);
    if (r->fields) {
        text_adds(out, ",\"fields\":");
        json_add(out, r->fields);
    }
    text_adds(out, "}");
}

int exchange_next(const struct exchange *e, int i)
{
    while (i < e->n && e->answered[i])
        i++;
    return i;
}

int exchange_open(const struct exchange *e, int from, int to)
{
    int n = 0;

    for (int i = from; i < to; i++)
        n += !e->answered[i];
    return n;
}

void exchange_answer(struct exchange *e, int i, double score)
{
    e->left -= !e->answered[i];
    e->answered[i] = true;
    e->scores[i] = score;
}

/* The bytes of NaN or an infinity at s, 0: there is none. */
static size_t no_number(const char *s, size_t n)
{
    static const char *const words[] = { "NaN", "-NaN", "Infinity", "-Infinity" };

    for (int k = 0; k < 4; k++)
        if (n >= strlen(words[k]) && memcmp(s, words[k], strlen(words[k])) == 0)
            return strlen(words[k]);
    return 0;
}

/* The number at s as one that the parser takes: null for one that no double holds (1e999), a real
 * for an integer of more than 64 bits.  Returns its bytes, 0: there is none. */
static size_t add_number(const char *s, size_t n, struct text *out)
{
    size_t bytes = 0, digits = 0;
    double value;

    if (*s != '-' && !isdigit((unsigned char)*s))
        return 0;
    while (bytes < n && (isdigit((unsigned char)s[bytes]) || strchr("+-.eE", s[bytes])))
        digits += isdigit((unsigned char)s[bytes++]) != 0;
    value = strtod(s, NULL);                    /* the text ends with a zero byte */
    if (!isfinite(value))
        text_adds(out, "null");
    else
        text_add(out, s, bytes);
    if (isfinite(value) && digits > 18 && !memchr(s, '.', bytes) && !memchr(s, 'e', bytes) &&
        !memchr(s, 'E', bytes))
        text_adds(out, ".0");
    return bytes;
}

/* JSON has no NaN and no infinity, but other writers do, and numbers that mean one: outside strings
 * they become null. */
static void mend(const char *s, size_t n, struct text *out)
{
    bool quoted = false;

    for (size_t i = 0; i < n; i++) {
        size_t bytes = quoted ? 0 : no_number(s + i, n - i);
        if (bytes)
            text_adds(out, "null");
        else if (!quoted)
            bytes = add_number(s + i, n - i, out);
        if (bytes) {
            i += bytes - 1;
            continue;
        }
        if (s[i] == '\\' && quoted && i + 1 < n)
            text_add(out, s + i++, 1);
        else if (s[i] == '"')
            quoted = !quoted;
        text_add(out, s + i, 1);
    }
}

/* {"id", "score"}. */
static bool take_one(struct exchange *e, const struct json *reply, int from, int to)
{
    int64_t i = json_int(json_get(reply, "id"), -1) - e->first;
    const struct json *score = json_get(reply, "score");

    if (!json_is_object(reply) || i < from || i >= to || e->answered[i] ||
        !(json_is_number(score) || json_is_null(score)))
        return false;
    exchange_answer(e, (int)i, json_number(score, NAN));
    return true;
}

/* Scores of the next responses without an answer. */
static bool take_list(struct exchange *e, const struct json *list, int from, int to)
{
    int n = (int)json_size(list);

    if (n == 0 || n > exchange_open(e, from, to))
        return false;
    for (int k = 0; k < n; k++)
        if (!json_is_number(json_at(list, (size_t)k)) && !json_is_null(json_at(list, (size_t)k)))
            return false;
    for (int k = 0, i = exchange_next(e, from); k < n; k++, i = exchange_next(e, i))
        exchange_answer(e, i, json_number(json_at(list, (size_t)k), NAN));
    return true;
}

bool exchange_reply(struct exchange *e, const char *reply, size_t bytes, int from, int to,
                    bool whole)
{
    struct text mended = {0};
    const struct json *list;
    struct json *root;
    bool taken = false;

    mend(reply, bytes, &mended);
    root = json_try(mended.data, mended.size);
    list = json_get(root, "scores");
    e->given = json_is_array(list) ? (int)json_size(list) : json_get(root, "score") != NULL;
    if (!whole || e->given == exchange_open(e, from, to))
        taken = json_is_array(list) ? take_list(e, list, from, to) : take_one(e, root, from, to);
    json_free(root);
    text_free(&mended);
    return taken;
}
