/* Writing a checkpoint, all ranks together, behind their work.
 *
 *   begin   rank 0      makes path.part: structure, texts, room for arrays, checksums (layout.c)
 *           all ranks   open it; a thread of each hashes its pieces, writes them and fsyncs
 *   poll    all ranks   are all threads done?
 *   end     rank 0      gathers the checksums (sums.c), writes them, seals the file (seal.c),
 *                       renames it to path, fsyncs the folder
 *
 * After every step that may fail on one rank the team agrees, so that all stop together.  The
 * thread uses neither MPI nor HDF5 nor rl_error: it leaves an errno.  Why not MPI-IO:
 * docs/formats.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "base/trace.h"
#include "checkpoints/internal.h"

#define LOOK_EVERY 2e-3         /* seconds, from a look at the threads to the next */
#define AT_ONCE ((size_t)16 * HASH_CHUNK)       /* elements hashed, then written */

struct checkpoint_writer {
    struct comm *team;
    struct checkpoint_content content;
    char path[PATH_ROOM], part[PATH_ROOM];
    bool root, made;                    /* made: path.part is ours to remove */
    struct place *places;               /* (n_arrays) in the file */
    uint64_t *sums;                     /* of my chunks, piece by piece */
    struct outlet out;                  /* to path.part */
    bool past;                          /* past the page cache */
    pthread_t thread;
    bool started;
    atomic_bool finished;
    atomic_size_t taken;                /* bytes that the disk has, or its cache */
    int error;                          /* errno of the thread's first failure */
    double seconds;                     /* that it took, the main thread's part added at the end */
    size_t bytes;
};

/* ---- the thread */

/* Hash it and write it, while it is in the cache; *sums moves on.  Returns an errno. */
static int write_piece(struct checkpoint_writer *w, const struct checkpoint_piece *p,
                       uint64_t **sums)
{
    size_t each = dtype_size(w->content.arrays[p->array].dtype);
    uint64_t at = w->places[p->array].elements + p->begin * each;
    int error = 0;

    for (size_t k = 0, n; k < p->count && error == 0; k += n) {
        const char *data = (const char *)p->data + k * each;
        n = p->count - k < AT_ONCE ? p->count - k : AT_ONCE;
        for (size_t i = 0, some; i < n; i += some) {
            some = n - i < HASH_CHUNK ? n - i : HASH_CHUNK;
            *(*sums)++ = hash64(data + i * each, some * each);
        }
        error = outlet_write(&w->out, data, n * each, at + k * each);
        atomic_fetch_add(&w->taken, n * each);
    }
    return error;
}

static void *write_pieces(void *data)
{
    struct checkpoint_writer *w = data;
    uint64_t *sums = w->sums;
    struct trace t;

    trace_thread("checkpoint writer");
    t = trace_begin("write checkpoint");
    for (int i = 0; i < w->content.n_pieces && w->error == 0; i++)
        w->error = write_piece(w, &w->content.pieces[i], &sums);
    if (w->error == 0)
        w->error = outlet_sync(&w->out);
    w->seconds = trace_end(t, TRACE_BYTES, (int64_t)atomic_load(&w->taken));
    atomic_store(&w->finished, true);
    return NULL;
}

/* Signals are for the main thread. */
static int start_thread(struct checkpoint_writer *w)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, NULL, write_pieces, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return rl_error(RL_ENOFIT, "cannot start a thread for %s: %s", w->path, strerror(error));
    w->started = true;
    return RL_OK;
}

static int look(struct checkpoint_writer *w, bool together, bool *done)
{
    if (together)
        return checkpoint_poll(w, done);
    *done = !w->started || atomic_load(&w->finished);
    return RL_OK;
}

/* Until all threads, or mine alone, are done.  A disk may be slow, so ranks meet while theirs work;
 * where nothing moves for a deadline, the thread and what it reads are left. */
static int join(struct checkpoint_writer *w, bool together)
{
    double deadline = comm_deadline(w->team), moved = clock_now();
    size_t before = 0, taken;
    bool done = false;
    int rc = RL_OK;

    for (;;) {
        TRY(look(w, together, &done));
        if (done)
            break;
        taken = atomic_load(&w->taken);
        if (taken != before || atomic_load(&w->finished))
            moved = clock_now();
        before = taken;
        if (clock_now() - moved > deadline)
            return rl_error(RL_ELOST, "rank %d (host %s): the disk has taken nothing of %s for "
                            "%g s", comm_rank(w->team), comm_host(w->team, comm_rank(w->team)),
                            w->part, deadline);
        clock_sleep(LOOK_EVERY);
    }
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = false;
done:
    return rc;
}

/* ---- begin */

static int prepare(struct checkpoint_writer *w, const char *path,
                   const struct checkpoint_content *c)
{
    int rc = RL_OK;

    if (snprintf(w->path, sizeof w->path, "%s", path) >= (int)sizeof w->path ||
        snprintf(w->part, sizeof w->part, "%.*s.part", PATH_ROOM - 1, path) >=
            (int)sizeof w->part)
        return rl_error(RL_EINVAL, "path too long: %s", path);
    TRY(content_check(c));
    w->places = calloc((size_t)c->n_arrays + 1, sizeof *w->places);
    w->sums = calloc(sums_count(c) + 1, sizeof *w->sums);
    if (!w->places || !w->sums)
        rc = rl_error(RL_ENOFIT, "no memory for the checksums of %s", path);
done:
    return rc;
}

static int open_part(struct checkpoint_writer *w)
{
    int error = outlet_open(&w->out, w->part, w->past);

    if (error == ENOENT)
        return rl_error(RL_EIO, "%s does not see %s: the run folder must be on a file system that "
                        "all hosts share", comm_host(w->team, comm_rank(w->team)), w->part);
    if (error != 0)
        return rl_error(RL_EIO, "cannot open %s for writing: %s", w->part, strerror(error));
    return RL_OK;
}

static int begin(struct checkpoint_writer *w, const char *path)
{
    const struct checkpoint_content *c = &w->content;
    int rc;

    TRY(comm_agree(w->team, prepare(w, path, c)));
    TRY(comm_agree(w->team, content_same(w->team, c)));
    if (w->root) {
        w->made = true;
        rc = layout_create(w->part, c, w->places);
    }
    TRY(comm_agree(w->team, rc));
    TRY(comm_broadcast(w->team, w->places, (size_t)c->n_arrays * sizeof *w->places, 0,
                       PHASE_CHECKPOINT));
    TRY(comm_agree(w->team, open_part(w)));
    rc = comm_agree(w->team, start_thread(w));
done:
    return rc;
}

/* What is half done is removed: a reader never meets half a checkpoint. */
static void release(struct checkpoint_writer *w)
{
    if (w->made)
        unlink(w->part);
    outlet_close(&w->out);
    free(w->places);
    free(w->sums);
    free(w);
}

int checkpoint_begin(struct checkpoint_writer **out, struct comm *team, const char *path,
                     const struct checkpoint_content *content, bool past)
{
    struct checkpoint_writer *w = calloc(1, sizeof *w);
    int rc = w ? RL_OK : rl_error(RL_ENOFIT, "no memory to write %s", path);

    *out = NULL;
    TRY(comm_agree(team, rc));
    h5_quiet();
    w->team = team;
    w->root = comm_rank(team) == 0;
    w->past = past;
    w->content = *content;
    w->out = (struct outlet){ .fd = -1, .past = -1 };
    rc = begin(w, path);
    if (rc == RL_OK)
        *out = w;
    else if (join(w, false) == RL_OK)   /* else the thread still works on it */
        release(w);
    return rc;
done:
    free(w);
    return rc;
}

/* ---- while it is written */

int checkpoint_poll(struct checkpoint_writer *w, bool *done)
{
    int64_t writing = !atomic_load(&w->finished);
    int rc = comm_max_int64(w->team, &writing, 1, PHASE_CHECKPOINT);

    *done = rc == RL_OK && writing == 0;
    return rc;
}

/* ---- end */

static int thread_status(struct checkpoint_writer *w)
{
    int error = w->error != 0 ? w->error : outlet_close(&w->out);

    if (error != 0)
        return rl_error(RL_EIO, "cannot write %s: %s", w->part, strerror(error));
    return RL_OK;
}

/* Root: the checksums of every array, in order, into their room. */
static int write_sums(struct checkpoint_writer *w, const uint64_t *sums)
{
    int fd = open(w->part, O_WRONLY | O_CLOEXEC), error = fd < 0 ? errno : 0;

    for (int i = 0; i < w->content.n_arrays && error == 0; i++) {
        size_t n = chunks_of(w->content.arrays[i].size);
        error = pwrite_all(fd, (const char *)sums, n * sizeof *sums, w->places[i].sums);
        sums += n;
    }
    if (fd >= 0 && close(fd) != 0 && error == 0)
        error = errno;
    if (error != 0)
        return rl_error(RL_EIO, "cannot write %s: %s", w->part, strerror(error));
    return RL_OK;
}

static int by_begin(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int seal(struct checkpoint_writer *w)
{
    const struct checkpoint_content *c = &w->content;
    struct extent *extents = calloc((size_t)c->n_arrays + 1, sizeof *extents);
    int n = 0, rc;

    if (!extents)
        return rl_error(RL_ENOFIT, "no memory to seal %s", w->path);
    for (int i = 0; i < c->n_arrays; i++)
        if (c->arrays[i].size > 0)
            extents[n++] = (struct extent){ w->places[i].elements,
                                            c->arrays[i].size * dtype_size(c->arrays[i].dtype) };
    qsort(extents, (size_t)n, sizeof *extents, by_begin);
    rc = seal_write(w->part, extents, n, &w->bytes);
    free(extents);
    return rc;
}

/* Root: make the file visible under its name. */
static int publish(struct checkpoint_writer *w, const uint64_t *sums)
{
    int rc = RL_OK;

    TRY(write_sums(w, sums));
    TRY(seal(w));
    if (rename(w->part, w->path) != 0)
        return rl_error(RL_EIO, "cannot rename %s: %s", w->part, strerror(errno));
    w->made = false;
    TRY(folder_sync(w->path));
done:
    return rc;
}

static int end(struct checkpoint_writer *w)
{
    uint64_t *sums = NULL;
    double start = clock_now();
    int64_t most[2];                    /* bytes, microseconds */
    int rc;

    TRY(comm_agree(w->team, thread_status(w)));
    TRY(sums_gather(w->team, &w->content, w->sums, &sums));
    TRY(comm_agree(w->team, w->root ? publish(w, sums) : RL_OK));
    most[0] = (int64_t)w->bytes;
    most[1] = (int64_t)((w->seconds + clock_now() - start) * 1e6);
    TRY(comm_max_int64(w->team, most, 2, PHASE_CHECKPOINT));
    w->bytes = (size_t)most[0];
    w->seconds = (double)most[1] * 1e-6;
done:
    free(sums);
    return rc;
}

int checkpoint_end(struct checkpoint_writer *w, struct checkpoint_written *written)
{
    int rc = join(w, true);

    if (rc != RL_OK)
        return rc;
    rc = end(w);
    if (rc == RL_OK)
        *written = (struct checkpoint_written){ w->bytes, w->seconds };
    release(w);
    return rc;
}

int checkpoint_write(struct comm *team, const char *path, const struct checkpoint_content *content,
                     size_t *bytes)
{
    struct checkpoint_writer *w;
    struct checkpoint_written written = { 0 };
    int rc = RL_OK;

    TRY(checkpoint_begin(&w, team, path, content, false));
    rc = checkpoint_end(w, &written);
    if (rc == RL_OK)
        *bytes = written.bytes;
done:
    return rc;
}
