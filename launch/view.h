/* A run on the terminal: one line a step.  For a person it is live (rewritten in place, with a
 * bar); else plain lines.  A reader that does not keep up loses lines; the run never waits for it.
 */
#ifndef LAUNCH_VIEW_H
#define LAUNCH_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"

/* Shows the step whose metrics are set. */
void view_step(const struct metrics *m, int64_t step, int64_t steps, double seconds_left);
/* From here on nothing is shown. */
void view_quiet(bool quiet);
/* End the live line, if any, so that other text can follow. */
void view_end(void);

#endif
