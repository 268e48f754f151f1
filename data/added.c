/* Added tokens cut a text into pieces before anything else looks at it.  Those flagged `normalized`
 * are looked for in the normalized text and in their own normalized form: behind a Prepend of ▁,
 * "<s>" is found as "▁<s>", that is at the start of a text or after a space.
 *
 * A trie finds them: at each place the longest one wins, and places go from left to right.
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/tokenizer_internal.h"
#include "data/utf8.h"

/* ---- the trie: node 0 is the root, children are a list */

static int node_add(struct trie *trie, unsigned char byte)
{
    if (trie->count == trie->room) {
        int room = trie->room ? 2 * trie->room : 64;
        struct trie_node *nodes = realloc(trie->nodes, (size_t)room * sizeof *nodes);
        if (!nodes)
            return -1;
        trie->nodes = nodes;
        trie->room = room;
    }
    trie->nodes[trie->count] = (struct trie_node) { .added = -1, .byte = byte };
    return trie->count++;
}

static int child_of(const struct trie *trie, int node, unsigned char byte)
{
    int child = trie->nodes[node].child;

    while (child > 0 && trie->nodes[child].byte != byte)
        child = trie->nodes[child].next;
    return child;
}

/* Of two equal forms the first one put in is found. */
static int trie_put(struct trie *trie, const char *form, size_t n, int added)
{
    int node = trie->count > 0 ? 0 : node_add(trie, 0);

    for (size_t i = 0; i < n && node >= 0; i++) {
        int child = child_of(trie, node, (unsigned char)form[i]);
        if (child == 0) {
            child = trie->count < 1 << 28 ? node_add(trie, (unsigned char)form[i]) : -1;
            if (child > 0) {
                trie->nodes[child].next = trie->nodes[node].child;
                trie->nodes[node].child = child;
            }
        }
        node = child;
    }
    if (node < 0)
        return rl_error(RL_ENOFIT, "no memory for added tokens");
    if (trie->nodes[node].added < 0)
        trie->nodes[node].added = added;
    return RL_OK;
}

/* ---- reading */

static int flags_read(struct tokenizer *t, const struct json *v, struct added *a)
{
    const char *path = "added_tokens[]";
    int rc = RL_OK;

    TRY(field_bool(t, v, path, "special", false, &a->special));
    TRY(field_bool(t, v, path, "normalized", !a->special, &a->normalized));
    TRY(field_bool(t, v, path, "lstrip", false, &a->lstrip));
    TRY(field_bool(t, v, path, "rstrip", false, &a->rstrip));
    TRY(field_bool(t, v, path, "single_word", false, &a->single_word));
done:
    return rc;
}

static int form_put(struct tokenizer *t, int i)
{
    const struct added *a = &t->added[i];
    size_t n;
    const char *name = vocabulary_name(t, a->id, &n);
    int rc = RL_OK;

    if (!a->normalized)
        return trie_put(&t->raw, name, n, i);
    TRY(normalize(t, name, n, &t->whole));
    if (t->whole.size == 0)
        return rl_error(RL_EINVAL, "%s: the added token '%s' is flagged normalized, and "
                        "normalizing leaves nothing of it", t->where, utf8_show(name, n).text);
    TRY(trie_put(&t->normalized, t->whole.data, t->whole.size, i));
done:
    return rc;
}

/* The names are in the vocabulary already; the normalizer has been read. */
int added_read(struct tokenizer *t, const struct json *list)
{
    size_t n = json_size(list);
    int rc = RL_OK;

    t->added = room_for(n, sizeof *t->added);
    if (!t->added)
        return RL_ENOFIT;
    for (size_t i = 0; i < n; i++) {
        const struct json *v = json_at(list, i), *content = json_get(v, "content");
        struct added *a = &t->added[t->n_added++];
        a->id = vocabulary_id(t, json_string(content, ""), json_string_size(content));
        TRY(flags_read(t, v, a));
        t->tokens[a->id].special = a->special;
    }
    for (int pass = 0; pass < 2; pass++)     /* special ones first: they win ties */
        for (int i = 0; i < t->n_added; i++)
            if (t->added[i].special == (pass == 0))
                TRY(form_put(t, i));
done:
    return rc;
}

void added_free(struct tokenizer *t)
{
    free(t->added);
    free(t->raw.nodes);
    free(t->normalized.nodes);
}

/* ---- walking over the pieces of a text */

/* The next added token at or behind walk->searched: its place, and which. */
static const struct added *find(struct pieces *walk, size_t *start, size_t *end)
{
    for (size_t at = walk->searched; at < walk->bytes; at++) {
        const struct added *longest = NULL;
        int node = 0;
        for (size_t i = at; i < walk->bytes; i++) {
            node = child_of(walk->trie, node, (unsigned char)walk->text[i]);
            if (node == 0)
                break;
            if (walk->trie->nodes[node].added >= 0) {
                longest = &walk->t->added[walk->trie->nodes[node].added];
                *end = i + 1;
            }
        }
        if (longest) {
            *start = at;
            walk->searched = *end;
            return longest;
        }
    }
    return NULL;
}

static bool stands_alone(const struct pieces *walk, size_t start, size_t end)
{
    uint32_t before = ' ', behind = ' ';

    if (start > 0)
        utf8_last(walk->text, start, &before);
    if (end < walk->bytes)
        utf8_next(walk->text + end, walk->bytes - end, &behind);
    return !unicode_is_word(before) && !unicode_is_word(behind);
}

/* Not before `given`: spaces that the token before took stay there. */
static size_t spaces_before(const struct pieces *walk, size_t at)
{
    uint32_t c;

    while (at > walk->given) {
        int bytes = utf8_last(walk->text, at, &c);
        if (bytes == 0 || !unicode_is_space(c))
            break;
        at -= (size_t)bytes;
    }
    return at;
}

/* A token that is itself a space is met many times in one run: its end is looked for once. */
static size_t spaces_behind(struct pieces *walk, size_t at)
{
    uint32_t c;

    if (at <= walk->blank_end)
        return walk->blank_end;
    while (at < walk->bytes) {
        int bytes = utf8_next(walk->text + at, walk->bytes - at, &c);
        if (bytes == 0 || !unicode_is_space(c))
            break;
        at += (size_t)bytes;
    }
    walk->blank_end = at;
    return at;
}

bool pieces_next(struct pieces *walk, struct piece *p)
{
    const struct added *a = NULL;
    size_t start = 0, end = 0, given = walk->given;

    if (walk->holds) {
        walk->holds = false;
        *p = walk->held;
        return true;
    }
    while (walk->trie->count > 0 && (a = find(walk, &start, &end)))
        if (!a->single_word || stands_alone(walk, start, end))
            break;
    if (!a) {
        walk->given = walk->bytes;
        *p = (struct piece) { given, walk->bytes, -1 };
        return given < walk->bytes;
    }
    if (a->lstrip && start > given)
        start = spaces_before(walk, start);
    if (a->rstrip)
        end = spaces_behind(walk, end);
    walk->given = end;
    *p = (struct piece) { start, end, a->id };
    if (given < start) {
        walk->held = *p;
        walk->holds = true;
        *p = (struct piece) { given, start, -1 };
    }
    return true;
}
