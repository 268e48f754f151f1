/* Loaded before a program with LD_PRELOAD: while the file CHAOS_TOKEN is there, nothing under the
 * folder CHAOS_FOLDER can be written, as on a file system that the kernel has made read-only; and
 * the folder CHAOS_STALE cannot be listed, as on a file server that has forgotten it. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refused(const char *path)
{
    const char *token = getenv("CHAOS_TOKEN"), *folder = getenv("CHAOS_FOLDER");

    if (!token || !folder || strncmp(path, folder, strlen(folder)) != 0 || access(token, F_OK) != 0)
        return false;
    errno = EROFS;
    return true;
}

static bool refused_fd(int fd)
{
    char link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return refused(path);
}

#define REAL(name, ...)                                              \
    static __typeof__(&name) real;                                   \
    if (!real)                                                       \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                   \
    return real(__VA_ARGS__)

int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (flags & (O_WRONLY | O_RDWR | O_CREAT) && refused(path))
        return -1;
    REAL(open, path, flags, mode);
}

DIR *opendir(const char *path)
{
    const char *stale = getenv("CHAOS_STALE");

    if (stale && strcmp(path, stale) == 0) {
        errno = ESTALE;
        return NULL;
    }
    REAL(opendir, path);
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (refused_fd(fd))
        return -1;
    REAL(write, fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    if (refused_fd(fd))
        return -1;
    REAL(pwrite, fd, data, n, at);
}

int ftruncate(int fd, off_t size)
{
    if (refused_fd(fd))
        return -1;
    REAL(ftruncate, fd, size);
}

int rename(const char *from, const char *to)
{
    if (refused(to))
        return -1;
    REAL(rename, from, to);
}

int unlink(const char *path)
{
    if (refused(path))
        return -1;
    REAL(unlink, path);
}

int mkdir(const char *path, mode_t mode)
{
    if (refused(path))
        return -1;
    REAL(mkdir, path, mode);
}
