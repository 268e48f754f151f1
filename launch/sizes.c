/* What a rank takes of the inputs; see sizes.h. */
#include "launch/sizes.h"

#include <limits.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "base/workspace.h"
#include "checkpoints/checkpoint.h"
#include "launch/resample.h"
#include "model/ask.h"
#include "refmodel/refmodel.h"
#include "reward/mix.h"
#include "reward/verdicts.h"

int rank_rows(const struct ring_size *size, const struct config *c, const struct placement *p,
              enum role role, int rank)
{
    int first = 0, count = 0, index = placement_index(p, role, rank);

    if (index >= 0 && size->roles & role)
        share_of(size->P, (int)c->reduction_leaves, placement_of(p, role)->count, index, &first,
                 &count);
    return count * size->k;
}

struct actor_settings rank_actor(const struct inputs *in, const struct config *c,
                                 const struct placement *p, int rank)
{
    int rows = rank_rows(&in->train, c, p, ROLE_ACTOR, rank);
    int eval = rank_rows(&in->eval, c, p, ROLE_ACTOR, rank);

    rows = eval > rows ? eval : rows;
    rows = rows > 0 ? rows : 1;         /* an actor without work still stands ready */
    return (struct actor_settings){
        .temperature = (float)c->temperature,
        .loss_temperature = (float)algorithm_temperature(in->algorithm, c),
        .top_k = (int)c->top_k, .top_p = (float)c->top_p, .min_p = (float)c->min_p,
        .repetition_penalty = (float)c->repetition_penalty,
        .max_new = (int)c->max_new, .eos = in->policy.eos, .n_eos = in->policy.n_eos,
        .stop_tokens = c->stop_tokens.items, .n_stop_tokens = c->stop_tokens.count,
        .stop = in->stop,
        .seed = (uint64_t)c->seed, .max_prompt = in->longest_prompt,
        .rows_at_once = (int)c->rollout_rows, .max_rows = rows,
    };
}

/* A rank that judges: the questions, and a model of its own unless it is the policy or the
 * reference that are there. */
static size_t judge_bytes(const struct inputs *in, struct compute *compute, unsigned roles)
{
    bool own = follower_is_here(&in->follows_judge, roles) ||
               (inputs_judge_frozen(in) && !(roles & ROLE_REFMODEL));

    if (!in->judge_rewards)
        return 0;
    return verdicts_bytes(&in->policy.shape, compute, in->micro_rows) +
           (own ? model_bytes(&in->policy.shape, compute) : 0);
}

/* A learner that judges held-out pairs has room for two questions about each, now and then. */
static size_t questions_bytes(const struct inputs *in, struct compute *compute)
{
    int context = in->policy.shape.context, longest = 0;

    for (int i = 0; in->judge && i < in->n_eval_pairs; i++) {
        int row = in->eval_pairs[i].row_tokens;
        int length = judge_length(in->judge, 0, row, row);      /* each with the prompt in it */

        longest = length > longest ? length : longest;
    }
    longest = longest < context ? longest : context;
    return longest > 0 ? asker_bytes(&in->policy.shape, compute, 2, longest) : 0;
}

static size_t orchestrator_bytes(const struct inputs *in, const struct config *c,
                                 struct compute *compute)
{
    const struct model_shape *shape = &in->orchestrator.shape;

    if (!c->orchestrator.model)
        return 0;
    return model_bytes(shape, compute) +
           mix_bytes(shape, compute, in->micro_rows, in->longest_prompt);
}

/* One of `learners` shares of a flat buffer, with what describes it. */
static size_t slice_bytes(const struct model_shape *shape, size_t learners)
{
    size_t arrays = 16 * (size_t)shape->L + 16;

    return (model_size(shape) / learners + 1 + HASH_CHUNK) * sizeof(float) +
           arrays * (sizeof(struct array) + sizeof(struct checkpoint_piece) + 128);
}

/* The queue as the first learner gathers it: tokens, log-probabilities, and what a row has. */
static size_t queue_bytes(const struct ring_size *size)
{
    size_t rows = (size_t)size->P * (size_t)size->k;

    return rows * ((size_t)size->row_tokens * 16 + (size_t)size->R * 16 + 256) + (1 << 16);
}

size_t copy_bytes(const struct inputs *in, const struct config *c, int learners, int learner)
{
    size_t n = (size_t)learners, bytes = 1 << 20;
    const struct model_shape *policy = &in->policy.shape;

    bytes += 3 * slice_bytes(policy, n);
    if (in->has_critic)
        bytes += 3 * slice_bytes(&in->critic.shape, n);
    if (follower_is_here(&in->follows_judge, ROLE_LEARNER))
        bytes += slice_bytes(policy, n);
    if (follower_is_here(&in->follows_reference, ROLE_LEARNER))
        bytes += slice_bytes(&in->reference.shape, n);
    if (learner == 0 && in->source == SOURCE_PROMPTS)
        bytes += (size_t)c->max_lag * queue_bytes(&in->train);
    for (int i = 0; i < SOURCE_FILES; i++)
        bytes += in->policy.files[i].text.size;
    return bytes;
}

static size_t batches_bytes(const struct inputs *in, const struct config *c,
                            const struct placement *p, int rank)
{
    int leaves = (int)c->reduction_leaves;
    size_t bytes = ring_bytes(p, rank, leaves, &in->train) +
                   resample_bytes(in->wants.rounds, &in->train, p, rank, leaves);

    if (in->text.P > 0)
        bytes += ring_bytes(p, rank, leaves, &in->text);
    if (in->eval.P > 0)
        bytes += ring_bytes(p, rank, leaves, &in->eval);
    for (int i = 0; i < in->n_eval_pairs; i++)
        bytes += ring_bytes(p, rank, leaves, &in->eval_pairs[i]);
    for (int i = 0; i < in->n_eval_text; i++)
        bytes += ring_bytes(p, rank, leaves, &in->eval_rows[i]);
    return bytes;
}

/* All but what is taken in turn, and what kernels take: those are counted in compute->workspace and
 * compute->load. */
static int roles_bytes(const struct inputs *in, const struct config *c, const struct placement *p,
                       struct compute *compute, int rank, struct bytes *b)
{
    const struct model_shape *policy = &in->policy.shape, *reference = &in->reference.shape;
    int learner = placement_index(p, ROLE_LEARNER, rank);
    unsigned roles = p->roles[rank];

    if (roles & (ROLE_ACTOR | ROLE_LEARNER) || (roles & ROLE_REWARD && inputs_judge_current(in)))
        b->weights = model_bytes(policy, compute);
    if (roles & ROLE_REFMODEL) {
        b->reference = model_bytes(reference, compute);
        b->refmodel = refmodel_bytes(reference, compute, in->micro_rows, in->reference_tokens);
    }
    if (roles & ROLE_REWARD)
        b->reward = reward_sources_bytes(&in->rewards, c, in->micro_rows, compute) +
                    orchestrator_bytes(in, c, compute) + judge_bytes(in, compute, roles);
    if (roles & ROLE_LEARNER && !(roles & ROLE_REWARD) &&
        follower_is_here(&in->follows_judge, roles))
        b->reward += model_bytes(policy, compute);      /* it only makes the judge */
    if (roles & ROLE_LEARNER && !(roles & ROLE_REFMODEL) &&
        follower_is_here(&in->follows_reference, roles))
        b->reference = model_bytes(reference, compute);
    if (roles & ROLE_ACTOR) {
        struct actor_settings s = rank_actor(in, c, p, rank);
        b->actor = actor_bytes(policy, compute, &s);
        if (compute->load->rows < in->train.k)
            compute->load->rows = in->train.k;          /* a prompt's first tokens */
    }
    if (learner >= 0) {
        struct learner_size size = {
            .config = c, .policy = policy, .compute = compute, .records = in->records,
            .critic = in->has_critic ? &in->critic.shape : NULL,
            .ranks = placement_of(p, ROLE_LEARNER)->count, .rank = learner,
            .P = in->train.P, .k = in->train.k, .max_row_tokens = in->row_tokens,
            .objectives = inputs_objectives(in), .text_rows = in->text.P,
        };
        int64_t bytes = learner_bytes(&size);
        b->critic = in->has_critic ? model_bytes(&in->critic.shape, compute) : 0;
        if (bytes < 0)
            return (int)bytes;
        b->learner = (size_t)bytes + questions_bytes(in, compute);
        if (copy_wanted(c))
            b->copies = copy_bytes(in, c, size.ranks, learner);
        if (strcmp(c->journal, "memory") == 0)      /* kept here and on another host, if any */
            b->journal = 2 * copy_bytes(in, c, size.ranks, learner);
    }
    b->batches = batches_bytes(in, c, p, rank);
    return RL_OK;
}

int rank_bytes(const struct inputs *in, const struct config *c, const struct placement *p,
               struct compute *compute, int rank, struct bytes *b)
{
    struct workspace counted = { 0 }, *taken = compute->workspace;
    int rc;

    memset(b, 0, sizeof *b);
    compute->workspace = &counted;
    compute->load = &b->load;
    b->load.fast = strcmp(c->reduction, "fast") == 0;
    rc = roles_bytes(in, c, p, compute, rank, b);
    compute->workspace = taken;
    compute->load = NULL;
    b->passes = counted.memory.peak;
    b->kernels = compute_scratch(compute, &b->load);
    b->total = b->kernels + b->passes + b->weights + b->reference + b->critic + b->actor +
               b->reward + b->refmodel + b->learner + b->copies + b->journal + b->batches;
    return rc;
}
