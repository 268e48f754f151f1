/* The board of a host: a row for each rank of the job here, in memory that they share.  Each writes
 * what it does, so that others can say where a rank was that says nothing any more.
 *
 *   board_open(&board);               before MPI starts: it hangs there, too
 *   board_mine(board)->phase = ...    whoever reads may see half a change: it is for messages only
 *   board_health(place)               what the system says of that process: stopped, ended, ...
 *
 * It is a file in the folder of mpirun's own files, else in /dev/shm; it is removed once all ranks
 * are there, or, in a folder that somebody empties, at the end.  Without such a file the board has
 * one row. */
#ifndef COMM_BOARD_H
#define COMM_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#define BOARD_ROLES 64
#define BOARD_WHAT 160

enum doing { DOING_NOTHING, DOING_WORK, DOING_WAIT, DOING_ASK, DOING_END };

struct place {
    int32_t doing;                      /* enum doing; DOING_NOTHING: this rank never came */
    int32_t rank;                       /* in the world */
    int32_t phase, at;                  /* enum phase: of its work, and of its wait */
    int64_t step;
    double since, waits;                /* clock_now() when it began: the phase, the wait */
    int64_t pid, born, space;           /* born: ticks since boot; space: of process ids */
    char roles[BOARD_ROLES];
    char what[BOARD_WHAT];              /* DOING_ASK: whom outside of the job */
};

enum health { HEALTH_UNKNOWN, HEALTH_RUNS, HEALTH_DISK, HEALTH_STOPPED, HEALTH_ENDED };

struct board;

/* RL_ENOFIT only. */
int board_open(struct board **board);
/* Nobody comes any more; end: and nobody looks any more. */
void board_unlink(struct board *board, bool end);
void board_close(struct board *board);          /* NULL is fine */

struct place *board_mine(struct board *board);
/* Rows are numbered as the ranks of this host; NULL: no such row. */
const struct place *board_place(const struct board *board, int row);
const struct place *board_find(const struct board *board, int rank);
int board_row(const struct board *board);       /* mine */
int board_rows(const struct board *board);      /* ranks of this host that came or are awaited */
bool board_is_whole(const struct board *board); /* the host has all ranks of the job */
const char *board_host(const struct board *board);

enum health board_health(const struct place *place);

/* A rank ends the job with this exit code: the others here need not wait for a signal, which a
 * stopped one or one that asks somebody may not see for long.  0: nobody does. */
void board_end(struct board *board, int exit_code);
int board_ends(const struct board *board);

/* One rank of a host speaks of a loss: true for the first that asks. */
bool board_speak(struct board *board);
/* And one leaves an undertaker (undertaker.h), likewise. */
bool board_bury(struct board *board);
void board_forget(struct board *board);         /* for tests */

/* A supervisor reads the board that ranks have left, or keep, in this folder; NULL: none. */
struct board *board_look(const char *folder);

#endif
