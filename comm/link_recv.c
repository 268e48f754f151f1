/* The receivers' side of a link: all headers, then, if nothing failed, row ends and columns
 * straight to their places; if something failed, whatever comes is received and dropped, so that no
 * sender is left waiting. */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "comm/link_plan.h"

static bool is_self(const struct link *link, int f)
{
    return link->from[f] == link->world->rank;
}

/* The slot of my own send of this batch, NULL when it was not sent yet or is gone. */
static const struct slot *own_slot(const struct link *link, int64_t sequence)
{
    const struct slot *slot = &link->slots[sequence % link->depth];

    return slot->batch && slot->sequence == sequence ? slot : NULL;
}

static int receive_headers(struct link *link, int64_t sequence, enum phase phase)
{
    int rc = RL_OK;

    link->requests.n = 0;
    link->requests.sequence = sequence;
    for (int f = 0; f < link->n_from; f++) {
        const struct slot *slot;
        if (!is_self(link, f)) {
            TRY(requests_recv(&link->requests, link->world, &link->incoming[f],
                              sizeof *link->incoming, link->from[f],
                              link_tag(link, sequence, MESSAGE_HEADER)));
            continue;
        }
        slot = own_slot(link, sequence);
        if (!slot)
            return rl_error(RL_EBUG, "link \"%s\": batch %lld is received before it was sent, or "
                            "%d sends later", link->name, (long long)sequence, link->depth);
        link->incoming[f] = link_header(link, slot, link->receiver);
    }
    rc = comm_wait(link->world, &link->requests, phase);
done:
    return rc;
}

static int worst_status(const struct link *link, const struct batch *b)
{
    int worst = b->status;

    for (int f = 0; f < link->n_from; f++)
        worst = status_worse(worst, link->incoming[f].status);
    return worst;
}

/* Do the headers agree with what this rank expects? */
static int check_headers(const struct link *link, const struct batch *b, unsigned columns)
{
    int row = b->group * b->k;
    int64_t tokens = 0;

    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        if (h->step != b->step || h->columns != (int32_t)columns || h->P != b->P || h->k != b->k ||
            ((columns & (COL_REWARD | COL_MIX)) && h->R != b->R))
            return rl_error(RL_EBUG, "link \"%s\": rank %d sent step %lld, columns %#x, %dx%d "
                            "rows, %d rewards; rank %d expects %lld, %#x, %dx%d, %d", link->name,
                            link->from[f], (long long)h->step, (unsigned)h->columns, h->P, h->k,
                            h->R, link->world->rank, (long long)b->step, columns, b->P, b->k, b->R);
        if (h->rows > 0 && h->first != row)
            return rl_error(RL_EBUG, "link \"%s\", step %lld: rank %d sent rows from %d, not %d",
                            link->name, (long long)b->step, link->from[f], h->first, row);
        row += h->rows;
        tokens += h->tokens;
    }
    row -= b->group * b->k;
    if (row != b->groups * b->k || row > b->max_rows || tokens > b->max_tokens)
        return rl_error(RL_EBUG, "link \"%s\", step %lld: %d rows with %lld tokens came for %d; "
                        "there is room for %d and %d", link->name, (long long)b->step, row,
                        (long long)tokens, b->groups * b->k, b->max_rows, b->max_tokens);
    return RL_OK;
}

/* Rows known before must have the lengths that the senders' rows have. */
static int check_lengths(const struct link *link, const struct batch *b)
{
    if (b->N != b->groups * b->k)
        return rl_error(RL_EBUG, "link \"%s\", step %lld: the batch has %d rows of %d: its tokens "
                        "come first", link->name, (long long)b->step, b->N, b->groups * b->k);
    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        int first = h->first - b->group * b->k;
        if (h->rows > 0 && h->tokens != b->start[first + h->rows] - b->start[first])
            return rl_error(RL_EBUG, "link \"%s\", step %lld: rows %d+%d of rank %d have %lld "
                            "tokens there and %d here", link->name, (long long)b->step, h->first,
                            h->rows, link->from[f], (long long)h->tokens,
                            b->start[first + h->rows] - b->start[first]);
    }
    return RL_OK;
}

/* ---- placing */

/* A part of my own rows: nothing to do in the same batch, a copy into another. */
static void place_own(void *place, const void *data, size_t bytes)
{
    if (bytes > 0 && place != data)
        memcpy(place, data, bytes);
}

/* Row ends first: with them every other place is known. */
static int receive_starts(struct link *link, struct batch *b, int64_t sequence, enum phase phase)
{
    int rc = RL_OK;

    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        int first = h->first - b->group * b->k;
        size_t bytes = (size_t)h->rows * sizeof *b->start;
        if (h->rows == 0)
            continue;
        if (is_self(link, f)) {
            const struct batch *mine = own_slot(link, sequence)->batch;
            place_own(b->start + first + 1,
                      mine->start + (h->first - mine->group * mine->k) + 1, bytes);
            continue;
        }
        TRY(requests_recv(&link->requests, link->world, b->start + first + 1, bytes, link->from[f],
                          link_tag(link, sequence, MESSAGE_STARTS)));
    }
    TRY(comm_wait(link->world, &link->requests, phase));
    b->start[0] = 0;
    b->T = 0;
    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        int *end = b->start + (h->first - b->group * b->k) + 1;
        for (int i = 0; i < h->rows; i++)
            end[i] += b->T - (int)h->base;
        b->T += (int)h->tokens;
    }
    b->N = b->groups * b->k;
done:
    return rc;
}

static int receive_part(struct link *link, struct batch *b, int part, int64_t sequence)
{
    const struct batch_part *p = &batch_parts[part];
    int rc = RL_OK;

    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        size_t elements;
        void *place;
        if (h->rows == 0)
            continue;
        place = batch_part_at(b, p, h->first - b->group * b->k, h->rows, &elements);
        if (is_self(link, f)) {
            const struct batch *mine = own_slot(link, sequence)->batch;
            size_t same;
            const void *data = batch_part_at(mine, p, h->first - mine->group * mine->k, h->rows,
                                             &same);
            place_own(place, data, elements * p->bytes);
            continue;
        }
        TRY(requests_recv(&link->requests, link->world, place, elements * p->bytes, link->from[f],
                          link_tag(link, sequence, MESSAGE_PARTS + part)));
    }
done:
    return rc;
}

static int place_columns(struct link *link, struct batch *b, unsigned columns, int64_t sequence,
                         enum phase phase)
{
    int rc = RL_OK;

    if (columns & COL_TOKENS)
        TRY(receive_starts(link, b, sequence, phase));
    for (int i = 0; batch_parts[i].name; i++)
        if (columns & batch_parts[i].column)
            TRY(receive_part(link, b, i, sequence));
    TRY(comm_wait(link->world, &link->requests, phase));
    b->filled |= columns;
done:
    return rc;
}

/* ---- dropping */

static size_t part_bytes(const struct batch_part *p, const struct header *h)
{
    switch (p->extent) {
    case PER_ROW:    return (size_t)h->rows * p->bytes;
    case PER_REWARD: return (size_t)h->rows * (size_t)h->R * p->bytes;
    case PER_TOKEN:  break;
    }
    return (size_t)h->tokens * p->bytes;
}

static int drop(struct link *link, int f, size_t bytes, int tag, enum phase phase)
{
    void *scratch = malloc(bytes > 0 ? bytes : 1);       /* only after a failure */
    int rc;

    if (!scratch)
        return rl_error(RL_ENOFIT, "link \"%s\": cannot allocate %zu bytes", link->name, bytes);
    rc = requests_recv(&link->requests, link->world, scratch, bytes, link->from[f], tag);
    if (rc == RL_OK)
        rc = comm_wait(link->world, &link->requests, phase);
    if (rc == RL_OK)
        free(scratch);                /* else MPI may still write to it until the job ends */
    return rc;
}

/* Receive what the senders whose batch did not fail have sent. */
static int drop_columns(struct link *link, int64_t sequence, enum phase phase)
{
    int rc = RL_OK;

    for (int f = 0; f < link->n_from; f++) {
        const struct header *h = &link->incoming[f];
        if (is_self(link, f) || h->rows == 0)
            continue;
        if (h->columns & COL_TOKENS)
            TRY(drop(link, f, (size_t)h->rows * sizeof(int),
                     link_tag(link, sequence, MESSAGE_STARTS), phase));
        for (int i = 0; batch_parts[i].name; i++)
            if (h->columns & (int)batch_parts[i].column)
                TRY(drop(link, f, part_bytes(&batch_parts[i], h),
                         link_tag(link, sequence, MESSAGE_PARTS + i), phase));
    }
done:
    return rc;
}

int link_recv(struct link *link, struct batch *b, unsigned columns, enum phase phase)
{
    int64_t sequence = link->received;
    int found = RL_OK, rc = RL_OK;

    if (link->receiver < 0)
        return rl_error(RL_EBUG, "link \"%s\": rank %d does not receive", link->name,
                        link->world->rank);
    if (link->world->world->lost)
        return RL_ELOST;                  /* what was to be sent here was not */
    TRY(receive_headers(link, sequence, phase));
    link->received++;
    b->status = worst_status(link, b);
    if (b->status == RL_OK)
        found = check_headers(link, b, columns);
    if (b->status == RL_OK && found == RL_OK && !(columns & COL_TOKENS))
        found = check_lengths(link, b);
    if (b->status == RL_OK && found == RL_OK)
        TRY(place_columns(link, b, columns, sequence, phase));
    else
        TRY(drop_columns(link, sequence, phase));
done:
    rc = rc != RL_OK ? rc : found;
    b->status = status_worse(b->status, rc);
    return rc;
}
