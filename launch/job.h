/* One start of a job: mpirun or srun as a child that never outlives us, and what its messages say
 * about who died. */
#ifndef LAUNCH_JOB_H
#define LAUNCH_JOB_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/text.h"

struct job {
    pid_t pid;                  /* of mpirun or srun, leader of its own process group */
    int messages;               /* its stderr comes in here */
    struct text line, block;    /* of messages: not whole yet */
    bool in_block;              /* mpirun frames its messages with dashes */
    int rank;                   /* who died first, -1: unknown */
    char host[256];             /* "" : unknown */
    char what[256];             /* "was killed by signal 9 (Killed)"; "": nothing was said */
    bool sudden;                /* it did not end by itself: those that are left wait for it */
    bool had_ranks;
    char said[1024];            /* of a loss, by a rank that could leave no outcome; "": nothing */
    int status;                 /* of waitpid, once it has ended */
};

/* Had mpirun ranks on this host, and is none alive any more?  It should see that and end. */
bool job_is_hollow(struct job *j);
/* argv ends with NULL; output: descriptor for its standard output.  RL_EIO: one line. */
int job_start(struct job *j, char *const *argv, int output);
/* Pass on what it says, for `seconds` at most, or until a signal comes: messages that tell who died
 * are kept instead.  True: the job has ended, and nothing of it is left on this machine. */
bool job_watch(struct job *j, double seconds);
/* To mpirun or srun, which pass SIGUSR1 on to the ranks. */
void job_signal(const struct job *j, int number);
void job_free(struct job *j);

/* It is known from elsewhere that this host is gone; the first to die stays the cause. */
void job_lost_host(struct job *j, const char *host);

/* One message, a framed one or a line: does it tell who died?  Then it is in rank, host, what. */
bool job_understands(struct job *j, const char *message);

#endif
