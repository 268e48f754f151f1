/* The kinds of reward.  A new one is a file beside this one and a row here. */
#include "reward/kinds/kinds.h"

const struct reward_kind reward_kinds[] = {
    /* name     open         score         close         needs_text        */
    { "words",  words_open,  words_score,  words_close,  NULL              },
    { "length", length_open, length_score, length_close, length_needs_text },
    { "regex",  regex_open,  regex_score,  regex_close,  NULL              },
    { NULL,     NULL,        NULL,         NULL,         NULL              },
};
