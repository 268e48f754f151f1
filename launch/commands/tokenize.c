/* rankwise tokenize MODEL [--decode] [--jsonl]: standard input to ids and back, a line at a time;
 * --messages FILE: conversations through the model's chat template. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"
#include "data/chat.h"
#include "data/lines.h"
#include "data/tokenizer.h"
#include "launch/commands/commands.h"
#include "launch/models.h"
#include "launch/options.h"

static bool decode, jsonl, no_special, skip_special;
static const char *messages, *system_text, *date;

static const struct option_row options[] = {
    { "decode", OPTION_FLAG, &decode, NULL, "ids to text: a line is ids separated by spaces" },
    { "jsonl", OPTION_FLAG, &jsonl, NULL,
      "lines {\"text\",\"add_special\"} -> {\"ids\"}; with --decode "
      "{\"ids\",\"skip_special\"} -> {\"text\"}" },
    { "no-special", OPTION_FLAG, &no_special, NULL,
      "encode without the tokens that the model adds (bos)" },
    { "skip-special", OPTION_FLAG, &skip_special, NULL, "decode without special tokens" },
    { "messages", OPTION_TEXT, &messages, "FILE",
      "conversations {\"messages\"} through the chat template -> {\"text\",\"ids\"}" },
    { "system", OPTION_TEXT, &system_text, "TEXT",
      "the system's message of conversations that do not begin with one" },
    { "date", OPTION_TEXT, &date, "Y-M-D",
      "what templates that ask are told is today (default: the date they were made with)" },
    { 0 },
};

void help_tokenize(FILE *out)
{
    fputs("MODEL is a folder, a tokenizer.json, a checkpoint or a run.\n", out);
    options_help(options, out);
}

static void print_ids(const struct ids *ids, bool json)
{
    if (json)
        fputs("{\"ids\":[", stdout);
    for (int i = 0; i < ids->count; i++)
        printf("%s%d", i ? (json ? "," : " ") : "", ids->data[i]);
    puts(json ? "]}" : "");
}

static int encode_line(struct tokenizer *t, const char *line, size_t n, const char *where)
{
    struct json *row = jsonl ? json_parse(line, n, where) : NULL;
    const struct json *text = json_get(row, "text");
    struct ids ids = { 0 };
    bool add = jsonl ? json_bool(json_get(row, "add_special"), true) : !no_special;
    int rc = RL_OK;

    if (jsonl && !row)
        return RL_EINVAL;
    if (jsonl && !json_is_string(text)) {
        rc = rl_error(RL_EINVAL, "%s: needs \"text\", a string", where);
        goto done;
    }
    if (jsonl)
        TRY(tokenizer_encode(t, json_string(text, ""), json_string_size(text), add, &ids));
    else
        TRY(tokenizer_encode(t, line, n, add, &ids));
    print_ids(&ids, jsonl);
done:
    ids_free(&ids);
    json_free(row);
    return rc;
}

static int ids_of_json(const struct json *list, const char *where, struct ids *ids)
{
    if (!json_is_array(list))
        return rl_error(RL_EINVAL, "%s: needs \"ids\", a list of numbers", where);
    for (size_t i = 0; i < json_size(list); i++) {
        int64_t id = json_int(json_at(list, i), -1);
        if (id < 0 || id > INT32_MAX)
            return rl_error(RL_EINVAL, "%s: id %zu is not a token id", where, i);
        ids_add(ids, (int)id);
    }
    return RL_OK;
}

static int ids_of_words(char *line, const char *where, struct ids *ids)
{
    char *save = NULL, *end;

    for (char *w = strtok_r(line, " \t\r", &save); w; w = strtok_r(NULL, " \t\r", &save)) {
        long id = strtol(w, &end, 10);
        if (*end || end == w || id < 0 || id > INT32_MAX)
            return rl_error(RL_EINVAL, "%s: '%.40s' is not a token id", where, w);
        ids_add(ids, (int)id);
    }
    return RL_OK;
}

static int decode_line(struct tokenizer *t, char *line, size_t n, const char *where)
{
    struct json *row = jsonl ? json_parse(line, n, where) : NULL;
    bool skip = jsonl ? json_bool(json_get(row, "skip_special"), false) : skip_special;
    struct text text = { 0 }, quoted = { 0 };
    struct ids ids = { 0 };
    int rc = RL_OK;

    if (jsonl && !row)
        return RL_EINVAL;
    TRY(jsonl ? ids_of_json(json_get(row, "ids"), where, &ids) : ids_of_words(line, where, &ids));
    for (int i = 0; i < ids.count; i++)
        if (ids.data[i] >= tokenizer_size(t)) {
            rc = rl_error(RL_EINVAL, "%s: id %d, but the vocabulary has %d tokens", where,
                          ids.data[i], tokenizer_size(t));
            goto done;
        }
    TRY(tokenizer_decode(t, ids.data, ids.count, skip, &text));
    if (jsonl)
        json_add_string(&quoted, text.data ? text.data : "", text.size);
    if (jsonl)
        printf("{\"text\":%s}\n", quoted.data);
    else
        printf("%s\n", text.data ? text.data : "");
done:
    ids_free(&ids);
    text_free(&text);
    text_free(&quoted);
    json_free(row);
    return rc;
}

static int each_line(struct tokenizer *t)
{
    char *line = NULL, where[64];
    size_t room = 0;
    int rc = RL_OK, number = 0;

    for (ssize_t n; rc == RL_OK && (n = getline(&line, &room, stdin)) > 0;) {
        if (line[n - 1] == '\n')
            line[--n] = '\0';
        snprintf(where, sizeof where, "standard input:%d", ++number);
        rc = decode ? decode_line(t, line, (size_t)n, where)
                    : encode_line(t, line, (size_t)n, where);
    }
    free(line);
    return rc;
}

/* ---- conversations */

/* {"messages": [...]} and, as servers are asked, "tools", "add_generation_prompt" (default true)
 * and "variables".  A conversation that the template refuses is a line {"error"}. */
static int chat_line(struct chat *chat, struct tokenizer *t, const struct lines *in)
{
    char where[4352];
    struct json *row;
    struct text text = { 0 }, out = { 0 };
    struct ids ids = { 0 };
    int rc = RL_OK;

    snprintf(where, sizeof where, "%s:%lld", in->path, (long long)in->number);
    row = json_parse(in->line, in->size, where);
    if (!row)
        return RL_EINVAL;
    if (!json_is_array(json_get(row, "messages")))
        TRY(rl_error(RL_EINVAL, "%s: needs \"messages\", a list", where));
    TRY(chat_render(chat, json_get(row, "messages"), &(struct chat_how){
            .add_generation_prompt = json_bool(json_get(row, "add_generation_prompt"), true),
            .tools = json_is_null(json_get(row, "tools")) ? NULL : json_get(row, "tools"),
            .variables = json_get(row, "variables") }, &text));
    TRY(tokenizer_encode(t, text.data ? text.data : "", text.size, false, &ids));
    text_adds(&out, "{\"text\":");
    json_add_string(&out, text.data ? text.data : "", text.size);
    text_adds(&out, ",\"ids\":[");
    for (int i = 0; i < ids.count; i++)
        text_addf(&out, i ? ",%d" : "%d", ids.data[i]);
    text_adds(&out, "]}");
    puts(out.data);
done:
    json_free(row);
    text_free(&text);
    text_free(&out);
    ids_free(&ids);
    return rc;
}

static bool chat_line_or_error(struct chat *chat, struct tokenizer *t, const struct lines *in)
{
    bool held = status_hold(true);
    int rc = chat_line(chat, t, in);
    struct text quoted = { 0 };

    if (rc != RL_OK) {
        json_add_string(&quoted, status_message(), strlen(status_message()));
        printf("{\"error\":%s}\n", quoted.data);
        status_drop();
    }
    status_hold(held);
    text_free(&quoted);
    return rc == RL_OK;
}

static int each_conversation(struct chat *chat, struct tokenizer *t)
{
    struct lines in = { 0 };
    bool more = true;
    int64_t refused = 0;
    int rc = RL_OK;

    chat_system(chat, system_text);
    TRY(chat_day(chat, date, "--date"));
    TRY(lines_open(&in, messages));
    while (more) {
        TRY(lines_next(&in, &more));
        if (more && strspn(in.line, " \t\r") < in.size)
            refused += !chat_line_or_error(chat, t, &in);
    }
    if (rc == RL_OK && refused)
        rc = rl_error(RL_EINVAL, "%s: %lld of its conversations cannot be written", messages,
                      (long long)refused);
done:
    lines_close(&in);
    return rc;
}

static int open_chat(const char *path, const struct source *s, struct chat **chat)
{
    int rc = RL_OK;

    if (folder_exists(path) && !s->is_checkpoint)
        return chat_open(chat, path);
    if (!s->is_checkpoint)
        return rl_error(RL_EINVAL, "%s: --messages needs a model's folder, a checkpoint or a run",
                        path);
    TRY(source_chat(chat, s, NULL));
    rc = chat_read(*chat);
done:
    return rc;
}

/* A tokenizer.json by itself will do: no model is needed. */
static int open_tokenizer(const char *path, struct source *s, struct tokenizer **own)
{
    size_t n = strlen(path);
    char file[4200];
    int rc = RL_OK;

    if (n > 5 && strcmp(path + n - 5, ".json") == 0)
        return tokenizer_open(own, path);
    TRY(path_join(file, sizeof file, path, "tokenizer.json"));
    if (file_exists(file))
        return tokenizer_open(own, file);
    TRY(source_open(s, path));
    if (!s->tokenizer)
        rc = rl_error(RL_EINVAL, "%s: no tokenizer.json there", path);
done:
    return rc;
}

int command_tokenize(int argc, char **argv)
{
    struct tokenizer *own = NULL;
    struct chat *chat = NULL;
    struct source s;
    int rc = RL_OK;

    memset(&s, 0, sizeof s);
    TRY(options_parse(options, &argc, argv));
    if (argc != 1)
        return rl_error(RL_EINVAL, "tokenize needs one MODEL: rankwise tokenize MODEL < text");
    TRY(open_tokenizer(argv[0], &s, &own));
    if (messages) {
        TRY(open_chat(argv[0], &s, &chat));
        TRY(each_conversation(chat, own ? own : s.tokenizer));
    } else {
        TRY(each_line(own ? own : s.tokenizer));
    }
done:
    chat_close(chat);
    tokenizer_close(own);
    source_close(&s);
    return rc;
}
