/* Batches and links of one ring; see ring.h. */
#include "launch/ring.h"

#include <string.h>

#include "base/status.h"

static const enum role role_of[ROLES] = { ROLE_ACTOR, ROLE_LEARNER, ROLE_REWARD, ROLE_REFMODEL };

static int slot_of_role(enum role role)
{
    int i = 0;

    while (role_of[i] != role)
        i++;
    return i;
}

static void find_shares(struct ring *ring, const struct placement *p, int rank, int leaves)
{
    for (int i = 0; i < ROLES; i++) {
        int index = placement_index(p, role_of[i], rank);
        if (index >= 0)
            share_of(ring->P, leaves, placement_of(p, role_of[i])->count, index, &ring->first[i],
                     &ring->count[i]);
    }
}

/* A role whose share equals that of an earlier role uses its batch. */
static void layout(struct ring *ring, const struct placement *p, int rank, int row_tokens, int R)
{
    for (int i = 0; i < ROLES; i++) {
        int same = i;
        if (!(ring->roles & role_of[i]) || placement_index(p, role_of[i], rank) < 0)
            continue;
        for (int j = i - 1; j >= 0; j--)
            if (ring->batch[j][0] && ring->first[j] == ring->first[i] &&
                ring->count[j] == ring->count[i])
                same = j;
        for (int d = 0; d < ring->depth; d++) {
            int rows = ring->count[i] * ring->k;
            if (same == i)
                batch_layout(&ring->store[i][d], &ring->memory, rows, rows * row_tokens, R);
            ring->batch[i][d] = same == i ? &ring->store[i][d] : ring->batch[same][d];
        }
    }
}

int ring_check(int P, int k, int row_tokens)
{
    if ((int64_t)P * k * row_tokens > INT32_MAX)
        return rl_error(RL_ENOFIT,
                        "a batch of %d prompts x %d samples x %d tokens is too large; lower "
                        "prompts_per_step, samples_per_prompt or max_new",
                        P, k, row_tokens);
    return RL_OK;
}

static int open_links(struct ring *ring, struct comm *world, const struct placement *p, int leaves)
{
    const struct ranklist *actors = placement_of(p, ROLE_ACTOR),
                          *learners = placement_of(p, ROLE_LEARNER);
    const struct ranklist *rewards = placement_of(p, ROLE_REWARD),
                          *refs = placement_of(p, ROLE_REFMODEL);
    struct {
        struct link **link;
        const char *name;
        const struct ranklist *from, *to;
        unsigned roles;
    } plan[] = {
        { &ring->prompts_to_reward, "rollouts to reward", actors, rewards,
          ROLE_ACTOR | ROLE_REWARD },
        { &ring->prompts_to_refmodel, "rollouts to refmodel", actors, refs,
          ROLE_ACTOR | ROLE_REFMODEL },
        { &ring->rollouts, "rollouts to learner", actors, learners, ROLE_ACTOR },
        { &ring->rewards, "rewards to learner", rewards, learners, ROLE_REWARD },
        { &ring->references, "reference log-probs to learner", refs, learners, ROLE_REFMODEL },
    };
    int rc = RL_OK;

    for (size_t i = 0; i < sizeof plan / sizeof *plan; i++)
        if ((ring->roles & plan[i].roles) == plan[i].roles)
            TRY(link_open(plan[i].link, world, plan[i].name, plan[i].from->rank,
                          plan[i].from->count, plan[i].to->rank, plan[i].to->count, leaves,
                          ring->depth));
done:
    return rc;
}

/* Everything but memory and links. */
static struct ring ring_of(const struct ring_size *size, const struct placement *p, int rank,
                           int leaves)
{
    struct ring ring = {
        .P = size->P, .k = size->k, .depth = size->depth, .roles = size->roles, .size = *size,
    };

    for (int i = 0; i < ROLES; i++)
        if (placement_of(p, role_of[i])->count == 0)
            ring.roles &= ~(unsigned)role_of[i];
    if (placement_index(p, ROLE_LEARNER, rank) >= 0)
        ring.late = (ROLE_REWARD | ROLE_REFMODEL) & ~size->at_once;
    memset(ring.collected, -1, sizeof ring.collected);
    find_shares(&ring, p, rank, leaves);
    return ring;
}

int ring_open(struct ring *ring, struct comm *world, const struct placement *p, int leaves,
              const struct ring_size *size)
{
    int rank = comm_rank(world), rc = RL_OK;

    *ring = ring_of(size, p, rank, leaves);
    memory_count(&ring->memory);
    layout(ring, p, rank, size->row_tokens, size->R);
    ring->memory.lower = "prompts_per_step, samples_per_prompt or max_new";
    TRY(memory_open_host(&ring->memory));
    layout(ring, p, rank, size->row_tokens, size->R);
    TRY(open_links(ring, world, p, leaves));
done:
    return rc;
}

size_t ring_bytes(const struct placement *p, int rank, int leaves, const struct ring_size *size)
{
    struct ring ring = ring_of(size, p, rank, leaves);

    memory_count(&ring.memory);
    layout(&ring, p, rank, size->row_tokens, size->R);
    return ring.memory.peak;
}

void ring_close(struct ring *ring)
{
    link_close(ring->prompts_to_reward);
    link_close(ring->prompts_to_refmodel);
    link_close(ring->rollouts);
    link_close(ring->rewards);
    link_close(ring->references);
    memory_close(&ring->memory);
    memset(ring, 0, sizeof *ring);
}

struct batch *ring_batch(struct ring *ring, enum role role, int64_t step)
{
    return ring->batch[slot_of_role(role)][step % ring->depth];
}

static struct batch *working_batch(struct ring *ring, enum role role, int64_t step, bool late)
{
    if ((role == ROLE_REFMODEL && ring->bare) || ((ring->late & role) != 0) != late)
        return NULL;
    return ring_batch(ring, role, step);
}

struct batch *ring_batch_now(struct ring *ring, enum role role, int64_t step)
{
    return working_batch(ring, role, step, false);
}

struct batch *ring_batch_late(struct ring *ring, enum role role, int64_t step)
{
    return working_batch(ring, role, step, true);
}

int ring_draw(struct ring *ring, const struct config *c, int64_t step, struct batch *b)
{
    const struct ring_size *from = &ring->size;
    int64_t first = from->held_out ? 0 : step * from->stride;
    bool shuffle = c->shuffle && !from->held_out;
    uint64_t seed = (uint64_t)c->seed;

    if (from->prompts)
        return prompts_next(from->prompts, shuffle, seed, first, b);
    if (from->records)
        return records_next(from->records, shuffle, seed, first, b);
    return corpus_next(from->corpus, shuffle, seed, first, b);
}

/* What is sent late was sent fewer than `depth` sends ago when its batch is cleared. */
int ring_ready(struct ring *ring)
{
    int rc = RL_OK;

    TRY(link_ready(ring->prompts_to_reward));
    TRY(link_ready(ring->prompts_to_refmodel));
    TRY(link_ready(ring->rollouts));
    TRY(ring->late & ROLE_REWARD ? link_flush(ring->rewards) : link_ready(ring->rewards));
    TRY(ring->late & ROLE_REFMODEL ? link_flush(ring->references) : link_ready(ring->references));
done:
    return rc;
}

void ring_begin(struct ring *ring, int64_t step)
{
    int d = (int)(step % ring->depth);

    for (int i = 0; i < ROLES; i++) {
        struct batch *b = ring->batch[i][d];
        if (!b)
            continue;
        batch_clear(b);
        b->step = step;
        b->P = ring->P, b->k = ring->k;
        b->group = ring->first[i], b->groups = ring->count[i];
    }
    ring->collected[d] = -1;
}
