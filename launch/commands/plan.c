/* rankwise plan CONFIG -n RANKS: what a run would hold and send, without starting it.  The bytes
 * come from the same layouts that the run allocates. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "compute/device.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "launch/sizes.h"

static int64_t n_ranks, per_host;
static const char *card, *memory, *largest;

#define KEYS "micro_rows, prompts_per_step, samples_per_prompt, max_new"

static const struct option_row options[] = {
    { "n", OPTION_INT, &n_ranks, "RANKS", "ranks of the run" },
    { "per-host", OPTION_INT, &per_host, "RANKS",
      "ranks that share a host's memory (default: all of them)" },
    { "card", OPTION_TEXT, &card, "NAME", "a rank's GPU: " DEVICE_CARDS },
    { "memory", OPTION_TEXT, &memory, "GIB", "of a GPU, or of a host, if not this machine's" },
    { "largest", OPTION_TEXT, &largest, "KEY", "the largest value that fits, of " KEYS },
    { 0 },
};

void help_plan(FILE *out)
{
    options_help(options, out);
    fputs("\nexits 2 when a rank needs more than its GPU has, or a host's ranks more than it has\n",
          out);
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
    TRY(compute_open_sizes(&p->compute, c->device, c->dtype));
    TRY(inputs_open(&p->inputs, c));
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
    printf("%5d  %-32s %6d %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f", rank, roles.data,
           rows_of(p, ROLE_LEARNER, rank), mib(b->weights), mib(b->reference + b->refmodel),
           mib(b->actor), mib(b->reward), mib(b->critic + b->learner + b->copies + b->journal),
           mib(b->passes), mib(b->batches));
    if (compute_is_gpu(p->compute))
        printf(" %9.1f", mib(b->kernels));
    printf(" %9.1f\n", mib(b->total));
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

/* ---- does it fit? */

/* Where bytes have to fit: a rank's in its GPU, a host's ranks' in its memory. */
struct room {
    bool gpu;
    const char *whose;
    size_t bytes;                    /* 0: unknown */
};

static int room_find(struct room *room, const struct config *c)
{
    bool gpu = strncmp(c->device, "cuda", 4) == 0;
    char *end;
    double gib = memory ? strtod(memory, &end) : 0;
    size_t bytes = card ? device_memory(card) : 0;

    if (card && (!gpu || bytes == 0))
        return gpu ? rl_error(RL_EINVAL, "--card %s is unknown; use one of " DEVICE_CARDS
                              ", or --memory GIB", card)
                   : rl_error(RL_EINVAL, "--card is of device = \"cuda\"; this is device = \"%s\"",
                              c->device);
    if (memory && (*end != '\0' || !(gib > 0) || gib > 1e6))
        return rl_error(RL_EINVAL, "--memory %s: give GiB, as in --memory 80", memory);
    *room = (struct room){ gpu, card ? card : "this machine", bytes };
    if (memory)
        room->bytes = (size_t)(gib * (1 << 30)), room->whose = "--memory";
    else if (!gpu)
        room->bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    return RL_OK;
}

/* Of a rank, in the memory that `room` is. */
static size_t bytes_there(const struct room *room, const struct bytes *b)
{
    return room->gpu ? bytes_on_gpu(b) + GPU_CONTEXT + GPU_LIBRARIES : b->total;
}

/* Bytes of the fullest GPU or host. */
static int fullest(const struct plan *p, const struct room *room, size_t *most)
{
    int host = room->gpu ? 1 : (int)(per_host > 0 ? per_host : n_ranks), rc = RL_OK;
    size_t here = 0;
    struct bytes b;

    *most = 0;
    for (int r = 0; r < n_ranks; r++) {
        TRY(bytes_of(p, r, &b));
        here = r % host == 0 ? bytes_there(room, &b) : here + bytes_there(room, &b);
        *most = here > *most ? here : *most;
    }
done:
    return rc;
}

/* What the ranks of the fullest host take of its own memory, where their work is in GPUs'. */
static int print_host(const struct plan *p)
{
    int host = (int)(per_host > 0 && per_host < n_ranks ? per_host : n_ranks), rc = RL_OK;
    size_t here = 0, most = 0;
    struct bytes b;

    for (int r = 0; r < n_ranks; r++) {
        TRY(bytes_of(p, r, &b));
        here = (r % host == 0 ? 0 : here) + b.total - bytes_on_gpu(&b);
        most = here > most ? here : most;
    }
    printf("\nfullest host: %.1f MiB of its own for %d rank%s\n", mib(most), host,
           host == 1 ? "" : "s");
done:
    return rc;
}

static int check_memory(const struct room *room, size_t most)
{
    const char *what = room->gpu ? "GPU" : "host";

    if (room->bytes == 0) {
        printf("\nfullest GPU: %.1f MiB; --card or --memory says how much it has\n", mib(most));
        return RL_OK;
    }
    printf("\nfullest %s: %.1f MiB of the %.1f MiB that %s has\n", what, mib(most),
           mib(room->bytes), room->whose);
    if (most > room->bytes)
        return rl_error(RL_ENOFIT,
                        "does not fit: %.1f MiB on one %s of %.1f MiB; use more %ss, fewer "
                        "samples_per_prompt, smaller micro_rows or recompute = true",
                        mib(most), what, mib(room->bytes), what);
    return RL_OK;
}

/* ---- the largest value that fits */

/* The configuration of the command line with key = n.  More than a learner can be made of does not
 * fit, nor does a value that is not allowed: `refused` is its line, else empty. */
static int fits_with(int argc, char **argv, int64_t n, const struct room *room, bool *fits,
                     struct text *refused)
{
    char word[64], **words = malloc(((size_t)argc + 1) * sizeof *words);
    struct config *config = NULL;
    struct plan plan = { 0 };
    bool held;
    size_t most;
    int rc;

    *fits = false;
    if (!words)
        return rl_error(RL_ENOFIT, "no memory for the words of a configuration");
    held = status_hold(true);
    snprintf(word, sizeof word, "%s=%" PRId64, largest, n);
    memcpy(words, argv + 1, (size_t)(argc - 1) * sizeof *words);
    words[argc - 1] = word;
    TRY(config_open(&config, argv[0], words, argc));
    TRY(plan_open(&plan, config));
    TRY(fullest(&plan, room, &most));
    *fits = most <= room->bytes;
done:
    text_clear(refused);
    if (rc == RL_EINVAL)
        text_adds(refused, status_message());
    plan_close(&plan);
    config_close(config);
    free(words);
    status_drop();
    status_hold(held);
    return rc == RL_ENOFIT || rc == RL_EINVAL ? RL_OK : rc;
}

static int check_key(const struct room *room)
{
    static const char *const keys[] = { "micro_rows", "prompts_per_step", "samples_per_prompt",
                                        "max_new" };

    if (room->bytes == 0)
        return rl_error(RL_EINVAL, "--largest needs to know how much memory a GPU has: --card or "
                        "--memory");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(largest, keys[i]) == 0)
            return RL_OK;
    return rl_error(RL_EINVAL, "--largest %s: use one of " KEYS, largest);
}

static int64_t value_now(const struct config *c)
{
    return strcmp(largest, "micro_rows") == 0 ? c->micro_rows
           : strcmp(largest, "prompts_per_step") == 0 ? c->prompts_per_step
           : strcmp(largest, "samples_per_prompt") == 0 ? c->samples_per_prompt : c->max_new;
}

/* From the value that the configuration has: doubled until it does not fit, else halved until it
 * does; then between the two. */
static int print_largest(int argc, char **argv, const struct config *c, const struct room *room)
{
    int64_t below = 0, above = value_now(c);
    struct text refused = { 0 };
    bool fits = true;
    int rc = RL_OK;

    while (fits && above <= (int64_t)1 << 24) {
        TRY(fits_with(argc, argv, above, room, &fits, &refused));
        below = fits ? above : below;
        above = fits ? 2 * above : above;
    }
    for (int64_t n = above / 2; below == 0 && n > 0; n /= 2) {
        TRY(fits_with(argc, argv, n, room, &fits, &refused));
        *(fits ? &below : &above) = n;
    }
    while (below > 0 && above - below > 1) {
        TRY(fits_with(argc, argv, below + (above - below) / 2, room, &fits, &refused));
        *(fits ? &below : &above) = below + (above - below) / 2;
    }
    if (below == 0)
        TRY(rl_error(RL_ENOFIT, "does not fit with a smaller %s either", largest));
    TRY(fits_with(argc, argv, below + 1, room, &fits, &refused));
    printf("largest %s that fits: %" PRId64 "\n", largest, below);
    if (refused.size > 0)
        printf("more is refused: %s\n", refused.data);
done:
    text_free(&refused);
    return rc;
}

/* ---- the page */

static void print_head(const struct plan *p)
{
    static const char *const groups[] = { [SOURCE_PROMPTS] = "prompts", [SOURCE_PAIRS] = "records",
                                          [SOURCE_TEXT] = "rows of text" };
    const struct inputs *in = &p->inputs;

    printf("%s, %s, %d %s x %d rows a step, rows of at most %d tokens\n\n", p->config->algorithm,
           in->policy.path, in->train.P, groups[in->source],
           in->train.k, in->train.row_tokens);
    printf("%5s  %-32s %6s %9s %9s %9s %9s %9s %9s %9s%s %9s\n", "rank", "roles", "rows",
           "weights", "reference", "actor", "reward", "learner", "passes", "batches",
           compute_is_gpu(p->compute) ? "   kernels" : "", "MiB");
}

static int print_plan(const struct plan *p, const struct room *room)
{
    struct bytes b;
    size_t most;
    int rc = RL_OK;

    /* What one learner cannot be made of, none can: asked before the first line is out. */
    TRY(bytes_of(p, placement_of(&p->placement, ROLE_LEARNER)->rank[0], &b));
    print_head(p);
    for (int r = 0; r < n_ranks; r++) {
        TRY(bytes_of(p, r, &b));
        print_rank(p, r, &b);
    }
    print_messages(p);
    if (room->gpu)
        TRY(print_host(p));
    TRY(fullest(p, room, &most));
    rc = check_memory(room, most);
done:
    return rc;
}

int command_plan(int argc, char **argv)
{
    struct config *config = NULL;
    struct plan plan = { 0 };
    struct room room;
    int rc = RL_OK;

    TRY(options_parse(options, &argc, argv));
    if (argc < 1 || n_ranks < 1 || n_ranks > 1 << 20 || per_host < 0)
        return rl_error(RL_EINVAL, "plan needs a configuration file and -n RANKS (at least 1)");
    TRY(config_open(&config, argv[0], argv + 1, argc - 1));
    TRY(algorithm_check(config));
    TRY(room_find(&room, config));
    if (largest)
        TRY(check_key(&room));
    TRY(plan_open(&plan, config));
    if (largest) {
        rc = print_largest(argc, argv, config, &room);
        goto done;
    }
    inputs_tell(&plan.inputs, config);
    TRY(print_plan(&plan, &room));
done:
    plan_close(&plan);
    config_close(config);
    return rc;
}
