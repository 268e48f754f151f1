/* What a supervisor (launch/supervisor.h) and the training it started tell each other.
 *
 *   supervisor -> training    struct restart, in the environment
 *   training -> supervisor    struct outcome, in outcome.json of the run folder: the completion
 *                             marker.  Exit codes of mpirun and srun say too little: 0 when a host
 *                             was lost, 137 or 205 for many things.
 */
#ifndef LAUNCH_OUTCOME_H
#define LAUNCH_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#define REASON_BYTES 1024

struct outcome {
    int exit_code;              /* 0 to 5, as docs/operations.md has them */
    int64_t step;               /* updates done, -1: unknown */
    char reason[REASON_BYTES];  /* one line, "" when there is nothing to say */
};

/* Whole or not at all, and on the disk; with the number of the start that the environment tells. */
int outcome_write(const char *folder, const struct outcome *o);
/* False: none of that start, or one that cannot be understood. */
bool outcome_read(const char *folder, int64_t start, struct outcome *o);
/* Before a start: no outcome, and room on the disk for the next one (outcome.json.room), so that a
 * disk that fills up can still be told.  RL_EIO: the folder takes no files. */
int outcome_prepare(const char *folder);

/* What happened before this start of a run. */
struct restart {
    int64_t count;              /* restarts so far; 0: none */
    int64_t reached;            /* updates done when the last start was lost */
    int64_t lost_steps;         /* updates done twice, the last loss not counted yet */
    double since;               /* seconds, clock of the day: when the loss was noticed */
    int64_t start;              /* a number that no other start has */
};

int restart_tell(const struct restart *r);              /* into the environment of what we start */
/* False: no supervisor started this process. */
bool restart_told(struct restart *r);

#endif
