/* What starts the ranks of a job on its hosts:
 *
 *   mpirun    on this machine and, by its agent (ssh), on hosts that were named
 *   srun      in a Slurm allocation, when Slurm has PMIx
 *   mpirun    in a Slurm allocation otherwise; its daemons are a step of srun
 *
 * Steps of Slurm have a name of this run's, by which what is left of them is found and ended: a
 * srun that is killed leaves its ranks alive, and its --kill-on-bad-exit gives them seconds. */
#ifndef LAUNCH_LAUNCHER_H
#define LAUNCH_LAUNCHER_H

#include <stdbool.h>

#include "base/text.h"
#include "launch/hosts.h"

#define LAUNCHER_WORDS 20               /* at most, in front of the program */

struct launcher {
    bool slurm, pmix;
    const char *scratch;                /* folder on every host; borrowed */
    const char *step;                   /* name of the steps: the scratch folder's */
};

/* Also sets the environment of what we start; what the user has set stays.  RL_EINVAL: there is no
 * mpirun. */
int launcher_find(struct launcher *l, bool slurm, const char *scratch);
const char *launcher_name(const struct launcher *l);
bool launcher_is_srun(const struct launcher *l);

/* Under Slurm only: SIGKILL to the ranks of this run's steps; false: there is no step.  Steps on
 * nodes that are gone stay until Slurm knows it. */
bool launcher_kill_steps(const struct launcher *l);
/* The same, and a second for their end. */
void launcher_end_steps(const struct launcher *l);
/* Under Slurm only: make the scratch folder anew on all hosts that answer, or remove it.  Where
 * that fails the ranks do without. */
void launcher_scratch(const struct launcher *l, const struct hosts *h, bool make);

/* The words in front of the program, into argv; returns how many.  `here` and `number` hold some of
 * them. */
int launcher_words(const struct launcher *l, const struct hosts *h, int ranks, char **argv,
                   struct text *here, char number[32]);

#endif
