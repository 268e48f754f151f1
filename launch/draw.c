/* Weights that begin random.  A number is a function of its counter, so whoever draws it gets it:
 *
 *   rank 0   |-- drawn --|  from 1   |  from 2   |       the policy, or what begins as it does
 *   rank 1   |  from 0   |-- drawn --|  from 2   |
 *   rank 2   |  from 0   |  from 1   |-- drawn --|       of one host
 *
 * Other models of a rank that begin so are copies.  Between hosts nothing is sent: a network may be
 * slower than drawing. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "launch/run.h"

#define MODELS 6

struct beginner {
    struct model *model;
    const struct source *source;
    bool is_loaded;             /* a checkpoint or the learners bring its weights */
};

/* The models of this rank whose weights are to be drawn. */
static int list_beginners(struct run *r, struct beginner out[MODELS])
{
    const struct inputs *in = &r->inputs;
    bool resumed = r->step > 0;
    const struct beginner all[MODELS] = {
        { run_holds(r, ROLE_LEARNER) ? r->policy : NULL, &in->policy, resumed },
        { r->judge_mean.model, &in->policy, resumed },
        { r->reference_copy.model, &in->reference, resumed },
        { r->critic, &in->critic, resumed },
        { r->reference, &in->reference, false },
        { r->judge_frozen, &in->reference, false },
    };
    int n = 0;

    for (int i = 0; i < MODELS; i++)
        if (all[i].model && all[i].source->random && !all[i].is_loaded)
            out[n++] = all[i];
    return n;
}

/* All that begin as a plain model have the same weights: of one path and one seed. */
static bool is_plain(const struct source *s)
{
    return source_draws_alike(s, s);
}

/* ---- the ranks of this host that draw together */

struct hands {
    int *rank, n, me;                   /* world ranks; rank[me] is this one */
    struct parcel *in, *out;            /* (n) */
};

static void free_hands(struct hands *h)
{
    free(h->rank);
    free(h->in);
    free(h->out);
}

static int list_hands(struct hands *h, struct comm *world, const char *draws)
{
    size_t size = (size_t)comm_size(world);
    const char *host = comm_host(world, comm_rank(world));

    h->rank = calloc(size, sizeof *h->rank);
    h->in = calloc(size, sizeof *h->in);
    h->out = calloc(size, sizeof *h->out);
    if (!h->rank || !h->in || !h->out)
        return rl_error(RL_ENOFIT, "no memory to draw weights with %zu ranks", size);
    for (int rank = 0; rank < (int)size; rank++) {
        if (!draws[rank] || strcmp(comm_host(world, rank), host) != 0)
            continue;
        if (rank == comm_rank(world))
            h->me = h->n;
        h->rank[h->n++] = rank;
    }
    return RL_OK;
}

/* Who has a plain model to draw: a byte of every rank. */
static int share_draws(struct comm *world, char *draws)
{
    int n = comm_size(world), rc = RL_OK;
    size_t *counts = calloc((size_t)n, sizeof *counts);

    if (!counts)
        rc = rl_error(RL_ENOFIT, "no memory to draw weights with %d ranks", n);
    for (int i = 0; counts && i < n; i++)
        counts[i] = 1;
    TRY(comm_agree(world, rc));
    rc = comm_allgather(world, draws + comm_rank(world), draws, counts, PHASE_START);
done:
    free(counts);
    return rc;
}

/* Floats [begin, end) of hand i of n; the buffer is a multiple of 64 of them. */
static void share(size_t floats, int n, int i, size_t *begin, size_t *end)
{
    *begin = floats / 64 * (size_t)i / (size_t)n * 64;
    *end = floats / 64 * (size_t)(i + 1) / (size_t)n * 64;
}

/* Draws this rank's share of b and lists what to send and what to expect. */
static int draw_share(struct hands *h, const struct beginner *b)
{
    float *w = model_weights(b->model);
    size_t floats = model_size(&b->source->shape), begin, end, first, last;
    int n = 0;

    share(floats, h->n, h->me, &first, &last);
    source_draw_part(b->source, b->model, first, last);
    for (int i = 0; i < h->n; i++) {
        if (i == h->me)
            continue;
        share(floats, h->n, i, &begin, &end);
        h->in[n] = (struct parcel){ h->rank[i], w + begin, (end - begin) * sizeof *w };
        h->out[n++] = (struct parcel){ h->rank[i], w + first, (last - first) * sizeof *w };
    }
    return n;
}

/* b: a plain model of this rank, NULL: it has none, but others may. */
static int draw_together(struct comm *world, const struct beginner *b)
{
    struct hands h = { 0 };
    char *draws = calloc((size_t)comm_size(world), 1);
    int n = 0, rc = RL_OK;

    TRY(comm_agree(world, draws ? RL_OK : rl_error(RL_ENOFIT, "no memory to draw weights")));
    draws[comm_rank(world)] = b != NULL;
    TRY(share_draws(world, draws));
    TRY(comm_agree(world, list_hands(&h, world, draws)));
    if (b)
        n = draw_share(&h, b);
    TRY(comm_exchange(world, h.out, n, h.in, n, PHASE_START));
    if (b)
        source_drawn(b->source, b->model);
done:
    free_hands(&h);
    free(draws);
    return rc;
}

/* ---- the whole */

int draw_weights(struct run *r)
{
    struct beginner all[MODELS];
    int n = list_beginners(r, all), rc = RL_OK;
    const struct beginner *plain = NULL;

    for (int i = n - 1; i >= 0; i--)
        if (is_plain(all[i].source))
            plain = &all[i];
    if (is_plain(&r->inputs.policy) || is_plain(&r->inputs.reference))
        TRY(draw_together(r->world, plain));
    for (int i = 0; i < n; i++) {
        if (&all[i] == plain)
            continue;
        if (is_plain(all[i].source)) {
            memcpy(model_weights(all[i].model), model_weights(plain->model),
                   model_size(&all[i].source->shape) * sizeof(float));
            model_changed(all[i].model);
        } else {
            source_draw(all[i].source, all[i].model);
        }
    }
done:
    return rc;
}
