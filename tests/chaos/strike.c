/* Hits a rank of a running job in the phase and at the step that are wanted, or a later one:
 *
 *   strike FOLDER SIGNAL RANK PHASE STEP
 *
 * FOLDER is that of mpirun's files (OMPI_MCA_orte_tmpdir_base of the job), where the ranks keep
 * their board (comm/board.h).  The rank is stopped first; when it has gone on to another phase
 * meanwhile, it goes on and is tried again.  Prints the time of day of the blow, host and step.
 * Exit code 1: the rank was not found there within 60 seconds. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "comm/board.h"
#include "comm/comm.h"

#define PATIENCE 60.0       /* seconds */

struct wanted { int rank; const char *phase; long long step; };

static bool is_there(const struct place *p, const struct wanted *w)
{
    return p && p->phase >= 0 && p->phase < PHASES && p->step >= w->step &&
           strcmp(phase_name((enum phase)p->phase), w->phase) == 0;
}

/* Stopped where it is wanted?  Else it runs again. */
static bool hold(const struct place *p, const struct wanted *w)
{
    double until = clock_now() + 1;

    if (kill((pid_t)p->pid, SIGSTOP) != 0)
        return false;
    while (board_health(p) != HEALTH_STOPPED && clock_now() < until)
        usleep(50);
    if (is_there(p, w))
        return true;
    kill((pid_t)p->pid, SIGCONT);
    return false;
}

int main(int argc, char **argv)
{
    double until = clock_now() + PATIENCE;
    struct board *board = NULL;
    struct wanted w;
    struct timespec now;

    if (argc != 6)
        return 2;
    w = (struct wanted){ atoi(argv[3]), argv[4], atoll(argv[5]) };
    while (clock_now() < until) {
        const struct place *p;
        usleep(50);
        if (!board && !(board = board_look(argv[1])))
            continue;
        p = board_find(board, w.rank);
        if (!is_there(p, &w) || !hold(p, &w))
            continue;
        clock_gettime(CLOCK_REALTIME, &now);
        if (strcmp(argv[2], "KILL") == 0)
            kill((pid_t)p->pid, SIGKILL);
        printf("%lld.%09ld %s %lld\n", (long long)now.tv_sec, now.tv_nsec, board_host(board),
               (long long)p->step);
        board_close(board);
        return 0;
    }
    fprintf(stderr, "rank %d was not in \"%s\" of step %lld or later\n", w.rank, w.phase, w.step);
    return 1;
}
