/* What the tests of the configuration share: the five keys that are enough, read with more. */
#ifndef TESTS_CONFIG_TEXT_H
#define TESTS_CONFIG_TEXT_H

#include "tests/support.h"

#include <string.h>

#include "base/config.h"

#ifdef SANITIZED
/* libconfig forgets a string when a syntax error follows it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}
#endif

#define FIVE_KEYS                                                                                  \
    "algorithm = \"online_dpo\";\nmodel = \"m\";\nprompts = \"p.jsonl\";\n"                        \
    "rewards = { kind = \"words\"; words = (\"happy\", \"kind\"); };\noutput = \"runs/x\";\n"

static char *none[1];

static inline int open_text(struct config **c, const char *text, char *const *arguments, int n)
{
    return config_open(c, support_write(support_folder(), "run.cfg", text), arguments, n);
}

/* The five keys, then `more`; NULL and a message on error. */
static inline struct config *read_more(const char *more)
{
    struct text text = {0};
    struct config *c;

    text_adds(&text, FIVE_KEYS);
    text_adds(&text, more);
    open_text(&c, text.data, none, 0);
    text_free(&text);
    return c;
}

static inline struct config *read_arguments(int n, char *const *arguments)
{
    struct config *c;

    open_text(&c, FIVE_KEYS, arguments, n);
    return c;
}

static inline void assert_one_line(const char *part)
{
    assert_has(status_message(), part);
    assert_null(strchr(status_message(), '\n'));
}

static const char everything[] =
    "steps = 20; seed = 9007199254740991; lr = 1e-3; lr_min = 3.3e-5; shuffle = false;\n"
    "eval_prompts = \"tab\\t quote\\\" back\\\\ line\\n bell\\x07 \xc3\xa9\";"
    " text = [\"a\", \"b c\"]; stop_tokens = [2, 0]; stop = [\"\\n\\n\", \"\\\"\"];\n"
    "dpo = { loss = \"hinge\"; nll = 0.1; }; adam = { eps_mode = \"tf\"; };\n"
    "ranks = ( { count = 3; roles = [\"actor\", \"learner\"]; }, { roles = [\"reward\"]; } );\n";

#endif
