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

/* The texts of a folder's files, NULL where there is none: chat_template.jinja, which wins over the
 * chat_template of tokenizer_config.json; the special tokens of the latter, and of
 * special_tokens_map.json where the former has no added_tokens_decoder.  `path`, of the folder, is
 * for messages.  *chat is NULL, and all is well, where there is no template.  RL_EINVAL: a template
 * that cannot be read, a file that is no JSON object. */
int chat_parse(struct chat **chat, const char *path, const struct text *template,
               const struct text *config, const struct text *tokens);
/* The same from a folder; RL_EINVAL too if it has no template. */
int chat_open(struct chat **chat, const char *folder);
void chat_close(struct chat *chat);                 /* NULL is fine */

struct chat_how {
    bool add_generation_prompt;
    const char *system;                  /* of a conversation that does not begin with one; NULL or
                                          * empty: none */
    const struct json *tools, *variables;      /* as in data/template.h */
    const struct tm *now;
};
/* Append the text of messages, a list.  RL_EINVAL as template_render has it. */
int chat_render(const struct chat *chat, const struct json *messages, const struct chat_how *how,
                struct text *out);

#endif
