/* Prompts of a few letters: what the tests that open them share. */
#ifndef TESTS_LETTER_PROMPTS_H
#define TESTS_LETTER_PROMPTS_H

#include "base/memory.h"
#include "data/prompts.h"
#include "tests/letters.h"

/* The tokens of prompt i, as a step gets them. */
static inline void assert_ids(struct prompts *p, int64_t i, const int *want, int count)
{
    struct batch b = { .P = 1, .k = 1, .groups = 1 };
    struct memory m;

    memory_count(&m);
    batch_layout(&b, &m, 1, 16, 0);
    assert_ok(memory_open(&m));
    batch_layout(&b, &m, 1, 16, 0);
    assert_ok(prompts_next(p, false, 0, i, &b));
    assert_int_equal(b.T, count);
    assert_list(b.tokens, want, count);
    memory_close(&m);
}

#endif
