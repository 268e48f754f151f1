/* Is a run started again?  The losses so far, and the decision. */
#ifndef LAUNCH_LOSSES_H
#define LAUNCH_LOSSES_H

#include <stdint.h>

#include "launch/outcome.h"

struct losses {
    int64_t count;              /* so far */
    int64_t step;               /* of the last one */
    char reason[REASON_BYTES];  /* of the last one */
    int64_t furthest;           /* step that any start has reached; -1 at first */
    int in_a_row;               /* the last ones that made no new step */
};

enum next { NEXT_ENDED, NEXT_AGAIN, NEXT_SAME_TWICE, NEXT_TOO_MANY };

/* After a start that ended with `o` (exit code 3: lost, and then it counts); `most` restarts are
 * allowed.  The second loss in a row at the same step for the same reason is the last. */
enum next losses_decide(struct losses *l, const struct outcome *o, int64_t most);
/* Seconds to wait before the next start: none after a new step, else backoff, doubled each time, a
 * minute at most. */
double losses_pause(const struct losses *l, double backoff);

#endif
