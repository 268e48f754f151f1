/* See stop.h. */
#include "base/stop.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signalled;
static char file[4200];                     /* "": none */
static bool waits_may_end;

static void on_signal(int number)
{
    static time_t first;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!signalled)
        first = now.tv_sec;
    signalled = 1;
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

void stop_folder(const char *path)
{
    if (snprintf(file, sizeof file, "%s/stop", path) >= (int)sizeof file)
        file[0] = 0;
}

bool stop_asked(void)
{
    return signalled || (file[0] && access(file, F_OK) == 0);
}

void stop_answered(void)
{
    if (file[0])
        remove(file);
}

void stop_cuts_waits(bool may)
{
    waits_may_end = may;
}

bool stop_cut(void)
{
    return waits_may_end && stop_asked();
}
