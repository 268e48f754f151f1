/* An example of a reward as a shared object: the share of the response's bytes that are letters of
 * `settings` (default: vowels).  See reward/plugin.h. */
#include "reward/plugin.h"

#include <math.h>
#include <string.h>

static int vowels_open(void **state, const char *settings, const char **error)
{
    static const char vowels[] = "aeiouAEIOU";

    (void)error;
    *state = (void *)(settings && settings[0] ? settings : vowels);
    return 0;
}

static int vowels_score(void *state, const struct rankwise_response *responses, int n,
                        double *scores, const char **error)
{
    const char *letters = state;

    (void)error;
    for (int i = 0; i < n; i++) {
        const struct rankwise_response *r = &responses[i];
        size_t found = 0;
        for (size_t k = 0; k < r->bytes; k++)
            found += r->text[k] && strchr(letters, r->text[k]);
        scores[i] = r->bytes ? (double)found / (double)r->bytes : NAN;      /* nothing to score */
    }
    return 0;
}

const struct rankwise_plugin rankwise_plugin = {
    .version = RANKWISE_PLUGIN_VERSION, .open = vowels_open, .score = vowels_score,
};
