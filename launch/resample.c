/* Rounds of new prompts for groups without a signal; see resample.h. */
#include "launch/resample.h"

#include <string.h>

#include "base/status.h"
#include "base/trace.h"
#include "launch/run.h"

/* ---- room */

static void layout(struct resample *s, const struct ring_size *size, const struct placement *p,
                   int rank, int leaves)
{
    int index = placement_index(p, ROLE_ACTOR, rank), first, groups = 0, rows;

    s->flags = memory_take(&s->memory, (size_t)size->P * sizeof *s->flags);
    if (index < 0)
        return;
    share_of(size->P, leaves, placement_of(p, ROLE_ACTOR)->count, index, &first, &groups);
    rows = groups * size->k;
    batch_layout(&s->old, &s->memory, rows, rows * size->row_tokens, 0);
    batch_layout(&s->retry, &s->memory, rows, rows * size->row_tokens, 0);
    s->draws = memory_take(&s->memory, (size_t)groups * sizeof *s->draws);
    s->number = memory_take(&s->memory, (size_t)groups * sizeof *s->number);
}

int resample_open(struct resample *s, int rounds, const struct ring_size *size,
                  const struct placement *p, int rank, int leaves)
{
    int rc = RL_OK;

    memset(s, 0, sizeof *s);
    if (rounds == 0)
        return RL_OK;
    s->rounds = rounds;
    memory_count(&s->memory);
    layout(s, size, p, rank, leaves);
    s->memory.lower = "prompts_per_step, samples_per_prompt or max_new";
    TRY(memory_open_host(&s->memory));
    layout(s, size, p, rank, leaves);
done:
    return rc;
}

void resample_close(struct resample *s)
{
    memory_close(&s->memory);
    memset(s, 0, sizeof *s);
}

size_t resample_bytes(int rounds, const struct ring_size *size, const struct placement *p, int rank,
                      int leaves)
{
    struct resample s = { 0 };

    if (rounds == 0)
        return 0;
    memory_count(&s.memory);
    layout(&s, size, p, rank, leaves);
    return s.memory.peak;
}

int64_t resample_stride(int rounds, int P)
{
    return (int64_t)P * (1 + rounds);
}

/* ---- a round */

/* Every rank knows the slots without a signal; returns how many in *count. */
static int find_flags(struct run *r, struct ring *ring, int64_t step, int *count)
{
    struct resample *s = &r->resample;
    struct batch *b = ring_batch(ring, ROLE_REWARD, step);
    int rc = RL_OK;

    memset(s->flags, 0, (size_t)ring->P * sizeof *s->flags);
    for (int g = 0; b && b->status == RL_OK && g < b->groups; g++)
        s->flags[b->group + g] = !policy_signal(r->config, b, g);
    TRY(comm_sum_int64(r->world, s->flags, ring->P, PHASE_REWARD));
    *count = 0;
    for (int g = 0; g < ring->P; g++)
        *count += s->flags[g] > 0;
done:
    return rc;
}

/* The flagged groups of b with new prompts, completed, in s->retry. */
static int retry_groups(struct run *r, const struct batch *b, int round)
{
    struct resample *s = &r->resample;
    struct batch *retry = &s->retry;
    int64_t draw = b->step * resample_stride(s->rounds, b->P) + (int64_t)round * b->P, made;
    double rows;
    int rc = RL_OK;

    batch_clear(retry);
    retry->step = b->step;
    retry->P = b->P, retry->k = b->k;
    retry->group = retry->groups = 0;
    for (int g = b->group; g < b->group + b->groups; g++)
        if (s->flags[g] > 0) {
            s->draws[retry->groups] = draw + g;
            s->number[retry->groups++] = g + round * b->P;
        }
    TRY(prompts_groups(r->inputs.prompts, r->config->shuffle, (uint64_t)r->config->seed, s->draws,
                       retry));
    TRY(actor_fill_groups(r->actor, retry, PURPOSE_SAMPLE, r->step, s->number));
    actor_stats(r->actor, &made, &rows);
    r->made += made;
done:
    return rc;
}

/* b again, the flagged groups from s->retry. */
static void merge(struct resample *s, struct batch *b)
{
    const unsigned columns = COL_TOKENS | COL_ACTOR_LOGP;
    int next = 0;

    batch_clear(&s->old);
    batch_append(&s->old, b, 0, b->N, columns);
    b->N = b->T = 0;
    b->start[0] = 0;
    for (int g = 0; g < b->groups; g++)
        if (s->flags[b->group + g] > 0)
            batch_append(b, &s->retry, next++ * b->k, b->k, columns);
        else
            batch_append(b, &s->old, g * b->k, b->k, columns);
}

static int sample_again(struct run *r, struct ring *ring, struct batch *b, int round)
{
    struct trace t = trace_begin("generate again");
    int rc = RL_OK;

    TRY(link_flush(ring->prompts_to_reward));
    if (b->status == RL_OK)
        b->status = retry_groups(r, b, round);
    if (b->status == RL_OK)
        merge(&r->resample, b);
    rc = link_send(ring->prompts_to_reward, b, COL_TOKENS, PHASE_ROLLOUT);
    r->spans[SPAN_GENERATE] += trace_end(t, TRACE_NOTHING, 0);
done:
    return rc;
}

/* Scores of the flagged groups, run by run; the others keep theirs.  To the rewards they are the
 * groups of the round, g + round P. */
static void score_again(struct run *r, struct batch *b, int round)
{
    const int64_t *flags = r->resample.flags + b->group;

    for (int g = 0, end; g < b->groups && b->status == RL_OK; g = end) {
        struct batch view;
        for (end = g + 1; end < b->groups && (flags[end] > 0) == (flags[g] > 0);)
            end++;
        if (flags[g] == 0)
            continue;
        view = batch_view(b, g, end - g);
        view.group += round * b->P;
        b->status = reward_fill(r->reward, &view, r->inputs.prompts, PURPOSE_SAMPLE);
    }
    if (b->status == RL_OK)
        b->filled |= r->train.size.scores;
}

int resample_rounds(struct run *r, struct ring *ring, int64_t step)
{
    struct batch *actor = ring_batch(ring, ROLE_ACTOR, step);
    struct batch *reward = ring_batch(ring, ROLE_REWARD, step);
    int count, rc = RL_OK;

    for (int round = 1; round <= r->resample.rounds; round++) {
        TRY(find_flags(r, ring, step, &count));
        if (count == 0)
            break;
        TRY(scores_replaced(r, reward, step, round - 1));
        if (actor)
            rc = status_worse(rc, sample_again(r, ring, actor, round));
        if (!reward)
            continue;
        rc = status_worse(rc, link_recv(ring->prompts_to_reward, reward, COL_TOKENS,
                                        PHASE_ROLLOUT));
        struct trace t = trace_begin("reward again");
        if (reward->status == RL_OK && rc == RL_OK)
            score_again(r, reward, round);
        r->spans[SPAN_REWARD] += trace_end(t, TRACE_NOTHING, 0);
    }
done:
    return rc;
}
