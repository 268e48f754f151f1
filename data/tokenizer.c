/* Opening a tokenizer.json, and the way of a text through it.  See tokenizer.h. */
#include "data/tokenizer_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/utf8.h"

/* ---- fields of the file */

void *room_for(size_t count, size_t size)
{
    void *room = calloc(count > 0 ? count : 1, size);

    if (!room)
        rl_error(RL_ENOFIT, "no memory for %zu entries of a tokenizer's table", count);
    return room;
}

int field_bool(const struct tokenizer *t, const struct json *object, const char *path,
               const char *key, bool otherwise, bool *out)
{
    const struct json *v = json_get(object, key);

    *out = json_is_null(v) ? otherwise : json_bool(v, false);
    if (!json_is_null(v) && json_bool(v, false) != json_bool(v, true))
        return rl_error(RL_EINVAL, "%s: %s.%s is neither true nor false", t->where, path, key);
    return RL_OK;
}

int field_text(const struct tokenizer *t, const struct json *object, const char *path,
               const char *key, struct text *out)
{
    const struct json *v = json_get(object, key);

    if (!json_is_string(v))
        return rl_error(RL_EINVAL, "%s: %s.%s is not a string", t->where, path, key);
    text_add(out, json_string(v, ""), json_string_size(v));
    return RL_OK;
}

int field_integer(const struct tokenizer *t, const struct json *object, const char *path,
                  const char *key, int64_t least, int64_t most, int64_t *out)
{
    const struct json *v = json_get(object, key);

    *out = json_int(v, least - 1);
    if (!json_is_number(v) || *out < least || *out > most
        || (double)*out != json_number(v, (double)least - 1))
        return rl_error(RL_EINVAL, "%s: %s.%s is not an integer from %lld to %lld", t->where, path,
                        key, (long long)least, (long long)most);
    return RL_OK;
}

int unsupported(const struct tokenizer *t, const char *what, const struct json *type,
                const char *supported)
{
    if (!json_is_string(type))
        return rl_error(RL_EINVAL, "%s: %s has no `type`", t->where, what);
    return rl_error(RL_EINVAL, "%s: %s of type '%s' is not supported (supported: %s)", t->where,
                    what, utf8_show(json_string(type, ""), json_string_size(type)).text, supported);
}

/* ---- the post-processor: what stands around the text, as TemplateProcessing's `single` says */

static int special_add(const struct tokenizer *t, const struct json *processor,
                       const struct json *special, struct ids *out)
{
    const struct json *name = json_get(special, "id");
    const struct json *entry = json_get(json_get(processor, "special_tokens"),
                                        json_string(name, ""));
    const struct json *ids = json_get(entry, "ids");
    struct shown shown = utf8_show(json_string(name, ""), json_string_size(name));

    if (!json_is_array(ids))
        return rl_error(RL_EINVAL, "%s: post_processor.special_tokens has no ids for '%s'",
                        t->where, shown.text);
    for (size_t i = 0; i < json_size(ids); i++) {
        const struct json *v = json_at(ids, i);
        int64_t id = json_int(v, -1);
        size_t n;
        if (!json_is_number(v) || id < 0 || id > INT_MAX || !vocabulary_name(t, (int)id, &n))
            return rl_error(RL_EINVAL, "%s: post_processor.special_tokens: '%s' has an id that no "
                            "token has", t->where, shown.text);
        ids_add(out, (int)id);
    }
    return RL_OK;
}

static int template_read(struct tokenizer *t, const struct json *v)
{
    const struct json *single = json_get(v, "single");
    int texts = 0, rc = RL_OK;

    if (json_is_null(v))
        return RL_OK;
    if (strcmp(json_string(json_get(v, "type"), ""), "TemplateProcessing") != 0)
        return unsupported(t, "post_processor", json_get(v, "type"), "TemplateProcessing, or none");
    for (size_t i = 0; i < json_size(single); i++) {
        const struct json *special = json_get(json_at(single, i), "SpecialToken");
        const struct json *text = json_get(json_at(single, i), "Sequence");
        if (json_is_object(special))
            TRY(special_add(t, v, special, texts > 0 ? &t->after : &t->before));
        else if (strcmp(json_string(json_get(text, "id"), ""), "A") == 0)
            texts++;
        else
            return rl_error(RL_EINVAL, "%s: post_processor.single[%zu] is neither a SpecialToken "
                            "nor the Sequence A", t->where, i);
    }
    if (texts != 1)
        rc = rl_error(RL_EINVAL, "%s: post_processor.single has the Sequence A %d times; once is "
                      "supported", t->where, texts);
done:
    return rc;
}

/* ---- open and close */

static int file_read_all(struct tokenizer *t, const struct json *root)
{
    const struct json *model = json_get(root, "model"), *type = json_get(model, "type");
    const struct json *added = json_get(root, "added_tokens");
    int rc = RL_OK;

    if (!json_is_object(model))
        return rl_error(RL_EINVAL, "%s: not a tokenizer: it has no object `model`", t->where);
    if (!json_is_null(type) && strcmp(json_string(type, ""), "BPE") != 0)
        return unsupported(t, "model", type, "BPE");
    TRY(normalizer_read(t, json_get(root, "normalizer")));
    TRY(metaspace_read(t, json_get(root, "pre_tokenizer")));
    TRY(decoder_read(t, json_get(root, "decoder")));
    TRY(vocabulary_read(t, json_get(model, "vocab"), added));
    TRY(bpe_read(t, model));
    TRY(added_read(t, added));
    TRY(template_read(t, json_get(root, "post_processor")));
done:
    return rc;
}

static int tokenizer_make(struct tokenizer **out, struct json *root, const char *where)
{
    struct tokenizer *t = room_for(1, sizeof *t);
    int rc = RL_OK;

    *out = NULL;
    if (!t || !root)                 /* json_parse has said why */
        TRY(root ? RL_ENOFIT : RL_EINVAL);
    t->where = where;
    TRY(file_read_all(t, root));
    t->where = NULL;
    *out = t;
done:
    json_free(root);
    if (rc != RL_OK)
        tokenizer_close(t);
    return rc;
}

int tokenizer_open(struct tokenizer **t, const char *path)
{
    return tokenizer_make(t, json_read(path), path);
}

int tokenizer_parse(struct tokenizer **t, const char *json, size_t bytes, const char *where)
{
    return tokenizer_make(t, json_parse(json, bytes, where), where);
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(t);
    added_free(t);
    rules_free(&t->normalizer);
    rules_free(&t->decoder);
    ids_free(&t->before);
    ids_free(&t->after);
    text_free(&t->metaspace.replacement);
    text_free(&t->names);
    text_free(&t->whole);
    text_free(&t->swap);
    text_free(&t->spaced);
    free(t->tokens);
    free(t->slots);
    free(t);
}

int tokenizer_size(const struct tokenizer *t)
{
    return t->size;
}

/* ---- ids */

/* Lists of ids are small beside the planned memory: as for a text, no room ends the process. */
void ids_add(struct ids *ids, int id)
{
    if (ids->count == ids->room) {
        int room = ids->room == 0 ? 64 : ids->room <= INT_MAX / 2 ? 2 * ids->room : INT_MAX;
        int *data = ids->count < room ? realloc(ids->data, (size_t)room * sizeof *data) : NULL;
        if (!data) {
            int rc = rl_error(RL_ENOFIT, "cannot hold more than %d token ids", ids->count);
            status_print();
            exit(status_exit_code(rc));
        }
        ids->data = data;
        ids->room = room;
    }
    ids->data[ids->count++] = id;
}

void ids_free(struct ids *ids)
{
    free(ids->data);
    *ids = (struct ids) {0};
}

static void ids_append(struct ids *ids, const struct ids *more)
{
    for (int i = 0; i < more->count; i++)
        ids_add(ids, more->data[i]);
}

/* ---- encode */

/* A piece between added tokens: normalize it, then look for those that want normalized text. */
static int piece_encode(struct tokenizer *t, const char *s, size_t n, bool at_start,
                        struct ids *out)
{
    struct pieces walk = { .t = t, .trie = &t->normalized };
    struct piece p;
    int rc = RL_OK;

    TRY(normalize(t, s, n, &t->whole));
    walk.text = t->whole.data;
    walk.bytes = t->whole.size;
    while (pieces_next(&walk, &p)) {
        if (p.id >= 0 && p.start < p.end)
            ids_add(out, p.id);
        else if (p.start < p.end)
            TRY(words_encode(t, walk.text + p.start, p.end - p.start, at_start && p.start == 0,
                             out));
    }
done:
    return rc;
}

int tokenizer_encode(struct tokenizer *t, const char *text, size_t bytes, bool add_special,
                     struct ids *out)
{
    struct pieces walk = { .t = t, .trie = &t->raw, .text = text, .bytes = bytes };
    size_t valid = utf8_valid(text, bytes);
    int rc = RL_OK, count = out->count;
    struct piece p;

    if (bytes > TEXT_LIMIT)
        return rl_error(RL_EINVAL, "a text of %zu bytes; at most %zu at once", bytes, TEXT_LIMIT);
    if (valid < bytes)
        return rl_error(RL_EINVAL, "the text is not UTF-8: byte %zu is 0x%02x", valid + 1,
                        (unsigned char)text[valid]);
    if (add_special)
        ids_append(out, &t->before);
    while (pieces_next(&walk, &p)) {
        if (p.id >= 0 && p.start < p.end)
            ids_add(out, p.id);
        else if (p.start < p.end)
            TRY(piece_encode(t, text + p.start, p.end - p.start, p.start == 0, out));
    }
    if (add_special)
        ids_append(out, &t->after);
done:
    if (rc != RL_OK)
        out->count = count;
    return rc;
}
