/* What tests under mpirun share: a fact is a function that every rank runs; it holds when check()
 * failed on no rank.  Rank 0 prints a line for each and the closing `N passed, N failed`.
 *
 *   fact(world, "every rank gets the root's bytes", test_broadcast);
 *   return facts_end(world);
 */
#ifndef TESTS_MPI_CHECK_H
#define TESTS_MPI_CHECK_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "comm/comm.h"

static int facts_passed, facts_failed, checks_failed;

#define check(condition) check_at((condition), __FILE__, __LINE__, #condition)
#define check_ok(call) check((call) == RL_OK)

static inline void check_at(bool condition, const char *file, int line, const char *text)
{
    if (!condition && checks_failed++ < 5)
        fprintf(stderr, "%s:%d: %s  %s\n", file, line, text, status_message());
}

static inline void fact(struct comm *world, const char *name, void (*run)(struct comm *world))
{
    int64_t failed;

    checks_failed = 0;
    run(world);
    failed = checks_failed;
    if (comm_sum_int64(world, &failed, 1, PHASE_END) != RL_OK)
        comm_abort(world, 1);
    facts_passed += failed == 0;
    facts_failed += failed != 0;
    if (comm_rank(world) == 0)
        printf("%s  %s\n", failed ? "FAILED" : "ok    ", name);
}

static inline int facts_end(struct comm *world)
{
    if (comm_rank(world) == 0)
        printf("%d passed, %d failed\n", facts_passed, facts_failed);
    comm_stop(world);
    return facts_failed != 0;
}

#endif
