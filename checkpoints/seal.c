/* The seal: a hash over every byte of the file that is not an array's elements, at its end.
 *
 *   | HDF5: structure, arrays, texts, checksums | extents | n | HDF5 bytes | hash | "RWSEAL01" |
 *
 * HDF5 does not expect damage in its structure and may crash on it, so nothing is given to it
 * before the seal holds.  The elements are left out: the chunk checksums cover them when they are
 * read, and opening a large checkpoint must not read all of it.  HDF5 ignores what stands behind
 * its own end.  The hash finds damage, not malice: it is no signature.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "checkpoints/internal.h"

#define PIECE (1u << 20)        /* bytes in one hash */

struct foot { uint64_t n, bytes, hash; char mark[8]; };
static const char mark[8] = { 'R', 'W', 'S', 'E', 'A', 'L', '0', '1' };

static int read_exact(int fd, const char *path, uint64_t at, void *out, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return rl_error(RL_EIO, "cannot read %s: %s", path,
                            got < 0 ? strerror(errno) : "it was cut while being read");
        done += (size_t)got;
    }
    return RL_OK;
}

/* *hash goes on over the bytes [begin, end) of the file. */
static int hash_range(int fd, const char *path, uint64_t begin, uint64_t end, char *piece,
                      uint64_t *hash)
{
    uint64_t pair[2];
    int rc = RL_OK;

    for (size_t n; begin < end; begin += n) {
        n = end - begin < PIECE ? (size_t)(end - begin) : PIECE;
        TRY(read_exact(fd, path, begin, piece, n));
        pair[0] = *hash;
        pair[1] = hash64(piece, n);
        *hash = hash64(pair, sizeof pair);
    }
done:
    return rc;
}

/* The hash of the first `bytes` bytes without the extents, and of the extents themselves. */
static int hash_file(int fd, const char *path, const struct extent *extents, uint64_t n,
                     uint64_t bytes, uint64_t *out)
{
    uint64_t at = 0, hash = hash64(extents, (size_t)n * sizeof *extents);
    char *piece = malloc(PIECE);
    int rc = RL_OK;

    if (!piece)
        return rl_error(RL_ENOFIT, "no memory to check %s", path);
    for (uint64_t i = 0; i < n; i++) {
        TRY(hash_range(fd, path, at, extents[i].begin, piece, &hash));
        at = extents[i].begin + extents[i].bytes;
    }
    TRY(hash_range(fd, path, at, bytes, piece, &hash));
    *out = hash;
done:
    free(piece);
    return rc;
}

static int append(int fd, const char *path, uint64_t at, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)data + done, n - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
        done += (size_t)put;
    }
    return RL_OK;
}

int seal_write(const char *path, const struct extent *extents, int n, size_t *file_bytes)
{
    size_t table = (size_t)n * sizeof *extents;
    struct foot foot = { .n = (uint64_t)n };
    int fd = open(path, O_RDWR | O_CLOEXEC), rc = RL_OK;
    struct stat info;

    if (fd < 0 || fstat(fd, &info) != 0) {
        rc = rl_error(RL_EIO, "cannot seal %s: %s", path, strerror(errno));
        goto done;
    }
    foot.bytes = (uint64_t)info.st_size;
    memcpy(foot.mark, mark, sizeof mark);
    TRY(hash_file(fd, path, extents, foot.n, foot.bytes, &foot.hash));
    TRY(append(fd, path, foot.bytes, extents, table));
    TRY(append(fd, path, foot.bytes + table, &foot, sizeof foot));
    if (fsync(fd) != 0)
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    *file_bytes = (size_t)foot.bytes + table + sizeof foot;
done:
    if (fd >= 0 && close(fd) != 0 && rc == RL_OK)
        rc = rl_error(RL_EIO, "cannot write %s: %s", path, strerror(errno));
    return rc;
}

/* The foot must describe a file of exactly this size. */
static int read_foot(int fd, const char *path, struct foot *foot)
{
    struct stat info;
    uint64_t size, left;
    int rc = RL_OK;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return rl_error(RL_EINVAL, "%s is not a file", path);
    size = (uint64_t)info.st_size;
    if (size < sizeof *foot)
        return rl_error(RL_EINVAL, "%s has %llu bytes: not a checkpoint", path,
                        (unsigned long long)size);
    left = size - sizeof *foot;
    TRY(read_exact(fd, path, left, foot, sizeof *foot));
    if (memcmp(foot->mark, mark, sizeof mark) != 0)
        return rl_error(RL_EINVAL, "%s does not end as a checkpoint does: another kind of file, "
                        "cut short, or changed by another program", path);
    if (foot->n > left / sizeof(struct extent) ||
        foot->bytes != left - foot->n * sizeof(struct extent))
        return rl_error(RL_EINVAL, "%s is damaged: its seal is of another size; use an earlier "
                        "checkpoint", path);
done:
    return rc;
}

/* Extents in order, inside the file. */
static bool good_extents(const struct extent *extents, const struct foot *foot)
{
    uint64_t at = 0;

    for (uint64_t i = 0; i < foot->n; i++) {
        if (extents[i].begin < at || extents[i].begin > foot->bytes ||
            extents[i].bytes > foot->bytes - extents[i].begin)
            return false;
        at = extents[i].begin + extents[i].bytes;
    }
    return true;
}

int seal_check(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = RL_OK;
    struct extent *extents = NULL;
    struct foot foot;
    uint64_t hash;

    if (fd < 0)
        return rl_error(RL_EINVAL, "cannot open %s: %s", path, strerror(errno));
    TRY(read_foot(fd, path, &foot));
    extents = malloc((size_t)foot.n * sizeof *extents + 1);
    if (!extents) {
        rc = rl_error(RL_ENOFIT, "no memory to check %s", path);
        goto done;
    }
    TRY(read_exact(fd, path, foot.bytes, extents, (size_t)foot.n * sizeof *extents));
    if (!good_extents(extents, &foot)) {
        rc = rl_error(RL_EINVAL, "%s is damaged: its seal is broken; use an earlier checkpoint",
                      path);
        goto done;
    }
    TRY(hash_file(fd, path, extents, foot.n, foot.bytes, &hash));
    if (hash != foot.hash)
        rc = rl_error(RL_EINVAL, "%s is damaged: its structure does not match its seal; use an "
                      "earlier checkpoint", path);
done:
    free(extents);
    close(fd);
    return rc;
}
