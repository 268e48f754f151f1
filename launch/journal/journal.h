/* The step journal: what a restart begins from between two checkpoints.
 *
 *   after every step   each learner copies its pieces of the state (launch/state.h) into one of two
 *                      slots on its host, in turns; with journal = "memory" the same record goes to
 *                      a rank on another host, if there is one, which keeps it beside its own
 *   at a start         the ranks say which records they find; the newest step of which every
 *                      learner's record is whole somewhere is written out as a checkpoint, and
 *                      the run resumes from that like from any other
 *
 * A record is not overwritten before all ranks have agreed that the one of the next step is whole:
 * whoever dies, whenever, at most the step under way is lost.  Records carry a number drawn for the
 * run, so that those of another run in the same folder are not taken; a start without a journal
 * forgets the number.  They are removed at the successful end of the run.
 */
#ifndef LAUNCH_JOURNAL_JOURNAL_H
#define LAUNCH_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "launch/journal/slot.h"

struct run;

/* A learner whose records this rank keeps: its rank in the world, and among the learners. */
struct kept { int from, rank; struct slot slot[2]; };

struct journal {
    bool on, to_disk;
    uint64_t run;                       /* the number of the run */
    char folder[4200];                  /* on each host */
    struct slot own[2];                 /* learners only */
    int turn;                           /* which of two slots is next; the other one is whole */
    int to;                             /* world rank that keeps a copy of mine, -1: none */
    struct kept *kept;
    int n_kept;
};

/* Before the newest checkpoint is looked for: write out what the journal has beyond it.  RL_EIO:
 * the disk does not take it, and it stays in the journal.  What cannot be read is said, and the run
 * resumes from the checkpoint.  fresh: an earlier run's records are forgotten.
 * Collective over world, like the next two. */
int journal_recover(struct run *r, bool fresh);
/* Makes the slots.  RL_EIO when there is no room for them; after a restart by the supervisor the
 * run goes on without, and says so. */
int journal_open(struct run *r);
/* The state after r->step steps. */
int journal_step(struct run *r);
/* done: its records are of no more use.  Not collective. */
void journal_close(struct journal *j, bool done);

#endif
