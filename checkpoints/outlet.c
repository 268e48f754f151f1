/* Bytes to their places in a file, past the page cache where the file system can (O_DIRECT): the
 * kernel then copies nothing, and training beside it keeps the processor.
 *
 *   at                                        at + n
 *   | head |  middle: whole pages of the file  | tail |      head, tail: through the page cache
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/internal.h"

#define PENDING ((uint64_t)64 << 20)             /* bytes that the disk may be behind, twice */
#define PAGE ((size_t)4096)
#define BLOCK ((size_t)4 << 20)                 /* copied to where a page begins, then written */

int outlet_open(struct outlet *o, const char *path, bool past)
{
    int fd;

    *o = (struct outlet){ .fd = open(path, O_WRONLY | O_CLOEXEC), .past = -1 };
    if (o->fd < 0)
        return errno;
    fd = past ? open(path, O_WRONLY | O_DIRECT | O_CLOEXEC) : -1;
    o->block = fd >= 0 ? aligned_alloc(PAGE, BLOCK) : NULL;
    if (o->block)
        o->past = fd;
    else if (fd >= 0)
        close(fd);
    return 0;
}

int pwrite_all(int fd, const char *data, size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, data + done, n - done, (off_t)(at + done));
        if (put < 0 && errno != EINTR)
            return errno;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

/* Through the page cache; the disk starts on it now, not at the fsync, where that can be asked, and
 * not more than it does in a moment waits there: who looks on sees how far it is. */
static int write_through(struct outlet *o, const char *data, size_t n, uint64_t at)
{
    int error = pwrite_all(o->fd, data, n, at);

    sync_file_range(o->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
    if (at != o->end)
        o->begun = at;
    o->end = at + n;
    for (; o->end - o->begun > 2 * PENDING; o->begun += PENDING)
        sync_file_range(o->fd, (off_t)o->begun, (off_t)PENDING, SYNC_FILE_RANGE_WAIT_BEFORE |
                        SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    return error;
}

/* Whole pages; *done of n bytes are written, fewer when the file system will not after all. */
static int write_past(struct outlet *o, const char *data, size_t n, uint64_t at, size_t *done)
{
    for (*done = 0; *done < n;) {
        size_t some = n - *done < BLOCK ? n - *done : BLOCK;
        ssize_t put;

        memcpy(o->block, data + *done, some);
        put = pwrite(o->past, o->block, some, (off_t)(at + *done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EINVAL)
            return errno;
        if (put < (ssize_t)PAGE)
            return 0;
        *done += (size_t)put / PAGE * PAGE;
    }
    return 0;
}

int outlet_write(struct outlet *o, const char *data, size_t n, uint64_t at)
{
    size_t head = (size_t)(-at % PAGE), middle, done = 0;
    int error = 0;

    if (o->past < 0 || n < head + PAGE)
        return write_through(o, data, n, at);
    middle = (n - head) / PAGE * PAGE;
    error = write_past(o, data + head, middle, at + head, &done);
    if (error == 0 && done < middle) {
        close(o->past);
        o->past = -1;
    }
    if (error == 0 && head > 0)
        error = write_through(o, data, head, at);
    if (error == 0 && head + done < n)
        error = write_through(o, data + head + done, n - head - done, at + head + done);
    return error;
}

int outlet_sync(const struct outlet *o)
{
    return fsync(o->fd) != 0 && errno != EINVAL ? errno : 0;
}

int outlet_close(struct outlet *o)
{
    int error = o->fd >= 0 && close(o->fd) != 0 ? errno : 0;

    if (o->past >= 0 && close(o->past) != 0 && error == 0)
        error = errno;
    free(o->block);
    *o = (struct outlet){ .fd = -1, .past = -1 };
    return error;
}
