/* See lines.h. */
#include "data/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "data/gunzip.h"
#include "data/utf8.h"

#define BLOCK (1 << 16)
#define LONGEST ((size_t)256 << 20)     /* bytes of a line: gzip makes a thousand of one */

int lines_open(struct lines *in, const char *path)
{
    struct stat info;
    int rc;

    *in = (struct lines) { .path = path };
    if (stat(path, &info) != 0)
        return rl_error(RL_EINVAL, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return rl_error(RL_EINVAL, "%s: is a folder; a file is needed", path);
    in->block = malloc(BLOCK);
    if (!in->block)
        return rl_error(RL_ENOFIT, "%s: no memory to read it", path);
    rc = gunzip_open(&in->file, path);
    if (rc != RL_OK)
        lines_close(in);
    return rc;
}

/* filled 0: the end. */
static int block_fill(struct lines *in)
{
    const char *problem = "";
    int rc = gunzip_read(in->file, in->block, BLOCK, &in->filled, &problem);

    in->at = 0;
    return rc == RL_OK ? RL_OK : rl_error(rc, "%s:%lld: %s", in->path, (long long)in->number,
                                          problem);
}

int lines_next(struct lines *in, bool *more)
{
    int rc = RL_OK;
    size_t valid;

    *more = in->ended = false;
    in->number++;
    text_clear(&in->text);
    while (!in->ended) {
        if (in->at == in->filled)
            TRY(block_fill(in));
        if (in->filled == 0)
            break;
        char *from = in->block + in->at, *end = memchr(from, '\n', in->filled - in->at);
        size_t n = end ? (size_t)(end - from) : in->filled - in->at;
        if (in->text.size + n > LONGEST)
            TRY(rl_error(RL_EINVAL, "%s:%lld: a line of more than %zu MiB: is this a text file?",
                         in->path, (long long)in->number, LONGEST >> 20));
        if (n > 0)
            text_add(&in->text, from, n);
        in->at += n + (end != NULL);
        *more = true;
        in->ended = end != NULL;
    }
    in->line = in->text.size > 0 ? in->text.data : "";
    in->size = in->text.size;
    if (in->ended && in->size > 0 && in->line[in->size - 1] == '\r')
        in->text.data[--in->size] = 0;
    if (in->number == 1 && in->size >= 3 && memcmp(in->line, "\xef\xbb\xbf", 3) == 0) {
        in->line += 3;
        in->size -= 3;
    }
    valid = utf8_valid(in->line, in->size);
    if (valid < in->size)
        rc = rl_error(RL_EINVAL, "%s:%lld: not UTF-8 (byte %zu of the line is 0x%02x)", in->path,
                      (long long)in->number, valid + 1, (unsigned char)in->line[valid]);
done:
    if (rc != RL_OK)
        *more = false;
    return rc;
}

void lines_close(struct lines *in)
{
    gunzip_close(in->file);
    free(in->block);
    text_free(&in->text);
    *in = (struct lines) {0};
}
