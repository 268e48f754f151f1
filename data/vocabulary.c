/* The tokens' names, by id and by hash.
 *
 *   tokens[id] -> names          name -> hash -> slots[h], slots[h + 1], ... -> id
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "data/tokenizer_internal.h"
#include "data/utf8.h"

static uint32_t slot_of(const struct tokenizer *t, const char *name, size_t bytes)
{
    uint32_t slot = (uint32_t)hash64(name, bytes) & t->slot_mask;

    for (; t->slots[slot] >= 0; slot = (slot + 1) & t->slot_mask) {
        const struct token *k = &t->tokens[t->slots[slot]];
        if ((size_t)k->bytes == bytes && memcmp(t->names.data + k->at, name, bytes) == 0)
            break;
    }
    return slot;
}

int vocabulary_id(const struct tokenizer *t, const char *name, size_t bytes)
{
    return t->slots[slot_of(t, name, bytes)];
}

const char *vocabulary_name(const struct tokenizer *t, int id, size_t *bytes)
{
    if (id < 0 || id >= t->size || t->tokens[id].bytes < 0)
        return NULL;
    *bytes = (size_t)t->tokens[id].bytes;
    return t->names.data + t->tokens[id].at;
}

/* An id that is not an integer in range reads as -1. */
static int id_read(const struct json *v)
{
    int64_t id = json_int(v, -1);
    bool good = json_is_number(v) && id >= 0 && id < ID_LIMIT && (double)id == json_number(v, -1);

    return good ? (int)id : -1;
}

static int name_add(struct tokenizer *t, const char *name, size_t bytes, int id)
{
    uint32_t slot = slot_of(t, name, bytes);
    size_t n;

    if (id < 0)
        return rl_error(RL_EINVAL, "%s: token '%s' has no id from 0 to %d", t->where,
                        utf8_show(name, bytes).text, ID_LIMIT - 1);
    if (t->slots[slot] == id)
        return RL_OK;
    if (t->slots[slot] >= 0)
        return rl_error(RL_EINVAL, "%s: token '%s' has two ids, %d and %d", t->where,
                        utf8_show(name, bytes).text, t->slots[slot], id);
    if (t->tokens[id].bytes >= 0)
        return rl_error(RL_EINVAL, "%s: id %d belongs to two tokens, '%s' and '%s'", t->where, id,
                        utf8_show(vocabulary_name(t, id, &n), (size_t)t->tokens[id].bytes).text,
                        utf8_show(name, bytes).text);
    t->slots[slot] = id;
    t->tokens[id] = (struct token) { .at = t->names.size, .bytes = (int)bytes };
    text_add(&t->names, name, bytes);
    return RL_OK;
}

/* Table sizes: one entry an id, and at most half the hash slots taken. */
static int tables_make(struct tokenizer *t, int size, size_t names)
{
    uint32_t slots = 16;

    while (slots < 2 * names)
        slots *= 2;
    t->tokens = room_for((size_t)size, sizeof *t->tokens);
    t->slots = room_for(slots, sizeof *t->slots);
    if (!t->tokens || !t->slots)
        return RL_ENOFIT;
    t->size = size;
    t->slot_mask = slots - 1;
    for (int id = 0; id < size; id++)
        t->tokens[id].bytes = -1;
    memset(t->slots, 0xff, slots * sizeof *t->slots);
    return RL_OK;
}

int vocabulary_read(struct tokenizer *t, const struct json *vocab, const struct json *added)
{
    size_t names = json_size(vocab) + json_size(added);
    const struct json *value;
    const char *name;
    int size = 0, rc = RL_OK;

    if (!json_is_object(vocab) || json_size(vocab) == 0)
        return rl_error(RL_EINVAL, "%s: model.vocab is not an object with tokens in it", t->where);
    if (!json_is_null(added) && !json_is_array(added))
        return rl_error(RL_EINVAL, "%s: added_tokens is not a list", t->where);
    if (names >= ID_LIMIT)
        return rl_error(RL_EINVAL, "%s: %zu tokens; at most %d are possible", t->where, names,
                        ID_LIMIT - 1);
    for (void *it = NULL; json_next(vocab, &it, &name, &value);)
        if (id_read(value) >= size)
            size = id_read(value) + 1;
    for (size_t i = 0; i < json_size(added); i++)
        if (id_read(json_get(json_at(added, i), "id")) >= size)
            size = id_read(json_get(json_at(added, i), "id")) + 1;
    if ((size_t)size > IDS_SPARSE + 16 * names)     /* a table has an entry for each id below */
        TRY(rl_error(RL_EINVAL, "%s: %zu tokens with ids up to %d: too far apart for a vocabulary",
                     t->where, names, size - 1));
    TRY(tables_make(t, size, names));

    for (void *it = NULL; json_next(vocab, &it, &name, &value);)
        TRY(name_add(t, name, strlen(name), id_read(value)));
    for (size_t i = 0; i < json_size(added); i++) {
        const struct json *token = json_at(added, i), *content = json_get(token, "content");
        if (!json_is_string(content) || json_string_size(content) == 0)
            TRY(rl_error(RL_EINVAL, "%s: added_tokens[%zu].content is not a string with characters "
                         "in it", t->where, i));
        TRY(name_add(t, json_string(content, ""), json_string_size(content),
                     id_read(json_get(token, "id"))));
    }
done:
    return rc;
}

int tokenizer_special(const struct tokenizer *t, const char *name, size_t bytes)
{
    int id = vocabulary_id(t, name, bytes);

    return id >= 0 && t->tokens[id].special ? id : -1;
}
