/* instruction: how many of the instructions in the prompt the response follows, by the checks of
 * IFEval (Zhou et al. 2023, arXiv 2311.07911), strict form.
 *
 *   the prompt's line: {"prompt": ..., "instruction_id_list": [id, ...], "kwargs": [{...}, ...]}
 *
 * count = "share" (default): the share that is followed; "all": 1 when all are, else 0.
 *
 * Where the reference uses libraries for language, this does without, and says what it can:
 *   - language: the script of most letters must be that of the language.  Where languages share a
 *     script (Latin, Cyrillic, Arabic, Devanagari) the right script proves nothing: then the
 *     instruction counts neither way.  "English" in capitals or small letters means Latin script.
 *   - sentences end at . ! ? (or their CJK forms) before white space or the end, not behind
 *     titles such as "Mr.", single capitals or digits before digits.
 *   - words are runs of letters, marks, digits and _.
 * A response none of whose instructions can be checked has no score (NaN): it is left out.
 */
#include "reward/kinds/instruction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "data/utf8.h"
#include "reward/kinds/kinds.h"

static const struct {
    const char *id;
    enum verdict (*check)(struct check *c);
} checks[] = {
    { "change_case:capital_word_frequency", check_capital_words },
    { "change_case:english_capital", check_english_capital },
    { "change_case:english_lowercase", check_english_lowercase },
    { "combination:repeat_prompt", check_repeat },
    { "combination:two_responses", check_two_responses },
    { "detectable_content:number_placeholders", check_placeholders },
    { "detectable_content:postscript", check_postscript },
    { "detectable_format:constrained_response", check_constrained },
    { "detectable_format:json_format", check_json },
    { "detectable_format:multiple_sections", check_sections },
    { "detectable_format:number_bullet_lists", check_bullets },
    { "detectable_format:number_highlighted_sections", check_highlights },
    { "detectable_format:title", check_title },
    { "keywords:existence", check_existence },
    { "keywords:forbidden_words", check_forbidden },
    { "keywords:frequency", check_frequency },
    { "keywords:letter_frequency", check_letter_frequency },
    { "language:response_language", check_language },
    { "length_constraints:nth_paragraph_first_word", check_nth_paragraph },
    { "length_constraints:number_paragraphs", check_paragraphs },
    { "length_constraints:number_sentences", check_number_sentences },
    { "length_constraints:number_words", check_number_words },
    { "punctuation:no_comma", check_no_comma },
    { "startend:end_checker", check_end },
    { "startend:quotation", check_quotation },
};
#define CHECKS (int)(sizeof checks / sizeof *checks)

struct instruction {
    bool all;
    struct text lower, scratch;
};

/* ---- spans */

struct span span_of(const char *s, size_t n)
{
    return (struct span){ s, n };
}

struct span span_from(struct span a, size_t i)
{
    return (struct span){ a.s + i, a.n - i };
}

struct span span_strip(struct span a)
{
    uint32_t c;
    int bytes;

    while (a.n > 0 && (bytes = utf8_next(a.s, a.n, &c)) > 0 && unicode_is_space(c))
        a = span_from(a, (size_t)bytes);
    while (a.n > 0 && (bytes = utf8_last(a.s, a.n, &c)) > 0 && unicode_is_space(c))
        a.n -= (size_t)bytes;
    return a;
}

bool span_equal(struct span a, struct span b)
{
    return a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}

bool span_starts(struct span a, struct span word)
{
    return a.n >= word.n && memcmp(a.s, word.s, word.n) == 0;
}

bool span_ends(struct span a, struct span word)
{
    return a.n >= word.n && memcmp(a.s + a.n - word.n, word.s, word.n) == 0;
}

size_t span_find(struct span a, size_t i, struct span word)
{
    const char *found = i <= a.n ? memmem(a.s + i, a.n - i, word.s, word.n) : NULL;

    return found ? (size_t)(found - a.s) : a.n;
}

bool span_part(struct parts *p, struct span separator, struct span *part)
{
    size_t end = span_find(p->rest, 0, separator);

    if (p->ended)
        return false;
    *part = span_of(p->rest.s, end);
    p->ended = end == p->rest.n;
    if (!p->ended)
        p->rest = span_from(p->rest, end + separator.n);
    return true;
}

struct span span_lower(struct check *c, struct span a)
{
    text_clear(c->scratch);
    unicode_lowercase_any(a.s, a.n, c->scratch);
    return span_of(c->scratch->data ? c->scratch->data : "", c->scratch->size);
}

/* ---- arguments */

struct span argument_text(struct check *c, const char *key)
{
    const struct json *v = json_get(c->arguments, key);

    if (json_string_size(v) == 0)
        c->bad = key;
    return span_of(json_string(v, ""), json_string_size(v));
}

int64_t argument_int(struct check *c, const char *key)
{
    int64_t value = json_int(json_get(c->arguments, key), INT64_MIN);

    if (value == INT64_MIN)
        c->bad = key;
    return value;
}

const struct json *argument_list(struct check *c, const char *key)
{
    const struct json *list = json_get(c->arguments, key);

    if (!json_is_array(list) || json_size(list) == 0)
        c->bad = key;
    for (size_t i = 0; i < json_size(list); i++)
        if (json_string_size(json_at(list, i)) == 0)
            c->bad = key;
    return list;
}

enum verdict argument_compare(struct check *c, const char *relation, const char *key,
                              int64_t actual)
{
    const char *word = json_string(json_get(c->arguments, relation), "");
    int64_t wanted = argument_int(c, key);

    if (strcmp(word, "at least") == 0)
        return actual >= wanted ? FOLLOWED : NOT_FOLLOWED;
    if (strcmp(word, "less than") != 0)
        c->bad = relation;
    return actual < wanted ? FOLLOWED : NOT_FOLLOWED;
}

/* ---- the kind */

int instruction_open(void **state, const struct config_reward *c, const char *where)
{
    struct instruction *in = calloc(1, sizeof *in);

    *state = in;
    if (!in)
        return rl_error(RL_ENOFIT, "%s: instruction: no memory", where);
    in->all = c->count && strcmp(c->count, "all") == 0;
    return RL_OK;
}

void instruction_close(void *state)
{
    struct instruction *in = state;

    if (!in)
        return;
    text_free(&in->lower);
    text_free(&in->scratch);
    free(in);
}

static int check_one(struct check *c, const struct response *r, const char *id,
                     enum verdict *verdict)
{
    int i = 0;

    while (i < CHECKS && strcmp(checks[i].id, id) != 0)
        i++;
    if (i == CHECKS)
        return bad_prompt(r, "asks for the instruction \"%s\", and there is none of that name", id);
    *verdict = checks[i].check(c);
    if (c->bad)
        return bad_prompt(r, "has no \"%s\" in kwargs of %s that makes sense", c->bad, id);
    return RL_OK;
}

int instruction_score(void *state, const struct response *r, double *score)
{
    struct instruction *in = state;
    const struct json *ids = json_get(r->fields, "instruction_id_list");
    const struct json *kwargs = json_get(r->fields, "kwargs");
    struct check c = { .text = { r->text, r->bytes }, .scratch = &in->scratch };
    int followed = 0, known = 0, rc = RL_OK;

    if (json_size(ids) == 0 || !json_is_array(ids))
        return bad_prompt(r, "has no \"instruction_id_list\", which instruction checks");
    text_clear(&in->lower);
    unicode_lowercase_any(r->text, r->bytes, &in->lower);
    c.lower = span_of(in->lower.data ? in->lower.data : "", in->lower.size);
    for (size_t i = 0; i < json_size(ids); i++) {
        enum verdict verdict = UNKNOWN;
        c.arguments = json_at(kwargs, i);
        TRY(check_one(&c, r, json_string(json_at(ids, i), "?"), &verdict));
        followed += verdict == FOLLOWED;
        known += verdict != UNKNOWN;
    }
    if (known == 0)
        *score = NAN;
    else
        *score = in->all ? followed == known : (double)followed / known;
done:
    return rc;
}
