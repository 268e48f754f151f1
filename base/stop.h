/* A request to stop: SIGINT, SIGTERM, SIGHUP, SIGUSR1, or a file `stop` in a folder.  It is a flag
 * that whoever has long to do looks at.
 *
 *   stop_watch();
 *   stop_folder("runs/x");
 *   while (more && !stop_asked())
 */
#ifndef BASE_STOP_H
#define BASE_STOP_H

#include <stdbool.h>

/* From here on the signals are a request; SIGPIPE is ignored.  A second SIGINT or SIGTERM, three
 * seconds later or more, ends the process. */
void stop_watch(void);
void stop_folder(const char *path);         /* and so is the file in this folder */
bool stop_asked(void);
void stop_answered(void);                   /* takes the file away */

/* May a wait for somebody outside be given up when a stop is asked?  At first: no. */
void stop_cuts_waits(bool may);
bool stop_cut(void);                        /* it may, and it is asked */

#endif
