/* rankwise plan CONFIG -n RANKS: what a run would hold and send, without starting it.  The bytes
 * come from the same layouts that the run allocates. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/sizes.h"

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
    struct inputs inputs;
    struct compute *compute;
    struct placement placement;
};

static int plan_open(struct plan *p, const struct config *c)
{
    int rc = RL_OK;

    p->config = c;
    TRY(placement_make(&p->placement, c, (int)n_ranks));
    TRY(compute_open(&p->compute, c->device, c->dtype, 1));
    TRY(inputs_open(&p->inputs, c));
    inputs_tell(&p->inputs, c);
done:
    return rc;
}

static void plan_close(struct plan *p)
{
    inputs_close(&p->inputs);
    placement_free(&p->placement);
    compute_close(p->compute);
}

static int bytes_of(const struct plan *p, int rank, struct bytes *b)
{
    return rank_bytes(&p->inputs, p->config, &p->placement, p->compute, rank, b);
}

static int rows_of(const struct plan *p, enum role role, int rank)
{
    return rank_rows(&p->inputs.train, p->config, &p->placement, role, rank);
}

/* Rows sampled in a step or in an evaluation. */
static int sampled(const struct plan *p, int rank)
{
    return rows_of(p, ROLE_ACTOR, rank) + rank_rows(&p->inputs.eval, p->config, &p->placement,
                                                    ROLE_ACTOR, rank);
}

static double mib(size_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

static void print_rank(const struct plan *p, int rank, const struct bytes *b)
{
    struct text roles = { 0 };
    placement_text(&p->placement, rank, &roles);
    if (p->placement.roles[rank] & ROLE_ACTOR && sampled(p, rank) == 0)
        text_adds(&roles, " (actor without work)");
    printf("%5d  %-32s %6d %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", rank, roles.data,
           rows_of(p, ROLE_LEARNER, rank), mib(b->weights), mib(b->reference + b->refmodel),
           mib(b->actor), mib(b->reward), mib(b->critic + b->learner + b->copies + b->journal),
           mib(b->batches), mib(b->total));
    text_free(&roles);
}

/* Pairs of different ranks over which a link carries something. */
static int messages(const struct plan *p, enum role from, enum role to)
{
    const struct ranklist *a = placement_of(&p->placement, from),
                          *b = placement_of(&p->placement, to);
    int P = p->inputs.train.P, leaves = (int)p->config->reduction_leaves, count = 0;

    for (int i = 0; i < a->count; i++)
        for (int j = 0; j < b->count; j++) {
            int fa, na, fb, nb;
            share_of(P, leaves, a->count, i, &fa, &na);
            share_of(P, leaves, b->count, j, &fb, &nb);
            count += a->rank[i] != b->rank[j] && fa < fb + nb && fb < fa + na;
        }
    return count;
}

static void print_messages(const struct plan *p)
{
    const struct ranklist *learners = placement_of(&p->placement, ROLE_LEARNER);
    const struct ranklist *actors = placement_of(&p->placement, ROLE_ACTOR);
    size_t weights = model_size(&p->inputs.policy.shape) * sizeof(float);
    int pure = 0;

    for (int i = 0; i < actors->count; i++)
        pure += placement_index(&p->placement, ROLE_LEARNER, actors->rank[i]) < 0;
    puts("\nmessages per step");
    if (p->inputs.roles & ROLE_ACTOR) {
        printf("  rollouts to reward      %5d pairs of ranks\n",
               messages(p, ROLE_ACTOR, ROLE_REWARD));
        printf("  rollouts to refmodel    %5d\n", messages(p, ROLE_ACTOR, ROLE_REFMODEL));
        printf("  rollouts to learner     %5d\n", messages(p, ROLE_ACTOR, ROLE_LEARNER));
        printf("  rewards to learner      %5d\n", messages(p, ROLE_REWARD, ROLE_LEARNER));
        printf("  weights to actors       %5d ranks x %.1f MiB\n", pure, mib(weights));
    }
    if (p->inputs.roles & ROLE_REFMODEL)
        printf("  log-probs to learner    %5d\n", messages(p, ROLE_REFMODEL, ROLE_LEARNER));
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

static void print_head(const struct plan *p)
{
    static const char *const groups[] = { [SOURCE_PROMPTS] = "prompts", [SOURCE_PAIRS] = "records",
                                          [SOURCE_TEXT] = "rows of text" };
    const struct inputs *in = &p->inputs;

    printf("%s, %s, %d %s x %d rows a step, rows of at most %d tokens\n\n", p->config->algorithm,
           in->policy.path, in->train.P, groups[in->source],
           in->train.k, in->train.row_tokens);
    printf("%5s  %-32s %6s %9s %9s %9s %9s %9s %9s %9s\n", "rank", "roles", "rows", "weights",
           "reference", "actor", "reward", "learner", "batches", "MiB");
}

static int print_plan(const struct plan *p)
{
    int host = (int)(per_host > 0 ? per_host : n_ranks), rc = RL_OK;
    size_t fullest = 0, on_host = 0;
    struct bytes b;

    /* What one learner cannot be made of, none can: asked before the first line is out. */
    TRY(bytes_of(p, placement_of(&p->placement, ROLE_LEARNER)->rank[0], &b));
    print_head(p);
    for (int r = 0; r < n_ranks; r++) {
        TRY(bytes_of(p, r, &b));
        print_rank(p, r, &b);
        on_host = r % host == 0 ? b.total : on_host + b.total;
        fullest = on_host > fullest ? on_host : fullest;
    }
    print_messages(p);
    rc = check_memory(fullest);
done:
    return rc;
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
    TRY(algorithm_check(config));
    TRY(plan_open(&plan, config));
    TRY(print_plan(&plan));
done:
    plan_close(&plan);
    config_close(config);
    return rc;
}
