/* Prompts: JSONL, plain or gzip; `prompt` (text), `prompt_ids` or `messages` (a conversation);
 * other fields are kept for rewards.  Text for language-model training: plain or gzip, documents
 * between lines of <|endoftext|>, packed into rows of equal length.
 *
 *   struct prompts *p;
 *   TRY(prompts_open(&p, "stories.jsonl", tokenizer, chat, V, longest, false));
 *   TRY(prompts_next(p, true, seed, step * P, batch));
 *   prompts_close(p);
 */
#ifndef DATA_PROMPTS_H
#define DATA_PROMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/json.h"
#include "data/batch.h"
#include "data/chat.h"
#include "data/tokenizer.h"

struct prompts;

/* Read and tokenize the file.  A line's prompt_ids win over its prompt, which is then only shown to
 * people and rewards, and both over its messages; those become the text that `chat` makes of them
 * for the assistant to go on.  tokenizer may be NULL if every line has prompt_ids, and chat if none
 * has messages alone.  A prompt longer than
 * max_tokens: RL_EINVAL with file and line, or counted and left out when skip_long.  No prompts at
 * all, a bad line, an id >= vocabulary: RL_EINVAL with file and line. */
int prompts_open(struct prompts **p, const char *path, struct tokenizer *tokenizer,
                 struct chat *chat, int vocabulary, int max_tokens, bool skip_long);
/* One prompt, `bytes` of text; `name` stands for the path.  The same errors, and: not UTF-8. */
int prompts_of_text(struct prompts **p, const char *name, const char *text, size_t bytes,
                    struct tokenizer *tokenizer, int vocabulary, int max_tokens);
void prompts_close(struct prompts *p);                              /* NULL is fine */
int64_t prompts_count(const struct prompts *p);
int64_t prompts_skipped(const struct prompts *p);
int prompts_longest(const struct prompts *p);                       /* tokens */
const char *prompts_text(const struct prompts *p, int64_t i);       /* NULL: ids only; of messages
                                                                     * the template's text */
const struct json *prompts_fields(const struct prompts *p, int64_t i);
const char *prompts_path(const struct prompts *p);
int64_t prompts_line(const struct prompts *p, int64_t i);           /* line in the file, from 1 */

/* Which prompt is draw number `draw` of the run: in file order, or shuffled anew every epoch by
 * (seed, epoch); an epoch is prompts_count draws.  The data cursor of a run is the draw. */
int64_t prompts_draw(struct prompts *p, bool shuffle, uint64_t seed, int64_t draw);

/* Fill the batch's share (group, groups, k, P, step are set) with prompts only: group g of the step
 * is draw draw0 + g (in training draw0 is step * P); its k rows are equal.  version is 0 and finish
 * FINISH_NONE until the actor sets them.  Allocates nothing. */
int prompts_next(struct prompts *p, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b);
/* The same for any groups: group g of b is draw draws[g]. */
int prompts_groups(struct prompts *p, bool shuffle, uint64_t seed, const int64_t *draws,
                   struct batch *b);

/* ---- text, packed
 *
 *   documents   [bos] once upon a time [eos] [bos] one day ... [eos]
 *   rows        |bos once upon a|time eos bos one|day ...
 *
 * A row that begins inside a document is its plain continuation: no bos is put before it, and its
 * first token, which has nothing before it, is not predicted.  The tokens behind the last whole row
 * are dropped.  The end of a file ends its document; empty lines before the first character of a
 * document are dropped, and so are documents without any.  Line ends become \n. */
struct corpus;
/* bos < 0: none; eos < 0: none.  Rows of row_tokens (>= 2) tokens.  RL_EINVAL: no file, no text, an
 * id >= vocabulary, or less text than one row. */
int corpus_open(struct corpus **c, const struct strings *paths, struct tokenizer *tokenizer,
                int vocabulary, int bos, int eos, int row_tokens);
void corpus_close(struct corpus *c);                                /* NULL is fine */
int64_t corpus_rows(const struct corpus *c);
/* Rows of the share: group g of the step (k = 1) is draw draw0 + g.  Sets prompt_len 1, finish
 * FINISH_LENGTH, version 0.  Allocates nothing. */
int corpus_next(struct corpus *c, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b);

#endif
