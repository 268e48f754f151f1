/* Byte-pair encoding: a word becomes symbols (characters, their bytes, or the unknown token), then
 * the adjacent pair of lowest rank, leftmost first, is merged until no pair is in the table.
 *
 *   o n c e   --(n,c)-->   o nc e   --(o,nc)-->   onc e   --(onc,e)-->   once
 *
 * A heap of (rank, place) and a linked list make it O(n log n).  Most texts are one long word
 * here (no pre-tokenizer), so words are cut where no merge can ever reach across: between symbols x
 * and y such that no merge joins something that ends in x to something that begins with y.  The
 * result is the same and the heap stays small.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/tokenizer_internal.h"
#include "data/utf8.h"

static uint64_t pair_of(int a, int b)
{
    return (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
}

/* splitmix64's finalizer: neighbouring ids spread over the table. */
static uint32_t pair_hash(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(x ^ x >> 31);
}

static struct merge_slot *merge_slot(const struct tokenizer *t, uint64_t pair)
{
    uint32_t slot = pair_hash(pair) & t->merge_mask;

    while (t->merges[slot].rank >= 0 && t->merges[slot].pair != pair)
        slot = (slot + 1) & t->merge_mask;
    return &t->merges[slot];
}

/* The rank at which a and b become one, -1 if they never do. */
static int merge_rank(const struct tokenizer *t, int a, int b)
{
    return merge_slot(t, pair_of(a, b))->rank;
}

/* ---- where merges can reach: the pairs (last symbol of a, first symbol of b) of all merges */

static uint64_t *joint_slot(const struct tokenizer *t, uint64_t pair)
{
    uint32_t slot = pair_hash(pair) & t->joint_mask;

    while (t->joints[slot] != UINT64_MAX && t->joints[slot] != pair)
        slot = (slot + 1) & t->joint_mask;
    return &t->joints[slot];
}

static bool joins(const struct tokenizer *t, int a, int b)
{
    return t->always_joins || *joint_slot(t, pair_of(a, b)) != UINT64_MAX;
}

static bool is_byte(const struct tokenizer *t, int id)
{
    if (!t->byte_fallback || t->tokens[id].bytes != 6)
        return false;
    for (int i = 0; i < 256; i++)
        if (t->byte_ids[i] == id)
            return true;
    return false;
}

/* Merges work on ids, and an id's characters are its symbols unless a byte's or the unknown token
 * takes part in a merge; then nothing is known and words stay whole. */
static void joint_add(struct tokenizer *t, int a, int b)
{
    size_t na, nb;
    const char *left = vocabulary_name(t, a, &na), *right = vocabulary_name(t, b, &nb);
    int last, first;

    if (a == t->unk || b == t->unk || is_byte(t, a) || is_byte(t, b))
        t->always_joins = true;
    if (na == 0 || nb == 0 || t->always_joins)
        return;
    int size = utf8_last(left, na, NULL);
    last = vocabulary_id(t, left + na - size, (size_t)size);
    first = vocabulary_id(t, right, (size_t)utf8_next(right, nb, NULL));
    if (last >= 0 && first >= 0)     /* else no text has such a symbol */
        *joint_slot(t, pair_of(last, first)) = pair_of(last, first);
}

/* ---- reading */

/* A merge is "a b" or ["a", "b"]: the names of two tokens. */
static int merge_names(const struct tokenizer *t, const struct json *v, size_t i,
                       const char *name[2], size_t bytes[2])
{
    const char *line = json_string(v, NULL);
    const char *gap = line ? memchr(line, ' ', json_string_size(v)) : NULL;
    const struct json *a = json_at(v, 0), *b = json_at(v, 1);

    if (gap) {
        name[0] = line;
        bytes[0] = (size_t)(gap - line);
        name[1] = gap + 1;
        bytes[1] = json_string_size(v) - bytes[0] - 1;
        if (!memchr(name[1], ' ', bytes[1]))
            return RL_OK;
    } else if (json_is_array(v) && json_size(v) == 2 && json_is_string(a) && json_is_string(b)) {
        for (size_t k = 0; k < 2; k++) {
            name[k] = json_string(json_at(v, k), "");
            bytes[k] = json_string_size(json_at(v, k));
        }
        return RL_OK;
    }
    return rl_error(RL_EINVAL, "%s: model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]",
                    t->where, i);
}

static int merge_read(struct tokenizer *t, const struct json *v, size_t i, int rank,
                      struct text *both)
{
    const char *name[2];
    size_t bytes[2];
    int id[2], rc = RL_OK;

    TRY(merge_names(t, v, i, name, bytes));
    text_clear(both);
    for (int k = 0; k < 2; k++) {
        id[k] = vocabulary_id(t, name[k], bytes[k]);
        text_add(both, name[k], bytes[k]);
        if (id[k] < 0)
            return rl_error(RL_EINVAL, "%s: model.merges[%zu]: '%s' is not in the vocabulary",
                            t->where, i, utf8_show(name[k], bytes[k]).text);
    }
    t->merged[rank] = vocabulary_id(t, both->data, both->size);
    if (t->merged[rank] < 0)
        return rl_error(RL_EINVAL, "%s: model.merges[%zu] makes '%s', which is not in the "
                        "vocabulary", t->where, i, utf8_show(both->data, both->size).text);
    *merge_slot(t, pair_of(id[0], id[1])) = (struct merge_slot) { pair_of(id[0], id[1]), rank };
    joint_add(t, id[0], id[1]);
done:
    return rc;
}

static int merges_read(struct tokenizer *t, const struct json *list)
{
    size_t n = json_size(list);
    uint32_t slots = 16;
    struct text both = {0};
    int ranks = 0, rc = RL_OK;

    if (!json_is_null(list) && !json_is_array(list))
        return rl_error(RL_EINVAL, "%s: model.merges is not a list", t->where);
    if (n >= 1 << 26)
        return rl_error(RL_EINVAL, "%s: model.merges has %zu entries; at most %d are possible",
                        t->where, n, (1 << 26) - 1);
    while (slots < 2 * n)
        slots *= 2;
    t->merges = room_for(slots, sizeof *t->merges);
    t->joints = room_for(slots, sizeof *t->joints);
    t->merged = room_for(n, sizeof *t->merged);
    if (!t->merges || !t->joints || !t->merged)
        return RL_ENOFIT;
    t->merge_mask = t->joint_mask = slots - 1;
    memset(t->joints, 0xff, slots * sizeof *t->joints);
    for (uint32_t i = 0; i < slots; i++)
        t->merges[i].rank = -1;
    for (size_t i = 0; i < n; i++) {
        const char *line = json_string(json_at(list, i), "");
        if (strncmp(line, "#version", 8) == 0)       /* merges.txt's heading, carried along */
            continue;
        TRY(merge_read(t, json_at(list, i), i, ranks++, &both));
    }
done:
    text_free(&both);
    return rc;
}

/* Options that change the result and are not offered: they must be off. */
static int options_off(const struct tokenizer *t, const struct json *model)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const struct json *dropout = json_get(model, "dropout");

    for (int i = 0; i < 2; i++) {
        const struct json *v = json_get(model, affixes[i]);
        if (!json_is_null(v) && (!json_is_string(v) || json_string_size(v) > 0))
            return rl_error(RL_EINVAL, "%s: model.%s is not supported", t->where, affixes[i]);
    }
    if (!json_is_null(dropout) && (!json_is_number(dropout) || json_number(dropout, 1) != 0))
        return rl_error(RL_EINVAL, "%s: model.dropout is not supported: the ids of a text must not "
                        "be random", t->where);
    return RL_OK;
}

int bpe_read(struct tokenizer *t, const struct json *model)
{
    const struct json *unk = json_get(model, "unk_token");
    int rc = RL_OK;

    TRY(options_off(t, model));
    TRY(field_bool(t, model, "model", "fuse_unk", false, &t->fuse_unk));
    TRY(field_bool(t, model, "model", "byte_fallback", false, &t->byte_fallback));
    TRY(field_bool(t, model, "model", "ignore_merges", false, &t->ignore_merges));
    t->unk = -1;
    if (!json_is_null(unk)) {
        if (!json_is_string(unk))
            return rl_error(RL_EINVAL, "%s: model.unk_token is not a string", t->where);
        t->unk = vocabulary_id(t, json_string(unk, ""), json_string_size(unk));
        if (t->unk < 0)
            return rl_error(RL_EINVAL, "%s: model.unk_token '%s' is not in the vocabulary",
                            t->where, utf8_show(json_string(unk, ""), json_string_size(unk)).text);
    }
    for (int i = 0; i < 256; i++) {
        char name[8] = { '<', '0', 'x', "0123456789ABCDEF"[i >> 4], "0123456789ABCDEF"[i & 15],
                         '>' };
        t->byte_ids[i] = vocabulary_id(t, name, 6);
    }
    TRY(merges_read(t, json_get(model, "merges")));
done:
    return rc;
}

void bpe_free(struct tokenizer *t)
{
    free(t->merges);
    free(t->joints);
    free(t->merged);
    free(t->symbols);
    free(t->heap);
}

/* ---- encoding */

/* A heap entry is rank << 32 | place: the least is the next merge. */
static void heap_sink(uint64_t *heap, size_t at, size_t n)
{
    uint64_t moved = heap[at];

    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && heap[child + 1] < heap[child];
        if (moved <= heap[child])
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void heap_rise(uint64_t *heap, size_t at)
{
    uint64_t moved = heap[at];

    for (; at > 0 && moved < heap[(at - 1) / 2]; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = moved;
}

static void heap_offer(struct tokenizer *t, size_t *n, int left, int right)
{
    int rank = merge_rank(t, t->symbols[left].id, t->symbols[right].id);

    if (rank < 0)
        return;
    t->heap[*n] = (uint64_t)rank << 32 | (uint32_t)left;
    heap_rise(t->heap, (*n)++);
}

/* Take the next merge from the heap; entries whose pair has changed since are passed over. */
static void merge_next(struct tokenizer *t, size_t *n)
{
    int rank = (int)(t->heap[0] >> 32), place = (int)(uint32_t)t->heap[0];
    struct symbol *left = &t->symbols[place], *right;
    int now;

    t->heap[0] = t->heap[--*n];
    if (*n > 0)
        heap_sink(t->heap, 0, *n);
    if (left->id < 0 || left->next < 0)
        return;
    right = &t->symbols[left->next];
    now = merge_rank(t, left->id, right->id);
    if (now < 0 || t->merged[now] != t->merged[rank])
        return;
    left->id = t->merged[rank];
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0)
        t->symbols[left->next].prev = place;
    if (left->prev >= 0)
        heap_offer(t, n, left->prev, place);
    if (left->next >= 0)
        heap_offer(t, n, place, left->next);
}

/* Merge the symbols gathered so far and append what is left of them. */
static void word_end(struct tokenizer *t, struct ids *out)
{
    size_t n = 0;

    for (size_t i = 1; i < t->n_symbols; i++) {
        int rank = merge_rank(t, t->symbols[i - 1].id, t->symbols[i].id);
        if (rank >= 0)
            t->heap[n++] = (uint64_t)rank << 32 | (uint32_t)(i - 1);
    }
    for (size_t at = n / 2; at-- > 0;)
        heap_sink(t->heap, at, n);
    while (n > 0)
        merge_next(t, &n);
    for (size_t i = 0; i < t->n_symbols; i++)
        if (t->symbols[i].id >= 0)
            ids_add(out, t->symbols[i].id);
    t->n_symbols = 0;
}

/* Each merge takes one entry from the heap and adds at most two, and there are fewer merges than
 * symbols: twice their number is room enough. */
static int symbols_room(struct tokenizer *t)
{
    size_t room = t->symbol_room ? 2 * t->symbol_room : 256;
    struct symbol *symbols = realloc(t->symbols, room * sizeof *symbols);
    uint64_t *heap = symbols ? realloc(t->heap, 2 * room * sizeof *heap) : NULL;

    if (symbols)
        t->symbols = symbols;
    if (!heap)
        return rl_error(RL_ENOFIT, "no memory to tokenize a word of %zu symbols", room);
    t->heap = heap;
    t->symbol_room = room;
    return RL_OK;
}

static int symbol_add(struct tokenizer *t, int id, struct ids *out)
{
    int at, rc = RL_OK;

    if (t->n_symbols > 0 && !joins(t, t->symbols[t->n_symbols - 1].id, id))
        word_end(t, out);
    if (t->n_symbols == t->symbol_room)
        TRY(symbols_room(t));
    at = (int)t->n_symbols++;
    t->symbols[at] = (struct symbol) { .id = id, .prev = at - 1, .next = -1 };
    if (at > 0)
        t->symbols[at - 1].next = at;
done:
    return rc;
}

/* A character that is no token becomes its bytes, if all of them are tokens. */
static bool has_bytes(const struct tokenizer *t, const char *s, int n)
{
    for (int i = 0; i < n; i++)
        if (!t->byte_fallback || t->byte_ids[(unsigned char)s[i]] < 0)
            return false;
    return true;
}

int bpe_encode(struct tokenizer *t, const char *word, size_t bytes, struct ids *out)
{
    int whole = t->ignore_merges ? vocabulary_id(t, word, bytes) : -1, rc = RL_OK;
    bool unknown = false;        /* an unknown token waits for what follows, to fuse with it */

    if (whole >= 0) {
        ids_add(out, whole);
        return RL_OK;
    }
    t->n_symbols = 0;
    for (size_t at = 0, n; at < bytes; at += n) {
        n = (size_t)utf8_next(word + at, bytes - at, NULL);
        int id = vocabulary_id(t, word + at, n);
        if (id >= 0) {
            if (unknown)
                TRY(symbol_add(t, t->unk, out));
            unknown = false;
            TRY(symbol_add(t, id, out));
        } else if (has_bytes(t, word + at, (int)n)) {
            /* a waiting unknown token stays behind these bytes: so do the models expect it */
            for (size_t i = 0; i < n; i++)
                TRY(symbol_add(t, t->byte_ids[(unsigned char)word[at + i]], out));
        } else if (t->unk >= 0) {
            if (unknown && !t->fuse_unk)
                TRY(symbol_add(t, t->unk, out));
            unknown = true;
        }
    }
    if (unknown)
        TRY(symbol_add(t, t->unk, out));
    word_end(t, out);
done:
    return rc;
}
