/* Loaded before a program with LD_PRELOAD: the first process that renames a checkpoint kills itself
 * with -9, just before the rename or just after it.  CHAOS_WHEN is "before" or "after"; the file
 * CHAOS_TOKEN is removed by the one that dies, so that it happens once. */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die_if(const char *when, const char *to)
{
    const char *wanted = getenv("CHAOS_WHEN"), *token = getenv("CHAOS_TOKEN");
    size_t n = strlen(to);

    if (wanted && token && strcmp(wanted, when) == 0 && n > 3 && strcmp(to + n - 3, ".h5") == 0 &&
        unlink(token) == 0)
        kill(getpid(), SIGKILL);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *), result;

    *(void **)&real = dlsym(RTLD_NEXT, "rename");
    die_if("before", to);
    result = real(from, to);
    die_if("after", to);
    return result;
}
