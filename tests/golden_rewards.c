/* Worked numbers of rewards that are arithmetic (spec, section 5.7). */
#include "reward/kinds/r3.h"
#include "tests/golden_ops.h"

static void check_r3(struct one *c)
{
    const char *type = json_string(json_get(c->in, "qtype"), "");
    struct r3_input in = {
        .tokens = number(c, "n_tokens", NAN), .unique = number(c, "unique_trigrams", NAN),
        .total = number(c, "total_trigrams", NAN), .relevance = number(c, "relevance", NAN),
        .max_len = number(c, "max_len", NAN), .constrained = strcmp(type, "constrained") == 0,
    };

    golden_true(&c->g, in.constrained || strcmp(type, "open") == 0, "qtype %s", type);
    near(c, r3_reward(&in), json_get(c->want, "reward"), "reward");
}

const struct golden_op golden_rewards[] = {
    { "r3_reward", check_r3 },
    { NULL, NULL },
};
