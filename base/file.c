/* Files: whole reads, atomic writes, folders.
 *
 * A write becomes visible in one instant:  path.part -> fsync -> rename -> fsync of the folder.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define PATH_ROOM 4096
#define PIPE_MOST ((size_t)16 << 20)    /* bytes from a pipe or a device such as /dev/zero */

/* What the caller named wrongly is bad input; what the system refused is an I/O error. */
static int file_error(const char *verb, const char *path)
{
    int e = errno;
    int code = e == ENOENT || e == ENOTDIR || e == EISDIR || e == ENAMETOOLONG || e == ELOOP
                   ? RL_EINVAL : RL_EIO;

    return rl_error(code, "cannot %s %s: %s", verb, path, strerror(e));
}

bool file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool file_is_plain(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool folder_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* most: bytes it may have; SIZE_MAX: any number. */
static int read_all(int fd, const char *path, size_t expected, size_t most, struct text *out)
{
    size_t step = expected + 1 < 65536 ? 65536 : expected + 1;     /* + 1: sees the end in one go */
    int rc = RL_OK;
    ssize_t n;

    do {
        if (out->size > most)
            return rl_error(RL_EINVAL, "%s is no plain file and does not end within %zu MiB", path,
                            most >> 20);
        if (out->size > SIZE_MAX - step - 1)
            return rl_error(RL_ENOFIT, "%s is too big to read whole", path);
        TRY(text_reserve(out, out->size + step + 1));
        n = read(fd, out->data + out->size, step);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error("read", path);
        out->size += (size_t)n;
        out->data[out->size] = 0;
        step = 65536;
    } while (n != 0);
done:
    return rc;
}

int file_read(const char *path, struct text *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    int rc;

    text_clear(out);
    if (fd < 0)
        return file_error("read", path);
    if (fstat(fd, &info) != 0)
        rc = file_error("read", path);
    else
        rc = read_all(fd, path, info.st_size > 0 ? (size_t)info.st_size : 0,
                      S_ISREG(info.st_mode) ? SIZE_MAX : PIPE_MOST, out);
    close(fd);
    return rc;
}

static int write_all(int fd, const char *path, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes < INT_MAX ? bytes : INT_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error("write", path);
        data += n;
        bytes -= (size_t)n;
    }
    return fsync(fd) == 0 ? RL_OK : file_error("write", path);
}

int file_write(const char *path, const void *data, size_t bytes)
{
    char part[PATH_ROOM];
    struct stat info;
    int fd, rc;

    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return rl_error(RL_EINVAL, "cannot write %s: it is no regular file", path);
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return rl_error(RL_EINVAL, "path too long: %s", path);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return file_error("write", part);
    rc = write_all(fd, part, data, bytes);
    if (close(fd) != 0 && rc == RL_OK)
        rc = file_error("write", part);
    if (rc == RL_OK && rename(part, path) != 0)
        rc = file_error("write", path);
    if (rc != RL_OK) {
        unlink(part);
        return rc;
    }
    return folder_sync(path);
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | flags), rc = RL_OK;

    if (fd < 0)
        return file_error("sync", path);
    if (fsync(fd) != 0 && errno != EINVAL)      /* EINVAL: this file system cannot, and says so */
        rc = file_error("sync", path);
    close(fd);
    return rc;
}

int file_sync(const char *path)
{
    return sync_path(path, 0);
}

int folder_sync(const char *path_of_a_file_in_it)
{
    const char *path = path_of_a_file_in_it, *slash = strrchr(path, '/');
    char folder[PATH_ROOM];

    if (!slash)
        return sync_path(".", O_DIRECTORY);
    if (slash - path >= PATH_ROOM - 1)
        return rl_error(RL_EINVAL, "path too long: %s", path);
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return sync_path(folder, O_DIRECTORY);
}

int folder_make(const char *path)
{
    char part[PATH_ROOM];
    size_t n = strlen(path);
    int refused;

    if (n == 0)
        return rl_error(RL_EINVAL, "cannot make a folder without a name");
    if (n >= sizeof part)
        return rl_error(RL_EINVAL, "path too long: %s", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        /* A parent we may not make may still be there; the last one decides. */
        if (mkdir(part, 0777) == 0)
            continue;
        refused = errno;                        /* looking changes errno */
        if (folder_exists(part))
            continue;
        errno = refused;
        return refused == EEXIST ? rl_error(RL_EINVAL, "%s is a file, not a folder", part)
                                 : file_error("make the folder", part);
    }
    return RL_OK;
}

int file_cut(const char *path, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), rc = RL_OK;
    struct stat info;

    if (fd < 0)
        return file_error("cut", path);
    if (fstat(fd, &info) != 0)
        rc = file_error("cut", path);
    else if ((uintmax_t)info.st_size < bytes)
        rc = rl_error(RL_EINVAL, "%s has %jd bytes, fewer than the %zu to keep", path,
                      (intmax_t)info.st_size, bytes);
    else if (ftruncate(fd, (off_t)bytes) != 0 || fsync(fd) != 0)
        rc = file_error("cut", path);
    close(fd);
    return rc;
}

int path_join(char *out, size_t room, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    const char *slash = n == 0 || dir[n - 1] == '/' ? "" : "/";
    int size = snprintf(out, room, "%s%s%s", dir, slash, name);

    if (size < 0 || (size_t)size >= room)
        return rl_error(RL_EINVAL, "path too long: %s%s%s", dir, slash, name);
    return RL_OK;
}

void path_stem(const char *path, char *out, size_t room)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);

    if (n > 3 && strcmp(name + n - 3, ".gz") == 0)
        n -= 3;
    for (size_t i = n; i-- > 1;)
        if (name[i] == '.') {
            n = i;
            break;
        }
    snprintf(out, room, "%.*s", (int)n, name);
}
