/* Loaded before a program with LD_PRELOAD: on the host CHAOS_HOST the clock of the day is ten
 * seconds late. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
    int (*real)(clockid_t, struct timespec *), rc;
    const char *wanted = getenv("CHAOS_HOST");
    char host[64] = "";

    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    rc = real(id, t);
    if (id == CLOCK_REALTIME && wanted && gethostname(host, sizeof host - 1) == 0 &&
        strcmp(host, wanted) == 0)
        t->tv_sec -= 10;
    return rc;
}
