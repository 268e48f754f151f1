/* The watch: a thread of each rank that looks, ten times a second, at what no wait of MPI can see.
 *
 *   the next rank of this host    has it ended?                      named at once
 *                                 is it stopped, for `deadline`?     named
 *   MPI's own start               not over within `deadline`:        who is missing here?
 *   this rank's wait              long past its deadline             MPI does not come back
 *   whom this rank asks           a program, a server, MPI's end: no answer for `deadline`
 *
 * Whoever watches a rank that is stopped watches the next one as well, so each has one watcher.
 * The line is posted: the main thread takes it in its next wait and ends the job as it ends after
 * any loss.  When it does not come to a wait, the thread says the line itself and exits. */
#ifndef COMM_WATCH_H
#define COMM_WATCH_H

#include <stddef.h>

#include "comm/board.h"

struct watch;

/* From here on it watches a start; deadline: seconds. */
int watch_open(struct watch **watch, double deadline);
void watch_close(struct watch *watch);                  /* NULL is fine */
void watch_started(struct watch *watch);                /* every rank has come */
void watch_deadline(struct watch *watch, double deadline);
/* Called from the thread with the line before it ends the process. */
void watch_on_loss(struct watch *watch, void (*told)(void *data, const char *line), void *data);

struct board *watch_board(struct watch *watch);
/* The line of a loss that was seen, NULL: none.  It is handed out for good. */
const char *watch_take(struct watch *watch);
/* This rank asks somebody outside, or a call of MPI that has no deadline; NULL: no more.  Half
 * a second beyond the deadline is left to whoever asks to say it himself. */
void watch_ask(struct watch *watch, const char *what);

/* "in \"update\" of step 5 (waiting at \"gradients\")": where that rank is; appended to text. */
void place_say(const struct place *place, char *text, size_t room);
/* "rank 2 (host h, learner)" */
void place_name(const struct place *place, const char *host, char *text, size_t room);

#endif
