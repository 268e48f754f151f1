/* rankwise bench checkpoint [--mb N] [--folder DIR]: a state of that size written as a checkpoint
 * and by `dd bs=4M conv=fsync`, in turns, then read back with all checksums; the same bytes read
 * by pread.  With mpirun all ranks write side by side. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/stop.h"
#include "checkpoints/checkpoint.h"
#include "launch/commands/bench.h"

#define ARRAYS 3                        /* weights and two moments */
#define READ_AT_ONCE ((size_t)1 << 22)

extern char **environ;

struct bench_file {
    struct comm *world;
    struct array arrays[ARRAYS];
    struct checkpoint_piece pieces[ARRAYS];
    float *data;                        /* of the largest piece; all pieces are the same bytes */
    size_t floats;                      /* in data */
    struct bench_files files;           /* a folder of our own, which does not stay */
    char checkpoint[4300], plain[4300];
};

/* ---- what is written */

static int make_content(struct bench_file *b, size_t bytes)
{
    size_t size = bytes / sizeof(float) / ARRAYS, chunks = (size + HASH_CHUNK - 1) / HASH_CHUNK;
    size_t rank = (size_t)comm_rank(b->world), ranks = (size_t)comm_size(b->world);
    size_t begin = chunks * rank / ranks * HASH_CHUNK;
    size_t end = chunks * (rank + 1) / ranks * HASH_CHUNK;

    end = end < size ? end : size;
    b->floats = end - begin;
    b->data = malloc((b->floats + 1) * sizeof *b->data);
    if (!b->data)
        return rl_error(RL_ENOFIT, "no memory for a state of %zu bytes", bytes);
    for (size_t i = 0; i < b->floats; i++) {            /* nothing that a disk could shorten */
        uint64_t word = (begin + i) * 0x9e3779b97f4a7c15ull;
        b->data[i] = (float)(word >> 40) * 0x1p-24f;
    }
    for (int i = 0; i < ARRAYS; i++) {
        struct array *a = &b->arrays[i];
        snprintf(a->name, sizeof a->name, "bench/%d", i);
        a->dtype = DTYPE_F32;
        a->dims = 1;
        a->shape[0] = a->size = size;
        b->pieces[i] = (struct checkpoint_piece){ i, begin, b->floats, b->data };
    }
    return RL_OK;
}

/* ---- one of each */

static int write_checkpoint(struct bench_file *b, double *seconds, size_t *bytes)
{
    static const struct checkpoint_text text = { "config", "", 0 };
    static const struct checkpoint_value value = { "step", 1 };
    struct checkpoint_content content = { b->arrays, ARRAYS, b->pieces, ARRAYS, &text, 1,
                                          &value, 1 };
    double t = clock_now();
    int rc = checkpoint_write(b->world, b->checkpoint, &content, bytes);

    *seconds = clock_now() - t;
    return rc;
}

static int write_plain(struct bench_file *b, size_t bytes, double *seconds)
{
    char to[4400], count[64];
    char *argv[] = { "dd", "if=/dev/zero", to, "bs=4M", count, "iflag=count_bytes",
                     "conv=fsync", "status=none", NULL };
    double t = clock_now();
    int status = 0;
    pid_t pid;

    if (comm_rank(b->world) != 0)
        return RL_OK;
    snprintf(to, sizeof to, "of=%s", b->plain);
    snprintf(count, sizeof count, "count=%zu", bytes);
    if (posix_spawnp(&pid, "dd", NULL, NULL, argv, environ) != 0)
        return rl_error(RL_EIO, "cannot start dd");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return rl_error(RL_EIO, "dd could not write %zu bytes to %s", bytes, b->plain);
    *seconds = clock_now() - t;
    return RL_OK;
}

/* Every element, checksums verified, as a resume does. */
static int read_checkpoint(struct bench_file *b, double *seconds)
{
    size_t size = b->arrays[0].size;
    float *out = malloc((size + 1) * sizeof *out);
    struct checkpoint *c = NULL;
    double t;
    int rc = RL_OK;

    if (!out)
        return rl_error(RL_ENOFIT, "no memory to read %s", b->checkpoint);
    memset(out, 0, size * sizeof *out);
    t = clock_now();
    TRY(checkpoint_open(&c, b->checkpoint));
    for (int i = 0; i < checkpoint_count(c); i++)
        TRY(checkpoint_read(c, i, 0, size, out));
    *seconds = clock_now() - t;
done:
    checkpoint_close(c);
    free(out);
    return rc;
}

static int read_plain(struct bench_file *b, double *seconds)
{
    char *piece = malloc(READ_AT_ONCE);
    int fd = open(b->checkpoint, O_RDONLY | O_CLOEXEC);
    double t = clock_now();
    ssize_t n = -1;

    while (piece && fd >= 0 && (n = read(fd, piece, READ_AT_ONCE)) > 0)
        ;
    *seconds = clock_now() - t;
    if (fd >= 0)
        close(fd);
    free(piece);
    return n == 0 ? RL_OK : rl_error(RL_EIO, "cannot read %s", b->checkpoint);
}

/* ---- the story */

static void print(const struct bench_file *b, const char *what, size_t bytes, double mine,
                  double plain, const char *beside)
{
    printf("{\"bench\":\"checkpoint %s\",\"ranks\":%d,\"bytes\":%zu,\"seconds\":%.3f,"
           "\"GB/s\":%.3f,\"%s\":%.3f,\"ratio\":%.3f}\n", what, comm_size(b->world), bytes, mine,
           (double)bytes * 1e-9 / mine, beside, (double)bytes * 1e-9 / plain, plain / mine);
    fflush(stdout);
}

static int bench_once(struct bench_file *b)
{
    bool root = comm_rank(b->world) == 0;
    double mine = 0, plain = 0, reading = 0, plain_reading = 0;
    size_t bytes = 0;
    int rc = RL_OK;

    TRY(write_checkpoint(b, &mine, &bytes));
    TRY(comm_agree(b->world, stop_asked() ? RL_ESTOP : RL_OK));
    TRY(comm_agree(b->world, write_plain(b, bytes, &plain)));
    if (root) {
        print(b, "write", bytes, mine, plain, "dd GB/s");
        TRY(read_checkpoint(b, &reading));
        TRY(read_plain(b, &plain_reading));
        print(b, "read", bytes, reading, plain_reading, "read GB/s");
    }
done:
    if (root) {
        unlink(b->plain);
        unlink(b->checkpoint);
    }
    return comm_agree(b->world, rc == RL_OK && stop_asked() ? RL_ESTOP : rc);
}

int bench_checkpoint(const struct bench_options *o)
{
    struct bench_file b = { 0 };
    size_t mb = o->mb > 0 ? (size_t)o->mb : 1024;
    int argc = 0, rc = RL_OK;
    char **argv = NULL;

    stop_watch();
    TRY(comm_start(&b.world, &argc, &argv));
    TRY(bench_folder(&b.files, b.world, o->folder));
    TRY(path_join(b.checkpoint, sizeof b.checkpoint, b.files.folder, "checkpoint.h5"));
    TRY(path_join(b.plain, sizeof b.plain, b.files.folder, "plain"));
    TRY(comm_agree(b.world, make_content(&b, mb << 20)));
    for (int64_t i = 0; i < o->repeats; i++)
        TRY(bench_once(&b));
done:
    free(b.data);
    bench_files_remove(&b.files);
    if (b.world)
        comm_stop(b.world);
    return rc;
}
