/* Writing the journal; see journal.h. */
#include "launch/journal/journal.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "base/trace.h"
#include "launch/run.h"
#include "launch/state.h"

/* ---- who keeps whose records */

static bool same_host(const struct comm *world, int a, int b)
{
    return strcmp(comm_host(world, a), comm_host(world, b)) == 0;
}

/* Ranks before `end` on the host of `rank`. */
static int before_on_host(const struct comm *world, int rank, int end)
{
    int n = 0;

    for (int i = 0; i < end; i++)
        n += same_host(world, i, rank);
    return n;
}

/* The rank on the next host that keeps the records of `rank`: ranks of one host spread over those
 * of the other.  -1: there is one host only. */
static int keeper_of(const struct comm *world, int rank)
{
    int size = comm_size(world), next = (rank + 1) % size, index;

    while (next != rank && same_host(world, next, rank))
        next = (next + 1) % size;
    if (next == rank)
        return -1;
    index = before_on_host(world, rank, rank) % before_on_host(world, next, size);
    for (int i = 0; i < size; i++)
        if (same_host(world, i, next) && index-- == 0)
            return i;
    return -1;
}

/* ---- slots */

static int open_pair(struct run *r, struct slot pair[2], int learner)
{
    const struct ranklist *learners = placement_of(&r->placement, ROLE_LEARNER);
    size_t room = copy_bytes(&r->inputs, r->config, learners->count, learner);
    int rc = RL_OK;

    for (int parity = 0; parity < 2; parity++)
        TRY(slot_create(&pair[parity], r->journal.folder, learner, parity, room));
done:
    return rc;
}

static int open_slots(struct run *r)
{
    const struct ranklist *learners = placement_of(&r->placement, ROLE_LEARNER);
    struct journal *j = &r->journal;
    int me = comm_rank(r->world), rc = RL_OK;

    j->kept = calloc((size_t)learners->count, sizeof *j->kept);
    if (!j->kept)
        return rl_error(RL_ENOFIT, "no memory for the journal");
    if (r->team)
        TRY(open_pair(r, j->own, comm_rank(r->team)));
    for (int i = 0; i < learners->count && !j->to_disk; i++) {
        struct kept *k = &j->kept[j->n_kept];
        if (keeper_of(r->world, learners->rank[i]) != me)
            continue;
        *k = (struct kept){ .from = learners->rank[i], .rank = i };
        j->n_kept++;
        TRY(open_pair(r, k->slot, i));
    }
done:
    return rc;
}

static void close_slots(struct journal *j)
{
    for (int parity = 0; parity < 2; parity++) {
        slot_close(&j->own[parity]);
        for (int i = 0; i < j->n_kept; i++)
            slot_close(&j->kept[i].slot[parity]);
    }
    free(j->kept);
    j->kept = NULL;
    j->n_kept = 0;
    j->on = false;
}

/* One rank of each host empties its folder; what it held is of no more use.  Where there is no room
 * for all of the new ones, none stays. */
static int make_slots(struct run *r)
{
    int rc = RL_OK;

    if (comm_first_on_host(r->world)) {
        slots_remove(r->journal.folder);
        rc = folder_make(r->journal.folder);
    }
    TRY(comm_agree(r->world, rc));
    rc = comm_agree(r->world, open_slots(r));
done:
    return rc;
}

int journal_open(struct run *r)
{
    struct journal *j = &r->journal;
    int rc;

    if (strcmp(r->config->journal, "off") == 0)
        return RL_OK;
    j->to = r->team && !j->to_disk ? keeper_of(r->world, comm_rank(r->world)) : -1;
    rc = make_slots(r);
    j->on = rc == RL_OK;
    if (rc != RL_OK) {
        close_slots(j);
        if (comm_first_on_host(r->world))
            slots_remove(j->folder);
    }
    if (rc == RL_EIO && r->restart.count > 0) {
        log_info("going on without the journal");
        rc = RL_OK;
    }
    if (j->on && !j->to_disk && keeper_of(r->world, 0) < 0 && r->restart.count == 0)
        log_info("journal: there is one host, so it survives the loss of ranks, not of the host");
    return rc;
}

/* ---- a step */

static int write_own(struct run *r, struct slot *slot, struct slot_head *head)
{
    struct journal *j = &r->journal;
    struct state state;
    int rc;

    TRY(state_gather(r, &state));
    head->bytes = image_bytes(&state.content);
    if (head->bytes > slot->room)
        rc = rl_error(RL_EBUG, "journal: the state takes %llu bytes, %zu were planned",
                      (unsigned long long)head->bytes, slot->room);
    TRY(comm_agree(r->team, rc));
    TRY(slot_begin(slot, j->to_disk));
    image_pack(&state.content, slot_image(slot), &head->hash);
    rc = slot_commit(slot, head, j->to_disk);
done:
    state_release(&state);
    return rc;
}

/* Heads first: they say how long the images are. */
static int exchange(struct run *r, struct slot_head *head)
{
    struct journal *j = &r->journal;
    int turn = j->turn;
    size_t n = (size_t)j->n_kept;
    struct slot_head *heads = calloc(n + 1, sizeof *heads);
    struct parcel *in = calloc(n + 1, sizeof *in), out;
    int n_out = j->to >= 0, rc;

    rc = heads && in ? RL_OK : rl_error(RL_ENOFIT, "no memory for the journal");
    TRY(comm_agree(r->world, rc));
    out = (struct parcel){ j->to, head, sizeof *head };
    for (int i = 0; i < j->n_kept; i++)
        in[i] = (struct parcel){ j->kept[i].from, &heads[i], sizeof *heads };
    TRY(comm_exchange(r->world, &out, n_out, in, j->n_kept, PHASE_CHECKPOINT));
    out = (struct parcel){ j->to, n_out ? slot_image(&j->own[turn]) : NULL, head->bytes };
    for (int i = 0; i < j->n_kept; i++) {
        struct slot *slot = &j->kept[i].slot[turn];
        TRY(slot_begin(slot, false));
        in[i] = (struct parcel){ j->kept[i].from, slot_image(slot), heads[i].bytes };
    }
    TRY(comm_exchange(r->world, &out, n_out, in, j->n_kept, PHASE_CHECKPOINT));
    for (int i = 0; i < j->n_kept; i++)
        TRY(slot_commit(&j->kept[i].slot[turn], &heads[i], false));
done:
    free(heads);
    free(in);
    return rc;
}

int journal_step(struct run *r)
{
    struct journal *j = &r->journal;
    int rc = RL_OK;
    struct slot_head head = { .run = j->run, .step = r->step };
    struct trace t;

    if (!j->on)
        return RL_OK;
    t = trace_begin("journal");
    if (r->team) {
        head.rank = comm_rank(r->team);
        head.ranks = comm_size(r->team);
        rc = write_own(r, &j->own[j->turn], &head);
    }
    rc = comm_agree(r->world, rc);
    if (rc == RL_OK && !j->to_disk)
        rc = exchange(r, &head);
    if (rc == RL_OK)
        j->turn = !j->turn;
    if (rc == RL_EIO) {                 /* of the disk: no reason to stop, as with a checkpoint */
        log_info("the journal has no record of step %lld: training goes on", (long long)r->step);
        rc = RL_OK;
    }
    r->spans[SPAN_JOURNAL] += trace_end(t, TRACE_BYTES, (int64_t)head.bytes);
    return rc;
}

void journal_close(struct journal *j, bool done)
{
    bool was_on = j->on;

    close_slots(j);
    if (was_on && done)
        slots_remove(j->folder);
}
