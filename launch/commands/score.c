/* rankwise score MODEL --data FILE.jsonl [--top K]: log-probabilities of given completions.
 *
 * With texts, prompt and completion are tokenized as one; where a token crosses the border the
 * prompt ends before it, so that no token is made up. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/status.h"
#include "data/tokenizer.h"
#include "launch/commands/commands.h"
#include "launch/models.h"
#include "launch/options.h"

static const char *data, *device = "auto", *dtype = "fp32";
static int64_t top = 0, threads = 1;

static const struct option_row options[] = {
    { "data", OPTION_TEXT, &data, "FILE",
      "JSONL: {\"prompt\",\"completion\"} or {\"prompt_ids\",\"completion_ids\"}; "
      "- is standard input" },
    { "top", OPTION_INT, &top, "K", "also the K largest logits after the last token" },
    { "threads", OPTION_INT, &threads, "N", "threads of the products (default 1)" },
    { "dtype", OPTION_TEXT, &dtype, "NAME", "fp32 or bf16 (default fp32)" },
    { "device", OPTION_TEXT, &device, "NAME", COMPUTE_NAMES " (default auto)" },
    { 0 },
};

void help_score(FILE *out)
{
    options_help(options, out);
}

struct scoring {
    struct source source;
    struct compute *compute;
    struct model *model;
    struct trainer *trainer;
    struct cache *cache;                /* for the logits of --top, else NULL */
    struct memory memory;               /* of these */
    int *pages, n_pages;
    float *logp, *logits;
    struct ids ids;                     /* prompt and completion of the line */
    int prompt;                         /* tokens of the prompt */
};

static void layout(struct scoring *s)
{
    const struct model_shape *shape = &s->source.shape;

    s->logp = memory_take(&s->memory, (size_t)shape->context * sizeof(float));
    s->logits = memory_take(&s->memory, (size_t)shape->V * sizeof(float));
    s->pages = memory_take(&s->memory, (size_t)s->n_pages * sizeof(int));
}

static int open_all(struct scoring *s, const char *model)
{
    const struct model_shape *shape = &s->source.shape;
    int rc = RL_OK;

    TRY(source_open(&s->source, model));
    TRY(source_check_text(&s->source));
    TRY(compute_open(&s->compute, device, dtype, (int)threads));
    TRY(source_model(&s->model, &s->source, s->compute));
    TRY(trainer_create_scoring(&s->trainer, s->model, 1, shape->context));
    s->n_pages = (shape->context + KEY_BLOCK - 1) / KEY_BLOCK;
    memory_count(&s->memory);
    layout(s);
    TRY(memory_open(&s->memory));
    layout(s);
    if (top > 0)
        TRY(cache_create(&s->cache, s->model, s->n_pages, 1, shape->context));
    for (int i = 0; s->cache && i < s->n_pages; i++)
        s->pages[i] = cache_page(s->cache);
done:
    return rc;
}

static void close_all(struct scoring *s)
{
    cache_destroy(s->cache);
    trainer_destroy(s->trainer);
    model_destroy(s->model);
    compute_close(s->compute);
    source_close(&s->source);
    ids_free(&s->ids);
    memory_close(&s->memory);
}

/* ---- a line to ids */

static int add_list(struct scoring *s, const struct json *list, const char *name, const char *where)
{
    if (!json_is_array(list))
        return rl_error(RL_EINVAL, "%s: \"%s\" is not a list of ids", where, name);
    for (size_t i = 0; i < json_size(list); i++) {
        int64_t id = json_int(json_at(list, i), -1);
        if (id < 0 || id >= s->source.shape.V)
            return rl_error(RL_EINVAL, "%s: %s[%zu] is not an id of the vocabulary of %d tokens",
                            where, name, i, s->source.shape.V);
        ids_add(&s->ids, (int)id);
    }
    return RL_OK;
}

static int encode_pair(struct scoring *s, const struct json *a, const struct json *b,
                       const char *where)
{
    struct ids alone = { 0 };
    struct text both = { 0 };
    int rc = RL_OK;

    if (!s->source.tokenizer)
        return rl_error(RL_EINVAL, "%s: text, but %s has no tokenizer.json", where, s->source.path);
    text_add(&both, json_string(a, ""), json_string_size(a));
    text_add(&both, json_string(b, ""), json_string_size(b));
    TRY(tokenizer_encode(s->source.tokenizer, json_string(a, ""), json_string_size(a), true,
                         &alone));
    TRY(tokenizer_encode(s->source.tokenizer, both.data ? both.data : "", both.size, true,
                         &s->ids));
    s->prompt = 0;
    while (s->prompt < alone.count && s->prompt < s->ids.count &&
           alone.data[s->prompt] == s->ids.data[s->prompt])
        s->prompt++;
done:
    ids_free(&alone);
    text_free(&both);
    return rc;
}

static int read_row(struct scoring *s, const struct json *row, const char *where)
{
    const struct json *prompt = json_get(row, "prompt"), *completion = json_get(row, "completion");
    const struct json *ids = json_get(row, "prompt_ids");
    int context = s->source.shape.context, rc = RL_OK;

    s->ids.count = 0;
    if (json_is_array(ids)) {
        TRY(add_list(s, ids, "prompt_ids", where));
        s->prompt = s->ids.count;
        TRY(add_list(s, json_get(row, "completion_ids"), "completion_ids", where));
    } else if (json_is_string(prompt) && json_is_string(completion)) {
        TRY(encode_pair(s, prompt, completion, where));
    } else {
        return rl_error(RL_EINVAL, "%s: needs \"prompt\" and \"completion\", or \"prompt_ids\" and "
                        "\"completion_ids\"", where);
    }
    if (s->ids.count == 0)
        rc = rl_error(RL_EINVAL, "%s: no tokens", where);
    else if (s->prompt == 0)
        rc = rl_error(RL_EINVAL,
                      "%s: the prompt has no token, so the first token of the completion "
                      "has no probability; begin with the model's bos",
                      where);
    else if (s->ids.count > context)
        rc = rl_error(RL_EINVAL, "%s: %d tokens, the model has %d positions", where, s->ids.count,
                      context);
done:
    return rc;
}

/* ---- ids to a line */

static int last_logits(struct scoring *s)
{
    int start[2] = { 0, s->ids.count }, position = 0;
    struct extend rows = { 1, start, &position, s->pages, s->n_pages };

    return model_extend(s->cache, s->ids.data, &rows, s->logits);
}

/* The K largest, highest first, lowest id first among equals: K passes, K is small. */
static void add_top(struct scoring *s, struct text *line)
{
    float *z = s->logits;
    int V = s->source.shape.V;

    text_adds(line, ",\"top\":[");
    for (int64_t i = 0; i < top && i < V; i++) {
        int best = -1;
        for (int v = 0; v < V; v++)
            if (z[v] == z[v] && (best < 0 || z[v] > z[best]))
                best = v;
        if (best < 0)
            break;
        text_addf(line, "%s{\"id\":%d,\"logit\":", i ? "," : "", best);
        json_add_number(line, z[best]);
        text_adds(line, "}");
        z[best] = __builtin_nanf("");
    }
    text_adds(line, "]");
}

static void add_ids(struct text *line, const char *name, const int *ids, int n)
{
    text_addf(line, "\"%s\":[", name);
    for (int i = 0; i < n; i++)
        text_addf(line, "%s%d", i ? "," : "", ids[i]);
    text_adds(line, "],");
}

static int print_row(struct scoring *s)
{
    int start[2] = { 0, s->ids.count }, rc = RL_OK;
    struct text line = { 0 };
    double sum = 0;

    TRY(model_logprobs(s->trainer, s->ids.data, start, 1, 1.0f, false, s->logp, NULL));
    if (top > 0)
        TRY(last_logits(s));
    text_adds(&line, "{");
    add_ids(&line, "prompt_ids", s->ids.data, s->prompt);
    add_ids(&line, "completion_ids", s->ids.data + s->prompt, s->ids.count - s->prompt);
    text_adds(&line, "\"logprobs\":[");
    for (int t = s->prompt; t < s->ids.count; t++) {
        text_adds(&line, t > s->prompt ? "," : "");
        json_add_number(&line, s->logp[t]);
        sum += s->logp[t];
    }
    text_adds(&line, "],\"sum\":");
    json_add_number(&line, sum);
    if (top > 0)
        add_top(s, &line);
    text_adds(&line, "}\n");
    fwrite(line.data, 1, line.size, stdout);
done:
    text_free(&line);
    return rc;
}

static int each_line(struct scoring *s, FILE *file)
{
    char *line = NULL, where[4200];
    size_t room = 0;
    int rc = RL_OK, number = 0;

    for (ssize_t n; rc == RL_OK && (n = getline(&line, &room, file)) > 0;) {
        struct json *row;
        snprintf(where, sizeof where, "%s:%d", data, ++number);
        if (strspn(line, " \t\r\n") == (size_t)n)
            continue;
        row = json_parse(line, (size_t)n, where);
        rc = row ? read_row(s, row, where) : RL_EINVAL;
        json_free(row);
        if (rc == RL_OK)
            rc = print_row(s);
    }
    free(line);
    return rc;
}

int command_score(int argc, char **argv)
{
    struct scoring s;
    FILE *file = NULL;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    TRY(options_parse(options, &argc, argv));
    if (argc != 1 || !data)
        return rl_error(RL_EINVAL, "score needs one MODEL and --data FILE.jsonl");
    if (threads < 1 || threads > 1024 || top < 0)
        return rl_error(RL_EINVAL, "--threads from 1 to 1024, --top from 0");
    file = strcmp(data, "-") == 0 ? stdin : fopen(data, "r");
    if (!file || folder_exists(data))
        rc = rl_error(RL_EINVAL, "cannot read %s", data);
    if (rc == RL_OK)
        rc = open_all(&s, argv[0]);
    if (rc == RL_OK)
        rc = each_line(&s, file);
done:
    if (file && file != stdin)
        fclose(file);
    close_all(&s);
    return rc;
}
