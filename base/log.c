/* Lines for people: stderr as they are, log.txt with the time before them. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

/* One log a process, like stderr itself. */
static FILE *file;
static bool quiet_now;

static void stamp(char *out, size_t room)
{
    time_t now = time(NULL);
    struct tm parts;

    if (!localtime_r(&now, &parts) || strftime(out, room, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        out[0] = 0;
}

static bool can_write(int fd, int milliseconds)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    return poll(&p, 1, milliseconds) == 1 && (p.revents & POLLOUT);
}

bool log_can_write(int fd)
{
    return can_write(fd, 0);
}

static void line(bool to_stderr, const char *mark, const char *format, va_list args)
{
    va_list again;
    char when[32];

    if (to_stderr && can_write(STDERR_FILENO, 1000)) {
        va_copy(again, args);
        flockfile(stderr);            /* one line stays one line when helper threads log */
        fputs(mark, stderr);
        vfprintf(stderr, format, again);
        fputc('\n', stderr);
        funlockfile(stderr);
        va_end(again);
    }
    if (file) {
        stamp(when, sizeof when);
        fprintf(file, "%s %s", when, mark);
        vfprintf(file, format, args);
        fputc('\n', file);
        fflush(file);                 /* the last line before a crash is the one that matters */
    }
}

void log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(!quiet_now, "", format, args);
    va_end(args);
}

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(true, "rankwise: ", format, args);
    va_end(args);
}

void log_quiet(bool quiet)
{
    quiet_now = quiet;
}

int log_open(const char *path)
{
    log_close();
    file = fopen(path, "ae");
    if (!file)
        return rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    return RL_OK;
}

void log_close(void)
{
    if (file)
        fclose(file);
    file = NULL;
}
