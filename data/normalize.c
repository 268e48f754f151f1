/* What happens to text before the merges: the normalizer's rules, one after the other, then
 * Metaspace, which marks spaces with a visible character and may cut before each of them.
 *
 *   "a bc"  --Prepend _-->  "_a bc"  --Replace ' ' by _-->  "_a_bc"  --Metaspace, split-->  _a  _bc
 *
 * (_ stands for U+2581, which sentencepiece writes for a space.)
 */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "data/tokenizer_internal.h"
#include "data/utf8.h"

/* ---- reading */

static int rules_grow(struct rules *rules)
{
    struct rule *items = realloc(rules->items, ((size_t)rules->count + 1) * sizeof *items);

    if (!items)
        return rl_error(RL_ENOFIT, "no memory for a tokenizer of %d rules", rules->count + 1);
    rules->items = items;
    rules->items[rules->count++] = (struct rule) {0};
    return RL_OK;
}

/* `list` is the member of a Sequence that holds its parts; `read` fills one rule. */
int rules_read(struct tokenizer *t, const struct json *v, const char *path, const char *list,
               struct rules *rules,
               int (*read)(const struct tokenizer *t, const struct json *v, const char *path,
                           struct rule *rule))
{
    int rc = RL_OK;

    if (json_is_null(v))
        return RL_OK;
    if (strcmp(json_string(json_get(v, "type"), ""), "Sequence") == 0) {
        const struct json *parts = json_get(v, list);
        if (!json_is_array(parts))
            return rl_error(RL_EINVAL, "%s: %s of type Sequence has no list `%s`", t->where, path,
                            list);
        for (size_t i = 0; i < json_size(parts); i++)
            TRY(rules_read(t, json_at(parts, i), path, list, rules, read));
    } else {
        TRY(rules_grow(rules));
        TRY(read(t, v, path, &rules->items[rules->count - 1]));
    }
done:
    return rc;
}

void rules_free(struct rules *rules)
{
    for (int i = 0; i < rules->count; i++) {
        text_free(&rules->items[i].pattern);
        text_free(&rules->items[i].content);
    }
    free(rules->items);
}

int rule_read_replace(const struct tokenizer *t, const struct json *v, const char *path,
                      struct rule *rule)
{
    const struct json *pattern = json_get(v, "pattern");
    int rc = RL_OK;

    rule->kind = RULE_REPLACE;
    if (!json_is_null(json_get(pattern, "Regex")))
        return rl_error(RL_EINVAL, "%s: %s Replace with a Regex is not supported (a String is)",
                        t->where, path);
    TRY(field_text(t, pattern, path, "String", &rule->pattern));
    TRY(field_text(t, v, path, "content", &rule->content));
    if (rule->pattern.size == 0)
        rc = rl_error(RL_EINVAL, "%s: %s Replace has an empty pattern", t->where, path);
done:
    return rc;
}

static int normalizer_rule(const struct tokenizer *t, const struct json *v, const char *path,
                           struct rule *rule)
{
    static const char *const forms[] = { "NFC", "NFD", "NFKC", "NFKD" };
    const char *type = json_string(json_get(v, "type"), "");

    if (strcmp(type, "Replace") == 0)
        return rule_read_replace(t, v, path, rule);
    if (strcmp(type, "Prepend") == 0) {
        rule->kind = RULE_PREPEND;
        return field_text(t, v, path, "prepend", &rule->content);
    }
    if (strcmp(type, "Lowercase") == 0) {
        rule->kind = RULE_LOWERCASE;
        return RL_OK;
    }
    for (int form = FORM_NFC; form <= FORM_NFKD; form++) {
        if (strcmp(type, forms[form]) == 0) {
            rule->kind = RULE_FORM;
            rule->form = (enum form)form;
            return RL_OK;
        }
    }
    return unsupported(t, path, json_get(v, "type"),
                       "Prepend, Replace, Lowercase, NFC, NFD, NFKC, NFKD, Sequence");
}

int normalizer_read(struct tokenizer *t, const struct json *v)
{
    return rules_read(t, v, "normalizer", "normalizers", &t->normalizer, normalizer_rule);
}

/* prepend_scheme, or add_prefix_space as older files say it. */
int scheme_read(const struct tokenizer *t, const struct json *v, const char *path,
                enum scheme *scheme)
{
    static const char *const names[] = { "never", "first", "always" };
    const struct json *given = json_get(v, "prepend_scheme");
    bool prefix;
    int rc = RL_OK;

    TRY(field_bool(t, v, path, "add_prefix_space", true, &prefix));
    *scheme = prefix ? SCHEME_ALWAYS : SCHEME_NEVER;
    if (json_is_null(given))
        return RL_OK;
    for (int i = SCHEME_NEVER; i <= SCHEME_ALWAYS; i++) {
        if (strcmp(json_string(given, ""), names[i]) == 0) {
            *scheme = (enum scheme)i;
            if (!prefix && i != SCHEME_NEVER)
                return rl_error(RL_EINVAL, "%s: %s Metaspace: add_prefix_space is false and "
                                "prepend_scheme is \"%s\"", t->where, path, names[i]);
            return RL_OK;
        }
    }
    rc = rl_error(RL_EINVAL, "%s: %s.prepend_scheme is not \"always\", \"first\" or \"never\"",
                  t->where, path);
done:
    return rc;
}

int metaspace_read(struct tokenizer *t, const struct json *v)
{
    const char *path = "pre_tokenizer", *type = json_string(json_get(v, "type"), "");
    const struct json *parts = json_get(v, "pretokenizers");
    struct metaspace *m = &t->metaspace;
    int rc = RL_OK;

    if (json_is_null(v))
        return RL_OK;
    if (strcmp(type, "Sequence") == 0 && json_size(parts) == 1)
        return metaspace_read(t, json_at(parts, 0));
    if (strcmp(type, "Metaspace") != 0)
        return unsupported(t, path, json_get(v, "type"), "Metaspace, or none");
    m->on = true;
    TRY(field_text(t, v, path, "replacement", &m->replacement));
    TRY(scheme_read(t, v, path, &m->scheme));
    TRY(field_bool(t, v, path, "split", true, &m->split));
    if (m->replacement.size == 0
        || (size_t)utf8_next(m->replacement.data, m->replacement.size, NULL)
           != m->replacement.size)
        rc = rl_error(RL_EINVAL, "%s: %s.replacement is not one character", t->where, path);
done:
    return rc;
}

/* ---- using */

static int too_long(size_t most)
{
    return rl_error(RL_EINVAL, "the tokenizer's rules make a text longer than %zu bytes: more than "
                    "64 times what it was", most);
}

int replace_all(const struct rule *rule, const char *s, size_t n, size_t most, struct text *out)
{
    const struct text *pattern = &rule->pattern;
    const char *end = s + n, *found;

    while (n > 0 && (found = memmem(s, (size_t)(end - s), pattern->data, pattern->size))) {
        if (out->size + rule->content.size > most)
            return too_long(most);
        text_add(out, s, (size_t)(found - s));
        text_add(out, rule->content.data, rule->content.size);
        s = found + pattern->size;
    }
    text_add(out, s, (size_t)(end - s));
    return RL_OK;
}

static int rule_apply(const struct rule *rule, const char *s, size_t n, size_t most,
                      struct text *out)
{
    switch (rule->kind) {
    case RULE_PREPEND:
        if (n > 0)
            text_add(out, rule->content.data, rule->content.size);
        text_add(out, s, n);
        return RL_OK;
    case RULE_REPLACE:
        return replace_all(rule, s, n, most, out);
    case RULE_FORM:
        return unicode_normalize(rule->form, s, n, out);
    case RULE_LOWERCASE:
        return unicode_lowercase(s, n, out);
    default:
        return rl_error(RL_EBUG, "a decoder's rule among the normalizer's");
    }
}

int normalize(struct tokenizer *t, const char *s, size_t n, struct text *out)
{
    size_t most = text_grown(n);
    int rc = RL_OK;

    text_clear(out);
    if (t->normalizer.count == 0)
        text_add(out, s, n);
    for (int i = 0; i < t->normalizer.count; i++) {
        struct text before = t->swap;        /* the text so far, and room for what it becomes */
        if (i > 0) {
            t->swap = *out;
            *out = before;
            s = t->swap.size > 0 ? t->swap.data : "";
            n = t->swap.size;
        }
        text_clear(out);
        TRY(rule_apply(&t->normalizer.items[i], s, n, most, out));
        if (out->size > most)
            TRY(too_long(most));
    }
done:
    return rc;
}

/* Replace spaces, put one in front where the scheme wants it, cut before each. */
int words_encode(struct tokenizer *t, const char *s, size_t n, bool at_start, struct ids *out)
{
    const struct metaspace *m = &t->metaspace;
    const struct text *mark = &m->replacement;
    size_t from = 0, size = mark->size;
    int rc = RL_OK;

    if (!m->on)
        return bpe_encode(t, s, n, out);
    text_clear(&t->spaced);
    bool marked = n >= size && memcmp(s, mark->data, size) == 0;
    if (!marked && !(n > 0 && s[0] == ' ')
        && (m->scheme == SCHEME_ALWAYS || (m->scheme == SCHEME_FIRST && at_start)))
        text_add(&t->spaced, mark->data, size);
    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ')
            text_add(&t->spaced, mark->data, size);
        else
            text_add(&t->spaced, s + i, 1);
    }
    s = t->spaced.data;
    n = t->spaced.size;
    for (size_t i = 1; m->split && i + size <= n; i++) {
        if (memcmp(s + i, mark->data, size) != 0)
            continue;
        TRY(bpe_encode(t, s + from, i - from, out));
        from = i;
    }
    TRY(bpe_encode(t, s + from, n - from, out));
done:
    return rc;
}
