/* compute/cpu/pool: every item once, by threads that never share a number, whoever comes late. */
#include "tests/support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/clock.h"
#include "compute/cpu/pool.h"

#define MOST_ITEMS 200
#define MOST_THREADS 8               /* more than the machine may have cores */

struct job {
    int threads;
    unsigned char done[MOST_ITEMS];
    atomic_int inside[MOST_THREADS], helped;     /* helped: items not done by the caller */
    atomic_bool wrong;
};

/* Marks its item with a plain store: a thread that did another's item would be a data race. */
static void mark(void *arg, int item, int thread)
{
    struct job *job = arg;

    if (thread < 0 || thread >= job->threads || atomic_fetch_add(&job->inside[thread], 1) != 0) {
        atomic_store(&job->wrong, true);
        return;
    }
    job->done[item]++;
    atomic_fetch_add(&job->helped, thread > 0);
    atomic_fetch_sub(&job->inside[thread], 1);
}

static void assert_each_once(const struct job *job, int items)
{
    assert_false(job->wrong);
    for (int i = 0; i < MOST_ITEMS; i++)
        assert_int_equal(job->done[i], i < items);
}

static void test_every_item_is_done_once(void **state)
{
    (void)state;
    for (int threads = 2; threads <= MOST_THREADS; threads++) {
        struct pool *pool;

        assert_ok(pool_open(&pool, threads));
        for (int run = 0; run < 300; run++) {
            struct job job = { .threads = threads };
            int items = run * 7 % (MOST_ITEMS + 1);

            pool_run(pool, items, &job, mark);
            assert_each_once(&job, items);
        }
        pool_close(pool);
    }
}

/* Between jobs the workers fall asleep, or are just about to: moments when one can be missed. */
static void test_sleeping_workers_wake_up(void **state)
{
    struct pool *pool;
    int helped = 0;

    (void)state;
    assert_ok(pool_open(&pool, 3));
    for (int run = 0; run < 100; run++) {
        struct job job = { .threads = 3 };

        clock_sleep(run % 10 * 2e-5);
        pool_run(pool, MOST_ITEMS, &job, mark);
        assert_each_once(&job, MOST_ITEMS);
        helped += job.helped;
    }
    for (double end = clock_now() + 10; helped == 0 && clock_now() < end;) {
        struct job job = { .threads = 3 };

        pool_run(pool, MOST_ITEMS, &job, mark);
        helped += job.helped;
    }
    assert_true(helped > 0);
    pool_close(pool);
}

/* An item of the caller that ends only when a worker has come, so the last item is a worker's. */
struct meeting { atomic_bool other; };

static void meet(void *arg, int item, int thread)
{
    struct meeting *m = arg;

    (void)item;
    if (thread > 0) {
        atomic_store(&m->other, true);
        clock_sleep(2e-3);                       /* longer than the caller spins */
        return;
    }
    for (double end = clock_now() + 10; !atomic_load(&m->other) && clock_now() < end;)
        clock_sleep(1e-4);
}

static void test_the_caller_sleeps_until_the_last_worker_is_done(void **state)
{
    struct pool *pool;

    (void)state;
    assert_ok(pool_open(&pool, 2));
    for (int run = 0; run < 5; run++) {
        struct meeting m = { false };

        clock_sleep(run * 1e-4);
        pool_run(pool, 2, &m, meet);
        assert_true(m.other);
    }
    pool_close(pool);
}

struct state_seen {
    struct meeting meeting;
    atomic_int control_word;
    atomic_bool takes_signals;
};

static void look(void *arg, int item, int thread)
{
    struct state_seen *seen = arg;
    sigset_t blocked;

    if (thread > 0) {
        pthread_sigmask(SIG_BLOCK, NULL, &blocked);
        if (!sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGUSR1))
            atomic_store(&seen->takes_signals, true);
#if defined(__x86_64__)
        atomic_store(&seen->control_word, (int)_mm_getcsr());
#endif
    }
    meet(&seen->meeting, item, thread);
}

/* A thread inherits the control word and the signals of its maker. */
static void test_workers_have_their_own_control_word_and_no_signals(void **state)
{
    struct state_seen seen = { .control_word = 0x1f80 };
    struct pool *pool;

    (void)state;
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();

    _mm_setcsr(before | 0x8040);                 /* flush to zero, denormals are zero */
    assert_ok(pool_open(&pool, 2));
    _mm_setcsr(before);
#else
    assert_ok(pool_open(&pool, 2));
#endif
    pool_run(pool, 2, &seen, look);
    pool_close(pool);
    assert_true(seen.meeting.other);
    assert_int_equal(seen.control_word & 0xffc0, 0x1f80);
    assert_false(seen.takes_signals);
}

static void test_a_pool_closes_at_any_moment(void **state)
{
    (void)state;
    pool_close(NULL);
    for (int run = 0; run < 50; run++) {
        struct job job = { .threads = 4 };
        struct pool *pool;

        assert_ok(pool_open(&pool, 4));
        clock_sleep(run % 5 * 3e-5);
        pool_run(pool, run % 4, &job, mark);
        assert_each_once(&job, run % 4);
        pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_is_done_once),
        cmocka_unit_test(test_sleeping_workers_wake_up),
        cmocka_unit_test(test_the_caller_sleeps_until_the_last_worker_is_done),
        cmocka_unit_test(test_workers_have_their_own_control_word_and_no_signals),
        cmocka_unit_test(test_a_pool_closes_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
