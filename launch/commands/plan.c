/* rankwise plan CONFIG -n RANKS: what a run would hold and send, without starting it.  The bytes
 * come from the same layouts that the run allocates. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/run.h"

static int64_t n_ranks, per_host;

static const struct option_row options[] = {
    { "n", OPTION_INT, &n_ranks, "RANKS", "ranks of the run" },
    { "per-host", OPTION_INT, &per_host, "RANKS",
      "ranks that share a host's memory (default: all of them)" },
    { 0 },
};

void help_plan(FILE *out)
{
    options_help(options, out);
    fputs("\nexits 2 when the ranks of a host need more memory than this machine has\n", out);
}

/* What every rank of the plan needs to know. */
struct plan {
    const struct config *config;
    const struct algorithm *algorithm;
    struct source policy, reference;
    struct compute *compute;
    struct placement placement;
    int P, k, eval_P, longest_prompt, row_tokens;
};

struct bytes { size_t weights, reference, actor, refmodel, learner, batches, total; };

static int open_prompts(struct plan *p)
{
    const struct config *c = p->config;
    const struct model_shape *shape = &p->policy.shape;
    bool skip = strcmp(c->long_prompts, "skip") == 0;
    struct prompts *train = NULL, *eval = NULL;
    int rc = RL_OK;

    TRY(prompts_open(&train, c->prompts, p->policy.tokenizer, shape->V, shape->context - 1, skip));
    p->longest_prompt = prompts_longest(train);
    if (c->eval_prompts && *c->eval_prompts) {
        TRY(prompts_open(&eval, c->eval_prompts, p->policy.tokenizer, shape->V, shape->context - 1,
                         skip));
        p->eval_P = (int)prompts_count(eval);
        if (c->eval_rows > 0 && c->eval_rows < p->eval_P)
            p->eval_P = (int)c->eval_rows;
        if (prompts_longest(eval) > p->longest_prompt)
            p->longest_prompt = prompts_longest(eval);
    }
    p->row_tokens = p->longest_prompt + (int)c->max_new;
done:
    prompts_close(train);
    prompts_close(eval);
    return rc;
}

static int plan_open(struct plan *p, const struct config *c)
{
    int rc = RL_OK;

    p->config = c;
    p->algorithm = algorithm_find(c->algorithm);
    p->P = (int)(p->algorithm->rollouts ? c->prompts_per_step : c->rows_per_step);
    p->k = p->algorithm->rollouts ? (int)c->samples_per_prompt : 1;
    TRY(placement_make(&p->placement, c, (int)n_ranks));
    TRY(source_open(&p->policy, c->model));
    TRY(compute_open(&p->compute, c->device, 1));
    p->row_tokens = c->row_tokens > 0 ? (int)c->row_tokens : p->policy.shape.context;
    if (p->algorithm->rollouts) {
        TRY(source_open(&p->reference, c->refmodel && *c->refmodel ? c->refmodel : c->model));
        TRY(open_prompts(p));
    }
    if (p->row_tokens > p->policy.shape.context)
        p->row_tokens = p->policy.shape.context;
    TRY(ring_check(p->P, p->k, p->row_tokens));
done:
    return rc;
}

static void plan_close(struct plan *p)
{
    source_close(&p->policy);
    source_close(&p->reference);
    placement_free(&p->placement);
    compute_close(p->compute);
}

static int rows_of(const struct plan *p, enum role role, int rank, int P, int k)
{
    int first = 0, count = 0, index = placement_index(&p->placement, role, rank);

    if (index >= 0)
        share_of(P, (int)p->config->reduction_leaves, placement_of(&p->placement, role)->count,
                 index, &first, &count);
    return count * k;
}

static struct bytes rank_bytes(const struct plan *p, int rank)
{
    const struct config *c = p->config;
    int leaves = (int)c->reduction_leaves,
        learner = placement_index(&p->placement, ROLE_LEARNER, rank);
    unsigned roles = p->placement.roles[rank];
    struct bytes b = { 0 };

    if (roles & (ROLE_ACTOR | ROLE_LEARNER))
        b.weights = model_bytes(&p->policy.shape, p->compute);
    if (roles & ROLE_REFMODEL) {
        b.reference = model_bytes(&p->reference.shape, p->compute);
        b.refmodel =
            refmodel_bytes(&p->reference.shape, p->compute, (int)c->micro_rows, p->row_tokens);
    }
    if (roles & ROLE_ACTOR) {
        int rows = rows_of(p, ROLE_ACTOR, rank, p->P, p->k);
        int eval = rows_of(p, ROLE_ACTOR, rank, p->eval_P, 1);
        struct actor_settings s = run_actor_settings(c, &p->policy, p->longest_prompt,
                                                     eval > rows ? eval : rows);
        b.actor = actor_bytes(&p->policy.shape, p->compute, &s);
    }
    if (learner >= 0)
        b.learner = learner_bytes(c, &p->policy.shape, p->compute,
                                  placement_of(&p->placement, ROLE_LEARNER)->count, learner, p->P,
                                  p->k, p->row_tokens);
    b.batches = ring_bytes(&p->placement, rank, leaves, p->P, p->k,
                           p->algorithm->rollouts ? (int)c->max_lag + 1 : 1, p->row_tokens,
                           c->n_rewards, p->algorithm->rollouts ? ROLE_ALL : ROLE_LEARNER);
    if (p->eval_P > 0)
        b.batches += ring_bytes(&p->placement, rank, leaves, p->eval_P, 1, 1, p->row_tokens,
                                c->n_rewards, ROLE_ALL);
    b.total = b.weights + b.reference + b.actor + b.refmodel + b.learner + b.batches;
    return b;
}

static double mib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

static void print_rank(const struct plan *p, int rank, const struct bytes *b)
{
    struct text roles = { 0 };
    bool rollouts = p->algorithm->rollouts;
    int rows = rows_of(p, rollouts ? ROLE_ACTOR : ROLE_LEARNER, rank, p->P, p->k);

    placement_text(&p->placement, rank, &roles);
    if (p->placement.roles[rank] & ROLE_ACTOR && rows == 0)
        text_adds(&roles, " (actor without work)");
    printf("%5d  %-32s %6d %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", rank, roles.data,
           rows_of(p, ROLE_LEARNER, rank, p->P, p->k), mib(b->weights),
           mib(b->reference + b->refmodel), mib(b->actor), mib(b->learner), mib(b->batches),
           mib(b->total));
    text_free(&roles);
}

/* Pairs of different ranks over which a link carries something. */
static int messages(const struct plan *p, enum role from, enum role to)
{
    const struct ranklist *a = placement_of(&p->placement, from),
                          *b = placement_of(&p->placement, to);
    int leaves = (int)p->config->reduction_leaves, count = 0;

    for (int i = 0; i < a->count; i++)
        for (int j = 0; j < b->count; j++) {
            int fa, na, fb, nb;
            share_of(p->P, leaves, a->count, i, &fa, &na);
            share_of(p->P, leaves, b->count, j, &fb, &nb);
            count += a->rank[i] != b->rank[j] && fa < fb + nb && fb < fa + na;
        }
    return count;
}

static void print_messages(const struct plan *p)
{
    const struct ranklist *learners = placement_of(&p->placement, ROLE_LEARNER);
    const struct ranklist *actors = placement_of(&p->placement, ROLE_ACTOR);
    size_t weights = model_size(&p->policy.shape) * sizeof(float);
    int pure = 0;

    for (int i = 0; i < actors->count; i++)
        pure += placement_index(&p->placement, ROLE_LEARNER, actors->rank[i]) < 0;
    puts("\nmessages per step");
    if (p->algorithm->rollouts) {
        printf("  rollouts to reward      %5d pairs of ranks\n",
               messages(p, ROLE_ACTOR, ROLE_REWARD));
        printf("  rollouts to refmodel    %5d\n", messages(p, ROLE_ACTOR, ROLE_REFMODEL));
        printf("  rollouts to learner     %5d\n", messages(p, ROLE_ACTOR, ROLE_LEARNER));
        printf("  rewards to learner      %5d\n", messages(p, ROLE_REWARD, ROLE_LEARNER));
        printf("  log-probs to learner    %5d\n", messages(p, ROLE_REFMODEL, ROLE_LEARNER));
        printf("  weights to actors       %5d ranks x %.1f MiB\n", pure, mib(weights));
    }
    printf("  gradients among learners%5d ranks x %.1f MiB, %d leaves\n", learners->count,
           learners->count > 1 ? mib(weights) : 0.0, (int)p->config->reduction_leaves);
}

static int check_memory(size_t host_bytes)
{
    size_t there = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);

    printf("\nfullest host: %.1f MiB of the %.1f MiB that this machine has\n", mib(host_bytes),
           mib(there));
    if (host_bytes > there)
        return rl_error(RL_ENOFIT,
                        "does not fit: %.1f MiB on one host of %.1f MiB; use more hosts, fewer "
                        "samples_per_prompt, smaller micro_rows or recompute = true",
                        mib(host_bytes), mib(there));
    return RL_OK;
}

static int print_plan(const struct plan *p)
{
    int host = (int)(per_host > 0 ? per_host : n_ranks);
    size_t fullest = 0, on_host = 0;

    printf("%s, %s, %d %s x %d rows a step, rows of at most %d tokens\n\n", p->config->algorithm,
           p->policy.path, p->P, p->algorithm->rollouts ? "prompts" : "rows of text", p->k,
           p->row_tokens);
    printf("%5s  %-32s %6s %9s %9s %9s %9s %9s %9s\n", "rank", "roles", "rows", "weights",
           "reference", "actor", "learner", "batches", "MiB");
    for (int r = 0; r < n_ranks; r++) {
        struct bytes b = rank_bytes(p, r);
        print_rank(p, r, &b);
        on_host = r % host == 0 ? b.total : on_host + b.total;
        fullest = on_host > fullest ? on_host : fullest;
    }
    print_messages(p);
    return check_memory(fullest);
}

int command_plan(int argc, char **argv)
{
    struct config *config = NULL;
    struct plan plan;
    int rc = RL_OK;

    memset(&plan, 0, sizeof plan);
    TRY(options_parse(options, &argc, argv));
    if (argc < 1 || n_ranks < 1 || n_ranks > 1 << 20 || per_host < 0)
        return rl_error(RL_EINVAL, "plan needs a configuration file and -n RANKS (at least 1)");
    TRY(config_open(&config, argv[0], argv + 1, argc - 1));
    TRY(plan_open(&plan, config));
    TRY(print_plan(&plan));
done:
    plan_close(&plan);
    config_close(config);
    return rc;
}
