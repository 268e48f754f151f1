/* Which script a text is written in, and what that says about its language. */
#include <string.h>

#include "data/unicode.h"
#include "data/utf8.h"
#include "reward/kinds/instruction.h"

enum script { LATIN, GREEK, CYRILLIC, HEBREW, ARABIC, DEVANAGARI, BENGALI, GURMUKHI, GUJARATI,
              TAMIL, TELUGU, KANNADA, MALAYALAM, THAI, HANGUL, KANA, HAN, SCRIPTS };

static const struct { uint32_t first, last; enum script script; } ranges[] = {
    { 0x41, 0x24f, LATIN }, { 0x1e00, 0x1eff, LATIN }, { 0x370, 0x3ff, GREEK },
    { 0x1f00, 0x1fff, GREEK }, { 0x400, 0x52f, CYRILLIC }, { 0x590, 0x5ff, HEBREW },
    { 0x600, 0x6ff, ARABIC }, { 0x750, 0x77f, ARABIC }, { 0xfb50, 0xfdff, ARABIC },
    { 0xfe70, 0xfefc, ARABIC }, { 0x900, 0x97f, DEVANAGARI }, { 0x980, 0x9ff, BENGALI },
    { 0xa00, 0xa7f, GURMUKHI }, { 0xa80, 0xaff, GUJARATI }, { 0xb80, 0xbff, TAMIL },
    { 0xc00, 0xc7f, TELUGU }, { 0xc80, 0xcff, KANNADA }, { 0xd00, 0xd7f, MALAYALAM },
    { 0xe00, 0xe7f, THAI }, { 0x1100, 0x11ff, HANGUL }, { 0xac00, 0xd7a3, HANGUL },
    { 0x3040, 0x30ff, KANA }, { 0x3400, 0x4dbf, HAN }, { 0x4e00, 0x9fff, HAN },
};

/* The languages that the reference's detector knows, by script; one of a script is alone in it. */
static const struct { const char *language; enum script script; } languages[] = {
    { "el", GREEK }, { "he", HEBREW }, { "bn", BENGALI }, { "pa", GURMUKHI }, { "gu", GUJARATI },
    { "ta", TAMIL }, { "te", TELUGU }, { "kn", KANNADA }, { "ml", MALAYALAM }, { "th", THAI },
    { "ko", HANGUL }, { "ja", KANA }, { "zh-cn", HAN }, { "zh-tw", HAN }, { "zh", HAN },
    { "bg", CYRILLIC }, { "mk", CYRILLIC }, { "ru", CYRILLIC }, { "uk", CYRILLIC },
    { "ar", ARABIC }, { "fa", ARABIC }, { "ur", ARABIC },
    { "hi", DEVANAGARI }, { "mr", DEVANAGARI }, { "ne", DEVANAGARI },
    { "af", LATIN }, { "ca", LATIN }, { "cs", LATIN }, { "cy", LATIN }, { "da", LATIN },
    { "de", LATIN }, { "en", LATIN }, { "es", LATIN }, { "et", LATIN }, { "fi", LATIN },
    { "fr", LATIN }, { "hr", LATIN }, { "hu", LATIN }, { "id", LATIN }, { "it", LATIN },
    { "lt", LATIN }, { "lv", LATIN }, { "nl", LATIN }, { "no", LATIN }, { "pl", LATIN },
    { "pt", LATIN }, { "ro", LATIN }, { "sk", LATIN }, { "sl", LATIN }, { "so", LATIN },
    { "sq", LATIN }, { "sv", LATIN }, { "sw", LATIN }, { "tl", LATIN }, { "tr", LATIN },
    { "vi", LATIN },
};
#define LANGUAGES (int)(sizeof languages / sizeof *languages)

static int script_of(uint32_t c)
{
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return (int)ranges[i].script;
    return SCRIPTS;
}

/* The script of most letters, SCRIPTS when there is none.  Japanese is Han with Kana between. */
static int main_script(struct span a)
{
    int64_t letters[SCRIPTS + 1] = { 0 };
    int most = SCRIPTS;

    for (size_t i = 0; i < a.n;) {
        uint32_t c = 0;
        int bytes = utf8_next(a.s + i, a.n - i, &c);
        if (bytes > 0 && unicode_is_letter(c))
            letters[script_of(c)]++;
        i += bytes > 0 ? (size_t)bytes : 1;
    }
    if (letters[KANA] * 10 >= letters[HAN]) {
        letters[KANA] += letters[HAN];
        letters[HAN] = 0;
    }
    for (int s = 0; s < SCRIPTS; s++)
        if (letters[s] > 0 && (most == SCRIPTS || letters[s] > letters[most]))
            most = s;
    return most;
}

bool script_is_latin(struct span text)
{
    return main_script(text) == LATIN;
}

int script_verdict(struct span text, const char *language)
{
    int own = -1, sharing = 0;

    for (int i = 0; i < LANGUAGES; i++)
        if (strcmp(languages[i].language, language) == 0)
            own = (int)languages[i].script;
    if (own < 0)
        return -1;
    for (int i = 0; i < LANGUAGES; i++)
        sharing += (int)languages[i].script == own;
    if (main_script(text) != own)
        return NOT_FOLLOWED;
    return sharing == 1 || own == HAN ? FOLLOWED : UNKNOWN;
}
