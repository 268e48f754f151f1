/* Ids back to text.  A decoder is a chain of rules over a list of tokens:
 *
 *   ▁Once ▁<0xE2><0x82><0xAC>  --Replace ▁ by ' '-->  --ByteFallback-->  " Once" " " "€"
 *      --Fuse-->  " Once €"  --Strip one ' ' in front-->  "Once €"
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/tokenizer_internal.h"
#include "data/utf8.h"

/* ---- reading */

static int strip_read(const struct tokenizer *t, const struct json *v, const char *path,
                      struct rule *rule)
{
    int rc = RL_OK;

    rule->kind = RULE_STRIP;
    TRY(field_text(t, v, path, "content", &rule->content));
    TRY(field_integer(t, v, path, "start", 0, INT32_MAX, &rule->start));
    TRY(field_integer(t, v, path, "stop", 0, INT32_MAX, &rule->stop));
    if (rule->content.size == 0
        || (size_t)utf8_next(rule->content.data, rule->content.size, NULL) != rule->content.size)
        rc = rl_error(RL_EINVAL, "%s: %s Strip: content is not one character", t->where, path);
done:
    return rc;
}

static int metaspace_rule(const struct tokenizer *t, const struct json *v, const char *path,
                          struct rule *rule)
{
    enum scheme scheme;
    int rc = RL_OK;

    rule->kind = RULE_METASPACE;
    TRY(scheme_read(t, v, path, &scheme));
    rule->keep_first = scheme == SCHEME_NEVER;
    TRY(field_text(t, v, path, "replacement", &rule->pattern));
    if (rule->pattern.size == 0)
        TRY(rl_error(RL_EINVAL, "%s: %s.replacement is empty", t->where, path));
    text_add(&rule->content, " ", 1);
done:
    return rc;
}

static int decoder_rule(const struct tokenizer *t, const struct json *v, const char *path,
                        struct rule *rule)
{
    const char *type = json_string(json_get(v, "type"), "");

    if (strcmp(type, "Replace") == 0)
        return rule_read_replace(t, v, path, rule);
    if (strcmp(type, "Strip") == 0)
        return strip_read(t, v, path, rule);
    if (strcmp(type, "Metaspace") == 0)
        return metaspace_rule(t, v, path, rule);
    rule->kind = strcmp(type, "Fuse") == 0 ? RULE_FUSE : RULE_BYTE_FALLBACK;
    if (strcmp(type, "Fuse") == 0 || strcmp(type, "ByteFallback") == 0)
        return RL_OK;
    return unsupported(t, path, json_get(v, "type"),
                       "Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence");
}

int decoder_read(struct tokenizer *t, const struct json *v)
{
    return rules_read(t, v, "decoder", "decoders", &t->decoder, decoder_rule);
}

/* ---- using: token i is text[ends[i - 1]] .. text[ends[i]] */

struct list {
    struct text text;
    size_t *ends;
    int count;
};

static void list_end(struct list *l)
{
    l->ends[l->count++] = l->text.size;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that a token <0xE2> stands for, else -1.  A plus sign counts as a leading zero. */
static int byte_of(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[4]) < 0)
        return -1;
    if (s[3] == '+')
        return hex(s[4]);
    return hex(s[3]) < 0 ? -1 : 16 * hex(s[3]) + hex(s[4]);
}

/* A run of byte tokens becomes its text, or U+FFFD for each of its bytes if it is not UTF-8. */
static void run_end(struct list *out, size_t begin)
{
    size_t n = out->text.size - begin;

    if (n == 0)
        return;
    if (utf8_valid(out->text.data + begin, n) == n) {
        list_end(out);
        return;
    }
    out->text.size = begin;
    for (size_t i = 0; i < n; i++) {
        text_add(&out->text, "\xef\xbf\xbd", 3);
        list_end(out);
    }
}

static void byte_fallback(const struct list *in, struct list *out)
{
    size_t begin = 0;                /* of the run in out->text */

    for (int i = 0; i < in->count; i++) {
        size_t at = i > 0 ? in->ends[i - 1] : 0, n = in->ends[i] - at;
        int byte = byte_of(in->text.data + at, n);
        if (byte >= 0) {
            text_add(&out->text, &(char) { (char)byte }, 1);
            continue;
        }
        run_end(out, begin);
        text_add(&out->text, in->text.data + at, n);
        list_end(out);
        begin = out->text.size;
    }
    run_end(out, begin);
}

/* Take up to start contents off the front and stop off the end; both may want the same one. */
static void strip(const struct rule *rule, const char *s, size_t n, struct list *out)
{
    const struct text *c = &rule->content;
    size_t from = 0, to = n;

    for (int64_t i = 0; i < rule->start && n - from >= c->size; i++, from += c->size)
        if (memcmp(s + from, c->data, c->size) != 0)
            break;
    for (int64_t i = 0; i < rule->stop && to >= c->size; i++, to -= c->size)
        if (memcmp(s + to - c->size, c->data, c->size) != 0)
            break;
    if (from < to)
        text_add(&out->text, s + from, to - from);
}

static int rule_run(const struct rule *rule, const struct list *in, size_t most, struct list *out)
{
    int rc = RL_OK;

    if (rule->kind == RULE_BYTE_FALLBACK) {
        byte_fallback(in, out);
        return RL_OK;
    }
    for (int i = 0; i < in->count; i++) {
        size_t at = i > 0 ? in->ends[i - 1] : 0, n = in->ends[i] - at;
        const char *s = in->text.data + at;
        struct rule first = *rule;
        switch (rule->kind) {
        case RULE_METASPACE:
            if (i == 0 && !rule->keep_first)
                first.content.size = 0;      /* the first token's spaces were put there by us */
            TRY(replace_all(&first, s, n, most, &out->text));
            break;
        case RULE_REPLACE:
            TRY(replace_all(rule, s, n, most, &out->text));
            break;
        case RULE_STRIP:
            strip(rule, s, n, out);
            break;
        default:                             /* Fuse: the same text, one token */
            text_add(&out->text, s, n);
            break;
        }
        if (rule->kind != RULE_FUSE || i == in->count - 1)
            list_end(out);
    }
done:
    return rc;
}

/* Without a decoder the tokens are words with a space between them. */
static int names_add(struct tokenizer *t, const int *ids, int count, bool skip_special,
                     struct list *in)
{
    for (int i = 0; i < count; i++) {
        size_t n;
        const char *name = vocabulary_name(t, ids[i], &n);
        if (ids[i] < 0)
            return rl_error(RL_EINVAL, "decode: ids[%d] is %d; an id is 0 or more", i, ids[i]);
        if (!name || (skip_special && t->tokens[ids[i]].special))
            continue;
        if (t->decoder.count == 0 && in->count > 0)
            text_add(&in->text, " ", 1);
        text_add(&in->text, name, n);
        list_end(in);
    }
    return RL_OK;
}

int tokenizer_decode(struct tokenizer *t, const int *ids, int count, bool skip_special,
                     struct text *out)
{
    struct list in = { .text = t->whole }, next = { .text = t->swap };
    size_t most;
    int rc = RL_OK;

    t->whole = t->swap = (struct text) {0};  /* lent to the lists for their room */
    text_clear(&in.text);
    in.ends = room_for((size_t)count, sizeof *in.ends);
    next.ends = room_for((size_t)count, sizeof *next.ends);
    if (!in.ends || !next.ends)
        TRY(RL_ENOFIT);
    TRY(names_add(t, ids, count, skip_special, &in));
    most = text_grown(in.text.size);
    for (int i = 0; i < t->decoder.count; i++) {
        struct list done = in;
        text_clear(&next.text);
        next.count = 0;
        TRY(rule_run(&t->decoder.items[i], &in, most, &next));
        in = next;
        next = done;
    }
    text_add(out, in.text.data, in.text.size);
done:
    free(in.ends);
    free(next.ends);
    t->whole = in.text;
    t->swap = next.text;
    return rc;
}

/* By the rules, but for what they do at the ends of a text. */
int tokenizer_piece(struct tokenizer *t, int id, struct text *out)
{
    size_t ends[2], n = 0;
    struct list in = { .text = t->whole, .ends = &ends[0] };
    struct list next = { .text = t->swap, .ends = &ends[1] };
    const char *name = vocabulary_name(t, id, &n);
    bool fused = false;
    int byte = -1, rc = RL_OK;

    t->whole = t->swap = (struct text) {0};
    text_clear(&in.text);
    if (name && !t->tokens[id].special) {
        text_adds(&in.text, t->decoder.count == 0 ? " " : "");
        text_add(&in.text, name, n);
    }
    list_end(&in);
    for (int i = 0; in.text.size > 0 && byte < 0 && i < t->decoder.count; i++) {
        struct rule rule = t->decoder.items[i];
        struct list done = in;
        fused |= rule.kind == RULE_FUSE;
        if (rule.kind == RULE_BYTE_FALLBACK)
            byte = byte_of(in.text.data, in.text.size);
        if (rule.kind == RULE_BYTE_FALLBACK || rule.kind == RULE_FUSE
            || (rule.kind == RULE_STRIP && fused))
            continue;
        rule.keep_first = true;
        text_clear(&next.text);
        next.count = 0;
        TRY(rule_run(&rule, &in, text_grown(n), &next));
        in = next;
        next = done;
    }
    if (byte >= 0)
        text_add(out, &(char) { (char)byte }, 1);
    else
        text_add(out, in.text.size > 0 ? in.text.data : "", in.text.size);
done:
    t->whole = in.text;
    t->swap = next.text;
    return rc;
}
