/* The lines of a text file, plain or gzip.
 *
 *   struct lines in;
 *   TRY(lines_open(&in, path));
 *   while ((rc = lines_next(&in, &more)) == RL_OK && more)
 *       use(in.line, in.size, in.number);
 *   lines_close(&in);
 */
#ifndef DATA_LINES_H
#define DATA_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct lines {
    const char *path;            /* borrowed */
    const char *line;            /* without its end (\n or \r\n), zero-terminated */
    size_t size;
    int64_t number;              /* of this line, from 1 */
    bool ended;                  /* false: the file stops before the end of this line */
    struct gunzip *file;
    char *block;                 /* what was read and not yet handed out: [at, filled) */
    size_t at, filled;
    struct text text;
};

int lines_open(struct lines *in, const char *path);
/* *more is false behind the last line.  A byte order mark is dropped.  RL_EINVAL, naming the line:
 * longer than 256 MiB, not UTF-8, or a gzip stream that is cut, damaged or followed by something
 * else. */
int lines_next(struct lines *in, bool *more);
void lines_close(struct lines *in);        /* fine on a zeroed struct */

#endif
