/* Instructions about paragraphs, lists, titles, beginnings and ends.  What looks odd follows the
 * expressions of the reference, which are in the comments. */
#include <string.h>

#include "data/unicode.h"
#include "data/utf8.h"
#include "reward/kinds/instruction.h"

#define WORD(s) span_of(s, strlen(s))

static enum verdict verdict(bool followed)
{
    return followed ? FOLLOWED : NOT_FOLLOWED;
}

static bool blank(struct span a)
{
    return span_strip(a).n == 0;
}

/* Is there white space at i?  *bytes: of it, 0 without. */
static bool space_at(struct span a, size_t i, size_t *bytes)
{
    uint32_t c;
    int n = i < a.n ? utf8_next(a.s + i, a.n - i, &c) : 0;

    *bytes = n > 0 && unicode_is_space(c) ? (size_t)n : 0;
    return *bytes > 0;
}

/* ---- paragraphs and parts */

/* Parts between "***"; only the first and the last may be empty, and then do not count. */
enum verdict check_paragraphs(struct check *c)
{
    struct parts parts = { c->text, false };
    struct span part;
    int64_t count = 0, index = 0;

    while (span_part(&parts, WORD("***"), &part)) {
        bool last = parts.ended;
        if (!blank(part))
            count++;
        else if (index > 0 && !last)
            return NOT_FOLLOWED;
        index++;
    }
    return verdict(count == argument_int(c, "num_paragraphs"));
}

/* The first word of a paragraph up to . , ? ! ' or ", without quotes before it. */
static struct span first_word(struct span paragraph)
{
    struct span word = span_strip(paragraph);
    size_t n = 0, bytes;

    while (word.n > 0 && word.s[0] == '\'')
        word = span_from(word, 1);
    while (word.n > 0 && word.s[0] == '"')
        word = span_from(word, 1);
    while (n < word.n && !space_at(word, n, &bytes) && !strchr(".,?!'\"", word.s[n]))
        n++;
    return span_of(word.s, n);
}

enum verdict check_nth_paragraph(struct check *c)
{
    struct parts parts = { c->lower, false };
    int64_t wanted = argument_int(c, "num_paragraphs"), nth = argument_int(c, "nth_paragraph");
    struct span first = span_lower(c, argument_text(c, "first_word")), part, word = { "", 0 };
    int64_t count = 0, index = 0;

    while (span_part(&parts, WORD("\n\n"), &part)) {
        count += !blank(part);
        if (++index == nth)
            word = first_word(part);
    }
    return verdict(count == wanted && nth <= count && word.n > 0 && span_equal(word, first));
}

/* Two different answers with ****** between them. */
enum verdict check_two_responses(struct check *c)
{
    struct parts parts = { c->text, false };
    struct span part, answers[2];
    int count = 0, index = 0;

    for (; span_part(&parts, WORD("******"), &part); index++) {
        if (blank(part) && index > 0 && !parts.ended)
            return NOT_FOLLOWED;
        if (!blank(part) && count++ < 2)
            answers[count - 1] = span_strip(part);
    }
    return verdict(count == 2 && !span_equal(answers[0], answers[1]));
}

/* \s?SECTION\s?\d+ */
enum verdict check_sections(struct check *c)
{
    struct span word = argument_text(c, "section_spliter"), a = c->text;
    int64_t sections = 0;

    for (size_t i = span_find(a, 0, word); word.n > 0 && i < a.n; i = span_find(a, i, word)) {
        size_t digits, space;
        i += word.n;
        space_at(a, i, &space);
        digits = i + space;
        while (digits < a.n && a.s[digits] >= '0' && a.s[digits] <= '9')
            digits++;
        sections += digits > i + space;
        i = digits > i + space ? digits : i;
    }
    return verdict(sections >= argument_int(c, "num_sections"));
}

/* ---- marks in the text */

/* \[.*?\] */
enum verdict check_placeholders(struct check *c)
{
    struct span a = c->text;
    int64_t found = 0;

    for (size_t i = 0; i < a.n; i++) {
        size_t end = i + 1;
        if (a.s[i] != '[')
            continue;
        while (end < a.n && a.s[end] != ']' && a.s[end] != '\n')
            end++;
        if (end < a.n && a.s[end] == ']') {
            found++;
            i = end;
        }
    }
    return verdict(found >= argument_int(c, "num_placeholders"));
}

/* Spans between `mark`s on one line without a * between them, those that hold something. */
static int64_t marked(struct span a, struct span mark)
{
    int64_t found = 0;

    for (size_t i = 0; i < a.n; i++) {
        size_t begin = i + mark.n, end = begin;
        if (!span_starts(span_from(a, i), mark))
            continue;
        while (end < a.n && a.s[end] != '*' && a.s[end] != '\n')
            end++;
        if (!span_starts(span_from(a, end < a.n ? end : a.n), mark))
            continue;
        found += !blank(span_of(a.s + begin, end - begin));
        i = end + mark.n - 1;
    }
    return found;
}

/* \*[^\n\*]*\* and \*\*[^\n\*]*\*\* */
enum verdict check_highlights(struct check *c)
{
    int64_t found = marked(c->text, WORD("*")) + marked(c->text, WORD("**"));

    return verdict(found >= argument_int(c, "num_highlights"));
}

/* <<[^\n]+>> with something in it. */
enum verdict check_title(struct check *c)
{
    struct parts lines = { c->text, false };
    struct span line;

    while (span_part(&lines, WORD("\n"), &line)) {
        size_t begin = span_find(line, 0, WORD("<<")), end = line.n;
        while (end >= begin + 3 && !span_ends(span_of(line.s, end), WORD(">>")))
            end--;
        if (end < begin + 5)
            continue;
        line = span_of(line.s + begin, end - begin);
        while (line.n > 0 && line.s[0] == '<')
            line = span_from(line, 1);
        while (line.n > 0 && line.s[line.n - 1] == '>')
            line.n--;
        if (!blank(line))
            return FOLLOWED;
    }
    return NOT_FOLLOWED;
}

/* ^\s*\*[^\*].*$ and ^\s*-.*$: a lone * takes the next line with it. */
enum verdict check_bullets(struct check *c)
{
    struct parts lines = { c->text, false };
    struct span line;
    int64_t found = 0;
    bool taken = false;

    while (span_part(&lines, WORD("\n"), &line)) {
        struct span item = span_strip(line);
        bool star = item.n > 0 && item.s[0] == '*' && !taken;
        bool lone = star && item.n == 1 && line.s + line.n == item.s + 1 && !lines.ended;
        taken = lone;
        found += star && (lone || (item.n > 1 && item.s[1] != '*') ||
                          (item.n == 1 && line.s + line.n > item.s + 1));
        found += item.n > 0 && item.s[0] == '-';
    }
    return verdict(found == argument_int(c, "num_bullets"));
}

/* Does `pattern` match at the beginning of a?  ~ in it stands for white space that may be there. */
static bool matches(struct span a, const char *pattern)
{
    size_t i = 0, bytes;

    for (; *pattern; pattern++) {
        if (*pattern == '~') {
            space_at(a, i, &bytes);
            i += bytes;
        } else if (i >= a.n || a.s[i++] != *pattern) {
            return false;
        }
    }
    return true;
}

/* p\.\s?p\.\s?s and p\.\s?s\. ; any other marker as it is. */
enum verdict check_postscript(struct check *c)
{
    struct span marker = argument_text(c, "postscript_marker");
    const char *pattern = NULL;

    if (span_equal(marker, WORD("P.P.S")))
        pattern = "p.~p.~s";
    else if (span_equal(marker, WORD("P.S.")))
        pattern = "p.~s.";
    if (!pattern)
        return verdict(span_find(c->lower, 0, span_lower(c, marker)) < c->lower.n);
    for (size_t i = 0; i < c->lower.n; i++)
        if (matches(span_from(c->lower, i), pattern))
            return FOLLOWED;
    return NOT_FOLLOWED;
}

enum verdict check_no_comma(struct check *c)
{
    return verdict(!memchr(c->text.s, ',', c->text.n));
}

/* ---- the whole */

enum verdict check_constrained(struct check *c)
{
    static const char *const answers[] = { "My answer is yes.", "My answer is no.",
                                           "My answer is maybe." };

    for (int i = 0; i < 3; i++)
        if (span_find(c->text, 0, WORD(answers[i])) < c->text.n)
            return FOLLOWED;
    return NOT_FOLLOWED;
}

/* JSON, also between ``` or ```json and ```. */
enum verdict check_json(struct check *c)
{
    static const char *const fences[] = { "```json", "```Json", "```JSON", "```" };
    struct span a = span_strip(c->text);
    struct json *value;

    for (int i = 0; i < 4; i++)
        if (span_starts(a, WORD(fences[i])))
            a = span_from(a, strlen(fences[i]));
    if (span_ends(a, WORD("```")))
        a.n -= 3;
    a = span_strip(a);
    value = json_try(a.s, a.n);
    json_free(value);
    return verdict(value != NULL);
}

enum verdict check_repeat(struct check *c)
{
    struct span prompt = span_strip(span_lower(c, argument_text(c, "prompt_to_repeat")));

    return verdict(span_starts(span_strip(c->lower), prompt));
}

enum verdict check_end(struct check *c)
{
    struct span phrase = span_strip(span_lower(c, argument_text(c, "end_phrase")));
    struct span a = span_strip(c->lower);

    while (a.n > 0 && a.s[a.n - 1] == '"')
        a.n--;
    while (a.n > 0 && a.s[0] == '"')
        a = span_from(a, 1);
    return verdict(span_ends(a, phrase));
}

enum verdict check_quotation(struct check *c)
{
    struct span a = span_strip(c->text);

    return verdict(a.n > 1 && a.s[0] == '"' && a.s[a.n - 1] == '"');
}
