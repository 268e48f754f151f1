/* A safetensors file.  With a first byte of 0 the rest is the file; else the rest is a header, and
 * behind a zero byte the data, to which the length is put. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/safetensors.h"
#include "tests/fuzz/fuzz.h"

static void file_of(struct text *file, const uint8_t *data, size_t size)
{
    struct parts in = { 0 };
    uint64_t n;

    if (size > 0 && data[0] == 0) {
        text_add(file, (const char *)data + 1, size - 1);
        return;
    }
    in = fuzz_parts(data + (size > 0), size - (size > 0));
    n = in.n_first;
    text_add(file, (const char *)&n, sizeof n);
    text_add(file, in.first, in.n_first);
    text_add(file, in.second, in.n_second);
    fuzz_parts_free(&in);
}

/* All that is in it; no more than the file has. */
static void read_all(struct safetensors *s, size_t bytes)
{
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct array *a = safetensors_array(s, i);
        float *x = malloc(a->size * sizeof *x + 1);
        fuzz_holds(x && a->size * dtype_size(a->dtype) <= bytes, "a tensor beyond the file");
        fuzz_holds(safetensors_find(s, a->name) >= 0, "a tensor that is not found");
        fuzz_said(safetensors_read(s, i, x));
        free(x);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    float w[4], norm[2];
    const struct array want[] = {
        { .name = "w", .dims = 2, .shape = { 2, 2 }, .size = 4, .data = w },
        { .name = "norm", .dims = 1, .shape = { 2 }, .size = 2, .data = norm },
    };
    struct safetensors *s = NULL;
    struct text file = { 0 };
    const char *path;

    file_of(&file, data, size);
    path = fuzz_file(file.data, file.size);
    fuzz_said(safetensors_open(&s, path));
    if (s)
        read_all(s, file.size);
    safetensors_close(s);
    fuzz_said(safetensors_load(path, want, 2, size & 1, NULL));
    text_free(&file);
    return 0;
}
