/* rankwise label CONFIG --samples FILE: lines of `generate --json` become pairs, lists or labelled
 * singles (labels.h), scored by the rewards of CONFIG: the sum of weight times reward, as given.
 * Samples of one prompt are lines that follow each other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/status.h"
#include "data/lines.h"
#include "launch/commands/commands.h"
#include "launch/labels.h"
#include "launch/options.h"
#include "launch/rewards.h"
#include "learner/scores.h"

static const char *samples_file, *prompts_file, *kind = "pairs", *pairing = "matched";
static double gap = 0, threshold = NAN;
static int64_t most = 0, threads = 1;
static bool signs;

static const struct option_row options[] = {
    { "samples", OPTION_TEXT, &samples_file, "FILE", "JSONL of generate --json, plain or gzip" },
    { "prompts", OPTION_TEXT, &prompts_file, "FILE",
      "the prompts that were completed, in order, for rewards that read their fields" },
    { "as", OPTION_TEXT, &kind, "KIND", "pairs (default), lists or singles" },
    { "pairs", OPTION_TEXT, &pairing, "WHICH",
      "best_worst, matched (best with worst, then the next two, ..: default) or all" },
    { "gap", OPTION_REAL, &gap, "X", "pairs: the scores differ by more than this (default 0)" },
    { "signs", OPTION_FLAG, &signs, NULL,
      "pairs: also which answer each reward prefers, for several objectives" },
    { "above", OPTION_REAL, &threshold, "X", "singles: a score above it is desirable" },
    { "most", OPTION_INT, &most, "N", "records to write, at most (default 0: all)" },
    { "threads", OPTION_INT, &threads, "N", "threads of reward models (default 1)" },
    { 0 },
};

void help_label(FILE *out)
{
    options_help(options, out);
    fputs("\nkeys of CONFIG, also key=value and group.key=value on the command line: see "
          "rankwise train --help\n", out);
}

struct labelling {
    struct config *config;
    struct source source;
    struct compute *compute;
    struct rewards rewards;
    struct prompts *prompts;    /* NULL: not given */
    struct labels labels;
    int64_t groups, lines, failed;
};

/* ---- the samples of a prompt */

static int read_ids(const struct json *fields, const char *key, const char *where, int V,
                    struct ids *out)
{
    const struct json *array = json_get(fields, key);

    out->count = 0;
    if (!json_is_array(array))
        return rl_error(RL_EINVAL, "%s: no list of ids under \"%s\"; label reads lines of generate "
                        "--json", where, key);
    for (size_t i = 0; i < json_size(array); i++) {
        int64_t id = json_int(json_at(array, i), -1);
        if (id < 0 || id >= V)
            return rl_error(RL_EINVAL, "%s: \"%s\": element %zu is no id below %d", where, key, i,
                            V);
        ids_add(out, (int)id);
    }
    return RL_OK;
}

static int finish_of(const char *word)
{
    return strcmp(word, "eos") == 0 ? FINISH_EOS : strcmp(word, "stop") == 0 ? FINISH_STOP
                                                                              : FINISH_LENGTH;
}

static void fill_batch(const struct labelling *l, struct batch *b)
{
    const struct ids *prompt = &l->labels.prompt;

    b->P = b->groups = 1, b->k = b->N = l->labels.count, b->group = 0;
    b->filled = COL_TOKENS;
    for (int n = 0; n < b->N; n++) {
        const struct sample *s = &l->labels.samples[n];
        memcpy(b->tokens + b->T, prompt->data, (size_t)prompt->count * sizeof(int));
        b->T += prompt->count;
        memcpy(b->tokens + b->T, s->ids.data, (size_t)s->ids.count * sizeof(int));
        b->T += s->ids.count;
        b->start[n + 1] = b->T;
        b->prompt_len[n] = prompt->count;
        b->finish[n] = s->finish;
        b->prompt[n] = l->groups;
    }
}

static void take_scores(struct labelling *l, const struct batch *b)
{
    struct labels *labels = &l->labels;

    memcpy(labels->scores, b->reward, (size_t)b->N * b->R * sizeof *b->reward);
    for (int n = 0; n < b->N; n++) {
        labels->samples[n].score = score_given(l->config, b, n);
        l->failed += isnan(labels->samples[n].score);
    }
}

/* One batch of all samples, for this prompt only. */
static int score_group(struct labelling *l)
{
    struct memory memory = { 0 };
    struct batch b;
    size_t tokens = 1;
    int rows = l->labels.count, rc = RL_OK;

    for (int n = 0; n < rows; n++)
        tokens += (size_t)l->labels.prompt.count + (size_t)l->labels.samples[n].ids.count;
    if (tokens > INT32_MAX)
        return rl_error(RL_ENOFIT, "%d samples of one prompt are too many tokens", rows);
    memory_count(&memory);
    batch_layout(&b, &memory, rows, (int)tokens, l->labels.R);
    TRY(memory_open_host(&memory));
    batch_layout(&b, &memory, rows, (int)tokens, l->labels.R);
    batch_clear(&b);
    fill_batch(l, &b);
    TRY(reward_fill(l->rewards.reward, &b, l->prompts, PURPOSE_EVAL));
    take_scores(l, &b);
done:
    memory_close(&memory);
    return rc;
}

static int end_group(struct labelling *l)
{
    int rc = RL_OK;

    if (l->labels.count == 0)
        return RL_OK;
    TRY(score_group(l));
    labels_write(&l->labels, stdout);
    l->groups++;
done:
    return rc;
}

static bool same_prompt(const struct ids *a, const struct ids *b)
{
    return a->count == b->count &&
           memcmp(a->data, b->data, (size_t)a->count * sizeof *a->data) == 0;
}

/* A line of another prompt ends the group before it. */
static int take_prompt(struct labelling *l, const struct json *fields, const char *where)
{
    const struct json *text = json_get(fields, "prompt");
    struct labels *labels = &l->labels;
    struct ids prompt = { 0 };
    int rc = RL_OK;

    TRY(read_ids(fields, "prompt_ids", where, l->source.shape.V, &prompt));
    if (!same_prompt(&prompt, &labels->prompt)) {
        struct ids before = labels->prompt;
        TRY(end_group(l));
        labels->prompt = prompt;
        prompt = before;
        text_clear(&labels->text);
        text_add(&labels->text, json_string(text, ""), json_string_size(text));
    }
done:
    ids_free(&prompt);
    return rc;
}

static int take_line(struct labelling *l, const char *line, size_t size, const char *where)
{
    struct json *fields = json_parse(line, size, where);
    struct sample *s;
    int rc = fields ? RL_OK : RL_EINVAL;

    TRY(rc);
    TRY(take_prompt(l, fields, where));
    s = labels_add(&l->labels);
    rc = s ? RL_OK : RL_ENOFIT;
    TRY(rc);
    s->finish = finish_of(json_string(json_get(fields, "finish"), ""));
    l->lines++;
    TRY(read_ids(fields, "ids", where, l->source.shape.V, &s->ids));
done:
    json_free(fields);
    return rc;
}

/* Tokens of the longest sample with its prompt: what reward models must have room for. */
static int measure(int *longest)
{
    struct lines in = { 0 };
    char where[4300];
    bool more;
    int rc = RL_OK;

    *longest = 1;
    TRY(lines_open(&in, samples_file));
    for (;;) {
        struct json *fields;
        size_t n;
        TRY(lines_next(&in, &more));
        if (!more)
            break;
        snprintf(where, sizeof where, "%s:%lld", samples_file, (long long)in.number);
        fields = json_parse(in.line, in.size, where);
        n = json_size(json_get(fields, "prompt_ids")) + json_size(json_get(fields, "ids"));
        *longest = n > (size_t)*longest && n < INT32_MAX ? (int)n : *longest;
        rc = fields ? RL_OK : RL_EINVAL;
        json_free(fields);
        TRY(rc);
    }
done:
    lines_close(&in);
    return rc;
}

static int label(struct labelling *l)
{
    struct lines in = { 0 };
    char where[4300];
    bool more;
    int rc = RL_OK;

    TRY(lines_open(&in, samples_file));
    while (!labels_full(&l->labels)) {
        TRY(lines_next(&in, &more));
        if (!more)
            break;
        snprintf(where, sizeof where, "%s:%lld", samples_file, (long long)in.number);
        TRY(take_line(l, in.line, in.size, where));
    }
    TRY(end_group(l));
done:
    lines_close(&in);
    return rc;
}

/* ---- the whole */

static int choose(const char *word, const char *option, const char *const *words, int n, int *out)
{
    struct text known = { 0 };

    for (*out = 0; *out < n; ++*out)
        if (strcmp(word, words[*out]) == 0)
            return RL_OK;
    for (int i = 0; i < n; i++)
        text_addf(&known, "%s%s", i == 0 ? "" : i < n - 1 ? ", " : " or ", words[i]);
    rl_error(RL_EINVAL, "--%s: '%s' is not %s", option, word, known.data);
    text_free(&known);
    return RL_EINVAL;
}

static int check_options(int argc, struct labels *l)
{
    static const char *const kinds[] = { "pairs", "lists", "singles" };
    static const char *const ways[] = { "best_worst", "matched", "all" };
    int as, way, rc = RL_OK;

    if (argc < 1 || !samples_file)
        return rl_error(RL_EINVAL, "label needs a configuration and samples: rankwise label CONFIG "
                        "--samples FILE");
    TRY(choose(kind, "as", kinds, 3, &as));
    TRY(choose(pairing, "pairs", ways, 3, &way));
    if (as == LABELS_SINGLES && isnan(threshold))
        return rl_error(RL_EINVAL, "--as singles needs --above X: which scores are desirable");
    if (!(gap >= 0) || most < 0 || threads < 1 || threads > 1024)
        return rl_error(RL_EINVAL, "--gap and --most from 0, --threads from 1 to 1024");
    *l = (struct labels){ .kind = (enum labels_kind)as, .pairing = (enum labels_pairing)way,
                          .gap = gap, .above = threshold, .signs = signs,
                          .most = most > 0 ? most : -1 };
done:
    return rc;
}

static int take_names(struct labelling *l)
{
    const struct config *c = l->config;
    const char **names;

    l->labels.R = c->n_rewards;
    l->labels.names = names = calloc((size_t)c->n_rewards + 1, sizeof *names);
    if (!names)
        return rl_error(RL_ENOFIT, "no memory for %d rewards", c->n_rewards);
    for (int r = 0; r < c->n_rewards; r++)
        names[r] = c->rewards[r].name;
    return RL_OK;
}

static int open_all(struct labelling *l, int argc, char **argv)
{
    struct chat *chat = NULL;
    struct config *c;
    int longest, rc = RL_OK;

    TRY(config_open(&l->config, argv[0], argv + 1, argc - 1));
    c = l->config;
    if (c->n_rewards == 0)
        return config_missing(c, "rewards");
    TRY(take_names(l));
    TRY(compute_open(&l->compute, c->device, c->dtype, (int)threads));
    TRY(source_open(&l->source, c->model));
    TRY(measure(&longest));
    TRY(rewards_open(&l->rewards, c, &l->source, NULL, l->compute, longest));
    TRY(source_chat(&chat, &l->source, c));
    if (prompts_file)
        TRY(prompts_open(&l->prompts, prompts_file, l->source.tokenizer, chat, l->source.shape.V,
                         l->source.shape.context, false));
done:
    chat_close(chat);
    return rc;
}

static void close_all(struct labelling *l)
{
    prompts_close(l->prompts);
    rewards_close(&l->rewards);
    source_close(&l->source);
    compute_close(l->compute);
    free((void *)l->labels.names);
    labels_free(&l->labels);
    config_close(l->config);
}

static void tell(const struct labelling *l)
{
    const struct labels *labels = &l->labels;

    fprintf(stderr, "%lld samples of %lld prompts -> %lld %s", (long long)l->lines,
            (long long)l->groups, (long long)labels->written, kind);
    if (labels->kind == LABELS_PAIRS && labels->written > 0)
        fprintf(stderr, ", mean gap %.3g", labels->gaps / (double)labels->written);
    if (l->failed > 0)
        fprintf(stderr, "; %lld samples without a score left out", (long long)l->failed);
    fputs("\n", stderr);
}

int command_label(int argc, char **argv)
{
    struct labelling l;
    int rc = RL_OK;

    memset(&l, 0, sizeof l);
    TRY(options_parse(options, &argc, argv));
    TRY(check_options(argc, &l.labels));
    TRY(open_all(&l, argc, argv));
    TRY(label(&l));
    if (fflush(stdout) != 0 || ferror(stdout))
        TRY(rl_error(RL_EIO, "cannot write the records"));
    tell(&l);
done:
    close_all(&l);
    return rc;
}
