/* SIGINT, SIGTERM, SIGHUP and SIGUSR1 ask a run to stop: a flag that the end of each iteration
 * looks at.  A second SIGINT or SIGTERM, three seconds later or more, does not wait for that: the
 * step under way is lost. */
#include <signal.h>
#include <string.h>
#include <time.h>

#include "launch/run.h"

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
    static time_t first;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!asked)
        first = now.tv_sec;
    asked = 1;
    if ((number == SIGINT || number == SIGTERM) && now.tv_sec - first > 3) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

void stop_watch(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);          /* a reader that went away is no reason to stop */
}

bool stop_asked(void)
{
    return asked != 0;
}
