/* The commands: a row of commands[] each, one file in launch/commands/. */
#ifndef LAUNCH_COMMANDS_H
#define LAUNCH_COMMANDS_H

#include <stdio.h>

struct command {
    const char *name;
    const char *usage;                          /* the words after "rankwise name" */
    const char *summary;                        /* one line */
    int (*run)(int argc, char **argv);          /* argv without "rankwise name"; returns a status */
    void (*help)(FILE *out);                    /* options and keys; may be NULL */
};
extern const struct command commands[];         /* ends with name NULL */

#define RANKWISE_VERSION "0.1.0"

#endif
