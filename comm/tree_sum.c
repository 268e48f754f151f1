/* Nodes between ranks: every slice of the flat buffer has an owner that receives the other ranks'
 * nodes of it and finishes the tree; then every rank gets every slice.
 *
 *                    slice 0   slice 1   slice 2          3 ranks, 8 leaves
 *   rank 0 has  01   [owner]     -->        -->
 *   rank 1 has  23 4   <--     [owner]      -->           ((01 + 23) + (45 + 67)), where 5 and 67
 *   rank 2 has  5 67   <--       <--      [owner]         are rank 2's: 45 is made by the owner
 *
 * A slice goes in pieces: while one is summed the next is under way.  Whatever the ranks, each
 * addition has the same two operands.
 */
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "comm/gpus.h"
#include "comm/tree_plan.h"

#define BLOCK ((size_t)4096)     /* floats folded at a time, so that a block stays in the cache */

/* The part [*begin, *begin + count) of rank's slice that travels in round `round`. */
static size_t piece_of(const struct tree *t, int rank, size_t round, size_t *begin)
{
    size_t first, end;

    tree_slice(t->n, t->ranks, rank, &first, &end);
    *begin = first + round * t->piece;
    if (*begin >= end)
        return 0;
    return end - *begin < t->piece ? end - *begin : t->piece;
}

static void copy(struct compute *gpu, float *y, const float *x, size_t n)
{
    if (gpu)
        gpu->copy(gpu, y, x, n * sizeof *y);
    else
        memcpy(y, x, n * sizeof *y);
}

static float *staged(const struct tree *t, size_t round, int source)
{
    return t->staging[round % 2] + (size_t)source * t->piece;
}

/* ---- messages: of GPUs where the team has them, and then in order with what these compute */

static int messages_begin(struct tree *t, struct requests *q)
{
    q->n = 0;
    q->sequence = t->team->sequence;
    return t->team->gpus ? gpus_begin(t->team) : RL_OK;
}

static int message_recv(struct tree *t, struct requests *q, float *data, size_t floats, int from)
{
    size_t bytes = floats * sizeof *data;

    return t->team->gpus ? gpus_recv(t->team, data, bytes, from)
                         : requests_recv(q, t->team, data, bytes, from, TAG_TREE);
}

static int message_send(struct tree *t, struct requests *q, const float *data, size_t floats,
                        int to)
{
    size_t bytes = floats * sizeof *data;

    return t->team->gpus ? gpus_send(t->team, data, bytes, to)
                         : requests_send(q, t->team, data, bytes, to, TAG_TREE);
}

static int messages_end(struct tree *t, struct requests *q)
{
    return t->team->gpus ? gpus_end(t->team, q, PHASE_REDUCE) : RL_OK;
}

/* They are done; a GPU's, and what was computed before. */
static int messages_wait(struct tree *t, struct requests *q)
{
    return t->team->gpus ? gpus_wait(t->team, q, PHASE_REDUCE)
                         : comm_wait(t->team, q, PHASE_REDUCE);
}

/* ---- the sum in a fixed order */

/* Start receiving others' nodes of my slice and sending my nodes of theirs.  Two ranks list the
 * messages between them in the same order, so one tag is enough. */
static int start_round(struct tree *t, size_t round)
{
    struct requests *q = &t->requests[round % 2];
    size_t begin, count = piece_of(t, t->rank, round, &begin);
    int rc = RL_OK;

    TRY(messages_begin(t, q));
    for (int i = 0; i < t->n_sources; i++)
        if (t->sources[i].rank != t->rank)
            TRY(message_recv(t, q, staged(t, round, i), count, t->sources[i].rank));
    for (int i = 1; i < t->ranks; i++) {
        int owner = (t->rank + i) % t->ranks;
        count = piece_of(t, owner, round, &begin);
        for (int j = 0; j < t->run.n && count > 0; j++)
            TRY(message_send(t, q, t->run.node[j].data + begin, count, owner));
    }
    rc = messages_end(t, q);
done:
    return rc;
}

/* Finish the tree of this piece, block by block. */
static void finish_piece(struct tree *t, size_t round, float *grads)
{
    struct compute *gpu = t->team->gpu;
    size_t begin, count = piece_of(t, t->rank, round, &begin), block = gpu ? count : BLOCK;

    for (size_t at = 0; at < count; at += block) {
        size_t m = count - at < block ? count - at : block;
        struct tree_run run = { .n = 0 };
        for (int i = 0; i < t->n_sources; i++) {
            const struct tree_source *s = &t->sources[i];
            float *data = s->rank == t->rank ? t->run.node[s->at_rank].data + begin
                                             : staged(t, round, i);
            tree_fold(gpu, &run, (struct tree_node){ s->level, s->index, data + at }, m, NULL,
                      NULL);
        }
        copy(gpu, grads + begin + at, run.node[0].data, m);
    }
}

/* MPI knows of no stream: what it sends next has to be there, and where it receives next nothing is
 * to be read any more. */
static int finish_round(struct tree *t, size_t round, float *grads)
{
    int rc = RL_OK;

    if (!t->team->gpus)
        TRY(comm_wait(t->team, &t->requests[round % 2], PHASE_REDUCE));
    finish_piece(t, round, grads);
    if (t->team->gpu && !t->team->gpus)
        compute_wait(t->team->gpu);
done:
    return rc;
}

/* Every rank gets every slice. */
static int share_slices(struct tree *t, float *grads)
{
    struct requests *q = &t->requests[0];
    size_t begin, end, mine_begin, mine_end;
    int rc = RL_OK;

    tree_slice(t->n, t->ranks, t->rank, &mine_begin, &mine_end);
    TRY(messages_begin(t, q));
    for (int i = 1; i < t->ranks; i++) {
        int from = (t->rank + t->ranks - i) % t->ranks;
        tree_slice(t->n, t->ranks, from, &begin, &end);
        TRY(message_recv(t, q, grads + begin, end - begin, from));
    }
    for (int i = 1; i < t->ranks; i++)
        TRY(message_send(t, q, grads + mine_begin, mine_end - mine_begin,
                         (t->rank + i) % t->ranks));
    TRY(messages_end(t, q));
    rc = messages_wait(t, q);
done:
    return rc;
}

/* Nodes of nothing but zeros travel like others. */
static void fill_zeros(struct tree *t)
{
    for (int i = 0; i < t->run.n; i++)
        if (!t->run.node[i].data) {
            t->run.node[i].data = t->spare[--t->n_spare];
            tree_zero(t->team->gpu, t->run.node[i].data, t->n);
        }
}

/* Piece by piece in the fixed order. */
static int sum_in_order(struct tree *t, float *grads)
{
    size_t begin, end, rounds;
    int rc = RL_OK;

    tree_slice(t->n, t->ranks, 0, &begin, &end);         /* the first slice is the longest */
    rounds = t->n > 0 ? (end - begin + t->piece - 1) / t->piece : 0;
    fill_zeros(t);
    for (size_t round = 0; round < rounds; round++) {
        TRY(start_round(t, round));
        if (round > 0)
            TRY(finish_round(t, round - 1, grads));
    }
    if (rounds > 0)
        TRY(finish_round(t, rounds - 1, grads));
    rc = share_slices(t, grads);
done:
    return rc;
}

/* On GPUs, which may leave out zeros and take NCCL's order. */
static int sum_in_any_order(struct tree *t, float *grads)
{
    struct compute *gpu = t->team->gpu;
    struct requests *q = &t->requests[0];
    bool first = true;
    int rc = RL_OK;

    for (int i = 0; i < t->run.n; i++) {
        const float *x = t->run.node[i].data;
        if (x && first)
            gpu->copy(gpu, grads, x, t->n * sizeof *x);
        else if (x)
            gpu->add(gpu, grads, x, t->n);
        first &= !x;
    }
    if (first)
        gpu->zero(gpu, grads, t->n * sizeof *grads);
    TRY(messages_begin(t, q));
    TRY(t->team->gpus ? gpus_allreduce(t->team, grads, t->n) : RL_OK);
    TRY(messages_end(t, q));
    rc = messages_wait(t, q);
done:
    return rc;
}

int comm_tree_sum(struct tree *t, float *grads)
{
    struct compute *gpu = t->team->gpu;
    bool any = gpu && t->any_order && (t->ranks == 1 || t->team->gpus);
    struct trace at;
    int rc = RL_OK;

    if (t->broken || t->next != t->end) {
        tree_clear(t);
        return rl_error(RL_EBUG, "leaves %d to %d were not pushed once each, in order", t->first,
                        t->end - 1);
    }
    t->team->sequence++;
    at = trace_begin("sum gradients");
    TRY(any ? sum_in_any_order(t, grads) : sum_in_order(t, grads));
    TRY(gpu ? compute_sync(gpu) : RL_OK);
    tree_clear(t);
    trace_end(at, TRACE_BYTES, (int64_t)(t->n * sizeof(float)));
done:
    return rc;
}
