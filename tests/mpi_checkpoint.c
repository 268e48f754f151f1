/* Checkpoints by a team of 1 to 4 ranks: the bytes are those that one rank writes, every rank reads
 * them, and a failure anywhere is the same failure everywhere.  Run under mpirun. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"
#include "checkpoints/checkpoint.h"

#define CHECK(what)                                                                               \
    do {                                                                                          \
        if (!(what)) {                                                                            \
            fprintf(stderr, "rank %d: %s:%d: %s\n", rank, __FILE__, __LINE__, #what);             \
            comm_abort(world, 1);                                                                 \
        }                                                                                         \
    } while (0)

static struct comm *world;
static int rank, ranks;
static char folder[4000];

static const struct { const char *name; enum dtype dtype; int dims; size_t shape[4]; } plan[] = {
    { "weights/embed", DTYPE_F32, 2, { 700, 501 } },        /* 5.4 chunks */
    { "weights/norm", DTYPE_F32, 1, { 64 } },               /* held by one rank only */
    { "adam/m", DTYPE_F64, 3, { 3, 70, 1100 } },
    { "queue/empty", DTYPE_I32, 1, { 0 } },
    { "queue/version", DTYPE_I64, 0, { 0 } },
    { "half", DTYPE_BF16, 4, { 2, 2, 65536, 1 } },
};
#define PLAN ((int)(sizeof plan / sizeof plan[0]))

static unsigned char byte_of(int i, size_t k)
{
    return (unsigned char)(k * 7 + k / 251 + k / 65521 * 3 + (size_t)i);
}

/* What rank `index` of `of` holds: whole chunks, the last one up to the end. */
static void fill(struct stored *s, int index, int of)
{
    for (int i = 0; i < PLAN; i++) {
        struct array *a = &s[i].array;
        size_t chunks, first, end, each = dtype_size(plan[i].dtype);
        unsigned char *data;
        memset(&s[i], 0, sizeof s[i]);
        snprintf(a->name, sizeof a->name, "%s", plan[i].name);
        a->dtype = plan[i].dtype;
        a->dims = plan[i].dims;
        a->size = 1;
        for (int d = 0; d < a->dims; d++)
            a->size *= a->shape[d] = plan[i].shape[d];
        chunks = (a->size + HASH_CHUNK - 1) / HASH_CHUNK;
        first = chunks * (size_t)index / (size_t)of * HASH_CHUNK;
        end = chunks * ((size_t)index + 1) / (size_t)of * HASH_CHUNK;
        s[i].begin = first < a->size ? first : a->size;
        s[i].count = (end < a->size ? end : a->size) - s[i].begin;
        data = malloc(s[i].count * each + 1);
        for (size_t k = 0; k < s[i].count * each; k++)
            data[k] = byte_of(i, s[i].begin * each + k);
        s[i].data = s[i].count ? data : NULL;
        if (!s[i].count)
            free(data);
    }
}

static void release(struct stored *s)
{
    for (int i = 0; i < PLAN; i++)
        free((void *)(uintptr_t)s[i].data);
}

static struct checkpoint_content content_of(const struct stored *s)
{
    static const struct checkpoint_text texts[] = { { "config", "seed = 1;\n", 10 } };
    static const struct checkpoint_value values[] = { { "step", false, 7, 0 },
                                                      { "power", true, 0, 0.9 } };

    return (struct checkpoint_content){ s, PLAN, texts, 1, values, 2 };
}

static const char *path_of(char *out, const char *name)
{
    snprintf(out, 4096, "%s/%s", folder, name);
    return out;
}

/* ---- the facts */

static void bytes_are_those_of_one_rank(void)
{
    char team_path[4096], alone_path[4096];
    struct stored mine[PLAN], all[PLAN];
    struct checkpoint_content content = content_of(mine), whole = content_of(all);
    struct text a = { 0 }, b = { 0 };
    size_t bytes = 0;

    fill(mine, rank, ranks);
    fill(all, 0, 1);
    CHECK(checkpoint_write(world, path_of(team_path, "team.h5"), &content, &bytes) == RL_OK);
    CHECK(!file_exists(path_of(alone_path, "team.h5.part")));
    if (rank == 0) {
        CHECK(checkpoint_write(comm_alone(), path_of(alone_path, "alone.h5"), &whole, &bytes) ==
              RL_OK);
        CHECK(file_read(team_path, &a) == RL_OK && file_read(alone_path, &b) == RL_OK);
        CHECK(a.size == bytes && a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    } else {
        CHECK(file_read(team_path, &a) == RL_OK && a.size == bytes);
    }
    text_free(&a);
    text_free(&b);
    release(mine);
    release(all);
}

static void every_rank_reads_everything(void)
{
    char path[4096];
    struct checkpoint *c = NULL;
    int64_t step = 0;

    CHECK(checkpoint_open(&c, path_of(path, "team.h5")) == RL_OK);
    CHECK(checkpoint_count(c) == PLAN);
    for (int i = 0; i < PLAN; i++) {
        const struct array *a = checkpoint_array(c, i);
        size_t n = a->size * dtype_size(a->dtype);
        unsigned char *got = malloc(n + 1);
        CHECK(strcmp(a->name, plan[i].name) == 0);
        CHECK(checkpoint_read(c, i, 0, a->size, got) == RL_OK);
        for (size_t k = 0; k < n; k++)
            CHECK(got[k] == byte_of(i, k));
        free(got);
    }
    CHECK(checkpoint_int(c, "step", &step) && step == 7);
    checkpoint_close(c);
}

/* The write fails on every rank alike and leaves nothing behind, nor touches what was there. */
static void expect_failure(const struct checkpoint_content *content, const char *name, int code)
{
    char path[4096], part[4096];
    struct text before = { 0 }, after = { 0 };
    bool there;
    size_t bytes = 0;
    int rc;

    path_of(path, name);
    snprintf(part, sizeof part, "%.4080s.part", path);
    there = file_exists(path);
    CHECK(!there || file_read(path, &before) == RL_OK);
    CHECK(comm_barrier(world, PHASE_CHECKPOINT) == RL_OK);
    rc = checkpoint_write(world, path, content, &bytes);
    CHECK(rc == code);
    CHECK(comm_barrier(world, PHASE_CHECKPOINT) == RL_OK);
    CHECK(!file_exists(part) && file_exists(path) == there);
    CHECK(!there || file_read(path, &after) == RL_OK);
    CHECK(before.size == after.size &&
          (before.size == 0 || memcmp(before.data, after.data, after.size) == 0));
    text_free(&before);
    text_free(&after);
}

static void failures_are_agreed(void)
{
    struct stored mine[PLAN];
    struct checkpoint_content content = content_of(mine);
    struct rlimit old, low;

    fill(mine, rank, ranks);
    expect_failure(&content, "none/a.h5", RL_EIO);
    signal(SIGXFSZ, SIG_IGN);                       /* a full disk, nearly */
    getrlimit(RLIMIT_FSIZE, &old);
    for (rlim_t limit = 1000; limit < 3000000; limit *= 12) {
        low = old;
        low.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &low);
        expect_failure(&content, "team.h5", RL_EIO);
        setrlimit(RLIMIT_FSIZE, &old);
    }
    if (rank == ranks - 1)
        mine[0].array.shape[0]--;                   /* one rank has another model */
    expect_failure(&content, "team.h5", RL_EBUG);
    release(mine);
    fill(mine, rank == 1 ? 0 : rank, ranks);        /* two hold the same slices */
    if (ranks > 1)
        expect_failure(&content, "team.h5", RL_EBUG);
    release(mine);
}

int main(int argc, char **argv)
{
    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    rank = comm_rank(world);
    ranks = comm_size(world);
    status_hold(true);
    if (rank == 0) {
        const char *tmp = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/rankwise-test.XXXXXX", tmp ? tmp : "/tmp");
        CHECK(mkdtemp(folder));
    }
    CHECK(comm_broadcast(world, folder, sizeof folder, 0, PHASE_START) == RL_OK);
    bytes_are_those_of_one_rank();
    CHECK(comm_barrier(world, PHASE_CHECKPOINT) == RL_OK);
    every_rank_reads_everything();
    failures_are_agreed();
    CHECK(comm_barrier(world, PHASE_END) == RL_OK);
    if (rank == 0) {
        char path[4096];
        remove(path_of(path, "team.h5"));
        remove(path_of(path, "alone.h5"));
        CHECK(rmdir(folder) == 0);                  /* nothing else was left */
        printf("mpi_checkpoint: ok on %d ranks\n", ranks);
    }
    comm_stop(world);
    return 0;
}
