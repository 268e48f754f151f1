/* SIGINT, SIGTERM and SIGUSR1 ask a run to stop: a flag that the end of each iteration looks at. */
#include <signal.h>
#include <string.h>

#include "launch/run.h"

static volatile sig_atomic_t asked;

static void on_signal(int number)
{
    (void)number;
    asked = 1;
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
    signal(SIGXFSZ, SIG_IGN);          /* a file limit is an error of write(), not an end */
    signal(SIGPIPE, SIG_IGN);          /* and so is a reader that went away */
}

bool stop_asked(void)
{
    return asked != 0;
}
