/* RACO in one process: a team of one, from setup_alone to close_alone. */
#ifndef TESTS_RACO_ALONE_H
#define TESTS_RACO_ALONE_H

#include "tests/tiny_raco.h"

static struct comm *alone;

static inline int setup_alone(void **state)
{
    (void)state;
    alone = comm_alone();
    return alone ? 0 : -1;
}

static inline int close_alone(void **state)
{
    (void)state;
    comm_stop(alone);
    return 0;
}

static inline void open_alone(struct run *r, struct config config)
{
    open_run(r, config, "cpu", alone, TINY_P);
}

static inline struct raco *raco_of(const struct run *r)
{
    return r->learner->state;
}

#endif
