/* UTF-8, one character at a time. */
#ifndef DATA_UTF8_H
#define DATA_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that s begins with, 0 if the n bytes there are not UTF-8 (overlong forms,
 * surrogates and codes above 10FFFF included).  code may be NULL. */
int utf8_next(const char *s, size_t n, uint32_t *code);
/* Bytes of the character that ends at s + n; s must be UTF-8 and n > 0. */
int utf8_last(const char *s, size_t n, uint32_t *code);
/* Bytes of s before the first that is not UTF-8: n if all are. */
size_t utf8_valid(const char *s, size_t n);

/* At most 40 bytes of s for a message of one line: cut at a character, control codes as '?'. */
struct shown { char text[48]; };
struct shown utf8_show(const char *s, size_t n);

#endif
