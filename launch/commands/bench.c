/* rankwise bench kernels|rollout|decode|train|step|start|comm|checkpoint: JSON lines, each figure
 * with its spread and beside the ceiling that the same run measured.  --against runs a peer in
 * turns with ours.  docs/performance.md says what was measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "launch/commands/bench.h"
#include "launch/commands/commands.h"
#include "launch/options.h"
#include "learner/learner.h"

#define NOT_GIVEN INT64_MIN
#define TOKENS (1 << 24)                /* of all rows: their text is written to a file */

static struct bench_options o = {
    .device = "auto", .dtype = "fp32", .rows = 32, .prompt = 32, .fresh = 64, .repeats = 3,
    .threads = 1, .samples = NOT_GIVEN, .mb = NOT_GIVEN, .length = NOT_GIVEN, .context = 1024,
    .peer_seconds = 600,                    /* torch.compile takes minutes */
};

static const struct option_row options[] = {
    { "model", OPTION_TEXT, &o.model, "MODEL",
      "a folder, or a random 15m, 124m, 0.5b, 0.6b, 1.7b or 8b (default 15m; kernels: numbers "
      "that suit a processor); 0.6b and 1.7b have the shapes of Qwen3 but no norms of queries and "
      "keys, 8b that of Llama 3.1" },
    { "rows", OPTION_INT, &o.rows, "N", "rows at once, over all ranks (default 32)" },
    { "prompt", OPTION_INT, &o.prompt, "N", "prompt tokens of a row (default 32)" },
    { "new", OPTION_INT, &o.fresh, "N",
      "new tokens of a row (default 64); train: all --prompt + --new are trained on" },
    { "length", OPTION_INT, &o.length, "N",
      "train: tokens of a row, instead of --prompt and --new; kernels with --model: of the row of "
      "attention and the products' (default 4096)" },
    { "context", OPTION_INT, &o.context, "N",
      "decode: tokens that rows have when it begins (default 1024)" },
    { "repeats", OPTION_INT, &o.repeats, "N", "after one that is not counted (default 3)" },
    { "threads", OPTION_INT, &o.threads, "N", "threads of a rank (default 1)" },
    { "dtype", OPTION_TEXT, &o.dtype, "NAME", "fp32 or bf16 (default fp32)" },
    { "device", OPTION_TEXT, &o.device, "NAME", COMPUTE_NAMES " (default auto)" },
    { "fast", OPTION_FLAG, &o.fast, NULL,
      "kernels, rollout, decode: a GPU's fastest products, as reduction=fast has them" },
    { "algorithm", OPTION_TEXT, &o.algorithm, "NAME", "step: of the run (default online_dpo)" },
    { "samples", OPTION_INT, &o.samples, "N", "step: rows of a prompt (default 2)" },
    { "against", OPTION_TEXT, &o.against, "PEER",
      "rollout, train, step, and kernels on a GPU: torch (Python named by RANKWISE_PYTHON, default "
      "python3); rollout: llama.cpp (its llama-batched-bench on PATH)" },
    { "peer-seconds", OPTION_INT, &o.peer_seconds, "N",
      "for each answer of a peer, its start included (default 600)" },
    { "mb", OPTION_INT, &o.mb, "N",
      "MiB of checkpoint's state (default 1024), of comm's largest message (default 64)" },
    { "folder", OPTION_TEXT, &o.folder, "DIR",
      "where checkpoint, train, step and start have their files while they run (default TMPDIR or "
      "/tmp, for checkpoint .)" },
    { 0 },
};

#define WORK " model rows prompt new repeats threads dtype device against peer-seconds "

static const struct bench {
    const char *name;
    int (*run)(const struct bench_options *o);
    const char *options;                /* that it takes */
    bool takes_words, alone;
} benches[] = {
    { "kernels", bench_kernels, " threads dtype device fast model length against peer-seconds ",
      false, true },
    { "rollout", bench_rollout, WORK "fast ", false, true },
    { "decode", bench_decode, " model rows context new repeats threads dtype device fast ", false,
      true },
    { "train", bench_train, WORK "folder length ", true, false },
    { "step", bench_step, WORK "folder algorithm samples ", true, false },
    { "start", bench_start, " model rows prompt new repeats threads dtype device folder algorithm "
      "samples ", true, false },
    { "comm", bench_comm, " rows prompt new repeats mb device ", false, false },
    { "checkpoint", bench_checkpoint, " repeats mb folder ", false, false },
    { 0 },
};

void help_bench(FILE *out)
{
    options_help(options, out);
    fputs("\nkey=value after train, step and start goes to the configuration of their run, for\n"
          "example reduction=fast; train, step, comm and checkpoint run under mpirun, too\n", out);
}

/* Keys that an option sets: the lines and a peer are told the option. */
static const struct { const char *key, *option; } optional[] = {
    { "model", "model" }, { "model_init", "model" }, { "threads", "threads" },
    { "dtype", "dtype" }, { "device", "device" }, { "algorithm", "algorithm" },
    { "max_new", "new" }, { "row_tokens", "new" }, { "rows_per_step", "rows" },
    { "prompts_per_step", "rows" }, { "samples_per_prompt", "samples" }, { "steps", "repeats" },
    { "prompts", "prompt" }, { "text", "prompt" }, { "output", "folder" },
};

static int check_words(char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof optional / sizeof *optional; k++) {
            size_t length = strcspn(words[i], "= \t");
            if (length == strlen(optional[k].key) &&
                strncmp(words[i], optional[k].key, length) == 0)
                return rl_error(RL_EINVAL, "%s: bench sets this key from --%s", words[i],
                                optional[k].option);
        }
    return RL_OK;
}

void bench_words_line(struct text *line, const struct bench_options *given)
{
    struct text words = { 0 };

    for (int i = 0; i < given->n_words; i++)
        text_addf(&words, "%s%s", i ? " " : "", given->words[i]);
    if (words.size > 0)
        word_line(line, "words", words.data);
    text_free(&words);
}

static int check_sizes(void)
{
    const struct { const char *option; int64_t value, most; } sizes[] = {
        { "rows", o.rows, 4096 }, { "prompt", o.prompt, 1 << 16 }, { "new", o.fresh, 1 << 16 },
        { "repeats", o.repeats, FIGURES }, { "threads", o.threads, 1024 },
        { "samples", o.samples, 4096 }, { "mb", o.mb, 1 << 20 },
        { "length", o.length, 1 << 16 }, { "context", o.context, 1 << 16 },
        { "peer-seconds", o.peer_seconds, 86400 },
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value != NOT_GIVEN && (sizes[i].value < 1 || sizes[i].value > sizes[i].most))
            return rl_error(RL_EINVAL, "--%s %lld: from 1 to %lld", sizes[i].option,
                            (long long)sizes[i].value, (long long)sizes[i].most);
    if (o.rows * (o.prompt + o.fresh) > TOKENS)
        return rl_error(RL_EINVAL, "--rows times the tokens of a row: at most %d tokens", TOKENS);
    return RL_OK;
}

/* Options that were given another value than `before` and are not the bench's. */
static int check_options(const struct bench *bench, const struct bench_options *before)
{
    char word[64];

    for (const struct option_row *row = options; row->name; row++) {
        size_t at = (size_t)((char *)row->place - (char *)&o);
        size_t size = row->kind == OPTION_FLAG ? sizeof(bool) : sizeof(int64_t);

        snprintf(word, sizeof word, " %s ", row->name);
        if (memcmp(row->place, (const char *)before + at, size) != 0 &&
            !strstr(bench->options, word))
            return rl_error(RL_EINVAL, "bench %s has no --%s", bench->name, row->name);
    }
    return RL_OK;
}

/* step's own options. */
static int check_step(bool step)
{
    const struct algorithm *a = o.algorithm ? algorithm_find(o.algorithm) : NULL;

    if (a && a->source != SOURCE_PROMPTS)
        return rl_error(RL_EINVAL, "--algorithm %s learns from files; bench step takes those that "
                        "generate", o.algorithm);
    if (!o.algorithm)
        o.algorithm = "online_dpo";
    if (o.samples == NOT_GIVEN)
        o.samples = 2;
    if (step && o.rows % o.samples != 0)
        return rl_error(RL_EINVAL, "--samples: %lld rows are no whole number of prompts with %lld "
                        "rows each", (long long)o.rows, (long long)o.samples);
    return RL_OK;
}

/* --length and what it stands for; --model where it is not given. */
static int check_length(const struct bench *bench, const struct bench_options *before)
{
    bool kernels = bench->run == bench_kernels, given = o.length != NOT_GIVEN;

    if (kernels && given && !o.model)
        return rl_error(RL_EINVAL, "--length: bench kernels needs a --model for it");
    if (!kernels && given && (o.prompt != before->prompt || o.fresh != before->fresh))
        return rl_error(RL_EINVAL, "--length: bench train takes it instead of --prompt and --new");
    if (!kernels && given && o.length < 2)
        return rl_error(RL_EINVAL, "--length %lld: from 2 to 65536", (long long)o.length);
    if (!kernels && given) {
        o.prompt = 1;
        o.fresh = o.length - 1;
    }
    if (kernels && !given)
        o.length = 4096;
    if (!kernels && !o.model)
        o.model = "15m";
    return RL_OK;
}

static int check(const struct bench *bench, const struct bench_options *before, int words)
{
    const char *script;
    int rc = RL_OK;

    TRY(check_options(bench, before));
    TRY(check_length(bench, before));
    TRY(check_sizes());
    TRY(check_step(bench->run == bench_step || bench->run == bench_start));
    if (o.against)
        TRY(peer_find(o.against, false, &script));
    if (words > 0 && !bench->takes_words)
        return rl_error(RL_EINVAL, "bench %s takes options only; key=value goes with train, "
                        "step and start", bench->name);
done:
    return rc;
}

/* Those of one process, under mpirun: one line for all ranks. */
static int run_alone(const struct bench *bench)
{
    struct comm *world = NULL;
    int argc = 0, rc = RL_OK;
    char **argv = NULL;

    TRY(comm_start(&world, &argc, &argv));
    if (comm_size(world) > 1)
        TRY(comm_agree(world, rl_error(RL_EINVAL, "bench %s takes one rank", bench->name)));
    rc = bench->run(&o);
done:
    if (world)
        comm_stop(world);
    return rc;
}

static const struct bench *find(const char *name)
{
    for (const struct bench *b = benches; b->name; b++)
        if (strcmp(b->name, name) == 0)
            return b;
    return NULL;
}

static const char *temporary(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/tmp";
}

int command_bench(int argc, char **argv)
{
    const struct bench_options before = o;
    const struct bench *bench;
    int rc = RL_OK;

    TRY(options_parse(options, &argc, argv));
    if (argc < 1 || !(bench = find(argv[0])))
        return rl_error(RL_EINVAL, "bench needs one of kernels, rollout, decode, train, step, "
                        "start, comm, checkpoint");
    TRY(check(bench, &before, argc - 1));
    TRY(check_words(argv + 1, argc - 1));
    o.words = argv + 1;
    o.n_words = argc - 1;
    if (!o.folder)
        o.folder = bench->takes_words ? temporary() : ".";
    rc = bench->alone ? run_alone(bench) : bench->run(&o);
done:
    return rc;
}
