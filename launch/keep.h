/* Which checkpoints stay: the keep_last newest, those of steps that are multiples of keep_every,
 * and the keep_best whose step has the best value of a metric in metrics.jsonl. */
#ifndef LAUNCH_KEEP_H
#define LAUNCH_KEEP_H

#include "base/config.h"
#include "launch/folder.h"

/* Deletes the others.  On the recorder; not collective.  RL_EIO when the folder or metrics.jsonl
 * cannot be read, or a file cannot be deleted. */
int keep_prune(const struct folder *f, const struct config *c);

#endif
