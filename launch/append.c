/* Lines that wait for room; see append.h. */
#include "launch/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

int append_open(struct append *a, const char *path)
{
    struct stat info;

    memset(a, 0, sizeof *a);
    if (snprintf(a->path, sizeof a->path, "%s", path) >= (int)sizeof a->path)
        return rl_error(RL_EIO, "path too long: %.60s...", path);
    a->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (a->fd < 0)
        return rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    a->is_open = true;
    if (fstat(a->fd, &info) != 0)
        return rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    a->good = info.st_size;
    return RL_OK;
}

/* What waits, behind the good end.  A piece of it is cut off again: readers meet whole lines. */
static void write_waiting(struct append *a)
{
    size_t done = 0;

    a->error = 0;
    while (done < a->waiting.size && a->error == 0) {
        ssize_t n = pwrite(a->fd, a->waiting.data + done, a->waiting.size - done,
                           a->good + (off_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            a->error = n == 0 ? ENOSPC : errno;
    }
    if (a->error == 0) {
        a->good += (off_t)done;
        text_clear(&a->waiting);
    } else if (done > 0 && ftruncate(a->fd, a->good) != 0) {
        a->error = errno;               /* the next try writes over it */
    }
}

int append_lines(struct append *a, const char *bytes, size_t n)
{
    if (n > APPEND_ROOM - a->waiting.size)
        return rl_error(RL_EIO, "cannot write %s: %s; %zu bytes of lines wait for room, no more "
                        "can", a->path, strerror(a->error), a->waiting.size);
    text_add(&a->waiting, bytes, n);
    write_waiting(a);
    return RL_OK;
}

int append_flush(struct append *a)
{
    if (append_waits(a))
        write_waiting(a);
    if (append_waits(a))
        return rl_error(RL_EIO, "cannot write %s: %s; %zu bytes of lines are not on the disk: make "
                        "room and start the same run again", a->path, strerror(a->error),
                        a->waiting.size);
    return RL_OK;
}

bool append_waits(const struct append *a)
{
    return a->waiting.size > 0;
}

void append_close(struct append *a)
{
    if (a->is_open)
        close(a->fd);
    text_free(&a->waiting);
    memset(a, 0, sizeof *a);
}
