/* The run folder: can it be written, locked, renamed in, and how fast is it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "launch/doctor/doctor.h"

#define PIECE ((size_t)1 << 20)
#define PIECES 32                       /* MiB that are written */

static void refused(struct exam *e, const char *what, const char *advice)
{
    doctor_says(e, true, "disk", "%s: %s: %s; %s", e->dir, what, strerror(errno), advice);
}

/* Seconds for PIECES MiB and an fsync; negative: it failed, errno says why. */
static double write_all(int fd)
{
    char *piece = malloc(PIECE);
    double begin = clock_now();
    bool good = piece != NULL;

    if (piece)
        memset(piece, 0x5a, PIECE);
    for (int i = 0; i < PIECES && good; i++) {
        errno = ENOSPC;                         /* of a write that ends early */
        good = write(fd, piece, PIECE) == (ssize_t)PIECE;
    }
    free(piece);
    return good && fsync(fd) == 0 ? clock_now() - begin : -1;
}

static void try_file(struct exam *e, int fd, const char *path)
{
    char renamed[4300];
    double seconds;

    snprintf(renamed, sizeof renamed, "%s.renamed", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        refused(e, "cannot lock a file", "mount it with locks, or use another folder");
    seconds = write_all(fd);
    if (seconds < 0)
        refused(e, "cannot write and fsync 32 MiB", "make room, or use another folder");
    if (rename(path, renamed) != 0 || folder_sync(renamed) != RL_OK)
        refused(e, "cannot rename a file", "use another folder");
    if (seconds >= 0)
        doctor_figure(doctor_says(e, false, "disk", "%s: lock, rename and fsync work", e->dir),
                      PIECES * (double)PIECE / 1e6 / (seconds > 1e-6 ? seconds : 1e-6), "MB/s");
    unlink(renamed);
}

void doctor_disk(struct exam *e)
{
    char path[4200];
    int fd;

    if (!folder_exists(e->dir)) {
        doctor_says(e, true, "disk", "%s: no such folder here; make it, or mount it", e->dir);
        return;
    }
    snprintf(path, sizeof path, "%s/.rankwise-doctor.XXXXXX", e->dir);
    fd = mkstemp(path);
    if (fd < 0) {
        refused(e, "cannot make a file", "give this user the right to write there");
        return;
    }
    try_file(e, fd, path);
    unlink(path);
    close(fd);
}
