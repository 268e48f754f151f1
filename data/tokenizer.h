/* Text to token ids and back, as a Hugging Face tokenizer.json says. */
#ifndef DATA_TOKENIZER_H
#define DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct tokenizer;

/* From a file, or from its text (a checkpoint holds it); `where` is for messages.  RL_EINVAL: one line that names the construct that
 * is not supported or the field that is wrong. */
int tokenizer_open(struct tokenizer **t, const char *path);
int tokenizer_parse(struct tokenizer **t, const char *json, size_t bytes, const char *where);
void tokenizer_close(struct tokenizer *t);

int tokenizer_size(const struct tokenizer *t);           /* largest id + 1, added tokens included */
bool tokenizer_is_special(const struct tokenizer *t, int id);
int tokenizer_id(const struct tokenizer *t, const char *token);   /* exact token, -1 if absent */

struct ids { int *data; int count, room; };
void ids_add(struct ids *ids, int id);
void ids_free(struct ids *ids);

/* Append the ids of text; add_special runs the post-processor (bos ...). */
int tokenizer_encode(struct tokenizer *t, const char *text, size_t bytes, bool add_special, struct ids *out);
/* Append the text of ids. Bytes that are not UTF-8 become U+FFFD as the decoder of the file says. */
int tokenizer_decode(struct tokenizer *t, const int *ids, int count, bool skip_special, struct text *out);

#endif
