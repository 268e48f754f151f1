/* UTF-8 as RFC 3629 has it:
 *
 *   0xxxxxxx   110xxxxx 10xxxxxx   1110xxxx 10xxxxxx 10xxxxxx   11110xxx 10xxxxxx 10xxxxxx 10xxxxxx
 */
#include "data/utf8.h"

#include <string.h>

int utf8_next(const char *s, size_t n, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char lead = n > 0 ? (unsigned char)s[0] : 0xff;
    int bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3
              : lead < 0xf5 ? 4 : 0;
    uint32_t c = bytes == 1 ? lead : lead & (0x7fu >> bytes);

    if (bytes == 0 || (size_t)bytes > n)
        return 0;
    for (int i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[bytes] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    if (code)
        *code = c;
    return bytes;
}

int utf8_last(const char *s, size_t n, uint32_t *code)
{
    size_t at = n - 1;

    while (at > 0 && (s[at] & 0xc0) == 0x80)
        at--;
    return utf8_next(s + at, n - at, code);
}

size_t utf8_valid(const char *s, size_t n)
{
    size_t at = 0;

    while (at < n) {
        int bytes = (unsigned char)s[at] < 0x80 ? 1 : utf8_next(s + at, n - at, NULL);
        if (bytes == 0)
            break;
        at += bytes;
    }
    return at;
}

struct shown utf8_show(const char *s, size_t n)
{
    struct shown out;
    size_t size = 0;

    for (size_t at = 0; at < n;) {
        int bytes = utf8_next(s + at, n - at, NULL);
        size_t length = bytes > 0 ? bytes : 1;
        if (size + length > 40) {
            memcpy(out.text + size, "...", 3);
            size += 3;
            break;
        }
        if (bytes == 0 || (unsigned char)s[at] < 0x20 || s[at] == 0x7f)
            out.text[size] = '?';
        else
            memcpy(out.text + size, s + at, length);
        size += length;
        at += length;
    }
    out.text[size] = 0;
    return out;
}
