/* A rank's part of a run is made here, in the order in which things depend on each other; see
 * run.h. */
#include "launch/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"

/* ---- models */

/* Learners have the weights to begin with, or will draw them (draw.c); an actor that is no learner
 * gets them through the feed. */
static int open_policy(struct run *r)
{
    if (run_holds(r, ROLE_LEARNER))
        return source_model(&r->policy, &r->inputs.policy, r->compute);
    return model_create(&r->policy, &r->inputs.policy.shape, r->compute);
}

static int open_models(struct run *r)
{
    int rc = RL_OK;

    if (run_has_policy(r, comm_rank(r->world)))
        TRY(open_policy(r));
    TRY(follower_open(&r->reference_copy, &r->inputs.follows_reference, r->world, &r->placement,
                      &r->inputs.reference, r->compute));
    TRY(follower_open(&r->judge_mean, &r->inputs.follows_judge, r->world, &r->placement,
                      &r->inputs.policy, r->compute));
    if (run_holds(r, ROLE_REFMODEL) && !r->reference_copy.is_on)
        TRY(source_model(&r->reference, &r->inputs.reference, r->compute));
    if (run_holds(r, ROLE_REWARD) && inputs_judge_frozen(&r->inputs) && !r->reference)
        TRY(source_model(&r->judge_frozen, &r->inputs.reference, r->compute));
    if (run_holds(r, ROLE_LEARNER) && r->inputs.has_critic)
        TRY(source_model(&r->critic, &r->inputs.critic, r->compute));
    if (run_holds(r, ROLE_REWARD))
        TRY(reward_models_open(&r->reward_models, &r->inputs.rewards, r->config, r->compute));
    if (run_holds(r, ROLE_REWARD) && r->config->orchestrator.model)
        TRY(source_model(&r->orchestrator, &r->inputs.orchestrator, r->compute));
done:
    return rc;
}

/* ---- rings between the roles */

static int open_rings(struct run *r)
{
    struct inputs *in = &r->inputs;
    int leaves = (int)r->config->reduction_leaves, rc = RL_OK;

    r->eval_pairs = calloc((size_t)in->n_eval_pairs + 1, sizeof *r->eval_pairs);
    r->eval_rows = calloc((size_t)in->n_eval_text + 1, sizeof *r->eval_rows);
    if (!r->eval_pairs || !r->eval_rows)
        return rl_error(RL_ENOFIT, "no memory for %d evaluations",
                        in->n_eval_pairs + in->n_eval_text);
    TRY(ring_open(&r->train, r->world, &r->placement, leaves, &in->train));
    if (in->text.P > 0)
        TRY(ring_open(&r->text, r->world, &r->placement, leaves, &in->text));
    TRY(resample_open(&r->resample, in->wants.rounds, &in->train, &r->placement,
                      comm_rank(r->world), leaves));
    if (in->eval.P > 0)
        TRY(ring_open(&r->eval, r->world, &r->placement, leaves, &in->eval));
    for (int i = 0; i < in->n_eval_pairs; i++)
        TRY(ring_open(&r->eval_pairs[i], r->world, &r->placement, leaves, &in->eval_pairs[i]));
    for (int i = 0; i < in->n_eval_text; i++)
        TRY(ring_open(&r->eval_rows[i], r->world, &r->placement, leaves, &in->eval_rows[i]));
done:
    return rc;
}

/* Actors work with the policy, and so do rewards when it judges itself as it is. */
bool run_has_policy(const struct run *r, int rank)
{
    unsigned roles = r->placement.roles[rank];

    return roles & (ROLE_ACTOR | ROLE_LEARNER) ||
           (roles & ROLE_REWARD && inputs_judge_current(&r->inputs));
}

static int open_feed(struct run *r)
{
    const struct ranklist *learners = placement_of(&r->placement, ROLE_LEARNER);
    int *to = calloc((size_t)r->placement.ranks, sizeof *to), n = 0, rc = RL_OK;
    bool apart = false;

    if (!to)
        return rl_error(RL_ENOFIT, "no memory for the weights' way");
    for (int rank = 0; rank < r->placement.ranks; rank++) {
        unsigned roles = r->placement.roles[rank];
        if (!run_has_policy(r, rank) || !(roles & (ROLE_ACTOR | ROLE_REWARD)))
            continue;
        to[n++] = rank;
        apart |= !(roles & ROLE_LEARNER);
    }
    if (apart)
        rc = feed_open(&r->feed, r->world, learners->rank, learners->count, to, n,
                       model_size(&r->inputs.policy.shape));
    free(to);
    return rc;
}

/* ---- who judges, and who is the reference */

static struct model *judge_model(const struct run *r)
{
    if (r->judge_mean.is_on)
        return r->judge_mean.model;
    if (inputs_judge_current(&r->inputs))
        return r->policy;
    return r->judge_frozen ? r->judge_frozen : r->reference;
}

static struct model *reference_model(const struct run *r)
{
    return r->reference_copy.is_on ? r->reference_copy.model : r->reference;
}

/* ---- roles */

static int open_roles(struct run *r)
{
    const struct config *c = r->config;
    const struct inputs *in = &r->inputs;
    int rc = RL_OK;

    if (run_holds(r, ROLE_ACTOR)) {
        struct actor_settings settings = rank_actor(in, c, &r->placement, comm_rank(r->world));
        TRY(actor_create(&r->actor, r->policy, &settings));
    }
    if (run_holds(r, ROLE_REWARD))
        TRY(reward_create(&r->reward, &(struct reward_parts){
                .config = c, .tokenizer = in->policy.tokenizer, .models = r->reward_models,
                .judge = in->judge_rewards ? in->judge : NULL, .judge_model = judge_model(r),
                .row_tokens = in->rewards.row_tokens, .most_rows = in->micro_rows,
                .orchestrator = r->orchestrator,
                .max_prompt = in->longest_prompt, .notes = true, .world = r->world }));
    if (run_holds(r, ROLE_REFMODEL))
        TRY(refmodel_create(&r->refmodel, reference_model(r), in->micro_rows,
                            in->reference_tokens, (float)algorithm_temperature(r->algorithm, c)));
    if (run_holds(r, ROLE_LEARNER))
        TRY(learner_create(&r->learner, &(struct learner_parts){
                .config = c, .policy = r->policy, .critic = r->critic, .team = r->team,
                .records = in->records, .judge = in->judge, .P = in->train.P, .k = in->train.k,
                .max_row_tokens = in->row_tokens, .objectives = inputs_objectives(in),
                .text_rows = in->text.P }));
done:
    return rc;
}

/* ---- the whole */

static int threads_per_rank(int ranks)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores > ranks ? (int)(cores / ranks) : 1;
}

/* Less than the others wait for the recorder. */
static double lock_patience(const struct run *r)
{
    double wanted = r->restart.count > 0 ? LOCK_SECONDS_HOST : LOCK_SECONDS;

    return r->config->deadline / 2 < wanted ? r->config->deadline / 2 : wanted;
}

static int open_compute(struct run *r)
{
    int threads = (int)r->config->threads, rc = RL_OK;

    if (threads == 0)
        threads = threads_per_rank(comm_ranks_on_host(r->world));
    TRY(compute_open(&r->compute, r->config->device, r->config->dtype, threads));
    r->compute->fast = strcmp(r->config->reduction, "fast") == 0;
done:
    return rc;
}

/* What the ranks that share this GPU have yet to take of it, their contexts being there. */
static int gpu_bytes(struct run *r, size_t *bytes, int *ranks)
{
    struct bytes b;
    int rc = RL_OK;

    *bytes = 0;
    *ranks = 0;
    for (int rank = 0; rank < r->placement.ranks; rank++) {
        if (!r->shares_gpu[rank])
            continue;
        TRY(rank_bytes(&r->inputs, r->config, &r->placement, r->compute, rank, &b));
        *bytes += bytes_on_gpu(&b) + GPU_LIBRARIES;
        ++*ranks;
    }
done:
    return rc;
}

/* A GPU's memory is asked first: what is too much for it would go to and fro, not fail. */
static int reserve_gpu(struct run *r, const struct compute_load *load)
{
    size_t bytes;
    int ranks, rc = RL_OK;

    if (!r->compute->device)
        return RL_OK;
    TRY(gpu_bytes(r, &bytes, &ranks));
    if (bytes > r->compute->device_room)
        return rl_error(RL_ENOFIT, "does not fit: %.1f MiB of %d rank%s on a GPU of which %.1f MiB "
                        "are free; %s`rankwise plan --largest` says what fits",
                        (double)bytes / (1 << 20), ranks, ranks == 1 ? "" : "s",
                        (double)r->compute->device_room / (1 << 20),
                        ranks == 1 ? "" : "with a GPU for each rank ");
    compute_reserve(r->compute, load);
    TRY(compute_sync(r->compute));
done:
    return rc;
}

/* The roles of a rank take turns, and so does the memory of their passes. */
static int open_passes(struct run *r)
{
    struct bytes b;
    int rc = RL_OK;

    TRY(rank_bytes(&r->inputs, r->config, &r->placement, r->compute, comm_rank(r->world), &b));
    TRY(reserve_gpu(r, &b.load));
    TRY(workspace_open(&r->passes, b.passes));
    r->compute->workspace = &r->passes;
done:
    return rc;
}

/* All that a rank can fail at without the others knowing: files and memory.  Nothing in here waits
 * for another rank, so one agreement behind it is enough. */
static int open_alone(struct run *r)
{
    int rc = RL_OK;

    TRY(metrics_create(&r->metrics));
    r->missing_lines = calloc((size_t)r->config->n_rewards + 1, sizeof *r->missing_lines);
    if (!r->missing_lines)
        TRY(rl_error(RL_ENOFIT, "no memory for a run"));
    TRY(inputs_open(&r->inputs, r->config));
    TRY(open_passes(r));
    TRY(open_models(r));
    TRY(open_rings(r));
    TRY(open_feed(r));
    TRY(open_roles(r));
    if (comm_rank(r->world) == r->recorder)
        TRY(folder_create(&r->folder, r->config->output, lock_patience(r)));
    else
        TRY(path_join(r->folder.checkpoints, sizeof r->folder.checkpoints, r->config->output,
                      "checkpoints"));
done:
    return rc;
}

/* On every rank or on none. */
static bool weights_travel(const struct run *r)
{
    return r->feed || r->judge_mean.feed || r->reference_copy.feed;
}

static int tell_roles(struct run *r)
{
    struct text text = { 0 };
    int rc;

    placement_text(&r->placement, comm_rank(r->world), &text);
    rc = comm_set_roles(r->world, text.data);
    text_free(&text);
    return rc;
}

int run_open(struct run *r, const struct config *config, struct comm *world)
{
    int rc = RL_OK;

    memset(r, 0, sizeof *r);
    r->config = config;
    r->world = world;
    r->started = clock_now();
    r->save.saved = -1;
    r->supervised = restart_told(&r->restart);
    r->algorithm = algorithm_find(config->algorithm);
    comm_set_deadline(world, config->deadline);
    TRY(comm_agree(world, placement_make(&r->placement, config, comm_size(world))));
    r->roles = r->placement.roles[comm_rank(world)];
    r->recorder = placement_of(&r->placement, ROLE_LEARNER)->rank[0];
    TRY(tell_roles(r));
    TRY(comm_split(world, run_holds(r, ROLE_LEARNER) ? 0 : -1, "learners", &r->team));
    log_quiet(comm_rank(world) != r->recorder);
    r->shares_gpu = calloc((size_t)comm_size(world), sizeof *r->shares_gpu);
    TRY(comm_agree(world, r->shares_gpu ? open_compute(r)
                          : rl_error(RL_ENOFIT, "no memory for %d ranks", comm_size(world))));
    TRY(comm_compare_devices(world, r->compute, r->shares_gpu));
    if (r->team)
        rc = comm_use_gpus(r->team, r->compute);        /* its trees are made for what it has */
    TRY(comm_agree(world, rc));
    TRY(comm_agree(world, open_alone(r)));
    TRY(comm_agree(world, save_open(r)));
    TRY(timeline_open(r));
    if (weights_travel(r))
        TRY(comm_use_gpus(world, r->compute));
    inputs_tell(&r->inputs, config);
done:
    return rc;
}

void run_close(struct run *r)
{
    comm_leave_gpus(r->team);
    comm_leave_gpus(r->world);
    save_close(&r->save);
    journal_close(&r->journal, false);
    folder_close(&r->folder);
    text_free(&r->scored);
    free(r->missing_lines);
    free(r->shares_gpu);
    learner_destroy(r->learner);
    refmodel_destroy(r->refmodel);
    reward_destroy(r->reward);
    actor_destroy(r->actor);
    feed_close(r->feed);
    ring_close(&r->train);
    ring_close(&r->text);
    resample_close(&r->resample);
    ring_close(&r->eval);
    for (int i = 0; r->eval_pairs && i < r->inputs.n_eval_pairs; i++)
        ring_close(&r->eval_pairs[i]);
    for (int i = 0; r->eval_rows && i < r->inputs.n_eval_text; i++)
        ring_close(&r->eval_rows[i]);
    free(r->eval_pairs);
    free(r->eval_rows);
    follower_close(&r->judge_mean);
    follower_close(&r->reference_copy);
    model_destroy(r->judge_frozen);
    model_destroy(r->policy);
    model_destroy(r->reference);
    reward_models_close(r->reward_models, r->config);
    model_destroy(r->orchestrator);
    model_destroy(r->critic);
    inputs_close(&r->inputs);
    metrics_destroy(r->metrics);
    workspace_close(&r->passes);
    compute_close(r->compute);
    comm_free(r->team);
    placement_free(&r->placement);
    memset(r, 0, sizeof *r);
}
