/* Checkpoints by a team of 1 to 4 ranks: the bytes are those that one rank writes, every rank reads
 * them, and a failure anywhere is the same failure everywhere.  Run under mpirun. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "checkpoints/image.h"
#include "tests/mpi_check.h"

static char folder[4000];           /* shared by the ranks, made by rank 0 */

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

struct held { struct array arrays[PLAN]; struct checkpoint_piece pieces[PLAN]; };

/* What rank `index` of `of` holds: whole chunks, the last one up to the end. */
static void fill(struct held *h, int index, int of)
{
    memset(h, 0, sizeof *h);
    for (int i = 0; i < PLAN; i++) {
        struct array *a = &h->arrays[i];
        struct checkpoint_piece *p = &h->pieces[i];
        size_t chunks, first, end, each = dtype_size(plan[i].dtype);
        unsigned char *data;
        snprintf(a->name, sizeof a->name, "%s", plan[i].name);
        a->dtype = plan[i].dtype;
        a->dims = plan[i].dims;
        a->size = 1;
        for (int d = 0; d < a->dims; d++)
            a->size *= a->shape[d] = plan[i].shape[d];
        chunks = (a->size + HASH_CHUNK - 1) / HASH_CHUNK;
        first = chunks * (size_t)index / (size_t)of * HASH_CHUNK;
        end = chunks * ((size_t)index + 1) / (size_t)of * HASH_CHUNK;
        p->array = i;
        p->begin = first < a->size ? first : a->size;
        p->count = (end < a->size ? end : a->size) - p->begin;
        data = p->count ? malloc(p->count * each) : NULL;
        for (size_t k = 0; k < p->count * each; k++)
            data[k] = byte_of(i, p->begin * each + k);
        p->data = data;
    }
}

static void release(struct held *h)
{
    for (int i = 0; i < PLAN; i++)
        free((void *)(uintptr_t)h->pieces[i].data);
}

static struct checkpoint_content content_of(const struct held *h)
{
    static const struct checkpoint_text texts[] = { { "config", "seed = 1;\n", 10 } };
    static const struct checkpoint_value values[] = { { "step", 7 }, { "seed", -9 } };

    return (struct checkpoint_content){ h->arrays, PLAN, h->pieces, PLAN, texts, 1,
                                        values, 2 };
}

static const char *path_of(char *out, const char *name)
{
    snprintf(out, 4096, "%s/%s", folder, name);
    return out;
}

/* ---- the facts */

static void bytes_are_those_of_one_rank(struct comm *world)
{
    char team_path[4096], alone_path[4096];
    struct held mine, all;
    struct checkpoint_content content = content_of(&mine), whole = content_of(&all);
    struct text a = { 0 }, b = { 0 };
    struct comm *alone = comm_alone();
    size_t bytes = 0, same = 0;

    fill(&mine, comm_rank(world), comm_size(world));
    fill(&all, 0, 1);
    check_ok(checkpoint_write(world, path_of(team_path, "team.h5"), &content, &bytes));
    check(!file_exists(path_of(alone_path, "team.h5.part")));
    check_ok(file_read(team_path, &a));
    check(a.size == bytes);
    if (comm_rank(world) == 0) {
        path_of(alone_path, "alone.h5");
        check_ok(checkpoint_write(alone, alone_path, &whole, &same));
        check_ok(file_read(alone_path, &b));
        check(same == bytes && b.size == bytes && memcmp(a.data, b.data, bytes) == 0);
    }
    comm_stop(alone);
    text_free(&a);
    text_free(&b);
    release(&mine);
    release(&all);
}

/* Written by threads from a copy, while the state is changed under it. */
static void behind_the_work_it_is_the_same(struct comm *world)
{
    char path[4096], behind[4096];
    struct checkpoint_writer *w = NULL;
    struct checkpoint_written written = { 0 };
    struct text a = { 0 }, b = { 0 };
    struct held mine;
    struct checkpoint_content content = content_of(&mine);
    struct image image;
    bool done = false;
    void *block;

    fill(&mine, comm_rank(world), comm_size(world));
    block = aligned_alloc(64, image_bytes(&content));
    image_pack(&content, block, NULL);
    check_ok(image_open(&image, block, image_bytes(&content)));
    check_ok(checkpoint_begin(&w, world, path_of(behind, "behind.h5"), &image.content,
                              true));
    for (int i = 0; i < PLAN; i++)
        if (mine.pieces[i].data)
            memset((void *)(uintptr_t)mine.pieces[i].data, 0, mine.pieces[i].count);
    check(!file_exists(behind));
    while (w && !done)
        check_ok(checkpoint_poll(w, &done));
    check_ok(w ? checkpoint_end(w, &written) : RL_EBUG);
    check_ok(file_read(path_of(path, "team.h5"), &a));
    check_ok(file_read(behind, &b));
    check(written.bytes == b.size && written.seconds > 0);
    check(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    check_ok(comm_barrier(world, PHASE_CHECKPOINT));
    if (comm_rank(world) == 0)
        remove(behind);
    text_free(&a);
    text_free(&b);
    image_close(&image);
    free(block);
    release(&mine);
}

static void every_rank_reads_everything(struct comm *world)
{
    char path[4096];
    struct checkpoint *c = NULL;
    int64_t step = 0;

    (void)world;
    check_ok(checkpoint_open(&c, path_of(path, "team.h5")));
    check(c && checkpoint_count(c) == PLAN);
    for (int i = 0; c && i < checkpoint_count(c); i++) {
        const struct array *a = checkpoint_array(c, i);
        size_t n = a->size * dtype_size(a->dtype), wrong = 0;
        unsigned char *got = malloc(n + 1);
        check(strcmp(a->name, plan[i].name) == 0);
        check_ok(checkpoint_read(c, i, 0, a->size, got));
        for (size_t k = 0; k < n; k++)
            wrong += got[k] != byte_of(i, k);
        check(wrong == 0);
        free(got);
    }
    check(c && checkpoint_int(c, "step", &step) && step == 7);
    checkpoint_close(c);
}

/* The write fails on every rank alike and leaves nothing behind, nor touches what was there. */
static void expect_failure(struct comm *world, const struct checkpoint_content *content,
                           const char *name, int code)
{
    char path[4096], part[4096 + 8];
    struct text before = { 0 }, after = { 0 };
    size_t bytes = 0;
    bool there;

    snprintf(part, sizeof part, "%s.part", path_of(path, name));
    there = file_exists(path);
    check(!there || file_read(path, &before) == RL_OK);
    check_ok(comm_barrier(world, PHASE_CHECKPOINT));
    check(checkpoint_write(world, path, content, &bytes) == code);
    check_ok(comm_barrier(world, PHASE_CHECKPOINT));
    check(!file_exists(part) && file_exists(path) == there);
    check(!there || file_read(path, &after) == RL_OK);
    check(before.size == after.size);
    check(before.size == 0 || memcmp(before.data, after.data, before.size) == 0);
    check_ok(comm_barrier(world, PHASE_CHECKPOINT));
    text_free(&before);
    text_free(&after);
}

static void a_missing_folder_is_agreed(struct comm *world)
{
    struct held mine;
    struct checkpoint_content content = content_of(&mine);

    fill(&mine, comm_rank(world), comm_size(world));
    expect_failure(world, &content, "none/a.h5", RL_EIO);
    release(&mine);
}

static void a_full_disk_is_agreed(struct comm *world)
{
    struct held mine;
    struct checkpoint_content content = content_of(&mine);
    struct rlimit old, low;

    fill(&mine, comm_rank(world), comm_size(world));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (rlim_t limit = 1000; limit < 3000000; limit *= 12) {
        low = old;
        low.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &low);
        expect_failure(world, &content, "team.h5", RL_EIO);
        setrlimit(RLIMIT_FSIZE, &old);
    }
    release(&mine);
}

/* Only the last rank cannot write: its slices lie at the end of the file. */
static void one_full_rank_stops_all(struct comm *world)
{
    int rank = comm_rank(world), last = comm_size(world) - 1;
    struct held mine;
    struct checkpoint_content content = content_of(&mine);
    struct rlimit old, low;

    fill(&mine, rank, comm_size(world));
    getrlimit(RLIMIT_FSIZE, &old);
    low = old;
    low.rlim_cur = rank == last ? 100000 : old.rlim_cur;
    setrlimit(RLIMIT_FSIZE, &low);
    expect_failure(world, &content, "team.h5", RL_EIO);
    setrlimit(RLIMIT_FSIZE, &old);
    release(&mine);
}

static void broken_promises_are_agreed(struct comm *world)
{
    int rank = comm_rank(world), ranks = comm_size(world);
    struct held mine;
    struct checkpoint_content content = content_of(&mine);

    fill(&mine, rank, ranks);
    mine.arrays[5].dtype = rank == 0 ? DTYPE_F16 : DTYPE_BF16;       /* another model */
    mine.arrays[5].name[0] = rank == 0 ? '/' : 'h';
    expect_failure(world, &content, "team.h5", RL_EBUG);
    mine.arrays[5].name[0] = 'h';
    if (ranks > 1)
        expect_failure(world, &content, "team.h5", RL_EBUG);
    release(&mine);
    fill(&mine, rank == 1 ? 0 : rank, ranks);                        /* two hold the same */
    if (ranks > 1)
        expect_failure(world, &content, "team.h5", RL_EBUG);
    release(&mine);
}

static void nothing_is_left(struct comm *world)
{
    char path[4096];

    if (comm_rank(world) != 0)
        return;
    remove(path_of(path, "team.h5"));
    remove(path_of(path, "alone.h5"));
    check(rmdir(folder) == 0);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    status_hold(true);
    snprintf(folder, sizeof folder, "%s/rankwise-test.XXXXXX", tmp ? tmp : "/tmp");
    if (comm_rank(world) == 0 && !mkdtemp(folder))
        comm_abort(world, 1);
    if (comm_broadcast(world, folder, sizeof folder, 0, PHASE_START) != RL_OK)
        comm_abort(world, 1);
    fact(world, "the bytes are those one rank writes", bytes_are_those_of_one_rank);
    fact(world, "behind the ranks' work they are the same", behind_the_work_it_is_the_same);
    fact(world, "every rank reads everything", every_rank_reads_everything);
    fact(world, "a missing folder stops all", a_missing_folder_is_agreed);
    fact(world, "a full disk stops all", a_full_disk_is_agreed);
    fact(world, "one rank that cannot write stops all", one_full_rank_stops_all);
    fact(world, "slices that do not fit stop all", broken_promises_are_agreed);
    fact(world, "nothing is left behind", nothing_is_left);
    return facts_end(world);
}
