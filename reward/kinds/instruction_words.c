/* Instructions about words, sentences, letters, case and language. */
#include <string.h>

#include "data/unicode.h"
#include "data/utf8.h"
#include "reward/kinds/instruction.h"

/* The character at i, and the one before i; 0 at the ends.  Bytes that are none are U+FFFD. */
static uint32_t character(struct span a, size_t i, size_t *bytes)
{
    uint32_t c = 0xfffd;
    int n = i < a.n ? utf8_next(a.s + i, a.n - i, &c) : 0;

    *bytes = n > 0 ? (size_t)n : 1;
    return i < a.n ? c : 0;
}

static uint32_t character_before(struct span a, size_t i)
{
    size_t begin = i, bytes;

    while (begin > 0 && i - begin < 4 && (begin == i || ((unsigned char)a.s[begin] & 0xc0) == 0x80))
        begin--;
    return i > 0 ? character(a, begin, &bytes) : 0;
}

static bool is_word_at(struct span a, size_t i)
{
    size_t bytes;

    return unicode_is_word(character(a, i, &bytes));
}

/* ---- words */

enum verdict check_number_words(struct check *c)
{
    int64_t words = 0;
    bool inside = false;

    for (size_t i = 0, bytes; i < c->text.n; i += bytes) {
        bool word = unicode_is_word(character(c->text, i, &bytes));
        words += word && !inside;
        inside = word;
    }
    return argument_compare(c, "relation", "num_words", words);
}

static struct span lower_item(struct check *c, const struct json *list, size_t i)
{
    const struct json *v = json_at(list, i);

    return span_lower(c, span_of(json_string(v, ""), json_string_size(v)));
}

enum verdict check_existence(struct check *c)
{
    const struct json *list = argument_list(c, "keywords");

    for (size_t i = 0; i < json_size(list); i++)
        if (span_find(c->lower, 0, lower_item(c, list, i)) == c->lower.n)
            return NOT_FOLLOWED;
    return FOLLOWED;
}

/* Does `word` stand in the text between word boundaries? */
static bool stands_alone(struct span text, struct span word)
{
    bool first = is_word_at(word, 0), last = unicode_is_word(character_before(word, word.n));

    for (size_t i = span_find(text, 0, word); i < text.n; i = span_find(text, i + 1, word))
        if (unicode_is_word(character_before(text, i)) != first &&
            is_word_at(text, i + word.n) != last)
            return true;
    return false;
}

enum verdict check_forbidden(struct check *c)
{
    const struct json *list = argument_list(c, "forbidden_words");

    for (size_t i = 0; i < json_size(list); i++)
        if (stands_alone(c->lower, lower_item(c, list, i)))
            return NOT_FOLLOWED;
    return FOLLOWED;
}

static int64_t occurrences(struct span text, struct span word)
{
    int64_t n = 0;

    if (word.n == 0)
        return 0;
    for (size_t i = span_find(text, 0, word); i < text.n; i = span_find(text, i + word.n, word))
        n++;
    return n;
}

enum verdict check_frequency(struct check *c)
{
    struct span word = span_lower(c, argument_text(c, "keyword"));

    return argument_compare(c, "relation", "frequency", occurrences(c->lower, word));
}

enum verdict check_letter_frequency(struct check *c)
{
    struct span letter = span_lower(c, argument_text(c, "letter"));

    return argument_compare(c, "let_relation", "let_frequency", occurrences(c->lower, letter));
}

/* ---- case */

/* Cased letters of a span: in capitals, in small letters. */
static void count_case(struct span a, int64_t *upper, int64_t *lower)
{
    *upper = *lower = 0;
    for (size_t i = 0, bytes; i < a.n; i += bytes) {
        uint32_t code = character(a, i, &bytes);
        *upper += unicode_is_upper(code);
        *lower += unicode_is_lower(code);
    }
}

/* Words with letters in capitals only: runs of word characters, with ' and - between them. */
enum verdict check_capital_words(struct check *c)
{
    struct span a = c->text;
    int64_t words = 0, upper, lower;

    for (size_t i = 0, bytes; i < a.n;) {
        size_t begin = i;
        if (!unicode_is_word(character(a, i, &bytes))) {
            i += bytes;
            continue;
        }
        while (i < a.n && (is_word_at(a, i) || (strchr("'-", a.s[i]) && a.s[i] &&
                                                is_word_at(a, i + 1)))) {
            character(a, i, &bytes);
            i += bytes;
        }
        count_case(span_of(a.s + begin, i - begin), &upper, &lower);
        words += upper > 0 && lower == 0;
    }
    return argument_compare(c, "capital_relation", "capital_frequency", words);
}

enum verdict check_english_capital(struct check *c)
{
    int64_t upper, lower;

    count_case(c->text, &upper, &lower);
    return upper > 0 && lower == 0 && script_is_latin(c->text) ? FOLLOWED : NOT_FOLLOWED;
}

enum verdict check_english_lowercase(struct check *c)
{
    int64_t upper, lower;

    count_case(c->text, &upper, &lower);
    return lower > 0 && upper == 0 && script_is_latin(c->text) ? FOLLOWED : NOT_FOLLOWED;
}

enum verdict check_language(struct check *c)
{
    const char *language = argument_text(c, "language").s;
    int verdict = script_verdict(c->text, language);

    if (verdict < 0)
        c->bad = "language";
    return verdict < 0 ? UNKNOWN : (enum verdict)verdict;
}

/* ---- sentences */

static bool is_end(uint32_t c)
{
    return c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x3002 || c == 0xff01 ||
           c == 0xff1f || c == 0x0964;
}

/* What may stand between the end of a sentence and the white space behind it. */
static bool is_closing(uint32_t c)
{
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == '*' || c == '_' || c == 0x201d ||
           c == 0x2019 || c == 0xbb;
}

/* Is the full stop at `at` part of a title or an initial: "Mr.", "J."? */
static bool is_abbreviation(struct span a, size_t at)
{
    static const char *const titles[] = { "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Capt", "Lt",
                                          "Gen", "Sen", "Rev", "Hon", "vs", "e.g", "i.e" };
    size_t begin = at;
    struct span word;

    while (begin > 0 && (is_word_at(a, begin - 1) || a.s[begin - 1] == '.'))
        begin--;
    word = span_of(a.s + begin, at - begin);
    if (word.n == 1 && word.s[0] >= 'A' && word.s[0] <= 'Z' && word.s[0] != 'I')
        return true;
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (span_equal(word, span_of(titles[i], strlen(titles[i]))))
            return true;
    return false;
}

/* CJK ends need no white space behind them. */
static bool ends_here(struct span a, size_t at, uint32_t end, size_t behind)
{
    size_t bytes;
    uint32_t next = character(a, behind, &bytes);

    if (end == '.' && is_abbreviation(a, at))
        return false;
    return end > 0x3000 || next == 0 || unicode_is_space(next);
}

static int64_t count_sentences(struct span a)
{
    int64_t sentences = 0;
    bool words = false;                 /* since the last end */

    for (size_t i = 0, bytes; i < a.n;) {
        uint32_t code = character(a, i, &bytes), end = code;
        size_t at = i;
        i += bytes;
        words |= unicode_is_word(code);
        if (!is_end(code) || !words)
            continue;
        while (is_end(code = character(a, i, &bytes)) || (code && is_closing(code)))
            i += bytes;
        if (!ends_here(a, at, end, i))
            continue;
        sentences++;
        words = false;
    }
    return sentences + words;
}

enum verdict check_number_sentences(struct check *c)
{
    return argument_compare(c, "relation", "num_sentences", count_sentences(c->text));
}
