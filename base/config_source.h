/* The text of a configuration with its includes put in, and where each line came from.  For
 * base/config*.c only.
 *
 * libconfig's own scanner reads includes too, but ends the process on a folder, takes what follows
 * an unfinished comment for nothing, and cuts numbers that do not fit; so text passes here first.
 */
#ifndef BASE_CONFIG_SOURCE_H
#define BASE_CONFIG_SOURCE_H

#include "base/text.h"

struct source_line { int file, line; };

struct source {
    struct text text;               /* what libconfig is given: comments and includes are gone */
    struct source_line *lines;      /* of each line of text */
    int count, room;
    char **files;
    int n_files;
    char error[1024];               /* the first mistake, as one line */
};

/* Both return RL_OK, or RL_EINVAL with the line in error ("" if rl_error was called already). */
int source_read(struct source *s, const char *path);
int source_scan(struct source *s, const char *name, const char *text);   /* no includes */
void source_free(struct source *s);

/* "file:line" of a line of the text, into a buffer of `room` bytes. */
void source_where(const struct source *s, int line, char *out, size_t room);

#endif
