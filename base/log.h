/* What a run says to people: lines on stderr and in the run folder's log.txt. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* One line to stderr (unless quiet) and to the log file (if open). */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Only one rank speaks: the others are quiet.  log_open appends to `path`. */
void log_quiet(bool quiet);
int log_open(const char *path);
void log_close(void);

#endif
