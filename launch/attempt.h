/* One start of a job under the supervisor, while it runs. */
#ifndef LAUNCH_ATTEMPT_H
#define LAUNCH_ATTEMPT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "launch/hosts.h"
#include "launch/hung.h"
#include "launch/job.h"
#include "launch/launcher.h"
#include "launch/outcome.h"

struct attempt {
    struct job *job;                        /* given, as all up to `asked`; borrowed */
    struct hung *hung;
    const struct hosts *hosts;
    const struct launcher *launcher;
    const char *output, *scratch;
    double deadline;
    int64_t start;                          /* whose outcome counts */
    const volatile sig_atomic_t *asked;     /* how often to stop; passed on as SIGUSR1, SIGTERM */

    double hollow;                          /* since when the job has no rank any more; 0 */
    double started, ended;                  /* ended: there is an outcome, or a rank was lost */
    int64_t config_at;                      /* when config.cfg was written, before */
    bool said;                              /* there is an outcome: */
    struct outcome outcome;
    double knock_at;                        /* when to look at srun's hosts again */
    int silent;                             /* times in a row that one was silent: */
    const char *silent_name;                /* borrowed from hosts */
};

/* Until the job has ended.  Returns why it was killed ("did not start"), or NULL. */
const char *attempt_watch(struct attempt *a);

#endif
