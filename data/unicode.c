/* See unicode.h. */
#include "data/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/status.h"
#include "data/utf8.h"

int unicode_normalize(enum form form, const char *s, size_t n, struct text *out)
{
    static const int options[] = {
        [FORM_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [FORM_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [FORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [FORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t size;

    if (n == 0)
        return RL_OK;
    size = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &made,
                        (utf8proc_option_t)options[form]);
    if (size < 0)
        return rl_error(RL_EINVAL, "Unicode normal form of %zu bytes of text: %s", n,
                        utf8proc_errmsg(size));
    text_add(out, (const char *)made, (size_t)size);
    free(made);
    return RL_OK;
}

int unicode_lowercase(const char *s, size_t n, struct text *out)
{
    for (size_t at = 0; at < n;) {
        utf8proc_uint8_t small[4];
        uint32_t c;
        int bytes = utf8_next(s + at, n - at, &c);

        if (bytes == 0)
            return rl_error(RL_EINVAL, "lower case: byte %zu of the text is not UTF-8", at);
        if (c == 0x130)     /* the only letter whose small form is two characters: i, dot above */
            text_add(out, "i\xcc\x87", 3);
        else
            text_add(out, (char *)small,
                     (size_t)utf8proc_encode_char(utf8proc_tolower((utf8proc_int32_t)c), small));
        at += bytes;
    }
    return RL_OK;
}

bool unicode_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680
        || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f
        || c == 0x205f || c == 0x3000;
}

void unicode_lowercase_any(const char *s, size_t n, struct text *out)
{
    for (size_t i = 0; i < n;) {
        size_t valid = utf8_valid(s + i, n - i);
        unicode_lowercase(s + i, valid, out);
        i += valid;
        if (i++ < n)
            text_adds(out, "\xef\xbf\xbd");
    }
}

bool unicode_is_upper(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT;
}

bool unicode_is_lower(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL;
}

bool unicode_is_letter(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool unicode_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_SO:      /* circled and squared letters count as alphabetic */
        return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149)
            || (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    default:
        return c == 0x200c || c == 0x200d;
    }
}
