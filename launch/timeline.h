/* The timeline of a run: what each rank did when, in Chrome's trace event format.
 *
 *   every rank    trace/rank-00003.ring     its spans, from timeline_open on (base/trace.h)
 *   recorder      trace.json                all of them on rank 0's clock, at the end of a start
 *
 * What a start that was killed left is joined by the next one, by the supervisor that gives up, or
 * by `rankwise trace`.  A trace.json of an earlier start becomes trace-1.json, trace-2.json, ...; a
 * folder of rings that nobody could read becomes trace-1/, trace-2/, ...
 */
#ifndef LAUNCH_TIMELINE_H
#define LAUNCH_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

struct run;

struct timeline { bool on; };

/* Nothing unless config->trace.  What the disk does not take is said, and the run goes on without.
 * Collective over world. */
int timeline_open(struct run *r);
/* Spans from here on are of this step. */
void timeline_step(const struct run *r, int64_t step);
/* Write trace.json; returns rc, or RL_ELOST.  Collective over world unless rc is RL_ELOST. */
int timeline_close(struct run *r, int rc);

/* Make trace.json of the rings that are left in a run folder, and remove those that it is made of;
 * the caller has the folder's lock.  *left: rings that are still there, as they could not be
 * read, or not whole. */
int timeline_join(const char *folder, int *left);
/* The same for whoever has no lock and waits so long for it (s).  RL_EINVAL: the run goes on. */
int timeline_rescue(const char *folder, double patience, int *left);
/* `name``ending` in the folder, if it is there, becomes the first of `name`-1`ending`, -2, ... that
 * is free. */
int timeline_make_way(const char *folder, const char *name, const char *ending);

#endif
