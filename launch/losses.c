/* The decision after a loss; see losses.h. */
#include "launch/losses.h"

#include <stdio.h>
#include <string.h>

#define LONGEST_PAUSE 60.0

/* Up to who waits where, which differs from time to time. */
static bool same_reason(const char *a, const char *b)
{
    size_t n = strcspn(a, ";");

    return n == strcspn(b, ";") && strncmp(a, b, n) == 0;
}

enum next losses_decide(struct losses *l, const struct outcome *o, int64_t most)
{
    bool same = l->count > 0 && l->step == o->step && same_reason(l->reason, o->reason);

    if (o->exit_code != 3)
        return NEXT_ENDED;
    l->count++;
    l->in_a_row = o->step > l->furthest ? 0 : l->in_a_row + 1;
    l->furthest = o->step > l->furthest ? o->step : l->furthest;
    l->step = o->step;
    snprintf(l->reason, sizeof l->reason, "%s", o->reason);
    if (same)
        return NEXT_SAME_TWICE;
    return l->count > most ? NEXT_TOO_MANY : NEXT_AGAIN;
}

double losses_pause(const struct losses *l, double backoff)
{
    double seconds = l->in_a_row > 0 ? backoff : 0;

    for (int i = 1; i < l->in_a_row && seconds < LONGEST_PAUSE; i++)
        seconds *= 2;
    return seconds < LONGEST_PAUSE ? seconds : LONGEST_PAUSE;
}
