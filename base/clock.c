/* Seconds on a clock that never jumps. */
#include "base/clock.h"

#include <time.h>

double clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);       /* cannot fail with this clock and a valid pointer */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void clock_sleep(double seconds)
{
    struct timespec t;

    if (!(seconds > 0))
        return;
    if (seconds > 1e9)
        seconds = 1e9;
    t.tv_sec = (time_t)seconds;
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}
