/* See gunzip.h.  zlib's own reader of files passes over what follows a stream, hence this one. */
#include "data/gunzip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/status.h"

#define BLOCK (1 << 16)

struct gunzip {
    FILE *file;
    bool packed, whole;         /* whole: the stream has come to its end */
    z_stream z;                 /* next_in, avail_in: what was read and not yet used, also of a
                                 * plain file */
    unsigned char block[BLOCK];
};

/* Leaves avail_in 0 at the end of the file. */
static int refill(struct gunzip *g)
{
    g->z.next_in = g->block;
    g->z.avail_in = (unsigned)fread(g->block, 1, BLOCK, g->file);
    return ferror(g->file) ? RL_EIO : RL_OK;
}

int gunzip_open(struct gunzip **out, const char *path)
{
    struct gunzip *g = calloc(1, sizeof *g);
    int rc = RL_OK;

    *out = NULL;
    errno = ENOMEM;
    if (g)
        g->file = fopen(path, "rb");
    if (!g || !g->file || refill(g) != RL_OK)
        TRY(rl_error(RL_EIO, "%s: cannot open: %s", path, strerror(errno)));
    g->packed = g->z.avail_in >= 2 && g->block[0] == 0x1f && g->block[1] == 0x8b;
    if (g->packed && inflateInit2(&g->z, 15 + 16) != Z_OK) {
        g->packed = false;
        TRY(rl_error(RL_ENOFIT, "%s: no memory to unpack it", path));
    }
    *out = g;
    g = NULL;
done:
    gunzip_close(g);
    return rc;
}

void gunzip_close(struct gunzip *g)
{
    if (!g)
        return;
    if (g->packed)
        inflateEnd(&g->z);
    if (g->file)
        fclose(g->file);
    free(g);
}

static int bad(const char **problem, const char *what)
{
    *problem = what;
    return RL_EINVAL;
}

/* One step forward: some bytes in, none or more out. */
static int unpack(struct gunzip *g, const char **problem)
{
    int code;

    if (g->whole && g->z.next_in[0] != 0x1f)
        return bad(problem, "bytes that are none of gzip follow the gzip stream; copy the file "
                            "again");
    if (g->whole)
        inflateReset(&g->z);
    code = inflate(&g->z, Z_NO_FLUSH);
    g->whole = code == Z_STREAM_END;
    if (code == Z_OK || code == Z_BUF_ERROR || code == Z_STREAM_END)
        return RL_OK;
    return bad(problem, "damaged gzip stream; copy the file again");
}

int gunzip_read(struct gunzip *g, char *out, size_t room, size_t *n, const char **problem)
{
    int rc = RL_OK;

    *n = 0;
    g->z.next_out = (unsigned char *)out;
    g->z.avail_out = (unsigned)room;
    while (g->z.avail_out == room) {
        if (g->z.avail_in == 0 && refill(g) != RL_OK) {
            *problem = strerror(errno);
            return RL_EIO;
        }
        if (g->z.avail_in == 0)
            return !g->packed || g->whole ? RL_OK : bad(problem, "the gzip stream is cut; copy "
                                                                 "the file again");
        if (!g->packed) {
            *n = g->z.avail_in < room ? g->z.avail_in : room;
            memcpy(out, g->z.next_in, *n);
            g->z.next_in += *n;
            g->z.avail_in -= (unsigned)*n;
            return RL_OK;
        }
        TRY(unpack(g, problem));
    }
    *n = room - g->z.avail_out;
done:
    return rc;
}
