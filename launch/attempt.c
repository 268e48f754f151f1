/* See attempt.h. */
#include "launch/attempt.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"

#define LOOK_EVERY 0.2          /* seconds */
#define OTHERS_FIRST 1.0        /* ranks that are left name one that hangs */
#define KNOCK_EVERY 2.0
#define STEPS_FIRST 1.0         /* srun ends by itself when its ranks have */
#define GRACE 10.0              /* from an outcome to the end of the job, */
#define GRACE_LOST 1.0          /* and from a loss: mpirun may hang on it */

/* When the run folder's config.cfg was written: each start writes it as soon as it is complete, and
 * from then on every wait has its deadline. */
static int64_t begun_at(const struct attempt *a)
{
    char path[4200];
    struct stat info;

    if (path_join(path, sizeof path, a->output, "config.cfg") != RL_OK || stat(path, &info) != 0)
        return -1;
    return (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

/* A host of srun's that has been silent twice in a row; mpirun notices by itself. */
static bool lost_host(struct attempt *a)
{
    const char *name;

    if (!launcher_is_srun(a->launcher) || clock_now() < a->knock_at)
        return false;
    name = hosts_silent(a->hosts);
    a->silent = !name ? 0 : name == a->silent_name ? a->silent + 1 : 1;
    a->silent_name = name;
    a->knock_at = clock_now() + (name ? 0 : KNOCK_EVERY);
    if (a->silent < 2)
        return false;
    job_lost_host(a->job, name);
    return true;
}

/* Why the job must be killed: nothing comes of its start, where MPI itself waits without a
 * deadline; one that others wait for is gone; or it does not end after its outcome.  NULL: it may
 * go on. */
static const char *why_kill(struct attempt *a)
{
    double now = clock_now(), grace;

    a->said |= outcome_read(a->output, a->start, &a->outcome);
    if (a->ended == 0 && (a->said || a->job->sudden))
        a->ended = now;
    if (!job_is_hollow(a->job))
        a->hollow = 0;
    else if (a->hollow == 0)
        a->hollow = now;
    if (a->hollow > 0 && now - a->hollow > GRACE)
        return "did not end";
    grace = a->said && a->outcome.exit_code != 3 ? GRACE : GRACE_LOST;
    if (a->ended > 0 && now - a->ended > grace)
        return "did not end";
    if (a->config_at == begun_at(a) && now - a->started > 30 + 10 * a->deadline)
        return "did not start";
    if (a->ended > 0)
        return NULL;
    if (hung_look(a->hung, a->scratch, a->deadline + OTHERS_FIRST, a->job->said,
                  sizeof a->job->said))
        return "did not go on";
    return lost_host(a) ? "lost a host" : NULL;
}

const char *attempt_watch(struct attempt *a)
{
    const char *killed = NULL;
    double patience = 0;
    int passed = 0;

    a->started = clock_now();
    a->config_at = begun_at(a);
    while (!job_watch(a->job, LOOK_EVERY)) {
        if (passed < *a->asked && passed < 2)
            job_signal(a->job, ++passed == 1 ? SIGUSR1 : SIGTERM);
        if (!killed) {
            killed = why_kill(a);
            if (killed && launcher_kill_steps(a->launcher))
                patience = clock_now() + STEPS_FIRST;
        }
        if (killed && clock_now() >= patience)
            job_signal(a->job, SIGKILL);
    }
    return killed;
}
