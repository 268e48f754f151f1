/* What the tests of policy gradients share: a team of one, and the algorithms by turn. */
#ifndef TESTS_TINY_POLICY_H
#define TESTS_TINY_POLICY_H

#include "tests/tiny_learner.h"

static struct comm *alone;      /* a team of one */

static inline void open_alone(struct run *r, struct config config, const char *compute)
{
    open_run(r, config, compute, alone, TINY_P);
}

/* The next row of algorithms[] that is a policy gradient; begin with algorithms. */
static inline const struct algorithm *next_policy(const struct algorithm *a)
{
    for (; a->name; a++) {
        struct config c = settings(a->name);
        c.model = "tiny";
        c.prompts_per_step = TINY_P;
        if (policy_wants(&c).policy)
            return a;
    }
    return NULL;
}

#define EACH_POLICY(a) \
    for (const struct algorithm *a = algorithms; (a = next_policy(a)) != NULL; a++)

static inline int64_t all_tokens(const struct batch *b)
{
    return b->start[b->N];
}

#endif
