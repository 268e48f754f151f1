/* Upper, lower and title case, as Python's strings have them. */
#include <stdlib.h>
#include <utf8proc.h>

#include "data/case_table.h"
#include "data/unicode.h"

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

static void add(utf8proc_int32_t c, struct text *out)
{
    utf8proc_uint8_t bytes[4];

    text_add(out, (char *)bytes, (size_t)utf8proc_encode_char(c, bytes));
}

static int by_code(const void *key, const void *row)
{
    uint32_t a = *(const uint32_t *)key, b = *(const uint32_t *)row;

    return (a > b) - (a < b);
}

/* The row of the table, -1: none. */
static ptrdiff_t row_of(uint32_t c)
{
    const char *base = (const char *)case_table;
    const char *row = bsearch(&c, case_table, sizeof case_table / sizeof *case_table,
                              sizeof *case_table, by_code);

    return row ? (row - base) / (ptrdiff_t)sizeof *case_table : -1;
}

void unicode_upper(uint32_t c, struct text *out)
{
    ptrdiff_t row = row_of(c);

    if (row >= 0)
        text_adds(out, case_table[row].upper);
    else
        add(utf8proc_toupper((utf8proc_int32_t)c), out);
}

void unicode_title(uint32_t c, struct text *out)
{
    ptrdiff_t row = row_of(c);

    if (row >= 0)
        text_adds(out, case_table[row].title);
    else
        add(utf8proc_totitle((utf8proc_int32_t)c), out);
}

struct span { uint32_t first, last; };

static bool in(uint32_t c, const struct span *spans, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= spans[i].first && c <= spans[i].last)
            return true;
    return false;
}

#define IN(c, spans) in(c, spans, sizeof (spans) / sizeof *(spans))

/* Other_Uppercase and Other_Lowercase of PropList.txt: cased, but no letters of that case. */
static bool is_other_upper(uint32_t c)
{
    static const struct span spans[] = {
        { 0x2160, 0x216f }, { 0x24b6, 0x24cf }, { 0x1f130, 0x1f149 }, { 0x1f150, 0x1f169 },
        { 0x1f170, 0x1f189 },
    };

    return IN(c, spans);
}

static bool is_other_lower(uint32_t c)
{
    static const struct span spans[] = {
        { 0xaa, 0xaa }, { 0xba, 0xba }, { 0x2b0, 0x2b8 }, { 0x2c0, 0x2c1 }, { 0x2e0, 0x2e4 },
        { 0x345, 0x345 }, { 0x37a, 0x37a }, { 0x1d2c, 0x1d6a }, { 0x1d78, 0x1d78 },
        { 0x1d9b, 0x1dbf }, { 0x2071, 0x2071 }, { 0x207f, 0x207f }, { 0x2090, 0x209c },
        { 0x2170, 0x217f }, { 0x24d0, 0x24e9 }, { 0x2c7c, 0x2c7d }, { 0xa69c, 0xa69d },
        { 0xa770, 0xa770 }, { 0xa7f8, 0xa7f9 }, { 0xab5c, 0xab5f }, { 0x10780, 0x10780 },
        { 0x10783, 0x10785 }, { 0x10787, 0x107b0 }, { 0x107b2, 0x107ba },
    };

    return IN(c, spans);
}

bool unicode_is_capital(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LU || is_other_upper(c);
}

bool unicode_is_titlecase(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool unicode_is_cased(uint32_t c)
{
    return unicode_is_capital(c) || unicode_is_titlecase(c) || unicode_is_lower(c)
        || is_other_lower(c);
}

bool unicode_is_case_ignorable(uint32_t c)
{
    static const struct span marks[] = {        /* Word_Break: MidLetter, MidNumLet, quote */
        { '\'', '\'' }, { '.', '.' }, { ':', ':' }, { 0xb7, 0xb7 }, { 0x387, 0x387 },
        { 0x55f, 0x55f }, { 0x5f4, 0x5f4 }, { 0x2018, 0x2019 }, { 0x2024, 0x2024 },
        { 0x2027, 0x2027 }, { 0xfe13, 0xfe13 }, { 0xfe52, 0xfe52 }, { 0xfe55, 0xfe55 },
        { 0xff07, 0xff07 }, { 0xff0e, 0xff0e }, { 0xff1a, 0xff1a },
    };
    utf8proc_category_t kind = category(c);

    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME
        || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM
        || kind == UTF8PROC_CATEGORY_SK || IN(c, marks);
}

bool unicode_is_printable(uint32_t c)
{
    utf8proc_category_t kind = category(c);

    return c == ' ' || !(kind == UTF8PROC_CATEGORY_CN || kind == UTF8PROC_CATEGORY_CC
                         || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_CS
                         || kind == UTF8PROC_CATEGORY_CO || kind == UTF8PROC_CATEGORY_ZS
                         || kind == UTF8PROC_CATEGORY_ZL || kind == UTF8PROC_CATEGORY_ZP);
}
