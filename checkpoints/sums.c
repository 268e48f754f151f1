/* The checksums of a checkpoint: each rank has those of its pieces, as they come; the file wants
 * them array by array. */
#include <stdlib.h>

#include "base/status.h"
#include "checkpoints/internal.h"

struct range { int64_t array; uint64_t begin, count; };     /* a piece without its data */

struct gathering {
    struct comm *team;
    const struct checkpoint_content *content;
    size_t *counts, *sizes;         /* per rank: bytes that a gather moves; of ranges, of sums */
    struct range *mine, *ranges;    /* of this rank; of all, on rank 0 */
    uint64_t *sums;                 /* rank 0: as gathered, rank by rank */
    size_t n_ranges, n_sums;        /* of all */
};

size_t sums_count(const struct checkpoint_content *c)
{
    size_t n = 0;

    for (int i = 0; i < c->n_pieces; i++)
        n += chunks_of(c->pieces[i].count);
    return n;
}

static size_t chunks_in_all(const struct checkpoint_content *c)
{
    size_t n = 0;

    for (int i = 0; i < c->n_arrays; i++)
        n += chunks_of(c->arrays[i].size);
    return n;
}

/* Collective.  How much each rank has; all must have all of it together. */
static int gather_sizes(struct gathering *g)
{
    const struct checkpoint_content *c = g->content;
    size_t mine[2] = { (size_t)c->n_pieces, sums_count(c) };
    int ranks = comm_size(g->team), rc = RL_OK;

    for (int r = 0; r < ranks; r++)
        g->counts[r] = sizeof mine;
    TRY(comm_allgather(g->team, mine, g->sizes, g->counts, PHASE_CHECKPOINT));
    for (int r = 0; r < ranks; r++) {
        g->n_ranges += g->sizes[2 * r];
        g->n_sums += g->sizes[2 * r + 1];
    }
    if (g->n_sums != chunks_in_all(c))          /* seen by every rank alike */
        rc = rl_error(RL_EBUG, "checkpoint: the ranks hold %zu chunks of %zu", g->n_sums,
                      chunks_in_all(c));
done:
    return rc;
}

static int prepare(struct gathering *g)
{
    const struct checkpoint_content *c = g->content;
    bool root = comm_rank(g->team) == 0;

    g->mine = calloc((size_t)c->n_pieces + 1, sizeof *g->mine);
    if (root) {
        g->ranges = calloc(g->n_ranges + 1, sizeof *g->ranges);
        g->sums = calloc(g->n_sums + 1, sizeof *g->sums);
    }
    if (!g->mine || (root && (!g->ranges || !g->sums)))
        return rl_error(RL_ENOFIT, "no memory for the checksums of a checkpoint");
    for (int i = 0; i < c->n_pieces; i++)
        g->mine[i] = (struct range){ c->pieces[i].array, c->pieces[i].begin, c->pieces[i].count };
    return RL_OK;
}

/* Collective. */
static int gather_sums(struct gathering *g, const uint64_t *mine)
{
    int ranks = comm_size(g->team), rc = RL_OK;

    for (int r = 0; r < ranks; r++)
        g->counts[r] = g->sizes[2 * r] * sizeof *g->ranges;
    TRY(comm_gather(g->team, g->mine, g->ranges, g->counts, 0, PHASE_CHECKPOINT));
    for (int r = 0; r < ranks; r++)
        g->counts[r] = g->sizes[2 * r + 1] * sizeof *g->sums;
    TRY(comm_gather(g->team, mine, g->sums, g->counts, 0, PHASE_CHECKPOINT));
done:
    return rc;
}

/* Rank 0: from rank by rank to array by array.  Every chunk must have come once. */
static int order_sums(const struct gathering *g, uint64_t *all)
{
    const struct checkpoint_content *c = g->content;
    size_t *first = calloc((size_t)c->n_arrays + 1, sizeof *first);     /* chunk of each array */
    char *seen = calloc(g->n_sums + 1, 1);
    const uint64_t *from = g->sums;
    int rc = RL_OK;

    if (!first || !seen) {
        rc = rl_error(RL_ENOFIT, "no memory for the checksums of a checkpoint");
        goto done;
    }
    for (int i = 0; i < c->n_arrays; i++)
        first[i + 1] = first[i] + chunks_of(c->arrays[i].size);
    for (size_t i = 0; i < g->n_ranges; i++) {
        const struct range *r = &g->ranges[i];
        size_t k = first[r->array] + r->begin / HASH_CHUNK, end = k + chunks_of(r->count);
        for (; k < end; k++) {
            if (seen[k]++) {
                rc = rl_error(RL_EBUG, "checkpoint: array '%s': two pieces hold chunk %zu",
                              c->arrays[r->array].name, k - first[r->array]);
                goto done;
            }
            all[k] = *from++;
        }
    }
done:
    free(first);
    free(seen);
    return rc;
}

int sums_gather(struct comm *team, const struct checkpoint_content *c, const uint64_t *mine,
                uint64_t **all)
{
    size_t ranks = (size_t)comm_size(team);
    struct gathering g = { .team = team, .content = c,
                           .counts = calloc(ranks, sizeof *g.counts),
                           .sizes = calloc(2 * ranks, sizeof *g.sizes) };
    int rc = RL_OK;

    *all = NULL;
    TRY(comm_agree(team, g.counts && g.sizes
                             ? RL_OK
                             : rl_error(RL_ENOFIT, "no memory for the checksums of a checkpoint")));
    TRY(comm_agree(team, gather_sizes(&g)));
    TRY(comm_agree(team, prepare(&g)));
    TRY(gather_sums(&g, mine));
    if (comm_rank(team) == 0) {
        *all = calloc(g.n_sums + 1, sizeof **all);
        rc = *all ? order_sums(&g, *all)
                  : rl_error(RL_ENOFIT, "no memory for the checksums of a checkpoint");
    }
    rc = comm_agree(team, rc);
done:
    free(g.counts);
    free(g.sizes);
    free(g.mine);
    free(g.ranges);
    free(g.sums);
    return rc;
}
