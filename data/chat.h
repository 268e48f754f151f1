/* Conversations as a model reads them: its folder's chat template with its special tokens.
 *
 *   struct chat *chat;
 *   TRY(chat_open(&chat, "path/to/model"));
 *   TRY(chat_render(chat, messages, &(struct chat_how){ .add_generation_prompt = true }, &text));
 *   TRY(tokenizer_encode(tokenizer, text.data, text.size, false, &ids));   bos is the template's
 *   chat_close(chat);
 */
#ifndef DATA_CHAT_H
#define DATA_CHAT_H

#include "data/template.h"

struct chat;

/* From the texts of a folder's files, copied; NULL or empty where there is none:
 * chat_template.jinja, which wins over the chat_template of tokenizer_config.json; the special
 * tokens of the latter, and of special_tokens_map.json where it has no added_tokens_decoder.
 * `path`, of the folder, is for messages.  Nothing is read yet: a model whose template nobody asks
 * for may have any. */
int chat_of_files(struct chat **chat, const char *path, const struct text *template,
                  const struct text *config, const struct text *tokens);
/* The same from a folder, and read. */
int chat_open(struct chat **chat, const char *folder);
/* Read it, if that has not happened.  RL_EINVAL: there is no template, it is not understood (see
 * data/template.h), or a file is no JSON object. */
int chat_read(struct chat *chat);
void chat_close(struct chat *chat);                 /* NULL is fine */
/* The system's message of conversations that do not begin with one; NULL or empty: none. */
void chat_system(struct chat *chat, const char *system);
/* What templates that ask are told is today: "2026-11-28".  NULL or empty: nothing, and they write
 * the date that they were made with, or are an error.  RL_EINVAL, which begins with `what`: no
 * day. */
int chat_day(struct chat *chat, const char *day, const char *what);

struct chat_how {
    bool add_generation_prompt;
    const struct json *tools, *variables;      /* as in data/template.h */
};
/* Append the text of messages, a list.  RL_EINVAL as chat_read and template_render have it. */
int chat_render(struct chat *chat, const struct json *messages, const struct chat_how *how,
                struct text *out);

#endif
