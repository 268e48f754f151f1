/* See pool.h.  Waiting is a short spin, because the next operation of a model comes within
 * microseconds, and then sleep, because a core is not ours alone: a thread that spins for ever
 * takes it from the very thread that it waits for.
 *
 * `gate` is OPEN while a job may be joined, plus the number of workers inside.  The job's fields
 * are written only while the gate is closed, and read only by those who entered an open one; the
 * caller goes on when it is closed and empty.
 */
#include "compute/cpu/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/clock.h"
#include "base/status.h"
#include "compute/cpu/cpu.h"

#define OPEN (1u << 30)
#define WORKER_SPIN 50e-6            /* seconds for the next job */
#define CALLER_SPIN 20e-6            /* seconds for the last worker */
#define QUIET_LEAST 50e-6            /* seconds without waking anybody, after it was in vain */
#define QUIET_MOST 10e-3
#define LINE 64                      /* bytes that cores hand to each other at once */

struct worker {
    struct pool *pool;
    pthread_t thread;
    int self;
};

struct pool {
    _Alignas(LINE) atomic_uint gate;
    _Alignas(LINE) atomic_int_fast64_t next;     /* item not yet taken */
    _Alignas(LINE) atomic_uint jobs;             /* published so far: what workers watch */
    int items;
    void *job;
    void (*body)(void *job, int item, int thread);
    atomic_int sleepers;                         /* workers that a job has to wake */
    atomic_bool waiting, stop;                   /* the caller sleeps; the workers are to end */
    atomic_int core;                             /* where the caller was when it published */
    atomic_bool helped;                          /* a worker on another core has entered */
    pthread_mutex_t lock;                        /* for sleeping and waking only */
    pthread_cond_t published, empty;
    double quiet, quiet_until;                   /* see judge */
    int workers;
    struct worker worker[];
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Watch `word` for a while, until (it == value) == equal; false: it did not come. */
static bool spin(atomic_uint *word, unsigned value, bool equal, double seconds)
{
    double end = clock_now() + seconds;

    do {
        for (int i = 0; i < 32; i++, pause_briefly())
            if ((atomic_load(word) == value) == equal)
                return true;
    } while (clock_now() < end);
    return false;
}

static void take_items(struct pool *pool, int thread)
{
    for (;;) {
        int_fast64_t item = atomic_fetch_add(&pool->next, 1);

        if (item >= pool->items)
            return;
        pool->body(pool->job, (int)item, thread);
    }
}

/* ---- a worker */

/* On the caller's own core a worker takes the caller's time: all other cores are busy. */
static bool is_apart(struct pool *pool)
{
    int core = sched_getcpu();

    return core < 0 || core != atomic_load(&pool->core);      /* below 0: the system can't tell */
}

/* Wait until more than `seen` jobs were published; false: the pool closes.  A sleeper counts itself
 * before its last look at `jobs`, the caller counts the job before its look at `sleepers`: one of
 * them sees the other. */
static bool wait_for_job(struct pool *pool, unsigned *seen)
{
    if (!is_apart(pool) || !spin(&pool->jobs, *seen, false, WORKER_SPIN)) {
        pthread_mutex_lock(&pool->lock);
        atomic_fetch_add(&pool->sleepers, 1);
        while (atomic_load(&pool->jobs) == *seen)
            pthread_cond_wait(&pool->published, &pool->lock);
        atomic_fetch_sub(&pool->sleepers, 1);
        pthread_mutex_unlock(&pool->lock);
    }
    *seen = atomic_load(&pool->jobs);
    return !atomic_load(&pool->stop);
}

static void leave(struct pool *pool)
{
    if (atomic_fetch_sub(&pool->gate, 1) == 1 && atomic_load(&pool->waiting)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->empty);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    unsigned seen = 0;

    cpu_default_control_word();
    while (wait_for_job(w->pool, &seen)) {
        if (atomic_fetch_add(&w->pool->gate, 1) & OPEN) {
            if (is_apart(w->pool))
                atomic_store(&w->pool->helped, true);
            take_items(w->pool, w->self);
        }
        leave(w->pool);
    }
    return NULL;
}

/* ---- the caller */

static void wake(struct pool *pool, int workers)
{
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < workers; i++)
        pthread_cond_signal(&pool->published);
    pthread_mutex_unlock(&pool->lock);
}

static void wait_until_empty(struct pool *pool)
{
    if (spin(&pool->gate, 0, true, CALLER_SPIN))
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->waiting, true);
    while (atomic_load(&pool->gate) != 0)
        pthread_cond_wait(&pool->empty, &pool->lock);
    atomic_store(&pool->waiting, false);
    pthread_mutex_unlock(&pool->lock);
}

/* Waking takes as long as a small job.  When nobody came in time from another core it is not tried
 * for a while, twice as long each time; workers that are awake help all the same. */
static void judge(struct pool *pool, bool woken)
{
    if (atomic_load(&pool->helped)) {
        pool->quiet = 0;
        pool->quiet_until = 0;
    } else if (woken) {
        pool->quiet = pool->quiet > 0 ? 2 * pool->quiet : QUIET_LEAST;
        if (pool->quiet > QUIET_MOST)
            pool->quiet = QUIET_MOST;
        pool->quiet_until = clock_now() + pool->quiet;
    }
}

void pool_run(struct pool *pool, int items, void *job,
              void (*body)(void *job, int item, int thread))
{
    bool woken;

    if (items <= 0)
        return;
    pool->items = items;
    pool->job = job;
    pool->body = body;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->core, sched_getcpu());
    atomic_store(&pool->helped, false);
    atomic_fetch_add(&pool->gate, OPEN);
    atomic_fetch_add(&pool->jobs, 1);
    woken = atomic_load(&pool->sleepers) > 0 && clock_now() >= pool->quiet_until;
    if (woken)
        wake(pool, items - 1 < pool->workers ? items - 1 : pool->workers);
    take_items(pool, 0);
    if (atomic_fetch_sub(&pool->gate, OPEN) != OPEN)
        wait_until_empty(pool);
    judge(pool, woken);
}

/* ---- opening and closing */

/* Signals go to the threads that wait for them, except those that a fault in a worker raises. */
static int start_workers(struct pool *pool, int workers)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
    sigset_t blocked, before;
    int error = 0;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    while (error == 0 && pool->workers < workers) {
        struct worker *w = &pool->worker[pool->workers];

        *w = (struct worker){ .pool = pool, .self = pool->workers + 1 };
        error = pthread_create(&w->thread, NULL, work, w);
        pool->workers += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? RL_OK
           : rl_error(RL_ENOFIT, "threads: only %d of %d could be started (%s); lower threads",
                      pool->workers + 1, workers + 1, strerror(error));
}

int pool_open(struct pool **pool, int threads)
{
    size_t size = sizeof **pool + (size_t)(threads - 1) * sizeof(struct worker);
    struct pool *made = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);
    int rc = RL_OK;

    *pool = NULL;
    if (!made)
        return rl_error(RL_ENOFIT, "no memory for %d threads; lower threads", threads);
    memset(made, 0, size);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->published, NULL);
    pthread_cond_init(&made->empty, NULL);
    TRY(start_workers(made, threads - 1));
    *pool = made;
    made = NULL;
done:
    pool_close(made);
    return rc;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->jobs, 1);
    wake(pool, pool->workers);
    for (int i = 0; i < pool->workers; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->empty);
    pthread_cond_destroy(&pool->published);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
