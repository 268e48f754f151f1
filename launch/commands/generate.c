/* rankwise generate MODEL: completions of one prompt or of a file of prompts, with the training
 * actor; with --rps the best of several by the rewards of a configuration (launch/rps.h). */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/json.h"
#include "base/status.h"
#include "data/prompts.h"
#include "launch/commands/commands.h"
#include "launch/models.h"
#include "launch/options.h"
#include "launch/rps.h"

#define ROWS_AT_ONCE 64
#define GROUPS_AT_ONCE 64
#define NOT_GIVEN INT64_MIN
#define DEGREE 0.017453292519943295     /* in radians */

static const char *prompt, *prompts_file, *device = "auto", *dtype = "fp32";
static const char *rps_config, *target, *prefix;
static int64_t n_samples = NOT_GIVEN, max_new = 64, seed = 0, top_k = 0, threads = 1;
static double temperature = 1.0, top_p = 1.0, min_p = 0.0, penalty = 1.0, angle = 30;
static struct option_texts stop;
static struct option_ints stop_tokens;
static bool json;

static const struct option_row options[] = {
    { "prompt", OPTION_TEXT, &prompt, "TEXT",
      "the prompt; without it and --prompts: standard input" },
    { "prompts", OPTION_TEXT, &prompts_file, "FILE",
      "JSONL with \"prompt\" or \"prompt_ids\", as for training" },
    { "n", OPTION_INT, &n_samples, "N", "samples of each prompt (default 1; with --rps 5)" },
    { "max-new", OPTION_INT, &max_new, "N", "tokens to make at most (default 64)" },
    { "temperature", OPTION_REAL, &temperature, "T", "0 is greedy (default 1)" },
    { "top-k", OPTION_INT, &top_k, "K", "only the K most likely tokens (default 0: all)" },
    { "top-p", OPTION_REAL, &top_p, "P", "only the smallest set with mass P (default 1: all)" },
    { "min-p", OPTION_REAL, &min_p, "P",
      "only tokens at least P times as likely as the first (default 0)" },
    { "repetition-penalty", OPTION_REAL, &penalty, "R",
      "divides logits above 0, multiplies those below, of tokens that are there (default 1: off)" },
    { "stop", OPTION_TEXTS, &stop, "TEXT",
      "a text that ends a completion and is not shown; may be given again" },
    { "stop-token", OPTION_INTS, &stop_tokens, "ID",
      "an id that ends a completion and is not shown; may be given again" },
    { "seed", OPTION_INT, &seed, "S", "the same seed, the same text (default 0)" },
    { "json", OPTION_FLAG, &json, NULL, "one line a sample: prompt, ids, text, logprobs, finish" },
    { "rps", OPTION_TEXT, &rps_config, "CONFIG",
      "of the samples only the one that its rewards find best for a target" },
    { "target", OPTION_TEXT, &target, "W,W,..",
      "how much each reward counts (default: the weights in CONFIG)" },
    { "prefix", OPTION_TEXT, &prefix, "TEXT",
      "before the prompt; {NAME} becomes the number of reward NAME in a sample's direction" },
    { "angle", OPTION_REAL, &angle, "DEGREES",
      "between target and directions, at most (default 30); 0: every direction is the target" },
    { "threads", OPTION_INT, &threads, "N", "threads of the products (default 1)" },
    { "dtype", OPTION_TEXT, &dtype, "NAME", "fp32 or bf16 (default fp32)" },
    { "device", OPTION_TEXT, &device, "NAME", COMPUTE_NAMES " (default auto)" },
    { 0 },
};

void help_generate(FILE *out)
{
    options_help(options, out);
    fputs("\nwith --rps keys of CONFIG, also key=value and group.key=value behind MODEL: rewards,\n"
          "osp.template, micro_rows, ..; see rankwise train --help\n", out);
}

/* What the command holds: a model, an actor, a batch of `groups` prompts at once. */
struct generation {
    struct source source;
    struct compute *compute;
    struct model *model;
    struct actor *actor;
    struct stop_strings *stop;          /* NULL: none */
    int stop_tokens[OPTION_TIMES];
    struct rps rps;                     /* open with --rps */
    struct prompts *prompts;
    struct memory memory;
    struct batch batch;
    int groups;
};

static int check_rps(void)
{
    if (!rps_config && (target || prefix))
        return rl_error(RL_EINVAL, "--target and --prefix need --rps CONFIG, which says what the "
                        "rewards are");
    if (!(angle >= 0 && angle <= 180))
        return rl_error(RL_EINVAL, "--angle: from 0 to 180 degrees");
    return RL_OK;
}

static int check_options(int argc)
{
    if (argc < 1 || (argc > 1 && !rps_config))
        return rl_error(RL_EINVAL,
                        "generate needs one MODEL: rankwise generate MODEL --prompt TEXT");
    if (prompt && prompts_file)
        return rl_error(RL_EINVAL, "give --prompt or --prompts, not both");
    if (n_samples == NOT_GIVEN)
        n_samples = rps_config ? 5 : 1;
    if (n_samples < 1 || n_samples > 4096)
        return rl_error(RL_EINVAL, "-n %lld: from 1 to 4096", (long long)n_samples);
    if (max_new < 1 || max_new > 1 << 20)
        return rl_error(RL_EINVAL, "--max-new %lld: from 1 to %d", (long long)max_new,
                        1 << 20);
    if (!(temperature >= 0 && temperature <= 100))
        return rl_error(RL_EINVAL, "--temperature %g: from 0 to 100", temperature);
    if (top_k < 0 || top_k > INT32_MAX)
        return rl_error(RL_EINVAL, "--top-k %lld: from 0 to %d", (long long)top_k, INT32_MAX);
    if (!(top_p > 0 && top_p <= 1))
        return rl_error(RL_EINVAL, "--top-p %g: above 0, to 1", top_p);
    if (!(min_p >= 0 && min_p <= 1))
        return rl_error(RL_EINVAL, "--min-p %g: from 0 to 1", min_p);
    if (!(penalty >= 1e-3 && penalty <= 1000))
        return rl_error(RL_EINVAL, "--repetition-penalty: from 0.001 to 1000");
    if (threads < 1 || threads > 1024)
        return rl_error(RL_EINVAL, "--threads: from 1 to 1024");
    return check_rps();
}

static void read_all(FILE *file, struct text *out)
{
    char buffer[4096];

    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
        text_add(out, buffer, n);
    if (out->size > 0 && out->data[out->size - 1] == '\n')
        out->data[--out->size] = '\0';
}

static int open_prompts(struct generation *g)
{
    struct tokenizer *t = g->source.tokenizer;
    int V = g->source.shape.V, longest = g->source.shape.context - 1, rc = RL_OK;
    struct text input = { 0 };
    struct chat *chat = NULL;

    if (prompts_file) {
        TRY(source_chat(&chat, &g->source, NULL));
        rc = prompts_open(&g->prompts, prompts_file, t, chat, V, longest, false);
        goto done;
    }
    if (prompt)
        return prompts_of_text(&g->prompts, "--prompt", prompt, strlen(prompt), t, V, longest);
    read_all(stdin, &input);
    rc = prompts_of_text(&g->prompts, "standard input", input.data ? input.data : "", input.size,
                         t, V, longest);
done:
    chat_close(chat);
    text_free(&input);
    return rc;
}

/* As many prompts as a batch can address, at most GROUPS_AT_ONCE. */
static int groups_at_once(struct generation *g, int row_tokens)
{
    int64_t there = prompts_count(g->prompts);
    int64_t fit = INT32_MAX / (n_samples * row_tokens);

    if (fit == 0)
        return rl_error(RL_EINVAL, "--n %lld rows of %d tokens are too many for one batch",
                        (long long)n_samples, row_tokens);
    g->groups = (int)(there < GROUPS_AT_ONCE ? there : GROUPS_AT_ONCE);
    g->groups = (int)(fit < g->groups ? fit : g->groups);
    return RL_OK;
}

static int open_rps(struct generation *g, int n_keys, char **keys)
{
    if (!rps_config)
        return RL_OK;
    return rps_open(&g->rps, &(struct rps_settings){
        .path = rps_config, .keys = keys, .n_keys = n_keys, .target = target, .prefix = prefix,
        .angle = angle * DEGREE, .k = (int)n_samples, .seed = (uint64_t)seed });
}

/* Tokens of the longest prompt, with the directions said before it. */
static int measure(struct generation *g, int *longest)
{
    const char *name = prompts_file ? prompts_file : prompt ? "--prompt" : "standard input";

    *longest = prompts_longest(g->prompts);
    return rps_config ? rps_longest(&g->rps, g->prompts, name, &g->source, longest) : RL_OK;
}

static int open_stop(struct generation *g)
{
    for (int i = 0; i < stop_tokens.count; i++) {
        int64_t id = stop_tokens.items[i];
        if (id < 0 || id >= g->source.shape.V)
            return rl_error(RL_EINVAL, "--stop-token: there is no id %lld; the model's are 0 to %d",
                            (long long)id, g->source.shape.V - 1);
        g->stop_tokens[i] = (int)id;
    }
    return stop_strings_open(&g->stop, g->source.tokenizer, stop.items, stop.count, "--stop");
}

/* words: MODEL and keys of --rps. */
static int open_all(struct generation *g, int n_words, char **words)
{
    struct actor_settings settings;
    int longest, k = (int)n_samples, context, rc = RL_OK;

    TRY(source_open(&g->source, words[0]));
    TRY(source_check_text(&g->source));
    TRY(open_stop(g));
    context = g->source.shape.context;
    TRY(open_rps(g, n_words - 1, words + 1));
    TRY(open_prompts(g));
    TRY(measure(g, &longest));
    if (max_new > context - longest)
        max_new = context - longest;
    TRY(groups_at_once(g, longest + (int)max_new));
    TRY(compute_open(&g->compute, device, dtype, (int)threads));
    TRY(source_model(&g->model, &g->source, g->compute));
    settings = (struct actor_settings){
        .temperature = (float)temperature, .loss_temperature = 1.0f, .top_k = (int)top_k,
        .top_p = (float)top_p, .min_p = (float)min_p, .repetition_penalty = (float)penalty,
        .max_new = (int)max_new, .eos = g->source.eos,
        .n_eos = g->source.n_eos, .stop_tokens = g->stop_tokens,
        .n_stop_tokens = stop_tokens.count, .stop = g->stop,
        .seed = (uint64_t)seed, .max_prompt = longest,
        .rows_at_once = ROWS_AT_ONCE, .max_rows = g->groups * k,
    };
    TRY(actor_create(&g->actor, g->model, &settings));
    if (rps_config)
        TRY(rps_start(&g->rps, &g->source, g->model, g->groups, longest, (int)max_new));
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            memory_count(&g->memory);
        else
            TRY(memory_open_host(&g->memory));
        batch_layout(&g->batch, &g->memory, g->groups * k,
                     g->groups * k * (longest + (int)max_new), g->rps.K);
    }
done:
    return rc;
}

static void add_ids(struct text *line, const char *name, const int *ids, int n)
{
    text_addf(line, ",\"%s\":[", name);
    for (int i = 0; i < n; i++)
        text_addf(line, "%s%d", i ? "," : "", ids[i]);
    text_adds(line, "]");
}

static void add_json(const struct generation *g, int n, const struct text *before,
                     const struct text *after, struct text *line)
{
    static const char *const finish[] = { "", "eos", "stop", "length" };
    const struct batch *b = &g->batch;
    const int *ids = b->tokens + b->start[n];
    int p = b->prompt_len[n], length = b->start[n + 1] - b->start[n];

    text_adds(line, "{\"prompt\":");
    json_add_string(line, before->data ? before->data : "", before->size);
    add_ids(line, "prompt_ids", ids, p);
    add_ids(line, "ids", ids + p, length - p);
    text_adds(line, ",\"text\":");
    json_add_string(line, after->data ? after->data : "", after->size);
    text_adds(line, ",\"logprobs\":[");
    for (int i = p; i < length; i++) {
        text_adds(line, i > p ? "," : "");
        json_add_number(line, b->actor_logp[b->start[n] + i]);
    }
    text_addf(line, "],\"finish\":\"%s\"", finish[b->finish[n]]);
    if (rps_config)
        rps_add_json(&g->rps, b, n, line);
    text_adds(line, "}\n");
}

/* The text of row n behind its first `from` tokens, without what ended it. */
static int decode_row(struct generation *g, int n, int from, struct text *out)
{
    const struct batch *b = &g->batch;
    const int *ids = b->tokens + b->start[n], *response = ids + b->prompt_len[n];
    int made = b->start[n + 1] - b->start[n] - b->prompt_len[n], rc = RL_OK;
    size_t extra = 0;

    if (b->finish[n] == FINISH_STOP)
        TRY(stop_strings_before(g->stop, response, made, &made, &extra));
    if (b->finish[n] == FINISH_EOS)
        made--;
    TRY(tokenizer_decode(g->source.tokenizer, ids + from, b->prompt_len[n] - from + made, true,
                         out));
    out->size -= extra < out->size ? extra : out->size;
    if (extra > 0)
        out->data[out->size] = '\0';
done:
    return rc;
}

static int print_row(struct generation *g, int n)
{
    const struct batch *b = &g->batch;
    const int *ids = b->tokens + b->start[n];
    int p = b->prompt_len[n], length = b->start[n + 1] - b->start[n], rc = RL_OK;
    struct text line = { 0 }, before = { 0 }, after = { 0 }, whole = { 0 };
    struct tokenizer *t = g->source.tokenizer;

    if (t) {
        TRY(tokenizer_decode(t, ids, p, true, &before));
        TRY(decode_row(g, n, p, &after));
        TRY(decode_row(g, n, 0, &whole));
    }
    if (json)
        add_json(g, n, &before, &after, &line);
    else if (t)
        text_addf(&line, "%s\n%s", whole.data ? whole.data : "",
                  (n_samples > 1 && !rps_config) || prompts_file ? "\n" : "");
    else
        for (int i = 0; i < length; i++)
            text_addf(&line, "%d%s", ids[i], i + 1 < length ? " " : "\n");
    fwrite(line.data, 1, line.size, stdout);
done:
    text_free(&line);
    text_free(&before);
    text_free(&after);
    text_free(&whole);
    return rc;
}

static int generate(struct generation *g)
{
    struct batch *b = &g->batch;
    int64_t count = prompts_count(g->prompts);
    int rc = RL_OK;

    if (count > INT32_MAX)
        return rl_error(RL_EINVAL, "%s: too many prompts", prompts_file);
    for (int64_t at = 0; at < count; at += g->groups) {
        batch_clear(b);
        b->P = (int)count, b->k = (int)n_samples;
        b->group = (int)at;
        b->groups = count - at < g->groups ? (int)(count - at) : g->groups;
        TRY(prompts_next(g->prompts, false, 0, 0, b));
        if (rps_config)
            TRY(rps_fill(&g->rps, g->actor, g->prompts, b));
        else
            TRY(actor_fill(g->actor, b, PURPOSE_SAMPLE, 0));
        for (int n = 0; n < (rps_config ? b->groups : b->N); n++)
            TRY(print_row(g, rps_config ? g->rps.best[n] : n));
    }
done:
    return rc;
}

int command_generate(int argc, char **argv)
{
    struct generation g;
    int rc = RL_OK;

    memset(&g, 0, sizeof g);
    TRY(options_parse(options, &argc, argv));
    TRY(check_options(argc));
    TRY(open_all(&g, argc, argv));
    TRY(generate(&g));
done:
    memory_close(&g.memory);
    prompts_close(g.prompts);
    rps_close(&g.rps);
    actor_destroy(g.actor);
    stop_strings_close(g.stop);
    model_destroy(g.model);
    compute_close(g.compute);
    source_close(&g.source);
    return rc;
}
