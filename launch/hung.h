/* What a supervisor sees of the ranks on its machine, on their board (comm/board.h): one that is
 * stopped when nobody is left to name it, and where one was that died.
 *
 *   struct hung h = { 0 };
 *   while (...) if (hung_look(&h, folder, patience, line, sizeof line)) ...
 *   hung_place(&h, folder, rank, line, sizeof line);
 *   hung_free(&h);                     for the next start
 */
#ifndef LAUNCH_HUNG_H
#define LAUNCH_HUNG_H

#include <stdbool.h>
#include <stddef.h>

struct hung {
    struct board *board;        /* NULL: not there yet */
    double since;               /* when a rank was first seen stopped, 0: none is */
};

/* folder: of mpirun's files.  True: a rank has been stopped for `patience` seconds; the line names
 * it. */
bool hung_look(struct hung *h, const char *folder, double patience, char *line, size_t room);
/* Appends " in \"update\" of step 5", if the board has that rank. */
void hung_place(struct hung *h, const char *folder, int rank, char *line, size_t room);
void hung_free(struct hung *h);

#endif
