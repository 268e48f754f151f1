/* A growing string. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

struct text {
    char *data;      /* always ends with a zero byte once anything was added; NULL when empty */
    size_t size;     /* bytes without the zero */
    size_t room;
};

void text_add(struct text *t, const char *bytes, size_t n);
void text_adds(struct text *t, const char *string);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *t);     /* keeps the room */
void text_free(struct text *t);      /* fine on a zeroed struct */

#endif
