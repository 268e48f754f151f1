/* A few threads that share the items of one job after another.
 *
 *   caller   publish a job, open the gate | take items | close the gate, wait until it is empty
 *   worker   (spin, then sleep)  enter    | take items | leave
 *
 * Nobody waits for a worker that has not entered: when the machine is busy with other things the
 * caller finds the items untaken and does them itself.  Who does an item must not change a result.
 */
#ifndef COMPUTE_CPU_POOL_H
#define COMPUTE_CPU_POOL_H

struct pool;

/* The caller and threads - 1 workers, threads >= 2.  RL_ENOFIT, one line: no memory, or the system
 * has no more threads.  Workers run with the default MXCSR and leave signals to other threads. */
int pool_open(struct pool **pool, int threads);
void pool_close(struct pool *pool);

/* Call body(job, item, thread) once for every item 0 .. items; returns when all have returned.
 * thread, 0 for the caller, is below `threads`; calls at the same time have different ones.  One
 * caller at a time, and not from inside a body. */
void pool_run(struct pool *pool, int items, void *job,
              void (*body)(void *job, int item, int thread));

#endif
