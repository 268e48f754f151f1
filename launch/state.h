/* What a checkpoint of a run holds, and the way back from it; see state.c. */
#ifndef LAUNCH_STATE_H
#define LAUNCH_STATE_H

#include "checkpoints/checkpoint.h"
#include "data/batch.h"
#include "launch/run.h"

#define STATE_VALUES 16

/* The state after a step, of which this rank holds pieces.  The weights and moments are the
 * learner's own: an update changes them under it. */
struct state {
    struct checkpoint_content content;
    struct array *arrays;
    struct checkpoint_piece *pieces;
    struct checkpoint_text texts[SOURCE_FILES + 1];
    struct checkpoint_value values[STATE_VALUES];
    struct text config;
    int64_t bad;                        /* bit q: queued batch q has numbers gone bad, and is not
                                         * stored: its step will be skipped */
    void **owned;                       /* the queue, gathered */
    int n_owned;
};

/* Collective over the learners.  state_release also after a failure. */
int state_gather(struct run *r, struct state *s);
void state_release(struct state *s);

/* queue.c: read these columns of this rank's share (b's group, groups are set) of queued batch
 * q. */
int queue_read(struct checkpoint *c, const char *path, int q, unsigned columns, struct batch *b);

#endif
