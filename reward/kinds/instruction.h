/* Inside of the kind `instruction`: checks of one response, as IFEval defines them (Zhou et al.
 * 2023).  instruction.c has the table. */
#ifndef REWARD_KINDS_INSTRUCTION_H
#define REWARD_KINDS_INSTRUCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/text.h"

/* UNKNOWN: this program cannot tell, so the instruction is left out. */
enum verdict { NOT_FOLLOWED, FOLLOWED, UNKNOWN };

struct span { const char *s; size_t n; };

/* What a check sees.  Missing or senseless arguments set `bad` to their name. */
struct check {
    struct span text, lower;            /* the response; the same in lower case */
    const struct json *arguments;       /* of the instruction, an element of kwargs */
    struct text *scratch;
    const char *bad;
};

/* Arguments. */
struct span argument_text(struct check *c, const char *key);            /* not empty */
int64_t argument_int(struct check *c, const char *key);
const struct json *argument_list(struct check *c, const char *key);    /* not empty, of strings */
/* Does `actual` stand in the relation ("at least", "less than") of the arguments to `key`? */
enum verdict argument_compare(struct check *c, const char *relation, const char *key,
                              int64_t actual);

/* Spans. */
struct span span_of(const char *s, size_t n);
struct span span_strip(struct span a);          /* without white space at both ends */
struct span span_from(struct span a, size_t i);
bool span_equal(struct span a, struct span b);
bool span_starts(struct span a, struct span word);
bool span_ends(struct span a, struct span word);
/* Where `word` begins at or behind i; a.n when it does not occur. */
size_t span_find(struct span a, size_t i, struct span word);
/* The part before the next `separator`; the rest goes on behind it.  false: no part is left. */
struct parts { struct span rest; bool ended; };
bool span_part(struct parts *p, struct span separator, struct span *part);
/* The text in lower case, in the check's scratch: good until the next call. */
struct span span_lower(struct check *c, struct span a);

/* ---- instruction_words.c: words, sentences, letters, case, language */
enum verdict check_number_words(struct check *c);
enum verdict check_number_sentences(struct check *c);
enum verdict check_existence(struct check *c);
enum verdict check_forbidden(struct check *c);
enum verdict check_frequency(struct check *c);
enum verdict check_letter_frequency(struct check *c);
enum verdict check_capital_words(struct check *c);
enum verdict check_english_capital(struct check *c);
enum verdict check_english_lowercase(struct check *c);
enum verdict check_language(struct check *c);

/* ---- instruction_form.c: paragraphs, lists, titles, beginnings and ends */
enum verdict check_paragraphs(struct check *c);
enum verdict check_nth_paragraph(struct check *c);
enum verdict check_placeholders(struct check *c);
enum verdict check_postscript(struct check *c);
enum verdict check_bullets(struct check *c);
enum verdict check_constrained(struct check *c);
enum verdict check_highlights(struct check *c);
enum verdict check_sections(struct check *c);
enum verdict check_json(struct check *c);
enum verdict check_title(struct check *c);
enum verdict check_two_responses(struct check *c);
enum verdict check_repeat(struct check *c);
enum verdict check_no_comma(struct check *c);
enum verdict check_end(struct check *c);
enum verdict check_quotation(struct check *c);

/* ---- script.c: which writing a text is in */
/* A language of its own script: FOLLOWED or NOT_FOLLOWED; of a script that others share: UNKNOWN
 * when the text is in it.  -1: a language that is not in the table. */
int script_verdict(struct span text, const char *language);
bool script_is_latin(struct span text);         /* most of its letters are */

#endif
