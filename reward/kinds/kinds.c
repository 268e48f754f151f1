/* The kinds of reward.  A new one is a file beside this one and a row here. */
#include "reward/kinds/kinds.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

const struct reward_kind reward_kinds[] = {
    /* one response at a time */
    { .name = "words", .keys = "words cap", .open = words_open, .score = words_score,
      .close = words_close },
    { .name = "length", .keys = "unit target", .open = length_open, .score = length_score,
      .close = length_close, .needs_text = length_needs_text },
    { .name = "regex", .keys = "pattern cap", .open = regex_open, .score = regex_score,
      .close = regex_close },
    { .name = "math_answer", .keys = "field", .open = math_answer_open,
      .score = math_answer_score, .close = math_answer_close },
    { .name = "instruction", .keys = "count", .open = instruction_open,
      .score = instruction_score, .close = instruction_close },
    { .name = "r3", .keys = "field max_len", .open = r3_open, .score = r3_score,
      .close = r3_close },

    /* a batch at once */
    { .name = "plugin", .keys = "path settings", .open = plugin_open,
      .score_many = plugin_score, .close = plugin_close, .outside = true },
    { .name = "process", .keys = "command retries timeout", .open = process_open,
      .score_many = process_score, .close = process_close, .outside = true },
    { .name = "http", .keys = "servers batch retries timeout", .open = http_open,
      .score_many = http_score, .close = http_close, .outside = true },

    /* whole rows, prompt and response, under a model */
    { .name = "model", .keys = "model head user calibrated contexts context_weights",
      .open_model = model_kind_open, .fill = model_kind_fill, .close = model_kind_close,
      .needs_text = model_kind_needs_text },
    { .name = "judge", .keys = "column", .open_judge = judge_kind_open,
      .fill = judge_kind_fill, .close = judge_kind_close, .needs_text = judge_kind_needs_text },
    { .name = NULL },
};

int bad_prompt(const struct response *r, const char *format, ...)
{
    char wrong[512];
    va_list args;

    va_start(args, format);
    vsnprintf(wrong, sizeof wrong, format, args);
    va_end(args);
    if (!r->file)
        return rl_error(RL_EINVAL, "the prompt %s; no file of prompts is given", wrong);
    return rl_error(RL_EINVAL, "%s:%lld: the prompt %s", r->file, (long long)r->line, wrong);
}

const struct reward_kind *reward_kind_find(const char *name)
{
    for (const struct reward_kind *kind = reward_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

int kind_find(const struct reward_kind **found, const char *name, const char *where)
{
    const struct reward_kind *nearest = reward_kinds;

    *found = reward_kind_find(name);
    if (*found)
        return RL_OK;
    for (const struct reward_kind *kind = reward_kinds; kind->name; kind++)
        if (text_edits(name, kind->name) < text_edits(name, nearest->name))
            nearest = kind;
    return rl_error(RL_EINVAL, "%s: kind: there is no reward \"%s\"; the nearest is \"%s\"", where,
                    name, nearest->name);
}
