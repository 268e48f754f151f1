/* The ranks' standard output on its way to ours.  A thread passes it on, so that a reader that goes
 * away (| head) costs the lines, not the run: mpirun itself dies of SIGPIPE.  A reader that is slow
 * makes the ranks wait, as ever.
 */
#ifndef LAUNCH_RELAY_H
#define LAUNCH_RELAY_H

#include <pthread.h>
#include <stdbool.h>

struct relay {
    int in, out;                /* ends of the pipe: read by the thread, given to jobs */
    pthread_t thread;
    bool runs;
};

/* RL_EIO, one line: no pipe or no thread. */
int relay_open(struct relay *r);
/* What was written is passed on, within a second.  Fine on a zeroed struct. */
void relay_close(struct relay *r);

#endif
