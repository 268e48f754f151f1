/* Numbers in text, for math_answer. */
#ifndef REWARD_KINDS_NUMBERS_H
#define REWARD_KINDS_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

struct found { double value; bool percent; size_t begin, end; };

/* The first number that begins in s[from, n).  Written as
 *   18   -3.5   +7   1,234,567.89   .5   3/4   2 1/2   $18   \u20ac5   40%   \frac{3}{4}
 * A minus belongs to a number unless something it could be taken from stands before it.  false:
 * there is none. */
bool number_find(const char *s, size_t n, size_t from, struct found *found);
/* The last one of the text. */
bool number_last(const char *s, size_t n, struct found *found);

#endif
