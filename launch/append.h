/* A file that grows by whole lines, on a disk that may be full or read-only for a while: what it
 * does not take waits in memory, in order, and goes with the next line that is added.
 *
 *   append_open(&a, path);  append_lines(&a, text, bytes);  if (append_waits(&a)) ...
 *   append_flush(&a);       at the end: RL_EIO when some still wait
 *
 * No other process may write to the file.  Nothing is dropped: a run whose scores are not on record
 * cannot be repeated, so more than APPEND_ROOM bytes that wait are an error.
 */
#ifndef LAUNCH_APPEND_H
#define LAUNCH_APPEND_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/text.h"

#define APPEND_ROOM ((size_t)256 << 20)

struct append {
    char path[4200];
    int fd;
    bool is_open;
    off_t good;                 /* bytes of the file that are whole lines */
    struct text waiting;        /* whole lines that belong behind them */
    int error;                  /* errno of the last write, 0: it went well */
};

/* Made if it is not there; lines go behind what it holds.  RL_EIO, one line. */
int append_open(struct append *a, const char *path);
/* Whole lines.  RL_OK when they are written or wait; RL_EIO when more than APPEND_ROOM wait. */
int append_lines(struct append *a, const char *bytes, size_t n);
/* One more try.  RL_EIO, one line that says how much waits and for what. */
int append_flush(struct append *a);
bool append_waits(const struct append *a);
void append_close(struct append *a);          /* what waits is lost; fine on a zeroed struct */

#endif
