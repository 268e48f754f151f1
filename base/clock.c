/* Two clocks; see clock.h. */
#include "base/clock.h"

#include <time.h>

static double read_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);           /* cannot fail with these clocks and a valid pointer */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double clock_of_day(void)
{
    return read_clock(CLOCK_REALTIME);
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
