/* Stop strings; see stop_strings.h. */
#include "data/stop_strings.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/utf8.h"

struct stop {
    int size;
    char bytes[STOP_BYTES];
    int border[STOP_BYTES + 1];      /* of n bytes: the longest proper prefix they end with */
};

struct stop_strings {
    struct tokenizer *tokenizer;
    int count;
    struct text piece;               /* of the token being read */
    struct stop stops[];
};

/* ---- opening */

static int check(struct tokenizer *t, const char *string, const char *what)
{
    size_t n = strlen(string);
    int special = tokenizer_special(t, string, n);

    if (n == 0)
        return rl_error(RL_EINVAL, "%s: an empty string ends nothing; leave it out", what);
    if (n > STOP_BYTES)
        return rl_error(RL_EINVAL, "%s: a string of %zu bytes; at most %d", what, n, STOP_BYTES);
    if (utf8_valid(string, n) != n)
        return rl_error(RL_EINVAL, "%s: the string '%s' is not UTF-8", what,
                        utf8_show(string, n).text);
    if (special >= 0)
        return rl_error(RL_EINVAL, "%s: '%s' is a special token, which has no text: give its id, "
                        "%d, as a stop token", what, utf8_show(string, n).text, special);
    return RL_OK;
}

/* How many bytes of the string there are behind `byte`, after `matched` of them before it. */
static int advance(const struct stop *s, int matched, char byte)
{
    while (matched > 0 && s->bytes[matched] != byte)
        matched = s->border[matched];
    return matched + (s->bytes[matched] == byte);
}

static void stop_init(struct stop *s, const char *string)
{
    s->size = (int)strlen(string);
    memcpy(s->bytes, string, (size_t)s->size);
    for (int n = 2; n <= s->size; n++)
        s->border[n] = advance(s, s->border[n - 1], s->bytes[n - 1]);
}

int stop_strings_open(struct stop_strings **out, struct tokenizer *tokenizer,
                      char *const *strings, int n, const char *what)
{
    struct stop_strings *s;
    int rc = RL_OK;

    *out = NULL;
    if (n < 1)
        return RL_OK;
    if (!tokenizer)
        return rl_error(RL_EINVAL, "%s: the model has no tokenizer.json, so its responses have no "
                        "text; end them by stop tokens", what);
    if (n > STOP_STRINGS)
        return rl_error(RL_EINVAL, "%s: %d strings; at most %d", what, n, STOP_STRINGS);
    for (int i = 0; i < n; i++)
        TRY(check(tokenizer, strings[i], what));
    s = calloc(1, sizeof *s + (size_t)n * sizeof *s->stops);
    if (!s)
        return rl_error(RL_ENOFIT, "no memory for stop strings");
    s->tokenizer = tokenizer;
    s->count = n;
    for (int i = 0; i < n; i++)
        stop_init(&s->stops[i], strings[i]);
    *out = s;
done:
    return rc;
}

void stop_strings_close(struct stop_strings *s)
{
    if (!s)
        return;
    text_free(&s->piece);
    free(s);
}

int stop_strings_count(const struct stop_strings *s)
{
    return s ? s->count : 0;
}

/* ---- reading */

/* The next byte: bytes of the longest string that it ends; 0: none. */
static int read_byte(const struct stop_strings *s, int *matched, char byte)
{
    int longest = 0;

    for (int i = 0; i < s->count; i++) {
        const struct stop *stop = &s->stops[i];
        matched[i] = advance(stop, matched[i], byte);
        if (matched[i] == stop->size && stop->size > longest)
            longest = stop->size;
    }
    return longest;
}

/* The next token: *left is its bytes from the beginning of the string that it ends on; when the
 * string begins in a token before it, more than it has.  0: it ends none. */
static int read_token(struct stop_strings *s, int *matched, int id, size_t *left)
{
    int rc = RL_OK;

    *left = 0;
    text_clear(&s->piece);
    TRY(tokenizer_piece(s->tokenizer, id, &s->piece));
    for (size_t i = 0; i < s->piece.size && *left == 0; i++) {
        int size = read_byte(s, matched, s->piece.data[i]);
        if (size > 0)
            *left = s->piece.size - i - 1 + (size_t)size;
    }
done:
    return rc;
}

int stop_strings_read(struct stop_strings *s, int *matched, int id, bool *ended)
{
    size_t left;
    int rc = read_token(s, matched, id, &left);

    *ended = left > 0;
    return rc;
}

int stop_strings_before(struct stop_strings *s, const int *ids, int n, int *shown, size_t *extra)
{
    int matched[STOP_STRINGS] = {0}, at = 0, rc = RL_OK;
    size_t left = 0;

    *shown = n;
    *extra = 0;
    while (at < n && left == 0)
        TRY(read_token(s, matched, ids[at++], &left));
    if (left == 0)
        return RL_OK;
    while (left > s->piece.size) {                  /* back to the token where it begins */
        left -= s->piece.size;
        text_clear(&s->piece);
        TRY(tokenizer_piece(s->tokenizer, ids[--at - 1], &s->piece));
    }
    *shown = left < s->piece.size ? at : at - 1;
    *extra = left < s->piece.size ? left : 0;
done:
    return rc;
}
