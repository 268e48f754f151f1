/* A reward of your own as a shared object.  This header stands alone: copy it if you like.
 *
 *   cc -O2 -fPIC -shared -I. -o vowels.so reward/example/vowels.c
 *
 *   rewards = ( { kind = "plugin"; name = "vowels"; path = "./vowels.so"; settings = "aeiou"; } );
 *
 * The object exports one variable, `rankwise_plugin`.  Every rank with the reward role loads it and
 * opens it once; calls come from one thread.  Scores are inputs of a run: they are recorded and, on
 * resume, replayed, so a plug-in may do what it likes but call exit(); for equal runs it must give
 * equal scores.
 */
#ifndef RANKWISE_PLUGIN_H
#define RANKWISE_PLUGIN_H

#include <stddef.h>

#define RANKWISE_PLUGIN_VERSION 1

struct rankwise_response {
    const char *text; size_t bytes;     /* UTF-8; ends with a zero byte behind `bytes` */
    const int *ids; int count;          /* its tokens, end of text included when it was made */
    int finish;                         /* 1 ended by itself, 2 stop string, 3 cut at the limit */
    const char *prompt;                 /* text; NULL when the prompts are token ids */
    const char *fields;                 /* the prompt's line as JSON; NULL when there is none */
};

struct rankwise_plugin {
    int version;                        /* RANKWISE_PLUGIN_VERSION */
    /* Returns 0 and *state, or anything else and *error, one line that lives on. */
    int (*open)(void **state, const char *settings, const char **error);
    /* Fill n scores; a NaN leaves the response out.  Returns 0, or anything else and *error: then
     * no score of these counts. */
    int (*score)(void *state, const struct rankwise_response *responses, int n, double *scores,
                 const char **error);
    void (*close)(void *state);         /* may be NULL */
};

extern const struct rankwise_plugin rankwise_plugin;

#endif
