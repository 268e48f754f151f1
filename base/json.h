/* JSON values, read and written.  The JSON library lives behind this door only.
 *
 * Values are borrowed from the root that json_parse returned; json_free(root) ends them all.
 * Lookups on a NULL value or a wrong type return NULL or the given default, so that chains read
 * well.  Refused while parsing: a key twice in one object, integers beyond 64 bits, text that is
 * not UTF-8, nesting deeper than 2,048.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct json;

/* NULL on bad JSON: rl_error has been called with `where`, line and reason (one line).  A `where`
 * that ends in ":number" names the line already (JSONL), so no second number is put after it. */
struct json *json_parse(const char *text, size_t bytes, const char *where);
/* NULL on bad JSON, without a word; of a key given twice the last value counts.  For what other
 * programs said. */
struct json *json_try(const char *text, size_t bytes);
struct json *json_read(const char *path);
void json_free(struct json *root);

bool json_is_object(const struct json *v);
bool json_is_array(const struct json *v);
bool json_is_string(const struct json *v);
bool json_is_number(const struct json *v);
bool json_is_integer(const struct json *v);      /* a number without fraction and exponent */
bool json_is_null(const struct json *v);         /* null, or no value at all */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_at(const struct json *array, size_t i);
/* Elements of an array, members of an object, else 0. */
size_t json_size(const struct json *v);
/* The next member of an object in file order; false at the end.  *it starts NULL. */
bool json_next(const struct json *object, void **it, const char **key, const struct json **value);
/* Hidden: the JSON library has a function of this name, which must stay its own. */
__attribute__((visibility("hidden")))
const char *json_string(const struct json *v, const char *otherwise);
size_t json_string_size(const struct json *v);   /* bytes: strings may hold zeros */
double json_number(const struct json *v, double otherwise);
/* Exact to 64 bits; a real counts if it is whole and fits, else `otherwise`. */
int64_t json_int(const struct json *v, int64_t otherwise);
bool json_bool(const struct json *v, bool otherwise);

/* Writing: append one value to a text. */
/* Quoted and escaped; bad UTF-8 becomes U+FFFD. */
void json_add_string(struct text *t, const char *s, size_t n);
/* 17 digits at most, the shortest that reads back; NaN and the infinities become null. */
void json_add_number(struct text *t, double x);
/* The whole value as one line of JSON, members in file order. */
void json_add(struct text *t, const struct json *v);

#endif
