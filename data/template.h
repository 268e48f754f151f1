/* Chat templates: a conversation becomes the text that a model was trained on, as the template in
 * its folder says (tokenizer_config.json's chat_template, or chat_template.jinja).
 *
 *   struct template *t;
 *   TRY(template_open(&t, text, bytes, "model/chat_template.jinja"));
 *   struct template_settings how = { .add_generation_prompt = true, .bos_token = "<s>" };
 *   TRY(template_render(t, messages, &how, &out));
 *   template_close(t);
 *
 * Templates are written in Jinja.  This is an interpreter for the part of it that published ones
 * use, with the behaviour of the transformers library (docs/formats.md lists it); whatever else a
 * template holds is an error that names the construct and the line, never a guess.  A template is
 * another's program: it has no files, no clock, no other state, and ends within the limits below.
 */
#ifndef DATA_TEMPLATE_H
#define DATA_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/json.h"
#include "base/text.h"

#define TEMPLATE_SOURCE (1 << 20)        /* bytes of a template */
#define TEMPLATE_NESTING 100             /* brackets and blocks within each other */
#define TEMPLATE_CALLS 1000              /* of a render in each other: macros, values in values */
#define TEMPLATE_STEPS 10000000          /* of a render; long strings and lists count for more */
#define TEMPLATE_BYTES (16 << 20)        /* of a text that a render makes */
#define TEMPLATE_MEMORY (256 << 20)      /* bytes of all values of a render */

struct template;

struct template_settings {
    bool add_generation_prompt;
    const char *bos_token, *eos_token;   /* NULL: undefined */
    const struct json *tools;            /* a list; NULL: none */
    const struct json *variables;        /* an object: its members are variables; may be NULL */
    const struct tm *now;                /* what strftime_now tells; NULL: it is undefined, and
                                          * templates that ask write the date they were made with */
};

/* The text is copied; `path` is for messages.  RL_EINVAL: one line that names path, line and what
 * is wrong there or not supported.  Not collective. */
int template_open(struct template **t, const char *text, size_t bytes, const char *path);
void template_close(struct template *t);            /* NULL is fine */

/* Append the text of messages, a list of objects.  Members that are null count as missing.
 * RL_EINVAL, one line with path and line: the template refuses the messages (raise_exception), uses
 * what is undefined, asks for what is not supported, or passes a limit; then nothing is added. */
int template_render(const struct template *t, const struct json *messages,
                    const struct template_settings *settings, struct text *out);

#endif
