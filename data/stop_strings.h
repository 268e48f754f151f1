/* Strings that end a response, found in the bytes of its tokens as they come: a string may span
 * tokens, and end inside one.
 *
 *   struct stop_strings *s;
 *   TRY(stop_strings_open(&s, tokenizer, strings, n, "--stop"));
 *   int matched[STOP_STRINGS] = {0};                    of one response
 *   for (...)
 *       TRY(stop_strings_read(s, matched, id, &ended));
 *   stop_strings_close(s);
 *
 * matched[i] is how many bytes of string i the response ends with: all that there is to remember
 * (Knuth, Morris and Pratt 1977).
 */
#ifndef DATA_STOP_STRINGS_H
#define DATA_STOP_STRINGS_H

#include "data/tokenizer.h"

#define STOP_STRINGS 64              /* strings, at most */
#define STOP_BYTES 1024              /* in one of them */

struct stop_strings;

/* The strings are copied; the caller keeps the tokenizer and closes it later.  n 0: *s is NULL.
 * RL_EINVAL, one line that begins with `what`: no tokenizer, too many strings, one that is empty,
 * too long, not UTF-8, or a special token, which has no text.  Not collective. */
int stop_strings_open(struct stop_strings **s, struct tokenizer *tokenizer,
                      char *const *strings, int n, const char *what);
void stop_strings_close(struct stop_strings *s);         /* NULL is fine */
int stop_strings_count(const struct stop_strings *s);    /* of NULL: 0 */

/* The next token of a response: does its text, up to and including this token's, hold a string?
 * matched (count) is the response's own, zeros before its first token. */
int stop_strings_read(struct stop_strings *s, int *matched, int id, bool *ended);

/* How much of a response is before the string that ended it: the text of its first *shown ids but
 * for *extra bytes at the end.  All of it without such a string. */
int stop_strings_before(struct stop_strings *s, const int *ids, int n, int *shown, size_t *extra);

#endif
