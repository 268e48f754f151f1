/* The prompt of a judge: a text that shows two answers, A and B, and is answered by one token.
 *
 *   Story: {prompt}{a} or {prompt}{b}?  The better one is
 *
 * {prompt}, {a} and {b} are replaced by token ids, never by text, so that a judge reads exactly
 * what the policy wrote; the pieces of text between them are tokenized apart, once.
 *
 *   TRY(judge_parse(&j, text, bytes, "judge.txt", tokenizer, vocabulary));
 *   n = judge_write(j, &prompt, &a, &b, ids);          judge_length(j, ...) ids
 *   judge_close(j);
 */
#ifndef DATA_JUDGE_H
#define DATA_JUDGE_H

#include "data/tokenizer.h"

struct judge;

/* From a file, or from its text.  The answers are the last tokens of the text with "A" and with
 * "B" behind it.  RL_EINVAL names the file: {a} or {b} is not there exactly once, {prompt} is
 * there twice or another {name} once, there is no text, an answer is not one token, there is no
 * tokenizer. */
int judge_open(struct judge **j, const char *path, struct tokenizer *tokenizer, int vocabulary);
int judge_parse(struct judge **j, const char *text, size_t bytes, const char *path,
                struct tokenizer *tokenizer, int vocabulary);
void judge_close(struct judge *j);                  /* NULL is fine */

int judge_answer(const struct judge *j, int which);     /* the id of "A" (0) or "B" (1) */

/* A part of the prompt: n ids at data, without bos and eos. */
struct slice { const int *data; int n; };
/* Ids that judge_write writes, the bos in front included; it returns the same number. */
int judge_length(const struct judge *j, int prompt, int a, int b);
int judge_write(const struct judge *j, struct slice prompt, struct slice a, struct slice b,
                int *out);
/* The slice without the ids that the tokenizer puts in front of a text (bos). */
struct slice judge_strip(const struct judge *j, struct slice prompt);

#endif
