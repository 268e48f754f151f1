/* A plug-in of the worst kind: it turns on flush-to-zero when it is loaded, as an object linked
 * with fast mathematics does, and another rounding whenever it is called, and ends the process. */
#include <fenv.h>
#include <stdlib.h>
#include <string.h>

#include "reward/plugin.h"

static void spoil(void)
{
#if defined(__x86_64__)
    unsigned flags = 0x9fc0;            /* the default, flush to zero, denormals are zero */
    __asm__ volatile("ldmxcsr %0" : : "m"(flags));
#endif
    fesetround(FE_UPWARD);
}

__attribute__((constructor)) static void loaded(void)
{
    spoil();
}

static int flush_open(void **state, const char *settings, const char **error)
{
    spoil();
    *state = (void *)settings;
    *error = "the settings say no";
    return strcmp(settings, "no") == 0;
}

static int flush_score(void *state, const struct rankwise_response *responses, int n,
                       double *scores, const char **error)
{
    spoil();
    if (strcmp(state, "exit") == 0)
        exit(0);
    for (int i = 0; i < n; i++)
        scores[i] = (double)responses[i].count;
    *error = "out of sorts";
    return strcmp(state, "later") == 0;
}

static void flush_close(void *state)
{
    (void)state;
    spoil();
}

const struct rankwise_plugin rankwise_plugin = { RANKWISE_PLUGIN_VERSION, flush_open, flush_score,
                                                 flush_close };
