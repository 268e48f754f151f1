/* Batches of a checkpoint's queue. */
#ifndef LAUNCH_STATE_H
#define LAUNCH_STATE_H

#include "checkpoints/checkpoint.h"
#include "data/batch.h"

/* Read these columns of this rank's share (b's group, groups are set) of queued batch q. */
int queue_read(struct checkpoint *c, const char *path, int q, unsigned columns, struct batch *b);

#endif
