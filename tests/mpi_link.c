/* Links and the weights feed between every two sets of ranks: every column arrives in the right
 * row, also when sets overlap, shares are uneven, batches are under way or a sender failed. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "comm/link_plan.h"
#include "compute/compute.h"
#include "tests/mpi_check.h"
#include "tests/support.h"

#define LEAVES 8
#define K 2
#define R 3
#define STEPS 4

/* Who sends and who receives. */
struct shape {
    int from[8], n_from, to[8], n_to;
    int sender, receiver;                 /* my index, -1 */
};

static int members(int set, int size, int *ranks)
{
    int n = 0;

    for (int r = 0; r < size; r++)
        if (set >> r & 1)
            ranks[n++] = r;
    return n;
}

static int index_of(int rank, const int *ranks, int n)
{
    for (int i = 0; i < n; i++)
        if (ranks[i] == rank)
            return i;
    return -1;
}

static struct shape shape_make(struct comm *world, int from, int to)
{
    struct shape s = { 0 };

    s.n_from = members(from, comm_size(world), s.from);
    s.n_to = members(to, comm_size(world), s.to);
    s.sender = index_of(comm_rank(world), s.from, s.n_from);
    s.receiver = index_of(comm_rank(world), s.to, s.n_to);
    return s;
}

/* ---- batches whose every byte is a function of (step, part, global row, place in the row) */

static int row_length(int64_t step, int row, int scale)
{
    return 1 + (int)((step * 7 + row * 5) % 9) * scale;
}

static unsigned char byte_of(int64_t step, int part, int row, size_t i)
{
    return (unsigned char)((size_t)step * 31 + (size_t)part * 57 + (size_t)row * 13 + i * 3);
}

/* The bytes of row n of a part here. */
static unsigned char *row_bytes(const struct batch *b, int part, int n, size_t *bytes)
{
    size_t elements;
    unsigned char *data = batch_part_at(b, &batch_parts[part], n, 1, &elements);

    *bytes = elements * batch_parts[part].bytes;
    return data;
}

static void batch_share(struct batch *b, int P, int ranks, int index, int64_t step)
{
    batch_clear(b);
    b->step = step;
    b->P = P;
    b->k = K;
    share_of(P, LEAVES, ranks, index, &b->group, &b->groups);
}

static void set_lengths(struct batch *b, int scale)
{
    b->N = b->groups * K;
    b->start[0] = 0;
    for (int n = 0; n < b->N; n++)
        b->start[n + 1] = b->start[n] + row_length(b->step, b->group * K + n, scale);
    b->T = b->start[b->N];
}

static void fill(struct batch *b, unsigned columns, int scale)
{
    set_lengths(b, scale);
    for (int p = 0; batch_parts[p].name; p++)
        for (int n = 0; n < b->N && (batch_parts[p].column & columns); n++) {
            size_t bytes;
            unsigned char *data = row_bytes(b, p, n, &bytes);
            for (size_t i = 0; i < bytes; i++)
                data[i] = byte_of(b->step, p, b->group * K + n, i);
        }
    b->filled |= columns;
}

static void check_filled(const struct batch *b, unsigned columns, int scale)
{
    bool good = b->status == RL_OK && (b->filled & columns) == columns && b->N == b->groups * K;

    for (int n = 0; good && n < b->N; n++)
        good = b->start[n + 1] - b->start[n] == row_length(b->step, b->group * K + n, scale);
    good = good && b->start[0] == 0 && b->T == b->start[b->N];
    for (int p = 0; batch_parts[p].name; p++)
        for (int n = 0; good && n < b->N && (batch_parts[p].column & columns); n++) {
            size_t bytes;
            unsigned char *data = row_bytes(b, p, n, &bytes);
            for (size_t i = 0; i < bytes; i++)
                good = good && data[i] == byte_of(b->step, p, b->group * K + n, i);
        }
    check(good);
}

/* Two batches may be under way: a third is filled meanwhile. */
struct rig {
    struct memory memory;
    struct batch out[3], in[2];
};

static void rig_layout(struct rig *rig, int rows, int tokens)
{
    for (int i = 0; i < 3; i++)
        batch_layout(&rig->out[i], &rig->memory, rows, tokens, R);
    for (int i = 0; i < 2; i++)
        batch_layout(&rig->in[i], &rig->memory, rows, tokens, R);
}

static void rig_open(struct rig *rig, int P, int scale)
{
    memory_count(&rig->memory);
    rig_layout(rig, P * K, P * K * (1 + 8 * scale));
    check_ok(memory_open(&rig->memory));
    rig_layout(rig, P * K, P * K * (1 + 8 * scale));
}

/* ---- links */

/* Before the batches go: everything sent has left. */
static void finish(struct comm *world, struct link *link)
{
    for (int i = 0; i < link->depth; i++)
        check_ok(comm_wait(world, &link->slots[i].requests, PHASE_END));
}

/* The same struct on both ends where the shares are equal: nothing moves. */
static struct batch *place_to_receive(struct rig *rig, const struct shape *s, int P, int64_t step)
{
    struct batch *in = &rig->in[step % 2], *out = &rig->out[step % 3];

    batch_share(in, P, s->n_to, s->receiver, step);
    if (s->sender >= 0 && P % 2 && in->group == out->group && in->groups == out->groups)
        return out;
    return in;
}

/* One batch ahead all the time: all tokens by one link, the rest by another. */
static void check_shape(struct comm *world, const struct shape *s, int P, int scale)
{
    const unsigned rest = COL_ALL & ~(unsigned)COL_TOKENS;
    struct link *first, *second;
    struct rig rig;

    rig_open(&rig, P, scale);
    check_ok(link_open(&first, world, "first", s->from, s->n_from, s->to, s->n_to, LEAVES, 2));
    check_ok(link_open(&second, world, "second", s->from, s->n_from, s->to, s->n_to, LEAVES, 2));
    for (int64_t step = -1; step < STEPS; step++) {
        struct batch *b = &rig.out[(step + 1) % 3];
        if (s->sender >= 0 && step + 1 < STEPS) {
            batch_share(b, P, s->n_from, s->sender, step + 1);
            fill(b, COL_ALL, scale);
            check_ok(link_send(first, b, COL_TOKENS, PHASE_ROLLOUT));
            check_ok(link_send(second, b, rest, PHASE_REWARD));
        }
        if (s->receiver >= 0 && step >= 0) {
            b = place_to_receive(&rig, s, P, step);
            check_ok(link_recv(first, b, COL_TOKENS, PHASE_ROLLOUT));
            check_filled(b, COL_TOKENS, scale);
            check_ok(link_recv(second, b, rest, PHASE_REWARD));
            check_filled(b, COL_ALL, scale);
        }
    }
    finish(world, first);
    finish(world, second);
    link_close(first);
    link_close(second);
    memory_close(&rig.memory);
}

static void test_every_column(struct comm *world)
{
    const int P[] = { 1, 7, 16, 13 };
    int sets = 1 << comm_size(world);

    for (int from = 1; from < sets; from++)
        for (int to = 1; to < sets; to++) {
            struct shape s = shape_make(world, from, to);
            check_shape(world, &s, P[(from + to) % 4], 1);
        }
}

static void test_long_rows(struct comm *world)
{
    struct shape apart = shape_make(world, 1, (1 << comm_size(world)) - 1);
    struct shape crossed = shape_make(world, 3, comm_size(world) > 2 ? 6 : 1);

    check_shape(world, &apart, 11, 3000);
    check_shape(world, &crossed, 11, 3000);
    world->world->piece = 4096;
    check_shape(world, &crossed, 11, 3000);
    world->world->piece = PIECE_BYTES;
}

/* The first sender fails in step 1 only: every receiver hears of it, nothing stays behind. */
static void check_failure(struct comm *world, const struct shape *s, int scale)
{
    const int P = 9;
    struct link *link;
    struct rig rig;

    rig_open(&rig, P, scale);
    check_ok(link_open(&link, world, "failing", s->from, s->n_from, s->to, s->n_to, LEAVES, 2));
    for (int64_t step = 0; step < 3; step++) {
        struct batch *out = &rig.out[step % 3], *in = &rig.in[step % 2];
        if (s->sender >= 0) {
            batch_share(out, P, s->n_from, s->sender, step);
            fill(out, COL_ALL, scale);
            if (s->sender == 0 && step == 1)
                out->status = RL_ENAN;
            check_ok(link_send(link, out, COL_ALL, PHASE_ROLLOUT));
        }
        if (s->receiver < 0)
            continue;
        batch_share(in, P, s->n_to, s->receiver, step);
        check_ok(link_recv(link, in, COL_ALL, PHASE_ROLLOUT));
        if (step == 1)
            check(in->status == RL_ENAN && in->filled == 0);
        else
            check_filled(in, COL_ALL, scale);
    }
    finish(world, link);
    link_close(link);
    memory_close(&rig.memory);
}

static void test_failure(struct comm *world)
{
    int sets = 1 << comm_size(world);

    for (int from = 1; from < sets; from++)
        for (int to = 1; to < sets; to++) {
            struct shape s = shape_make(world, from, to);
            check_failure(world, &s, from == to ? 3000 : 1);
        }
}

/* What a sender or receiver finds wrong by itself: its code goes to the receivers, and the next
 * batch is fine. */
static void test_own_errors(struct comm *world)
{
    struct shape s = shape_make(world, 1, (1 << comm_size(world)) - 1);
    const int P = 8;
    struct link *link;
    struct rig rig;
    int rc;

    rig_open(&rig, P, 1);
    check_ok(link_open(&link, world, "wrong", s.from, s.n_from, s.to, s.n_to, LEAVES, 2));
    status_hold(true);
    for (int64_t step = 0; step < 3; step++) {
        struct batch *out = &rig.out[step % 3], *in = &rig.in[step % 2];
        if (s.sender >= 0) {
            batch_share(out, P, s.n_from, s.sender, step);
            fill(out, step == 0 ? COL_TOKENS : COL_ALL, 1);      /* step 0 lacks columns */
            rc = link_send(link, out, COL_ALL, PHASE_ROLLOUT);
            check(rc == (step == 0 ? RL_EBUG : RL_OK));
        }
        batch_share(in, P, s.n_to, s.receiver, step);
        in->max_tokens = step == 1 ? 0 : P * K * 9;              /* step 1 does not fit */
        rc = link_recv(link, in, COL_ALL, PHASE_ROLLOUT);
        check(rc == (step == 1 && in->groups > 0 ? RL_EBUG : RL_OK));
        if (step == 2)
            check_filled(in, COL_ALL, 1);
        else
            check(in->groups == 0 || in->status == RL_EBUG);
    }
    status_drop();
    status_hold(comm_size(world) > 1);
    finish(world, link);
    link_close(link);
    memory_close(&rig.memory);
}

/* Rows too long to leave before the receiver comes, and it comes late: the batch of the last send
 * is written again once the link is ready, and not a value of it is seen too early. */
static void test_ready_before_the_batch_is_written_again(struct comm *world)
{
    struct shape s = shape_make(world, 1, 1 << (comm_size(world) - 1));
    const int P = 3, scale = 3000;
    struct link *link;
    struct rig rig;

    rig_open(&rig, P, scale);
    check_ok(link_open(&link, world, "again", s.from, s.n_from, s.to, s.n_to, LEAVES, 1));
    for (int64_t step = 0; step < 3; step++) {
        struct batch *out = &rig.out[0], *in = &rig.in[0];
        check_ok(link_ready(link));
        if (s.sender >= 0) {
            batch_share(out, P, s.n_from, s.sender, step);
            fill(out, COL_ALL, scale);
            check_ok(link_send(link, out, COL_ALL, PHASE_ROLLOUT));
        }
        if (s.receiver < 0)
            continue;
        clock_sleep(0.02);
        batch_share(in, P, s.n_to, s.receiver, step);
        check_ok(link_recv(link, in, COL_ALL, PHASE_ROLLOUT));
        check_filled(in, COL_ALL, scale);
    }
    finish(world, link);
    link_close(link);
    memory_close(&rig.memory);
}

static void test_shares_are_checked(struct comm *world)
{
    int ranks[2] = { 0, comm_size(world) };
    struct link *link;

    status_hold(true);
    check(link_open(&link, world, "no such rank", ranks, 2, ranks, 1, LEAVES, 1) == RL_EBUG);
    check(link == NULL);
    check(link_open(&link, world, "no depth", ranks, 1, ranks, 1, LEAVES, 0) == RL_EBUG);
    status_drop();
    status_hold(comm_size(world) > 1);
}

/* ---- the weights feed */

static float weight(int64_t version, size_t i)
{
    return (float)((version * 1000 + (int64_t)i) % 65521) / 3;
}

static void check_feed(struct comm *world, const struct shape *s, size_t n)
{
    float *w = malloc((n + 1) * sizeof *w);
    bool receives = s->receiver >= 0 && s->sender < 0;
    struct feed *feed;
    size_t wrong = 0;

    check_ok(feed_open(&feed, world, s->from, s->n_from, s->to, s->n_to, n));
    for (int64_t version = 3; w && version < 5; version++) {
        for (size_t i = 0; i <= n; i++)
            w[i] = s->sender >= 0 && i < n ? weight(version, i) : -1;
        if (s->sender >= 0)
            check_ok(weights_publish(feed, w, version));
        if (s->receiver >= 0)
            check_ok(weights_receive(feed, w, version));
        for (size_t i = 0; i < n; i++)
            wrong += w[i] != (s->sender >= 0 || receives ? weight(version, i) : -1);
        wrong += w[n] != -1;
    }
    check(wrong == 0);
    feed_close(feed);
    free(w);
}

static void test_feed(struct comm *world)
{
    int sets = 1 << comm_size(world);

    for (int from = 1; from < sets; from++)
        for (int to = 1; to < sets; to++) {
            struct shape s = shape_make(world, from, to);
            check_feed(world, &s, 1);
            check_feed(world, &s, 1003);
        }
}

static void test_feed_in_pieces(struct comm *world)
{
    struct shape s = shape_make(world, 1, (1 << comm_size(world)) - 1);

    check_feed(world, &s, ((size_t)2 << 20) + 17);
    s = shape_make(world, 3, (1 << comm_size(world)) - 1);
    check_feed(world, &s, ((size_t)3 << 20) + 1);
}

static void test_another_version(struct comm *world)
{
    struct shape s = shape_make(world, 1, (1 << comm_size(world)) - 1);
    float w[10] = { 0 };
    struct feed *feed;

    status_hold(true);
    check_ok(feed_open(&feed, world, s.from, s.n_from, s.to, s.n_to, 10));
    if (s.sender >= 0)
        check_ok(weights_publish(feed, w, 6));
    else
        check(weights_receive(feed, w, 5) == RL_EBUG);
    feed_close(feed);
    status_drop();
    status_hold(comm_size(world) > 1);
}

/* The same feeds where every rank has a GPU of its own. */
static void test_gpus(struct comm *world)
{
    struct compute *k;

    support_gpu();
    setenv("EMULATED_GPUS", "8", 1);
    check_ok(compute_open(&k, "cuda", "fp32", 1));
    check_ok(comm_use_gpus(world, k));
    check((world->gpus != NULL) == (comm_size(world) > 1));
    test_feed(world);
    test_feed_in_pieces(world);
    test_another_version(world);
    comm_leave_gpus(world);
    check(!world->gpus);
    compute_close(k);
}

int main(int argc, char **argv)
{
    struct comm *world;

    if (comm_start(&world, &argc, &argv) != RL_OK)
        return 1;
    fact(world, "every column, between every two sets of ranks", test_every_column);
    fact(world, "rows of many thousand tokens, in one message and in pieces", test_long_rows);
    fact(world, "a failed batch fails at every receiver and the next arrives", test_failure);
    fact(world, "what does not fit is an error and the next arrives", test_own_errors);
    fact(world, "a link is ready when its batch may change",
         test_ready_before_the_batch_is_written_again);
    fact(world, "links between ranks that are not there are refused", test_shares_are_checked);
    fact(world, "weights, between every two sets of ranks", test_feed);
    fact(world, "weights of several pieces", test_feed_in_pieces);
    fact(world, "weights of another version are refused", test_another_version);
    fact(world, "weights from GPU to GPU", test_gpus);
    return facts_end(world);
}
