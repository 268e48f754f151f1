/* A growing string. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

struct text {
    char *data;      /* always ends with a zero byte once anything was added; NULL when empty */
    size_t size;     /* bytes without the zero */
    size_t room;
};

/* Adding returns nothing: the program ends with one line (exit code 2) when not even a text finds
 * memory.  What others chose the size of is reserved first. */
void text_add(struct text *t, const char *bytes, size_t n);
void text_adds(struct text *t, const char *string);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *t);     /* keeps the room */
void text_free(struct text *t);      /* fine on a zeroed struct */

/* Make room for `room` bytes, zero included.  RL_ENOFIT (and t unchanged) if there is no memory. */
int text_reserve(struct text *t, size_t room);

/* Edits (insert, delete, replace, swap neighbours) between two words of at most TEXT_EDITS bytes;
 * 2 * TEXT_EDITS if one is longer.  For "did you mean". */
#define TEXT_EDITS 64
int text_edits(const char *a, const char *b);

#endif
