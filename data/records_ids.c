/* Texts of a record as token ids; see records.h.
 *
 * Text after text: prompt + join + answer is tokenized as one and cut where the prompt's own ids
 * end.  Where a token crosses that border the answer is tokenized by itself, because an actor only
 * ever continues the prompt's own ids. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "data/records_internal.h"

/* What a line gives under a key: exactly one of the two, or nothing. */
struct given { const struct json *text, *ids; };

static struct given look_up(const struct json *fields, const char *key)
{
    char name[RECORD_NAME];
    struct given g = { json_get(fields, key), NULL };

    snprintf(name, sizeof name, "%s_ids", key);
    g.ids = json_get(fields, name);
    if (json_is_null(g.ids))
        g.ids = NULL;
    if (g.ids || json_is_null(g.text))
        g.text = NULL;
    return g;
}

bool records_has(const struct json *fields, const char *key)
{
    struct given g = look_up(fields, key);

    return g.text || g.ids;
}

/* Element i of the list under a key; i < 0: the value itself. */
static struct given element(const struct json *fields, const char *key, int i)
{
    struct given g = look_up(fields, key);

    if (i >= 0) {
        g.text = json_at(g.text, (size_t)i);
        g.ids = json_at(g.ids, (size_t)i);
    }
    return g;
}

static int check_given(struct reading *in, const char *key, const struct given *g)
{
    if (!g->text && !g->ids)
        return records_bad(in, "has no `%s` (text) and no `%s_ids` (list of ids)", key, key);
    if (g->ids && !json_is_array(g->ids))
        return records_bad(in, "has `%s_ids` that are not a list", key);
    if (g->text && !json_is_string(g->text))
        return records_bad(in, "has a `%s` that is not a string", key);
    if (g->ids ? json_size(g->ids) == 0 : json_string_size(g->text) == 0)
        return records_bad(in, "has an empty `%s`", key);
    return RL_OK;
}

static int add_list(struct reading *in, const char *key, const struct json *list)
{
    struct records *r = in->r;

    for (size_t i = 0; i < json_size(list); i++) {
        const struct json *v = json_at(list, i);
        int64_t id = json_int(v, -1);
        if (!json_is_number(v) || id < 0 || (double)id != json_number(v, -1)
            || id >= r->settings.vocabulary)
            return records_bad(in, "has a %s_ids[%zu] that is not an id from 0 to %d (the model's "
                              "vocabulary)", key, i, r->settings.vocabulary - 1);
        ids_add(&r->ids, (int)id);
    }
    return RL_OK;
}

/* Tokenize into in->scratch. */
static int encode(struct reading *in, const char *key, const struct text *text, bool special)
{
    const struct records_settings *s = &in->r->settings;
    int rc = RL_OK;

    if (!s->tokenizer)
        return rl_error(RL_EINVAL, "%s:%lld: `%s` is text and the model has no tokenizer; give "
                        "%s_ids", in->path, (long long)in->line, key, key);
    in->scratch.count = 0;
    TRY(tokenizer_encode(s->tokenizer, text->data ? text->data : "", text->size, special,
                         &in->scratch));
    for (int i = 0; i < in->scratch.count; i++)
        if (in->scratch.data[i] >= s->vocabulary)
            return rl_error(RL_EINVAL, "%s:%lld: the tokenizer gives id %d and the model's "
                            "vocabulary ends at %d: they do not belong together", in->path,
                            (long long)in->line, in->scratch.data[i], s->vocabulary - 1);
done:
    return rc;
}

static void keep(struct records *r, const struct ids *ids, int from)
{
    for (int i = from; i < ids->count; i++)
        ids_add(&r->ids, ids->data[i]);
}

static struct span span_since(const struct records *r, int at)
{
    return (struct span){ at, r->ids.count - at };
}

static void add_json(struct text *text, const struct json *string)
{
    text_add(text, json_string(string, ""), json_string_size(string));
}

/* Ids of the prompt are given: those of `before`, then the prompt's without its bos. */
static int prompt_of_ids(struct reading *in, const char *key, const struct json *list,
                         const char *before)
{
    struct records *r = in->r;
    struct text text = { 0 };
    int at = r->ids.count, front, rc = RL_OK;

    if (!*before)
        return add_list(in, key, list);
    TRY(encode(in, key, &text, true));
    front = in->scratch.count;
    text_adds(&text, before);
    TRY(encode(in, key, &text, true));
    keep(r, &in->scratch, 0);
    at = r->ids.count;
    TRY(add_list(in, key, list));
    if (front > 0 && r->ids.count - at >= front &&
        memcmp(r->ids.data + at, in->scratch.data, (size_t)front * sizeof(int)) == 0) {
        memmove(r->ids.data + at, r->ids.data + at + front,
                (size_t)(r->ids.count - at - front) * sizeof(int));
        r->ids.count -= front;
    }
done:
    text_free(&text);
    return rc;
}

int records_prompt(struct reading *in, const char *key, const char *before, struct span *out)
{
    struct given g = look_up(in->fields, key);
    struct text text = { 0 };
    int at = in->r->ids.count, rc = RL_OK;

    TRY(check_given(in, key, &g));
    if (g.ids) {
        TRY(prompt_of_ids(in, key, g.ids, before));
    } else {
        text_adds(&text, before);
        add_json(&text, g.text);
        TRY(encode(in, key, &text, true));
        keep(in->r, &in->scratch, 0);
    }
    *out = span_since(in->r, at);
    if (out->n == 0)
        rc = records_bad(in, "has a `%s` of which the tokenizer knows no part", key);
done:
    text_free(&text);
    return rc;
}

/* Tokenize prompt and answer as one; *from is where the answer begins, 0 if a token crosses. */
static int encode_joint(struct reading *in, const char *key, const struct json *answer,
                        struct asked prompt, const struct span *ids, int *from)
{
    const struct records *r = in->r;
    const struct given asked = look_up(in->fields, prompt.key);
    struct text text = { 0 };
    int rc = RL_OK;

    *from = 0;
    if (!asked.text)
        return RL_OK;
    text_adds(&text, prompt.before);
    add_json(&text, asked.text);
    text_adds(&text, r->settings.join);
    add_json(&text, answer);
    TRY(encode(in, key, &text, true));
    if (in->scratch.count > ids->n &&
        memcmp(in->scratch.data, r->ids.data + ids->at, (size_t)ids->n * sizeof(int)) == 0)
        *from = ids->n;
done:
    text_free(&text);
    return rc;
}

static int answer_of_text(struct reading *in, const char *key, const struct json *answer,
                          struct asked prompt, const struct span *ids)
{
    const struct records_settings *s = &in->r->settings;
    struct text text = { 0 };
    int from, rc = RL_OK;

    TRY(encode_joint(in, key, answer, prompt, ids, &from));
    if (from == 0) {
        if (look_up(in->fields, prompt.key).text)
            text_adds(&text, s->join);
        add_json(&text, answer);
        TRY(encode(in, key, &text, false));
    }
    if (in->scratch.count == from)
        TRY(records_bad(in, "has a `%s` of which the tokenizer knows no part", key));
    if (s->append_eos && s->n_eos > 0 && in->scratch.data[in->scratch.count - 1] != s->eos[0])
        ids_add(&in->scratch, s->eos[0]);
    keep(in->r, &in->scratch, from);
done:
    text_free(&text);
    return rc;
}

int records_answer(struct reading *in, const char *key, int i, struct asked prompt,
                  struct answer *out)
{
    struct given g = element(in->fields, key, i);
    int at = in->r->ids.count, rc = RL_OK;

    TRY(check_given(in, key, &g));
    if (g.ids)
        TRY(add_list(in, key, g.ids));
    else
        TRY(answer_of_text(in, key, g.text, prompt, &out->prompt));
    out->ids = span_since(in->r, at);
done:
    return rc;
}
