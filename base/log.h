/* What a run says to people: lines on stderr and in the run folder's log.txt. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* One line to stderr (unless quiet) and, with the time before it, to the log file (if open). */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, quiet or not.  For status_print; others call rl_error, which also returns the code. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Can fd take a line now?  A reader that stopped reading (mpirun, while it ends a job) must not
 * hold up a run; log lines wait a second at most and are then left to the log file. */
bool log_can_write(int fd);

/* Only one rank speaks: the others are quiet.  log_open appends to `path`. */
void log_quiet(bool quiet);
int log_open(const char *path);
void log_close(void);

#endif
