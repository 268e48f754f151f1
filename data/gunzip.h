/* The bytes of a file, plain or gzip: one stream or several behind each other, and nothing else.
 *
 *   TRY(gunzip_open(&g, path));
 *   while ((rc = gunzip_read(g, bytes, room, &n, &problem)) == RL_OK && n > 0)
 *   gunzip_close(g);
 */
#ifndef DATA_GUNZIP_H
#define DATA_GUNZIP_H

#include <stddef.h>

struct gunzip;

/* RL_EIO, one line, when it cannot be opened. */
int gunzip_open(struct gunzip **g, const char *path);
void gunzip_close(struct gunzip *g);                    /* NULL is fine */
/* Up to `room` bytes; *n is 0 at the end only.  RL_EIO or RL_EINVAL (cut, damaged, or followed by
 * something else) without a line: *problem says what it is, until the next call. */
int gunzip_read(struct gunzip *g, char *out, size_t room, size_t *n, const char **problem);

#endif
