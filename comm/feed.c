/* The weights feed: flat floats from the ranks that train to the ranks that do not.
 *
 *   from 0 |=====.....|          rank i of `from` sends slice i of the buffer, in pieces, to every
 *   from 1 |.....=====|   -->    receiver; all of them hold the same bits
 *
 * Receivers are the ranks of `to` that are not in `from`.  Where the world has GPUs and NCCL the
 * pieces go from GPU to GPU, from place to place: the i-th of every slice side by side.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "comm/gpus.h"
#include "comm/link.h"
#include "comm/tree.h"

#define PIECE_LEAST ((size_t)1 << 20)     /* floats: 4 MiB */
#define PIECES_MOST 64                    /* of a slice, so that requests stay few */

struct announcement {
    int64_t version, floats;
};

struct feed {
    struct comm *world;
    char name[NAME_BYTES];
    int tag;
    size_t n;
    int *from, *to;                       /* (n_from), (n_to): to holds pure receivers only */
    int n_from, n_to;
    int sender;                           /* my index in from, -1 */
    bool receives;
    struct announcement *announced;       /* (n_from) received, or [0] sent */
    struct requests requests;
};

static bool is_in(int rank, const int *ranks, int n)
{
    for (int i = 0; i < n; i++)
        if (ranks[i] == rank)
            return true;
    return false;
}

static void slice_of(const struct feed *feed, int index, size_t *begin, size_t *count)
{
    size_t each = feed->n / (size_t)feed->n_from, rest = feed->n % (size_t)feed->n_from;
    size_t i = (size_t)index;

    *begin = i * each + (i < rest ? i : rest);
    *count = each + (i < rest);
}

/* Floats in one message of a slice. */
static size_t piece_of(size_t count)
{
    size_t piece = (count + PIECES_MOST - 1) / PIECES_MOST;

    return piece > PIECE_LEAST ? piece : PIECE_LEAST;
}

static int take_ranks(struct feed *feed, const int *from, int n_from, const int *to, int n_to)
{
    feed->from = malloc((size_t)n_from * sizeof *feed->from);
    feed->to = malloc((size_t)n_to * sizeof *feed->to);
    feed->announced = calloc((size_t)n_from, sizeof *feed->announced);
    if (!feed->from || !feed->to || !feed->announced)
        return rl_error(RL_ENOFIT, "cannot allocate the weights feed");
    feed->sender = -1;
    for (int i = 0; i < n_from; i++) {
        feed->from[feed->n_from++] = from[i];
        if (from[i] == feed->world->rank)
            feed->sender = i;
    }
    for (int i = 0; i < n_to; i++)
        if (!is_in(to[i], from, n_from))
            feed->to[feed->n_to++] = to[i];
    feed->receives = is_in(feed->world->rank, feed->to, feed->n_to);
    return RL_OK;
}

int feed_open(struct feed **out, struct comm *world, const int *from, int n_from, const int *to,
              int n_to, size_t n)
{
    struct feed *feed = NULL;
    int partners, rc = RL_OK;

    *out = NULL;
    if (n_from < 1 || n_to < 1 || n > SIZE_MAX / sizeof(float))
        return rl_error(RL_EBUG, "a weights feed of %zu floats from %d ranks to %d", n, n_from,
                        n_to);
    feed = calloc(1, sizeof *feed);
    if (!feed)
        return rl_error(RL_ENOFIT, "cannot allocate the weights feed");
    feed->world = world;
    snprintf(feed->name, sizeof feed->name, "feed %d", world->world->feeds);
    feed->tag = TAG_FEED + world->world->feeds++;
    feed->n = n;
    TRY(take_ranks(feed, from, n_from, to, n_to));
    partners = feed->sender >= 0 ? feed->n_to : feed->receives ? feed->n_from : 0;
    TRY(requests_init(&feed->requests, feed->name, partners * (PIECES_MOST + 1)));
    feed->requests.with = feed->sender >= 0 ? feed->to : feed->from;
    feed->requests.n_with = feed->sender >= 0 ? feed->n_to : feed->n_from;
    *out = feed;
done:
    if (rc != RL_OK)
        feed_close(feed);
    return rc;
}

void feed_close(struct feed *feed)
{
    if (!feed)
        return;
    requests_free(&feed->requests);
    free(feed->from);
    free(feed->to);
    free(feed->announced);
    free(feed);
}

/* ---- pieces */

static int send_pieces(struct feed *feed, const float *weights)
{
    size_t begin, count, piece;
    int rc = RL_OK;

    slice_of(feed, feed->sender, &begin, &count);
    piece = piece_of(count);
    for (size_t at = 0; at < count; at += piece) {
        size_t m = count - at < piece ? count - at : piece;
        for (int i = 0; i < feed->n_to; i++)
            TRY(requests_send(&feed->requests, feed->world, weights + begin + at, m * sizeof(float),
                              feed->to[i], feed->tag));
    }
    rc = comm_wait(feed->world, &feed->requests, PHASE_WEIGHTS);
done:
    return rc;
}

static int receive_pieces(struct feed *feed, float *weights)
{
    int rc = RL_OK;

    for (int f = 0; f < feed->n_from; f++) {
        size_t begin, count, piece;
        slice_of(feed, f, &begin, &count);
        piece = piece_of(count);
        for (size_t at = 0; at < count; at += piece)
            TRY(requests_recv(&feed->requests, feed->world, weights + begin + at,
                              (count - at < piece ? count - at : piece) * sizeof(float),
                              feed->from[f], feed->tag));
    }
    rc = comm_wait(feed->world, &feed->requests, PHASE_WEIGHTS);
done:
    return rc;
}

/* Floats of piece `index` of publisher f's slice, 0 behind its end; *at: where it begins.  Slices
 * have equally long pieces, and the first has the most. */
static size_t piece_at(const struct feed *feed, int f, size_t index, size_t *at)
{
    size_t begin, count, piece;

    slice_of(feed, 0, &begin, &count);
    piece = piece_of(count);
    slice_of(feed, f, &begin, &count);
    *at = begin + index * piece;
    if (index * piece >= count)
        return 0;
    return count - index * piece < piece ? count - index * piece : piece;
}

/* From GPU to GPU, on both sides: publishers only read weights. */
static int move_pieces(struct feed *feed, float *weights)
{
    size_t at, m;
    int rc = RL_OK;

    for (size_t p = 0; piece_at(feed, 0, p, &at) > 0; p++) {
        TRY(gpus_begin(feed->world));
        for (int f = 0; f < feed->n_from; f++) {
            m = piece_at(feed, f, p, &at) * sizeof(float);
            if (feed->receives)
                TRY(gpus_recv(feed->world, weights + at, m, feed->from[f]));
            for (int i = 0; f == feed->sender && i < feed->n_to; i++)
                TRY(gpus_send(feed->world, weights + at, m, feed->to[i]));
        }
        TRY(gpus_end(feed->world, &feed->requests, PHASE_WEIGHTS));
    }
    rc = gpus_wait(feed->world, &feed->requests, PHASE_WEIGHTS);
done:
    return rc;
}

/* ---- the feed's two ends */

int weights_publish(struct feed *feed, const float *weights, int64_t version)
{
    struct announcement *mine = &feed->announced[0];
    struct trace t = trace_begin_at(TRACE_SEND, "publish weights", feed->name, version, -1);
    int rc = RL_OK;

    if (feed->sender < 0)
        return rl_error(RL_EBUG, "weights: rank %d does not publish", feed->world->rank);
    *mine = (struct announcement){ version, (int64_t)feed->n };
    feed->requests.sequence = version;
    for (int i = 0; i < feed->n_to; i++)
        TRY(requests_send(&feed->requests, feed->world, mine, sizeof *mine, feed->to[i],
                          feed->tag));
    if (feed->world->gpus) {
        TRY(comm_wait(feed->world, &feed->requests, PHASE_WEIGHTS));
        TRY(move_pieces(feed, (float *)weights));
    } else {
        TRY(send_pieces(feed, weights));
    }
done:
    trace_end(t, TRACE_BYTES, (int64_t)(feed->n * sizeof(float)));
    return rc;
}

/* Another version is received all the same, so that nobody waits, and then reported. */
static int check_version(const struct feed *feed, int64_t version)
{
    for (int f = 0; f < feed->n_from; f++)
        if (feed->announced[f].version != version)
            return rl_error(RL_EBUG, "weights: rank %d published version %lld, rank %d wants %lld",
                            feed->from[f], (long long)feed->announced[f].version,
                            feed->world->rank, (long long)version);
    return RL_OK;
}

static int check_size(const struct feed *feed)
{
    for (int f = 0; f < feed->n_from; f++)
        if (feed->announced[f].floats != (int64_t)feed->n)
            return rl_error(RL_EBUG, "weights: rank %d published %lld floats, rank %d has %zu",
                            feed->from[f], (long long)feed->announced[f].floats,
                            feed->world->rank, feed->n);
    return RL_OK;
}

int weights_receive(struct feed *feed, float *weights, int64_t version)
{
    struct trace t;
    int rc = RL_OK;

    if (!feed->receives)
        return RL_OK;                     /* shares the model with a publisher */
    t = trace_begin("receive weights");
    feed->requests.sequence = version;
    for (int f = 0; f < feed->n_from; f++)
        TRY(requests_recv(&feed->requests, feed->world, &feed->announced[f],
                          sizeof *feed->announced, feed->from[f], feed->tag));
    TRY(comm_wait(feed->world, &feed->requests, PHASE_WEIGHTS));
    TRY(check_size(feed));
    TRY(feed->world->gpus ? move_pieces(feed, weights) : receive_pieces(feed, weights));
    rc = check_version(feed, version);
    trace_end(t, TRACE_BYTES, (int64_t)(feed->n * sizeof(float)));
done:
    return rc;
}
