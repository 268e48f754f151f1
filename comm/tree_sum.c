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

static float *staged(const struct tree *t, size_t round, int source)
{
    return t->staging[round % 2] + (size_t)source * t->piece;
}

/* Start receiving others' nodes of my slice and sending my nodes of theirs.  Two ranks list the
 * messages between them in the same order, so one tag is enough. */
static int start_round(struct tree *t, size_t round)
{
    struct requests *q = &t->requests[round % 2];
    size_t begin, count = piece_of(t, t->rank, round, &begin);
    int rc = RL_OK;

    q->n = 0;
    q->sequence = t->team->sequence;
    for (int i = 0; i < t->n_sources; i++)
        if (t->sources[i].rank != t->rank)
            TRY(requests_recv(q, t->team, staged(t, round, i), count * sizeof(float),
                              t->sources[i].rank, TAG_TREE));
    for (int i = 1; i < t->ranks; i++) {
        int owner = (t->rank + i) % t->ranks;
        count = piece_of(t, owner, round, &begin);
        for (int j = 0; j < t->run.n && count > 0; j++)
            TRY(requests_send(q, t->team, t->run.node[j].data + begin, count * sizeof(float), owner,
                              TAG_TREE));
    }
done:
    return rc;
}

/* The message has come: finish the tree of this piece, block by block. */
static int finish_round(struct tree *t, size_t round, float *grads)
{
    size_t begin, count = piece_of(t, t->rank, round, &begin);
    int rc = comm_wait(t->team, &t->requests[round % 2], PHASE_REDUCE);

    for (size_t at = 0; rc == RL_OK && at < count; at += BLOCK) {
        size_t m = count - at < BLOCK ? count - at : BLOCK;
        struct tree_run run = { .n = 0 };
        for (int i = 0; i < t->n_sources; i++) {
            const struct tree_source *s = &t->sources[i];
            float *data = s->rank == t->rank ? t->run.node[s->at_rank].data + begin
                                             : staged(t, round, i);
            tree_fold(&run, (struct tree_node){ s->level, s->index, data + at }, m, NULL, NULL);
        }
        memcpy(grads + begin + at, run.node[0].data, m * sizeof(float));
    }
    return rc;
}

/* Every rank gets every slice. */
static int share_slices(struct tree *t, float *grads)
{
    struct requests *q = &t->requests[0];
    size_t begin, end, mine_begin, mine_end;
    int rc = RL_OK;

    tree_slice(t->n, t->ranks, t->rank, &mine_begin, &mine_end);
    q->n = 0;
    for (int i = 1; i < t->ranks; i++) {
        int from = (t->rank + t->ranks - i) % t->ranks;
        tree_slice(t->n, t->ranks, from, &begin, &end);
        TRY(requests_recv(q, t->team, grads + begin, (end - begin) * sizeof(float), from,
                          TAG_TREE));
    }
    for (int i = 1; i < t->ranks; i++)
        TRY(requests_send(q, t->team, grads + mine_begin, (mine_end - mine_begin) * sizeof(float),
                          (t->rank + i) % t->ranks, TAG_TREE));
    rc = comm_wait(t->team, q, PHASE_REDUCE);
done:
    return rc;
}

/* Nodes of nothing but zeros travel like others. */
static void fill_zeros(struct tree *t)
{
    for (int i = 0; i < t->run.n; i++)
        if (!t->run.node[i].data)
            t->run.node[i].data = memset(t->spare[--t->n_spare], 0, t->n * sizeof(float));
}

int comm_tree_sum(struct tree *t, float *grads)
{
    struct trace at;
    size_t begin, end, rounds;
    int rc = RL_OK;

    if (t->broken || t->next != t->end) {
        tree_clear(t);
        return rl_error(RL_EBUG, "leaves %d to %d were not pushed once each, in order", t->first,
                        t->end - 1);
    }
    tree_slice(t->n, t->ranks, 0, &begin, &end);         /* the first slice is the longest */
    rounds = t->n > 0 ? (end - begin + t->piece - 1) / t->piece : 0;
    t->team->sequence++;
    at = trace_begin("sum gradients");
    fill_zeros(t);
    for (size_t round = 0; round < rounds; round++) {
        TRY(start_round(t, round));
        if (round > 0)
            TRY(finish_round(t, round - 1, grads));
    }
    if (rounds > 0)
        TRY(finish_round(t, rounds - 1, grads));
    TRY(share_slices(t, grads));
    tree_clear(t);
    trace_end(at, TRACE_BYTES, (int64_t)(t->n * sizeof(float)));
done:
    return rc;
}
