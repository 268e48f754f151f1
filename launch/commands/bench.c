/* rankwise bench kernels|rollout|train|checkpoint: JSON lines, each figure beside the ceiling the
 * same run measured.
 *
 * Random Llamas stand for models that are not at hand: 15m (288 wide, 6 layers), 124m (768 wide, 12
 * layers); --model takes a folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/clock.h"
#include "base/status.h"
#include "compute/bench.h"
#include "compute/peak.h"
#include "launch/commands/bench.h"
#include "launch/commands/commands.h"
#include "launch/models.h"
#include "launch/options.h"
#include "learner/optimizer.h"

static const char *model_name = "15m", *device = "auto", *dtype = "fp32", *folder = ".";
static int64_t rows = 32, prompt_tokens = 32, new_tokens = 64, repeats = 3, threads = 1,
               mb = 1024;

static const struct option_row options[] = {
    { "model", OPTION_TEXT, &model_name, "MODEL",
      "a folder, or a random 15m or 124m (default 15m)" },
    { "rows", OPTION_INT, &rows, "N", "rows at once (default 32)" },
    { "prompt", OPTION_INT, &prompt_tokens, "N", "prompt tokens of a row (default 32)" },
    { "new", OPTION_INT, &new_tokens, "N", "new tokens of a row (default 64)" },
    { "repeats", OPTION_INT, &repeats, "N", "runs after a warm-up; the median counts (default 3)" },
    { "threads", OPTION_INT, &threads, "N", "threads (default 1)" },
    { "dtype", OPTION_TEXT, &dtype, "NAME", "fp32 or bf16 (default fp32)" },
    { "device", OPTION_TEXT, &device, "NAME",
      "auto, ref, cpu-plain, cpu-avx2, cpu-avx512 (default auto)" },
    { "mb", OPTION_INT, &mb, "N", "checkpoint: size of the state in MiB (default 1024)" },
    { "folder", OPTION_TEXT, &folder, "DIR", "checkpoint: where it is written (default .)" },
    { 0 },
};

void help_bench(FILE *out)
{
    options_help(options, out);
}

static const struct {
    const char *name;
    struct model_shape shape;
} random_models[] = {
    { "15m", { .family = "llama", .V = 32000, .C = 288, .L = 6, .H = 6, .G = 6, .D = 48, .F = 768,
               .context = 1024, .eps = 1e-5f, .theta = 10000, .tied = true, .lm = true } },
    { "124m", { .family = "llama", .V = 50257, .C = 768, .L = 12, .H = 12, .G = 12, .D = 64,
                .F = 2048, .context = 1024, .eps = 1e-5f, .theta = 10000, .tied = true,
                .lm = true } },
};

/* The machine's ceilings and the model, opened once. */
struct bench {
    struct compute *compute;
    struct model *model;
    struct peak peak;
};

static int load_model(struct bench *b)
{
    struct source s;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    TRY(source_open(&s, model_name));
    TRY(source_check_text(&s));
    TRY(source_model(&b->model, &s, b->compute));
done:
    source_close(&s);
    return rc;
}

static int open_model(struct bench *b)
{
    int rc = RL_OK;

    for (size_t i = 0; i < sizeof random_models / sizeof *random_models; i++)
        if (strcmp(model_name, random_models[i].name) == 0) {
            TRY(model_create(&b->model, &random_models[i].shape, b->compute));
            model_randomize(b->model, 1, 0.02);
            return RL_OK;
        }
    rc = load_model(b);
done:
    return rc;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median seconds of `repeats` runs after one that is not counted. */
static int median(int (*run)(struct bench *, void *), struct bench *b, void *state, double *seconds)
{
    double times[64];
    int rc = RL_OK;

    for (int64_t i = -1; i < repeats; i++) {
        double t = clock_now();
        TRY(run(b, state));
        if (i >= 0)
            times[i] = clock_now() - t;
    }
    qsort(times, (size_t)repeats, sizeof *times, by_size);
    *seconds = times[repeats / 2];
done:
    return rc;
}

/* Parameters that a token is multiplied with: all but the norms and an untied embedding. */
static double weights_per_token(const struct model_shape *s)
{
    double layer = (double)s->C * (s->H + 2 * s->G) * s->D + (double)s->H * s->D * s->C +
                   3.0 * s->C * s->F;

    return layer * s->L + (double)s->C * s->V;
}

static void print_line(const struct bench *b, const char *what, double tokens, double seconds,
                       double flops_per_token)
{
    double gflops = tokens * flops_per_token / seconds * 1e-9;

    printf("{\"bench\":\"%s\",\"model\":\"%s\",\"rows\":%lld,\"prompt\":%lld,\"new\":%lld,"
           "\"threads\":%lld,\"device\":\"%s\",\"seconds\":%.4f,\"tok_s\":%.1f,\"gflops\":%.2f,"
           "\"peak_gflops\":%.1f,\"peak_fraction\":%.3f,\"read_gbps\":%.1f}\n",
           what, model_name, (long long)rows, (long long)prompt_tokens, (long long)new_tokens,
           (long long)threads, b->compute->name, seconds, tokens / seconds, gflops, b->peak.gflops,
           gflops / b->peak.gflops, b->peak.gbytes);
}

/* Rows of `length` tokens that are all different. */
static void fill_rows(struct batch *b, int V, int64_t length)
{
    batch_clear(b);
    b->P = b->groups = (int)rows, b->k = 1, b->group = 0;
    b->N = (int)rows;
    for (int n = 0; n < b->N; n++) {
        b->start[n] = n * (int)length;
        b->prompt_len[n] = (int)length;
        for (int t = 0; t < length; t++)
            b->tokens[b->start[n] + t] = (n * 7919 + t * 104729 + 3) % V;
    }
    b->T = b->start[b->N] = b->N * (int)length;
    b->filled = COL_TOKENS;
}

static int place_batch(struct batch *batch, struct memory *memory, int64_t length)
{
    int rc = RL_OK;

    memory_count(memory);
    batch_layout(batch, memory, (int)rows, (int)(rows * length), 0);
    TRY(memory_open(memory));
    batch_layout(batch, memory, (int)rows, (int)(rows * length), 0);
done:
    return rc;
}

/* ---- rollout */

struct rollout {
    struct actor *actor;
    struct memory memory;
    struct batch batch;
    int64_t made;
};

static int run_rollout(struct bench *b, void *state)
{
    struct rollout *r = state;
    double mean;
    int rc = RL_OK;

    fill_rows(&r->batch, model_shape(b->model)->V, prompt_tokens);
    TRY(actor_fill(r->actor, &r->batch, PURPOSE_SAMPLE, 0));
    actor_stats(r->actor, &r->made, &mean);
done:
    return rc;
}

static int bench_rollout(struct bench *b)
{
    struct rollout r = { 0 };
    struct actor_settings settings = {
        .temperature = 1, .loss_temperature = 1, .top_p = 1, .max_new = (int)new_tokens, .seed = 1,
        .max_prompt = (int)prompt_tokens, .rows_at_once = (int)rows, .max_rows = (int)rows,
    };
    double seconds;
    int rc = RL_OK;

    TRY(actor_create(&r.actor, b->model, &settings));
    TRY(place_batch(&r.batch, &r.memory, prompt_tokens + new_tokens));
    TRY(median(run_rollout, b, &r, &seconds));
    print_line(b, "rollout", (double)r.made, seconds, 2 * weights_per_token(model_shape(b->model)));
done:
    actor_destroy(r.actor);
    memory_close(&r.memory);
    return rc;
}

/* ---- training: forward, backward, clip, AdamW */

struct training {
    struct trainer *trainer;
    struct optimizer *optimizer;
    struct memory memory;
    struct batch batch;
    float *grads, *logp, *dlogp;
};

static int run_training(struct bench *b, void *state)
{
    struct training *t = state;
    double norm, lr;
    int rc = RL_OK;

    memset(t->grads, 0, model_size(model_shape(b->model)) * sizeof(float));
    TRY(model_logprobs(t->trainer, t->batch.tokens, t->batch.start, t->batch.N, 1.0f, true, t->logp,
                       NULL));
    TRY(model_backward(t->trainer, t->dlogp, NULL, t->grads));
    TRY(model_backward_finish(t->trainer, t->grads));
    TRY(optimizer_step(t->optimizer, t->grads, 0, &norm, &lr));
done:
    return rc;
}

/* Buffers of one step; dlogp is that of the mean loss. */
static int place_training(struct training *t, struct bench *b, int64_t length)
{
    size_t tokens = (size_t)(rows * length);
    int rc = RL_OK;

    TRY(trainer_create(&t->trainer, b->model, (int)rows, (int)tokens, false));
    TRY(place_batch(&t->batch, &t->memory, length));
    fill_rows(&t->batch, model_shape(b->model)->V, length);
    t->grads = malloc(model_size(model_shape(b->model)) * sizeof(float));
    t->logp = malloc(tokens * sizeof(float));
    t->dlogp = malloc(tokens * sizeof(float));
    if (!t->grads || !t->logp || !t->dlogp)
        return rl_error(RL_ENOFIT, "no memory for the gradients of %s", model_name);
    for (size_t i = 0; i < tokens; i++)
        t->dlogp[i] = i % (size_t)length ? -1.0f / (float)tokens : 0;
done:
    return rc;
}

static int bench_training(struct bench *b)
{
    struct config config = { .adam = { 0.9, 0.95, 1e-8, 0, "torch" }, .lr = 1e-5,
                             .steps = 1 << 20, .clip_norm = 1, .schedule = "constant" };
    int64_t length = prompt_tokens + new_tokens;
    struct training t = { 0 };
    double seconds;
    int rc = RL_OK;

    TRY(optimizer_create(&t.optimizer, &config, b->model, config.lr));
    TRY(place_training(&t, b, length));
    TRY(median(run_training, b, &t, &seconds));
    print_line(b, "train", (double)(rows * length), seconds,
               6 * weights_per_token(model_shape(b->model)));
done:
    optimizer_destroy(t.optimizer);
    trainer_destroy(t.trainer);
    memory_close(&t.memory);
    free(t.grads);
    free(t.logp);
    free(t.dlogp);
    return rc;
}

/* ---- the command */

static int check_options(int argc, char **argv)
{
    if (argc != 1 || (strcmp(argv[0], "kernels") != 0 && strcmp(argv[0], "rollout") != 0 &&
                      strcmp(argv[0], "train") != 0 && strcmp(argv[0], "checkpoint") != 0))
        return rl_error(RL_EINVAL, "bench needs one of kernels, rollout, train, checkpoint");
    if (rows < 1 || rows > 4096 || prompt_tokens < 1 || new_tokens < 1 || prompt_tokens > 1 << 16 ||
        new_tokens > 1 << 16)
        return rl_error(RL_EINVAL, "--rows from 1 to 4096, --prompt and --new from 1 to %d",
                        1 << 16);
    if (repeats < 1 || repeats > 64 || threads < 1 || threads > 1024)
        return rl_error(RL_EINVAL, "--repeats from 1 to 64, --threads from 1 to 1024");
    if (mb < 1 || mb > 1 << 20)
        return rl_error(RL_EINVAL, "--mb from 1 to %d", 1 << 20);
    return RL_OK;
}

static int bench_model(struct bench *b, bool rollout)
{
    int rc = RL_OK;

    TRY(open_model(b));
    if (prompt_tokens + new_tokens > model_shape(b->model)->context)
        return rl_error(RL_EINVAL, "--prompt + --new: the model has %d positions",
                        model_shape(b->model)->context);
    TRY(peak_measure(&b->peak, b->compute));
    TRY(rollout ? bench_rollout(b) : bench_training(b));
done:
    return rc;
}

int command_bench(int argc, char **argv)
{
    struct bench b = { 0 };
    int rc = RL_OK;

    TRY(options_parse(options, &argc, argv));
    TRY(check_options(argc, argv));
    if (strcmp(argv[0], "checkpoint") == 0)
        return bench_checkpoint(folder, mb, repeats);
    TRY(compute_open(&b.compute, device, dtype, (int)threads));
    if (strcmp(argv[0], "kernels") == 0)
        rc = compute_bench(b.compute, stdout);
    else
        rc = bench_model(&b, strcmp(argv[0], "rollout") == 0);
done:
    model_destroy(b.model);
    compute_close(b.compute);
    return rc;
}
