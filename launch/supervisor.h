/* The supervisor of a training run: starts it under mpirun (srun in a Slurm allocation), and after
 * a loss starts it again on the ranks and hosts that are left, until it has ended by itself.
 *
 *   outcome.json says 0, 1, 2, 4, 5     that is how the run ended
 *                 says 3, or is absent  something was lost: start again, unless it was the second
 *                                       loss at the same step for the same reason, or one too many
 *                                       (launch/losses.h)
 *
 * No MPI in here.  A supervisor that is killed takes mpirun and the ranks with it; another one
 * goes on from the newest checkpoint.
 */
#ifndef LAUNCH_SUPERVISOR_H
#define LAUNCH_SUPERVISOR_H

#include <stdint.h>

struct supervision {
    int64_t ranks;              /* 0: the slots of the hosts */
    const char *hosts;          /* see hosts_parse; NULL: this machine, or the Slurm allocation */
    int64_t restarts;           /* at most this many */
    double backoff;             /* seconds after a start without a new step, doubled each time */
    double wait_hosts;          /* seconds that hosts have to come back before we do with fewer */
};

/* The rows of an option table (launch/options.h) for how it is started again. */
#define RESTART_OPTIONS(asked) \
    { "restarts", OPTION_INT, &(asked).restarts, "MAX", \
      "at most this many restarts (default 100)" }, \
    { "backoff", OPTION_REAL, &(asked).backoff, "SECONDS", \
      "pause after a start without a new step, doubled each time (default 1, at most 60)" }, \
    { "wait-hosts", OPTION_REAL, &(asked).wait_hosts, "SECONDS", \
      "time for hosts to come back before the run goes on without them (default 0)" }
#define RESTART_DEFAULTS .restarts = 100, .backoff = 1

/* RL_EINVAL: one of these is below 0. */
int supervision_check(const struct supervision *asked);

/* Until the run has ended; SIGINT, SIGTERM, SIGHUP and SIGUSR1 make it save its state and stop.
 * Returns its status; RL_ELOST, one line: given up. */
int supervise(const struct supervision *s, const char *config, char *const *assignments, int n);

#endif
