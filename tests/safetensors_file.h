/* What the tests of safetensors share: files made by hand, and messages looked at. */
#ifndef TESTS_SAFETENSORS_FILE_H
#define TESTS_SAFETENSORS_FILE_H

#include "tests/support.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static inline const char *write_raw(const char *folder, const char *name, const void *data,
                                    size_t n)
{
    const char *path = support_path(folder, name);
    FILE *file;

    remove(path);                   /* file systems flush a file that is cut and written anew */
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, n, file) != n || fclose(file) != 0)
        fail_msg("cannot write %s", path);
    return path;
}

/* A fresh folder whose name stays. */
struct folder { char path[4096]; };
static inline struct folder fresh_folder(void)
{
    struct folder f;

    snprintf(f.path, sizeof f.path, "%s", support_folder());
    return f;
}

/* length, header, data */
static inline void assemble(struct text *out, const char *header, const void *data, size_t bytes)
{
    uint64_t length = strlen(header);

    text_clear(out);
    text_add(out, (const char *)&length, 8);
    text_adds(out, header);
    text_add(out, data, bytes);
}

static inline const char *write_parts(const char *folder, const char *name, const char *header,
                                      const void *data, size_t bytes)
{
    struct text file = { 0 };
    const char *path;

    assemble(&file, header, data, bytes);
    path = write_raw(folder, name, file.data, file.size);
    text_free(&file);
    return path;
}

/* The call failed with one line that holds the words. */
static inline void assert_line(int rc, const char *words)
{
    const char *line = status_message();

    assert_int_not_equal(rc, RL_OK);
    if (!strstr(line, words) || strchr(line, '\n') || strlen(line) > 600)
        fail_msg("expected one line with '%s', got '%s'", words, line);
    status_drop();
}

#endif
