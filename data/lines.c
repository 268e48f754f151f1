/* See lines.h.  zlib reads plain files too, so there is one path for both. */
#include "data/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/status.h"
#include "data/utf8.h"

#define BLOCK (1 << 16)

int lines_open(struct lines *in, const char *path)
{
    struct stat info;

    *in = (struct lines) { .path = path };
    if (stat(path, &info) != 0)
        return rl_error(RL_EINVAL, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return rl_error(RL_EINVAL, "%s: is a folder; a file is needed", path);
    errno = 0;
    in->file = gzopen(path, "rb");
    in->block = malloc(BLOCK);
    if (!in->file || !in->block) {
        lines_close(in);
        return rl_error(RL_EIO, "%s: cannot open: %s", path, strerror(errno ? errno : ENOMEM));
    }
    return RL_OK;
}

/* zlib tells a cut stream apart only behind the last byte that it could give. */
static int block_fill(struct lines *in)
{
    int code = Z_OK, got = gzread(in->file, in->block, BLOCK);
    const char *reason = gzerror(in->file, &code);

    in->at = 0;
    in->filled = got > 0 ? (size_t)got : 0;
    if (code == Z_ERRNO)
        return rl_error(RL_EIO, "%s: cannot read: %s", in->path, strerror(errno));
    if (code == Z_BUF_ERROR && got < BLOCK)
        return rl_error(RL_EINVAL, "%s:%lld: the gzip stream is cut; copy the file again",
                        in->path, (long long)in->number);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return rl_error(RL_EINVAL, "%s:%lld: damaged gzip stream: %s", in->path,
                        (long long)in->number, reason);
    return RL_OK;
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
    if (in->file)
        gzclose(in->file);
    free(in->block);
    text_free(&in->text);
    *in = (struct lines) {0};
}
