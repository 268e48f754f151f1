/* Text to token ids and back, as a Hugging Face tokenizer.json says.
 *
 *   struct tokenizer *t;
 *   struct ids ids = {0};
 *   TRY(tokenizer_open(&t, "model/tokenizer.json"));
 *   TRY(tokenizer_encode(t, "Once upon", 9, true, &ids));       bos and 2 or so
 *   TRY(tokenizer_decode(t, ids.data, ids.count, true, &text));
 *
 * Byte-pair models with: byte fallback, unknown tokens (fused or not), merges as "a b" or
 * ["a", "b"], ignore_merges; normalizers Prepend, Replace (a string), Lowercase, NFC, NFD, NFKC,
 * NFKD and Sequence; the pre-tokenizer Metaspace or none; added tokens with all flags; the
 * post-processor TemplateProcessing; decoders Replace, ByteFallback, Fuse, Strip, Metaspace and
 * Sequence.  `truncation` and `padding` of the file belong to the program that wrote it and change
 * nothing here.
 */
#ifndef DATA_TOKENIZER_H
#define DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct tokenizer;

/* From a file, or from its text (a checkpoint holds it); `where` is for messages.  RL_EINVAL: one
 * line that names the construct that is not supported or the field that is wrong. */
int tokenizer_open(struct tokenizer **t, const char *path);
int tokenizer_parse(struct tokenizer **t, const char *json, size_t bytes, const char *where);
void tokenizer_close(struct tokenizer *t);               /* NULL is fine */

int tokenizer_size(const struct tokenizer *t);           /* largest id + 1, added tokens included */

struct ids { int *data; int count, room; };              /* zeroed is empty */
void ids_add(struct ids *ids, int id);
void ids_free(struct ids *ids);

/* Append the ids of text, which may hold zeros; add_special runs the post-processor (bos ...).
 * RL_EINVAL if the text is not UTF-8; then nothing is appended. */
int tokenizer_encode(struct tokenizer *t, const char *text, size_t bytes, bool add_special,
                     struct ids *out);
/* Append the text of ids.  Bytes that are not UTF-8 become U+FFFD as the decoder of the file says;
 * ids that no token has (a model's padded vocabulary) have no text.  RL_EINVAL: an id below 0. */
int tokenizer_decode(struct tokenizer *t, const int *ids, int count, bool skip_special,
                     struct text *out);
/* Append the bytes that an id adds to a text behind other ids: a byte token's own byte, whatever
 * the text around it makes of it; nothing for a special token. */
int tokenizer_piece(struct tokenizer *t, int id, struct text *out);

/* The id of a special token of this name; -1: there is none. */
int tokenizer_special(const struct tokenizer *t, const char *name, size_t bytes);

#endif
