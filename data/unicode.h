/* What tokenizers and templates ask of Unicode.  The library lives behind this door only. */
#ifndef DATA_UNICODE_H
#define DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum form { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD };

/* Append the normal form of UTF-8 text. */
int unicode_normalize(enum form form, const char *s, size_t n, struct text *out);
/* Append the text in lower case, character by character, whatever the neighbours are. */
int unicode_lowercase(const char *s, size_t n, struct text *out);
/* The same for any bytes: those that are not UTF-8 become U+FFFD. */
void unicode_lowercase_any(const char *s, size_t n, struct text *out);

bool unicode_is_space(uint32_t c);   /* \s: White_Space */
bool unicode_is_upper(uint32_t c);   /* capital letters, title case included */
bool unicode_is_lower(uint32_t c);
bool unicode_is_letter(uint32_t c);
bool unicode_is_word(uint32_t c);    /* \w: letters, marks, decimal digits, connectors, joiners */

/* Append the capital form of a character, or its form at the start of a title: up to three
 * characters. */
void unicode_upper(uint32_t c, struct text *out);
void unicode_title(uint32_t c, struct text *out);
/* The properties Uppercase, Cased and Case_Ignorable, and the category Lt. */
bool unicode_is_capital(uint32_t c);
bool unicode_is_titlecase(uint32_t c);
bool unicode_is_cased(uint32_t c);
bool unicode_is_case_ignorable(uint32_t c);
bool unicode_is_printable(uint32_t c);          /* no control, format, private or blank, but ' ' */

#endif
