/* Objectives for tests of RACO: the scores of a tiny batch, two or three columns that have nothing
 * to do with each other, so that some pairs agree and others do not. */
#ifndef TESTS_TINY_RACO_H
#define TESTS_TINY_RACO_H

#include "learner/raco/raco.h"
#include "tests/tiny_learner.h"

static struct config_reward some_rewards[] = {
    { .kind = "length", .name = "one", .weight = 1 },
    { .kind = "length", .name = "two", .weight = 1 },
    { .kind = "length", .name = "three", .weight = 1 },
};
static double some_weights[][3] = { { 1 }, { 0.3, 0.7 }, { 0.5, 0.3, 0.2 } };

static inline struct config objectives(const char *algorithm, const char *mode, int K)
{
    struct config c = settings(algorithm);

    c.rewards = some_rewards;
    c.n_rewards = K;
    c.raco.weights.items = some_weights[K - 1];
    c.raco.weights.count = K;
    c.raco.c = 0.4;
    c.raco.clip = c.raco.skip_empty = c.raco.k1_is_dpo = true;
    c.raco.rescale = "none";
    c.raco.pcgrad = "weighted";
    c.raco.mode = (char *)mode;
    c.raco.gram_scope = "all";
    c.raco.refresh = 1;
    c.raco.solve = "step";
    c.raco.buckets = 4096;
    return c;
}

#endif
