/* When the state is saved, and what becomes of a disk that does not take it.
 *
 *   step 20          copy of the state in memory (checkpoints/image.h); a thread writes it
 *   steps 21, 22     are done meanwhile
 *   the first end of a step with all threads done: the file gets its name, older ones are pruned
 *
 * A checkpoint that could not be written is no reason to stop: it is said, and tried again after
 * every step, until one is written.  The last one of a run must be written.
 */
#ifndef LAUNCH_SAVE_H
#define LAUNCH_SAVE_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoints/image.h"

struct run;

struct saver {
    bool behind;                        /* there is memory for the copy, on every learner */
    void *copy;                         /* (room) */
    size_t room;
    struct image image;                 /* of the copy, while it is written */
    struct checkpoint_writer *writer;   /* NULL: none is being written */
    int64_t writing;                    /* its step */
    int64_t saved;                      /* step of the newest checkpoint, -1: none */
    bool missing;                       /* the last one could not be written */
    struct checkpoint_written written;  /* in this step, bytes 0: nothing */
};

/* Takes memory for the copy when checkpoints are written during the run; without it they are
 * written at once.  Collective over the learners, others return at once; so are save_step, save_now
 * and save_finish. */
int save_open(struct run *r);
/* Will the state of this step be written, to a checkpoint or the journal?  (One that is tried again
 * is not counted.) */
bool save_is_due(const struct run *r);
/* At the end of a step: what is due begins, what is done is made visible. */
int save_step(struct run *r);
/* Now and to the end, the state as it is; `end`: only finish what is being written. */
int save_now(struct run *r);
int save_finish(struct run *r);
/* Not collective; nothing may be being written. */
void save_close(struct saver *s);

#endif
