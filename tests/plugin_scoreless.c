/* A plug-in of this version that cannot score, for tests/test_reward_outside.c. */
#include "reward/plugin.h"

static int scoreless_open(void **state, const char *settings, const char **error)
{
    (void)settings, (void)error;
    *state = NULL;
    return 0;
}

const struct rankwise_plugin rankwise_plugin = { RANKWISE_PLUGIN_VERSION, scoreless_open, NULL,
                                                 NULL };
