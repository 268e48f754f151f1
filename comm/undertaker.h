/* Open MPI's mpirun can hang when its ranks end in the middle of MPI's start: PMIx 4.2.2 waits in
 * PMIx_server_finalize for a thread that waits for a lock which nobody holds any more.  Whoever
 * ends a job early leaves a process that outlives it, and mpirun's own end by a moment.
 */
#ifndef COMM_UNDERTAKER_H
#define COMM_UNDERTAKER_H

#include "comm/board.h"

/* Called by a rank that is about to end the job.  If mpirun on this host is still there UNDERTAKER_
 * SECONDS after the last of its ranks has ended, it is named on its own stderr and killed.  Nothing
 * happens under another launcher, or when ranks are on several hosts. */
#define UNDERTAKER_SECONDS 10
void undertaker_leave(struct board *board);

#endif
