/* See chat.h. */
#include "data/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"

enum { TEMPLATE, CONFIG, TOKENS, FILES };
static const char *const names[FILES] = {
    "chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json",
};

struct chat {
    struct text path, system, files[FILES];
    struct template *template;           /* NULL: not read yet */
    struct text tokens;                  /* members of a JSON object: "bos_token":"<s>",... */
    bool has_day;
    struct tm day;
};

static int parse(struct json **j, const struct chat *c, int file)
{
    char where[4352];

    *j = NULL;
    if (c->files[file].size == 0)
        return RL_OK;
    snprintf(where, sizeof where, "%s/%s", c->path.data, names[file]);
    *j = json_parse(c->files[file].data, c->files[file].size, where);
    if (*j && !json_is_object(*j))
        rl_error(RL_EINVAL, "%s is no JSON object", where);
    return json_is_object(*j) ? RL_OK : RL_EINVAL;
}

/* A template, or the one named "default" of several. */
static const struct json *template_of(const struct json *config)
{
    const struct json *given = json_get(config, "chat_template"), *named;

    for (size_t i = 0; json_is_array(given) && i < json_size(given); i++) {
        named = json_at(given, i);
        if (strcmp(json_string(json_get(named, "name"), ""), "default") == 0)
            return json_get(named, "template");
    }
    return given;
}

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);

    return n >= m && strcmp(name + n - m, with) == 0;
}

/* "bos_token": "<s>" or {"content": "<s>", ...}; members of `over` win. */
static void add_tokens(struct text *out, const struct json *from, const struct json *over)
{
    const struct json *value;
    const char *name;
    void *it = NULL;

    while (json_next(from, &it, &name, &value)) {
        if (json_is_object(value))
            value = json_get(value, "content");
        if (!ends(name, "_token") || !json_is_string(value) || json_get(over, name))
            continue;
        text_adds(out, out->size ? "," : "");
        json_add_string(out, name, strlen(name));
        text_adds(out, ":");
        json_add(out, value);
    }
}

static int open_template(struct chat *c, const struct json *config)
{
    const struct text *file = &c->files[TEMPLATE];
    const struct json *given = template_of(config);
    char where[4352];

    snprintf(where, sizeof where, "%s/%s", c->path.data, names[TEMPLATE]);
    if (file->size)
        return template_open(&c->template, file->data, file->size, where);
    if (json_is_null(given))
        return rl_error(RL_EINVAL, "%s: no chat template there (%s, or chat_template in %s)",
                        c->path.data, names[TEMPLATE], names[CONFIG]);
    snprintf(where, sizeof where, "%s/%s: chat_template", c->path.data, names[CONFIG]);
    if (!json_is_string(given))
        return rl_error(RL_EINVAL, "%s is no string, nor a list with one named default", where);
    return template_open(&c->template, json_string(given, ""), json_string_size(given), where);
}

int chat_read(struct chat *c)
{
    struct json *config = NULL, *tokens = NULL;
    int rc = RL_OK;

    if (c->template)
        return RL_OK;
    TRY(parse(&config, c, CONFIG));
    if (json_is_null(json_get(config, "added_tokens_decoder")))
        TRY(parse(&tokens, c, TOKENS));
    text_clear(&c->tokens);
    add_tokens(&c->tokens, tokens, NULL);
    add_tokens(&c->tokens, config, tokens);
    rc = open_template(c, config);
done:
    json_free(config);
    json_free(tokens);
    return rc;
}

int chat_of_files(struct chat **chat, const char *path, const struct text *template,
                  const struct text *config, const struct text *tokens)
{
    const struct text *const files[FILES] = { template, config, tokens };
    struct chat *c = *chat = calloc(1, sizeof *c);

    if (!c)
        return rl_error(RL_ENOFIT, "%s: no memory for a chat template", path);
    text_adds(&c->path, path);
    for (int i = 0; i < FILES; i++)
        if (files[i] && files[i]->size)
            text_add(&c->files[i], files[i]->data, files[i]->size);
    return RL_OK;
}

int chat_open(struct chat **chat, const char *folder)
{
    struct text files[FILES] = { 0 };
    char path[4352];
    int rc = RL_OK;

    *chat = NULL;
    for (int i = 0; i < FILES; i++) {
        TRY(path_join(path, sizeof path, folder, names[i]));
        if (file_exists(path))
            TRY(file_read(path, &files[i]));
    }
    TRY(chat_of_files(chat, folder, &files[TEMPLATE], &files[CONFIG], &files[TOKENS]));
    rc = chat_read(*chat);
done:
    for (int i = 0; i < FILES; i++)
        text_free(&files[i]);
    if (rc != RL_OK) {
        chat_close(*chat);
        *chat = NULL;
    }
    return rc;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    template_close(c->template);
    for (int i = 0; i < FILES; i++)
        text_free(&c->files[i]);
    text_free(&c->path);
    text_free(&c->system);
    text_free(&c->tokens);
    free(c);
}

void chat_system(struct chat *c, const char *system)
{
    text_clear(&c->system);
    text_adds(&c->system, system ? system : "");
}

int chat_day(struct chat *c, const char *day, const char *what)
{
    struct tm read = { 0 };
    const char *end = day && *day ? strptime(day, "%Y-%m-%d", &read) : NULL;

    c->has_day = day && *day;
    if (c->has_day && (!end || *end))
        return rl_error(RL_EINVAL, "%s: '%s' is no day; one is written 2026-11-28", what, day);
    c->day = read;
    return RL_OK;
}

/* The conversation with a message of the system before it. */
static struct json *with_system(const struct json *messages, const char *system)
{
    struct text all = { 0 };
    struct json *made;

    text_adds(&all, "[{\"role\":\"system\",\"content\":");
    json_add_string(&all, system, strlen(system));
    text_adds(&all, "}");
    for (size_t i = 0; i < json_size(messages); i++) {
        text_adds(&all, ",");
        json_add(&all, json_at(messages, i));
    }
    text_adds(&all, "]");
    made = json_parse(all.data, all.size, "messages");
    text_free(&all);
    return made;
}

/* The special tokens, and what the request has besides. */
static struct json *variables_of(const struct chat *c, const struct json *more)
{
    struct text all = { 0 };
    const struct json *value;
    const char *name;
    struct json *made;
    void *it = NULL;

    text_adds(&all, "{");
    text_add(&all, c->tokens.data, c->tokens.size);
    while (json_next(more, &it, &name, &value)) {
        text_adds(&all, all.size > 1 ? "," : "");
        json_add_string(&all, name, strlen(name));
        text_adds(&all, ":");
        json_add(&all, value);
    }
    text_adds(&all, "}");
    made = json_try(all.data, all.size);          /* of a name given twice the last counts */
    text_free(&all);
    return made;
}

int chat_render(struct chat *c, const struct json *messages, const struct chat_how *how,
                struct text *out)
{
    bool begins = strcmp(json_string(json_get(json_at(messages, 0), "role"), ""), "system") == 0;
    struct json *own = NULL, *variables = NULL;
    struct template_settings settings = {
        .add_generation_prompt = how->add_generation_prompt, .tools = how->tools,
        .now = c->has_day ? &c->day : NULL,
    };
    int rc = RL_OK;

    TRY(chat_read(c));
    if (c->system.size && json_is_array(messages) && !begins)
        own = with_system(messages, c->system.data);
    settings.variables = variables = variables_of(c, how->variables);
    rc = template_render(c->template, own ? own : messages, &settings, out);
done:
    json_free(own);
    json_free(variables);
    return rc;
}
