/* H from K gradients, piece by piece, and the coefficients from H.
 *
 *   flat buffer   | embedding | layer 0 | layer 1 | ... | head |
 *   pieces        |    |    | |  |    | |             chunks of HASH_CHUNK, cut at model_parts
 *
 * The pieces are the same for every mode and every number of ranks; a rank makes a run of them, and
 * all are added in order. */
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "learner/raco/raco.h"

/* raco.gram_scope: all blocks; the last layer; or the one that holds the vocabulary head's weight,
 * which is the embedding's when they are tied. */
bool gram_in_scope(const struct learner *ln, int block)
{
    const char *scope = ln->config->raco.gram_scope;

    if (strcmp(scope, "last") == 0)
        return block == 1;
    if (strcmp(scope, "head") == 0)
        return block == (ln->shape.tied ? ln->shape.L + 1 : 0);
    return true;
}

int gram_deepest(const struct learner *ln)
{
    int deepest = 0;

    for (int block = 0; block < model_blocks(&ln->shape); block++)
        if (gram_in_scope(ln, block))
            deepest = block;
    return deepest;
}

void gram_layout(struct learner *ln, struct memory *memory)
{
    struct raco *r = ln->state;
    size_t most = model_size(&ln->shape) / HASH_CHUNK + 1, bytes;

    for (int block = 0; block < model_blocks(&ln->shape); block++)
        most += (size_t)model_parts(&ln->shape, block);
    bytes = most * gram_terms(r->K) * sizeof(double);
    r->piece = memory_take(memory, most * sizeof *r->piece);
    r->gram = memory_take(memory, bytes);
    r->all_gram = memory_take(memory, bytes);
    r->counts = memory_take(memory, (size_t)ln->ranks * sizeof *r->counts);
}

static void list_part(struct raco *r, size_t from, size_t to)
{
    for (size_t end; from < to; from = end) {
        end = gram_piece_end(from, to);
        r->piece[r->pieces++] = (struct raco_piece){ from, end };
    }
}

void gram_list(struct learner *ln)
{
    struct raco *r = ln->state;
    size_t from, count;

    r->pieces = 0;
    for (int block = model_blocks(&ln->shape) - 1; block >= 0; block--)
        for (int part = 0; part < model_parts(&ln->shape, block); part++) {
            model_part_range(&ln->shape, block, part, &from, &count);
            if (gram_in_scope(ln, block))
                list_part(r, from, from + count);
        }
}

static size_t share_begin(const struct raco *r, int ranks, int rank)
{
    return r->pieces * (size_t)rank / (size_t)ranks;
}

/* Where the pieces from p on stop to be the chunks of one run of elements. */
static size_t run_end(const struct raco_piece *piece, size_t p, size_t end)
{
    while (++p < end && piece[p].from == piece[p - 1].to &&
           piece[p - 1].to - piece[p - 1].from == HASH_CHUNK)
        ;
    return p;
}

void gram_pieces(struct learner *ln, const float *const *g, size_t from, size_t begin, size_t end,
                 double *sum)
{
    struct raco *r = ln->state;
    struct compute *k = model_compute(ln->policy.model);

    for (size_t p = begin, next; p < end; p = next) {
        const float *at[COMBINE_MAX];

        next = run_end(r->piece, p, end);
        for (int i = 0; i < r->K; i++)
            at[i] = g[i] + (r->piece[p].from - from);
        k->gram(k, sum, at, r->K, r->piece[next - 1].to - r->piece[p].from);
        sum += (next - p) * gram_terms(r->K);
    }
}

void gram_make(struct learner *ln, const float *const *g, size_t from, size_t to)
{
    struct raco *r = ln->state;
    size_t mine = share_begin(r, ln->ranks, ln->rank), begin = mine;
    size_t end = share_begin(r, ln->ranks, ln->rank + 1);

    while (begin < end && r->piece[begin].from < from)
        begin++;
    while (end > begin && r->piece[end - 1].to > to)
        end--;
    gram_pieces(ln, g, from, begin, end, r->gram + (begin - mine) * gram_terms(r->K));
}

int gram_gather(struct learner *ln)
{
    struct raco *r = ln->state;
    size_t terms = gram_terms(r->K);
    int rc = RL_OK;

    for (int rank = 0; rank < ln->ranks; rank++)
        r->counts[rank] = (share_begin(r, ln->ranks, rank + 1) - share_begin(r, ln->ranks, rank)) *
                          terms * sizeof(double);
    TRY(comm_allgather(ln->team, r->gram, r->all_gram, r->counts, PHASE_REDUCE));
    gram_sum(r->all_gram, r->pieces, r->K, r->H);
done:
    return rc;
}

int gram_solve(struct learner *ln)
{
    struct raco *r = ln->state;
    struct { struct combine_report report; double a[COMBINE_MAX]; } found = { 0 };
    int rc = RL_OK;

    r->set.seed = (uint64_t)ln->config->seed;
    r->set.step = (uint32_t)ln->version;
    if (ln->rank == 0)
        combine_solve(r->rule, r->H, r->w, r->K, &r->set, found.a, &found.report);
    TRY(comm_broadcast(ln->team, &found, sizeof found, 0, PHASE_REDUCE));
    r->report = found.report;
    r->solved = true;
    if (r->report.path == COMBINE_SKIP)
        ln->total = 0;              /* no step; the coefficients stay what they were */
    else
        memcpy(r->a, found.a, sizeof r->a);
done:
    return rc;
}
