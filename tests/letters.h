/* What the tests of data/ share: a tokenizer of a few letters, files, and comparisons. */
#ifndef TESTS_LETTERS_H
#define TESTS_LETTERS_H

#include "tests/support.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "data/tokenizer.h"

/* One token a letter, a bos of 1 by the post-processor; no unknown token, no space. */
static const char letters[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<s>\":1,\"a\":2,\"b\":3,\"c\":4,\"d\":5,\"\\n\":6,"
    "\"<e>\":7,\"é\":8,\"z\":90},\"merges\":[]},\"added_tokens\":[{\"id\":1,\"content\":\"<s>\","
    "\"special\":true},{\"id\":7,\"content\":\"<e>\",\"special\":true}],\"post_processor\":"
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},"
    "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[1]}}}}";

static struct tokenizer *t;

static inline int open_letters(void **state)
{
    (void)state;
    return tokenizer_parse(&t, letters, strlen(letters), "letters");
}

static inline int close_letters(void **state)
{
    (void)state;
    tokenizer_close(t);
    return 0;
}

static inline const char *write_gzip(const char *name, const char *text, size_t n)
{
    const char *path = support_path(support_folder(), name);
    gzFile file = gzopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)n), (int)n);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static inline const char *write_plain(const char *name, const char *text)
{
    return support_write(support_folder(), name, text);
}

static inline void assert_list(const int *got, const int *want, int n)
{
    for (int i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("element %d is %d, want %d", i, got[i], want[i]);
}

static inline void assert_names(const char *line, const char *part)
{
    if (!strstr(line, part))
        fail_msg("'%s' is not named: '%s'", part, line);
}

#endif
