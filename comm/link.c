/* Links: opening, and the senders' side.  See link_plan.h for the messages. */
#include "comm/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "comm/link_plan.h"
#include "comm/tree.h"

void share_of(int P, int leaves, int ranks, int index, int *first, int *count)
{
    int begin, end;

    if (ranks > leaves) {
        leaf_share(P, ranks, index, &begin, &end);
    } else {
        leaf_share(leaves, ranks, index, &begin, &end);
        begin = (int)((int64_t)begin * P / leaves);
        end = (int)((int64_t)end * P / leaves);
    }
    *first = begin;
    *count = end - begin;
}

int link_tag(const struct link *link, int64_t sequence, int message)
{
    return TAG_LINK + link->number * LINK_TAGS + (int)(sequence % SLOTS) * PARTS + message;
}

/* ---- opening */

static int index_of(int rank, const int *ranks, int n)
{
    for (int i = 0; i < n; i++)
        if (ranks[i] == rank)
            return i;
    return -1;
}

static int check_ranks(const struct comm *world, const char *name, const int *ranks, int n)
{
    bool good = n > 0;

    for (int i = 0; good && i < n; i++)
        good = ranks[i] < world->size && ranks[i] > (i > 0 ? ranks[i - 1] : -1);
    return good ? RL_OK : rl_error(RL_EBUG, "link \"%s\": its %d ranks are not ascending ranks of "
                                   "a world of %d", name, n, world->size);
}

static int count_parts(void)
{
    int n = 0;

    while (batch_parts[n].name)
        n++;
    return n;
}

static int open_slots(struct link *link)
{
    int messages = MESSAGE_PARTS + count_parts();
    int rc = RL_OK;

    if (messages > PARTS)
        return rl_error(RL_EBUG, "link \"%s\": a batch has %d parts", link->name, messages);
    link->slots = calloc((size_t)link->depth, sizeof *link->slots);
    link->incoming = calloc((size_t)link->n_from, sizeof *link->incoming);
    if (!link->slots || !link->incoming)
        return rl_error(RL_ENOFIT, "cannot allocate link \"%s\"", link->name);
    for (int i = 0; link->sender >= 0 && i < link->depth; i++) {
        link->slots[i].headers = calloc((size_t)link->n_to, sizeof *link->slots[i].headers);
        if (!link->slots[i].headers)
            return rl_error(RL_ENOFIT, "cannot allocate link \"%s\"", link->name);
        TRY(requests_init(&link->slots[i].requests, link->name, link->n_to * messages));
    }
    if (link->receiver >= 0)
        TRY(requests_init(&link->requests, link->name, link->n_from * messages));
done:
    return rc;
}

static int *copy_ranks(const int *ranks, int n)
{
    int *copy = malloc((size_t)n * sizeof *copy);

    if (copy)
        memcpy(copy, ranks, (size_t)n * sizeof *copy);
    return copy;
}

int link_open(struct link **out, struct comm *world, const char *name, const int *from, int n_from,
              const int *to, int n_to, int leaves, int depth)
{
    struct link *link = NULL;
    int rc = RL_OK;

    *out = NULL;
    TRY(check_ranks(world, name, from, n_from));
    TRY(check_ranks(world, name, to, n_to));
    if (depth < 1 || depth > SLOTS || leaves < 1)
        return rl_error(RL_EBUG, "link \"%s\": depth %d, %d leaves", name, depth, leaves);
    link = calloc(1, sizeof *link);
    if (!link)
        return rl_error(RL_ENOFIT, "cannot allocate link \"%s\"", name);
    snprintf(link->name, sizeof link->name, "%s", name);
    link->world = world;
    link->number = world->world->links++;
    link->from = copy_ranks(from, n_from);
    link->to = copy_ranks(to, n_to);
    if (!link->from || !link->to) {
        rc = rl_error(RL_ENOFIT, "cannot allocate link \"%s\"", name);
        goto done;
    }
    link->n_from = n_from;
    link->n_to = n_to;
    link->sender = index_of(world->rank, from, n_from);
    link->receiver = index_of(world->rank, to, n_to);
    link->leaves = leaves;
    link->depth = depth;
    TRY(open_slots(link));
    *out = link;
done:
    if (rc != RL_OK)
        link_close(link);
    return rc;
}

void link_close(struct link *link)
{
    if (!link)
        return;
    for (int i = 0; link->slots && i < link->depth; i++) {
        requests_free(&link->slots[i].requests);
        free(link->slots[i].headers);
    }
    requests_free(&link->requests);
    free(link->slots);
    free(link->incoming);
    free(link->from);
    free(link->to);
    free(link);
}

/* ---- sending */

/* RL_OK, or why the columns of this batch cannot go. */
static int check_batch(const struct link *link, const struct batch *b, unsigned columns)
{
    int first, count;

    if (b->status != RL_OK)
        return b->status;
    share_of(b->P, link->leaves, link->n_from, link->sender, &first, &count);
    if (b->group != first || b->groups != count || b->N != count * b->k)
        return rl_error(RL_EBUG, "link \"%s\", step %lld: the batch holds groups %d+%d (%d rows), "
                        "the share is %d+%d", link->name, (long long)b->step, b->group, b->groups,
                        b->N, first, count);
    if ((b->filled & columns) != columns)
        return rl_error(RL_EBUG, "link \"%s\", step %lld: columns %#x are to go, %#x are filled",
                        link->name, (long long)b->step, columns, b->filled);
    return RL_OK;
}

struct header link_header(const struct link *link, const struct slot *slot, int to)
{
    const struct batch *b = slot->batch;
    struct header h = { .sequence = slot->sequence, .step = b->step, .status = slot->status,
                        .columns = (int32_t)slot->columns, .P = b->P, .k = b->k, .R = b->R };
    int first, end, theirs, count;

    if (slot->status != RL_OK)
        return h;
    share_of(b->P, link->leaves, link->n_to, to, &theirs, &count);
    first = theirs > b->group ? theirs : b->group;
    end = theirs + count < b->group + b->groups ? theirs + count : b->group + b->groups;
    if (end <= first)
        return h;
    h.first = first * b->k;
    h.rows = (end - first) * b->k;
    h.base = b->start[h.first - b->group * b->k];
    h.tokens = b->start[h.first - b->group * b->k + h.rows] - h.base;
    return h;
}

static int send_columns(struct link *link, struct slot *slot, const struct header *h, int to)
{
    const struct batch *b = slot->batch;
    int first = h->first - b->group * b->k, rc = RL_OK;

    if (slot->columns & COL_TOKENS)
        TRY(requests_send(&slot->requests, link->world, b->start + first + 1,
                          (size_t)h->rows * sizeof *b->start, to,
                          link_tag(link, slot->sequence, MESSAGE_STARTS)));
    for (int i = 0; batch_parts[i].name; i++) {
        const struct batch_part *p = &batch_parts[i];
        size_t elements;
        const void *data;
        if (!(slot->columns & p->column))
            continue;
        data = batch_part_at(b, p, first, h->rows, &elements);
        TRY(requests_send(&slot->requests, link->world, data, elements * p->bytes, to,
                          link_tag(link, slot->sequence, MESSAGE_PARTS + i)));
    }
done:
    return rc;
}

int link_ready(struct link *link)
{
    struct slot *slot;

    if (!link || link->sender < 0)
        return RL_OK;
    slot = &link->slots[link->sent % link->depth];
    slot->batch = NULL;                   /* it will be another: too late for link_recv here */
    return comm_wait(link->world, &slot->requests, slot->phase);
}

int link_flush(struct link *link)
{
    int rc = RL_OK;

    for (int i = 0; link && link->sender >= 0 && i < link->depth; i++)
        TRY(comm_wait(link->world, &link->slots[i].requests, link->slots[i].phase));
done:
    return rc;
}

int link_send(struct link *link, const struct batch *b, unsigned columns, enum phase phase)
{
    struct slot *slot = &link->slots[link->sent % link->depth];
    struct trace t;
    int own = RL_OK, rc = RL_OK;

    if (link->sender < 0)
        return rl_error(RL_EBUG, "link \"%s\": rank %d does not send", link->name,
                        link->world->rank);
    TRY(link_ready(link));
    t = trace_begin_at(TRACE_SEND, "send", link->name, link->sent, -1);
    slot->batch = b;
    slot->columns = columns;
    slot->sequence = slot->requests.sequence = link->sent++;
    slot->phase = phase;
    slot->status = check_batch(link, b, columns);
    own = b->status == RL_OK ? slot->status : RL_OK;          /* an upstream failure is not ours */
    for (int i = 0; i < link->n_to; i++) {
        struct header *h = &slot->headers[i];
        if (link->to[i] == link->world->rank)
            continue;                                         /* link_recv looks into the slot */
        *h = link_header(link, slot, i);
        TRY(requests_send(&slot->requests, link->world, h, sizeof *h, link->to[i],
                          link_tag(link, slot->sequence, MESSAGE_HEADER)));
        if (h->rows > 0)
            TRY(send_columns(link, slot, h, link->to[i]));
    }
    trace_end(t, TRACE_BYTES, (int64_t)slot->requests.bytes);
done:
    return rc != RL_OK ? rc : own;
}
