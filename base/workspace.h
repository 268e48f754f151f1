/* A workspace: memory that modules use in turn, each from the beginning of its passes to their end.
 * None finds again what it left, but while nobody else has begun.
 *
 *       0
 *       |-- the actor's logits --|-- pages of its cache --|        lives at once
 *       |-- activations of the policy ----------|-- the critic's ----------|
 *       |-- activations of the reference --|                                ^ the size to allocate
 *
 * It is planned as other memory is, in a counting pass over all its users and a real one:
 *
 *   struct workspace counted = { 0 }, w = { 0 };
 *   own = workspace_count(&counted, bytes)      -- of each user: its own
 *   TRY(workspace_open(&w, counted.memory.peak));
 *   TRY(workspace_part_open(&part, &w));        -- of each user, in any order
 *   workspace_part_begin(&part);                -- its first pass: others' numbers are lost
 *   workspace_part_close(&part);
 *   workspace_close(&w);                        -- after its users
 *
 * NULL is no workspace: a part is memory of its own then, and nobody takes it away.
 */
#ifndef BASE_WORKSPACE_H
#define BASE_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"

struct workspace {
    struct memory memory;       /* peak: of all users */
    bool together;              /* users that come now live at once */
    size_t next;                /* where the next of them begins */
    int users, holder;          /* counted; whose numbers are there */
};

/* Of one user: its layout is counted in `memory` before the part is opened. */
struct workspace_part {
    struct memory memory;
    struct workspace *of;       /* NULL: memory of its own */
    int user;
};

/* Users that are counted or opened between (true) and (false) are one user: all they hold lives at
 * once.  NULL is fine. */
void workspace_together(struct workspace *w, bool together);

/* One more user of so many bytes: those that it takes beside the workspace, 0 or (NULL) all. */
size_t workspace_count(struct workspace *w, size_t bytes);

/* `bytes`: memory.peak of the one that was counted; zeroed, as memory_open's.  RL_ENOFIT. */
int workspace_open(struct workspace *w, size_t bytes);
void workspace_close(struct workspace *w);                      /* fine on a zeroed struct */

/* p->memory.peak bytes: laid out anew by the caller.  RL_ENOFIT; RL_EBUG: more than was counted. */
int workspace_part_open(struct workspace_part *p, struct workspace *w);
void workspace_part_close(struct workspace_part *p);            /* fine on a zeroed struct */

/* What others left is no longer theirs. */
void workspace_part_begin(struct workspace_part *p);
/* Is what it left since then still there? */
bool workspace_part_holds(const struct workspace_part *p);

#endif
