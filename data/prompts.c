/* Prompts in a file: one JSON object a line.  See prompts.h. */
#include "data/prompts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/lines.h"
#include "data/shuffle.h"

struct prompt {
    struct json *fields;
    char *text;                 /* of its messages; else NULL */
    int64_t line;
    size_t at;                  /* of its tokens in prompts.ids */
    int tokens;
};

struct prompts {
    char *path;
    struct prompt *items;
    int64_t count, room, skipped;
    int longest;
    struct ids ids;             /* of all prompts, one after the other */
    struct shuffle order;
};

struct reading {                /* what the lines are checked against */
    const char *path;
    struct tokenizer *tokenizer;
    struct chat *chat;
    int vocabulary, max_tokens;
    bool skip_long;
};

static int ids_of_list(const struct reading *r, const struct json *list, int64_t line,
                       struct ids *ids)
{
    for (size_t i = 0; i < json_size(list); i++) {
        const struct json *v = json_at(list, i);
        int64_t id = json_int(v, -1);
        if (!json_is_number(v) || id < 0 || (double)id != json_number(v, -1)
            || id >= r->vocabulary)
            return rl_error(RL_EINVAL, "%s:%lld: prompt_ids[%zu] is not an id from 0 to %d "
                            "(the model's vocabulary)", r->path, (long long)line, i,
                            r->vocabulary - 1);
        ids_add(ids, (int)id);
    }
    return RL_OK;
}

/* special: the tokens that the model puts around a text are added. */
static int ids_of_text(const struct reading *r, const char *text, size_t bytes, bool special,
                       int64_t line, struct ids *ids)
{
    int rc = RL_OK, first = ids->count;

    if (!r->tokenizer)
        return rl_error(RL_EINVAL, "%s:%lld: the prompt is text and the model has no tokenizer; "
                        "give prompt_ids", r->path, (long long)line);
    TRY(tokenizer_encode(r->tokenizer, text, bytes, special, ids));
    for (int i = first; i < ids->count; i++)
        if (ids->data[i] >= r->vocabulary)
            return rl_error(RL_EINVAL, "%s:%lld: the tokenizer gives id %d and the model's "
                            "vocabulary ends at %d: they do not belong together", r->path,
                            (long long)line, ids->data[i], r->vocabulary - 1);
done:
    return rc;
}

/* A conversation for the assistant to go on.  Its template writes the tokens around it. */
static int ids_of_messages(const struct reading *r, struct prompt *item, struct ids *ids)
{
    const struct chat_how how = { .add_generation_prompt = true };
    char said[1024];
    struct text text = { 0 };
    bool held;
    int rc = RL_OK;

    if (!r->chat)
        return rl_error(RL_EINVAL, "%s:%lld: the line has messages, and no chat template is given",
                        r->path, (long long)item->line);
    held = status_hold(true);                    /* what it says is told with the line's number */
    rc = chat_render(r->chat, json_get(item->fields, "messages"), &how, &text);
    snprintf(said, sizeof said, "%s", status_message());
    if (rc != RL_OK)
        status_drop();
    status_hold(held);
    if (rc != RL_OK)
        TRY(rl_error(rc, "%s:%lld: %s", r->path, (long long)item->line, said));
    TRY(ids_of_text(r, text.data ? text.data : "", text.size, false, item->line, ids));
    item->text = text.data;
    text.data = NULL;
done:
    free(text.data);
    return rc;
}

/* Append the tokens of one line to ids. */
static int ids_of_line(const struct reading *r, struct prompt *item, struct ids *ids)
{
    const struct json *fields = item->fields, *prompt = json_get(fields, "prompt");
    const struct json *list = json_get(fields, "prompt_ids");
    const struct json *messages = json_get(fields, "messages");
    const char *wrong = NULL;
    int64_t line = item->line;

    if (!json_is_object(fields))
        wrong = "is not a JSON object";
    else if (json_is_null(prompt) && json_is_null(list) && json_is_null(messages))
        wrong = "has no `prompt` (text), `prompt_ids` (list of ids) or `messages`";
    else if (json_is_null(prompt) && json_is_null(list))
        wrong = json_is_array(messages) ? NULL : "has `messages` that are not a list";
    else if (!json_is_null(prompt) && !json_is_string(prompt))
        wrong = "has a `prompt` that is not a string";
    else if (!json_is_null(list) && !json_is_array(list))
        wrong = "has `prompt_ids` that are not a list";
    else if (json_is_null(list) ? json_string_size(prompt) == 0 : json_size(list) == 0)
        wrong = "has an empty prompt";
    if (wrong)
        return rl_error(RL_EINVAL, "%s:%lld: the line %s", r->path, (long long)line, wrong);
    if (!json_is_null(list))
        return ids_of_list(r, list, line, ids);
    if (json_is_null(prompt))
        return ids_of_messages(r, item, ids);
    return ids_of_text(r, json_string(prompt, ""), json_string_size(prompt), true, line, ids);
}

static int prompt_add(struct prompts *p, struct prompt *item)
{
    if (p->count == p->room) {
        int64_t room = p->room > 0 ? 2 * p->room : 64;
        struct prompt *items = realloc(p->items, (size_t)room * sizeof *items);
        if (!items)
            return rl_error(RL_ENOFIT, "no memory for %lld prompts", (long long)room);
        p->items = items;
        p->room = room;
    }
    p->items[p->count++] = *item;
    item->fields = NULL;                 /* they are the list's now */
    item->text = NULL;
    if (item->tokens > p->longest)
        p->longest = item->tokens;
    return RL_OK;
}

/* JSON fails where the text ends: say that it was cut rather than where a brace was missed. */
static int line_parse(const struct lines *in, struct json **fields)
{
    char where[4352];
    size_t n = in->size;

    while (n > 1 && strchr(" \t\r", in->line[n - 1]))
        n--;
    if (!in->ended && in->line[n - 1] != '}')
        return rl_error(RL_EINVAL, "%s:%lld: the last line is cut (no closing brace, no line end); "
                        "copy the file again", in->path, (long long)in->number);
    snprintf(where, sizeof where, "%s:%lld", in->path, (long long)in->number);
    *fields = json_parse(in->line, in->size, where);
    return *fields ? RL_OK : RL_EINVAL;
}

static int line_add(struct prompts *p, const struct reading *r, const struct lines *in)
{
    struct prompt item = { .line = in->number, .at = (size_t)p->ids.count };
    int rc = RL_OK;

    if (strspn(in->line, " \t\r") == in->size)
        return RL_OK;
    TRY(line_parse(in, &item.fields));
    TRY(ids_of_line(r, &item, &p->ids));
    item.tokens = p->ids.count - (int)item.at;
    if (item.tokens == 0)
        rc = rl_error(RL_EINVAL, "%s:%lld: the tokenizer knows no part of the prompt: it has no "
                      "tokens", in->path, (long long)in->number);
    else if (item.tokens <= r->max_tokens)
        rc = prompt_add(p, &item);
    else if (r->skip_long)
        p->skipped++;
    else
        rc = rl_error(RL_EINVAL, "%s:%lld: the prompt has %d tokens and at most %d fit; shorten "
                      "it (or, in a run, set long_prompts = \"skip\")", in->path,
                      (long long)in->number, item.tokens, r->max_tokens);
    if (item.fields)                     /* not kept: nor are its tokens */
        p->ids.count = (int)item.at;
done:
    json_free(item.fields);
    free(item.text);
    return rc;
}

/* No prompts yet, of the file (or whatever it is) of this name. */
static struct prompts *create(const char *path)
{
    struct prompts *p = calloc(1, sizeof *p);

    if (p)
        p->path = strdup(path);
    if (p && p->path)
        return p;
    free(p);
    rl_error(RL_ENOFIT, "%s: no memory for prompts", path);
    return NULL;
}

int prompts_open(struct prompts **out, const char *path, struct tokenizer *tokenizer,
                 struct chat *chat, int vocabulary, int max_tokens, bool skip_long)
{
    struct reading r = { path, tokenizer, chat, vocabulary, max_tokens, skip_long };
    struct prompts *p = create(path);
    struct lines in = {0};
    bool more = true;
    int rc = RL_OK;

    *out = NULL;
    if (!p)
        return RL_ENOFIT;
    TRY(lines_open(&in, path));
    while (more) {
        TRY(lines_next(&in, &more));
        if (more)
            TRY(line_add(p, &r, &in));
    }
    if (p->count == 0 && p->skipped > 0)
        TRY(rl_error(RL_EINVAL, "%s: every prompt is longer than %d tokens (%lld of them)", path,
                     max_tokens, (long long)p->skipped));
    if (p->count == 0)
        TRY(rl_error(RL_EINVAL, "%s: no prompts in this file", path));
    TRY(shuffle_open(&p->order, p->count));
    *out = p;
done:
    lines_close(&in);
    if (rc != RL_OK)
        prompts_close(p);
    return rc;
}

/* The text as the only line of a file. */
int prompts_of_text(struct prompts **out, const char *name, const char *text, size_t bytes,
                    struct tokenizer *tokenizer, int vocabulary, int max_tokens)
{
    struct reading r = { name, tokenizer, NULL, vocabulary, max_tokens, false };
    struct prompts *p = *out = create(name);
    const struct json *prompt;
    struct text line = { 0 };
    int rc = RL_OK;

    if (!p)
        return RL_ENOFIT;
    text_adds(&line, "{\"prompt\":");
    json_add_string(&line, text, bytes);
    text_adds(&line, "}");
    TRY(line_add(p, &r, &(struct lines){ .path = name, .line = line.data, .size = line.size,
                                         .number = 1, .ended = true }));
    prompt = json_get(p->items[0].fields, "prompt");
    if (json_string_size(prompt) != bytes || memcmp(json_string(prompt, ""), text, bytes) != 0)
        TRY(rl_error(RL_EINVAL, "%s: the prompt is not UTF-8", name));
    TRY(shuffle_open(&p->order, 1));
done:
    text_free(&line);
    if (rc != RL_OK) {
        prompts_close(p);
        *out = NULL;
    }
    return rc;
}

void prompts_close(struct prompts *p)
{
    if (!p)
        return;
    for (int64_t i = 0; i < p->count; i++) {
        json_free(p->items[i].fields);
        free(p->items[i].text);
    }
    free(p->items);
    free(p->path);
    ids_free(&p->ids);
    shuffle_close(&p->order);
    free(p);
}

int64_t prompts_count(const struct prompts *p)
{
    return p->count;
}

int64_t prompts_skipped(const struct prompts *p)
{
    return p->skipped;
}

int prompts_longest(const struct prompts *p)
{
    return p->longest;
}

const char *prompts_text(const struct prompts *p, int64_t i)
{
    const struct prompt *item = &p->items[i];

    return item->text ? item->text : json_string(json_get(item->fields, "prompt"), NULL);
}

const struct json *prompts_fields(const struct prompts *p, int64_t i)
{
    return p->items[i].fields;
}

const char *prompts_path(const struct prompts *p)
{
    return p->path;
}

int64_t prompts_line(const struct prompts *p, int64_t i)
{
    return p->items[i].line;
}

int64_t prompts_draw(struct prompts *p, bool shuffle, uint64_t seed, int64_t draw)
{
    return shuffle_draw(&p->order, shuffle, seed, draw);
}

/* The k rows of the next group: prompt i. */
static int add_group(const struct prompts *p, int64_t i, struct batch *b)
{
    const struct prompt *item = &p->items[i];

    for (int sample = 0; sample < b->k; sample++) {
        if (b->N == b->max_rows || item->tokens > b->max_tokens - b->T)
            return rl_error(RL_EBUG, "the batch has room for %d rows and %d tokens, too little for "
                            "the prompts of step %lld", b->max_rows, b->max_tokens,
                            (long long)b->step);
        memcpy(b->tokens + b->T, p->ids.data + item->at, (size_t)item->tokens * sizeof(int));
        b->prompt_len[b->N] = item->tokens;
        b->finish[b->N] = FINISH_NONE;
        b->prompt[b->N] = i;
        b->version[b->N] = 0;
        b->T += item->tokens;
        b->start[++b->N] = b->T;
    }
    return RL_OK;
}

int prompts_next(struct prompts *p, bool shuffle, uint64_t seed, int64_t draw0, struct batch *b)
{
    int rc = RL_OK;

    batch_clear(b);
    for (int g = b->group; g < b->group + b->groups; g++)
        TRY(add_group(p, prompts_draw(p, shuffle, seed, draw0 + g), b));
    b->filled = COL_TOKENS;
done:
    return rc;
}

int prompts_groups(struct prompts *p, bool shuffle, uint64_t seed, const int64_t *draws,
                   struct batch *b)
{
    int rc = RL_OK;

    batch_clear(b);
    for (int g = 0; g < b->groups; g++)
        TRY(add_group(p, prompts_draw(p, shuffle, seed, draws[g]), b));
    b->filled = COL_TOKENS;
done:
    return rc;
}
