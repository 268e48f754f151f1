/* The kinds of reward.  A new one is a file beside this one and a row here. */
#include "reward/kinds/kinds.h"

#define OUTSIDE true
#define OURS false

const struct reward_kind reward_kinds[] = {
    /* one response at a time */
    { "words",       words_open,       words_score,       NULL, words_close,       NULL, OURS },
    { "length",      length_open,      length_score,      NULL, length_close,
      length_needs_text, OURS },
    { "regex",       regex_open,       regex_score,       NULL, regex_close,       NULL, OURS },
    { "math_answer", math_answer_open, math_answer_score, NULL, math_answer_close, NULL, OURS },
    { "instruction", instruction_open, instruction_score, NULL, instruction_close, NULL, OURS },
    { "r3",          r3_open,          r3_score,          NULL, r3_close,          NULL, OURS },

    /* a batch at once */
    { "plugin",      plugin_open,      NULL, plugin_score,      plugin_close,      NULL, OUTSIDE },
    { "process",     process_open,     NULL, process_score,     process_close,     NULL, OUTSIDE },
    { "http",        http_open,        NULL, http_score,        http_close,        NULL, OUTSIDE },
    { NULL, NULL, NULL, NULL, NULL, NULL, OURS },
};
