/* A block of memory that should hold a copy of the state (checkpoints/image.h): damaged in the
 * memory of another node, or on its disk. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/image.h"
#include "checkpoints/internal.h"
#include "tests/fuzz/fuzz.h"

/* Every byte that the content says is there. */
static uint64_t read_all(const struct checkpoint_content *c)
{
    uint64_t sum = 0;

    for (int i = 0; i < c->n_pieces; i++) {
        const struct checkpoint_piece *p = &c->pieces[i];
        const struct array *a = &c->arrays[p->array];
        size_t bytes = p->count * dtype_size(a->dtype);
        fuzz_holds(dtype_size(a->dtype) > 0, "a type that there is none of");
        fuzz_holds(p->begin <= a->size && p->count <= a->size - p->begin, "a piece beyond it");
        sum += bytes > 0 ? hash64(p->data, bytes) : 0;
    }
    for (int i = 0; i < c->n_texts; i++)
        sum += strlen(c->texts[i].name) +
               (c->texts[i].bytes > 0 ? hash64(c->texts[i].data, c->texts[i].bytes) : 0);
    for (int i = 0; i < c->n_values; i++)
        sum += strlen(c->values[i].name) + (uint64_t)c->values[i].x;
    for (int i = 0; i < c->n_arrays; i++)
        sum += strlen(c->arrays[i].name);
    return sum;
}

/* A whole one, of whose words those that the input names are changed. */
static void *block_of(const uint8_t *data, size_t size, size_t *bytes)
{
    static const float x[5] = { 1, 2, 3, 4, 5 };
    static const struct array arrays[] = {
        { .name = "weights/a", .dtype = DTYPE_F32, .dims = 1, .shape = { 5 }, .size = 5 },
        { .name = "state/b", .dtype = DTYPE_BF16, .dims = 2, .shape = { 2, 2 }, .size = 4 } };
    static const struct checkpoint_piece pieces[] = { { 0, 0, 5, x }, { 1, 0, 4, x } };
    static const struct checkpoint_text texts[] = { { "config", "steps = 3;", 10 } };
    static const struct checkpoint_value values[] = { { "step", 3 } };
    const struct checkpoint_content c = { arrays, 2, pieces, 2, texts, 1, values, 1 };
    char *block = aligned_alloc(64, *bytes = image_bytes(&c));

    image_pack(&c, block, NULL);
    for (size_t i = 0; i + 10 <= size; i += 10)
        memcpy(block + (data[i] | data[i + 1] << 8) % (*bytes / 4) * 4 % (*bytes - 8), data + i + 2,
               8);
    if (size % 10 > 0)
        *bytes -= data[size - 1] * 4u % *bytes / 64 * 64;
    return block;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image image;
    size_t bytes;
    void *block = block_of(data, size, &bytes), *exact = aligned_alloc(64, bytes ? bytes : 64);
    int rc;

    memcpy(exact, block, bytes);
    free(block);
    rc = image_open(&image, exact, bytes);
    fuzz_said(rc);
    if (rc == RL_OK)
        fuzz_holds(read_all(&image.content) != 1, "a sum");
    image_close(&image);
    free(exact);
    return 0;
}
