/* See undertaker.h.  Between fork and the end only calls that may be made there: another thread may
 * hold malloc's lock. */
#include "comm/undertaker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_EVERY 500          /* milliseconds */

enum { MPIRUN, ITS_STDERR };    /* what the process has open: mpirun as a pidfd */

static bool is_mpirun(int pid)
{
    char path[64], name[16] = "";
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, name, sizeof name - 1);
    close(fd);
    return n > 0 && (strcmp(name, "mpirun\n") == 0 || strcmp(name, "mpiexec\n") == 0 ||
                     strcmp(name, "orterun\n") == 0);
}

static bool all_ended(const struct board *board)
{
    for (int i = 0; i < board_rows(board); i++) {
        const struct place *p = board_place(board, i);
        if (p->pid && board_health(p) != HEALTH_ENDED)
            return false;
    }
    return true;
}

static void wait_and_bury(const struct board *board, int mpirun)
{
    struct pollfd ended = { .fd = MPIRUN, .events = POLLIN };
    char line[160];
    int waited = 0, n;

    while (waited < UNDERTAKER_SECONDS * 1000) {
        if (poll(&ended, 1, LOOK_EVERY) != 0)
            return;
        waited = all_ended(board) ? waited + LOOK_EVERY : 0;
    }
    n = snprintf(line, sizeof line, "rankwise: mpirun (process %d) hangs, %d s after its ranks "
                 "have ended: killed\n", mpirun, UNDERTAKER_SECONDS);
    if (write(ITS_STDERR, line, (size_t)n) < 0)
        close(ITS_STDERR);              /* its death still says something */
    syscall(SYS_pidfd_send_signal, MPIRUN, SIGKILL, NULL, 0);
}

void undertaker_leave(struct board *board)
{
    int parent = (int)getppid(), mpirun, out;
    char path[64];

    if (!board_is_whole(board) || !is_mpirun(parent) || !board_bury(board))
        return;
    mpirun = (int)syscall(SYS_pidfd_open, parent, 0);
    snprintf(path, sizeof path, "/proc/%d/fd/2", parent);
    out = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    if (mpirun >= 0 && parent == (int)getppid() && _Fork() == 0) {
        setsid();                       /* mpirun kills its ranks' groups, waits for their files */
        mpirun = fcntl(mpirun, F_DUPFD, 8);
        dup2(out >= 0 ? out : STDERR_FILENO, ITS_STDERR);
        dup2(mpirun, MPIRUN);
        closefrom(ITS_STDERR + 1);
        wait_and_bury(board, parent);
        _exit(0);
    }
    close(mpirun);
    close(out);
}
