/* Images: what goes into a block of memory comes out as it was, whatever happens to its source; a
 * block that is no image, or is cut, is refused. */
#include <stdlib.h>

#include "base/hash.h"
#include "checkpoints/image.h"
#include "tests/support.h"

static const struct array arrays[] = {
    { .name = "weights/a", .dtype = DTYPE_F32, .dims = 2, .shape = { 300, 500 }, .size = 150000 },
    { .name = "state/b", .dtype = DTYPE_F64, .dims = 1, .shape = { 3 }, .size = 3 },
    { .name = "queue/empty", .dtype = DTYPE_I32, .dims = 1, .shape = { 0 }, .size = 0 },
};
static const struct checkpoint_value values[] = { { "step", 7 }, { "seed", INT64_MIN } };

struct source {
    float a[150000 - 2 * HASH_CHUNK + HASH_CHUNK];      /* chunks 0 and 2 */
    double b[3];
    char text[12];
    struct checkpoint_piece pieces[4];
    struct checkpoint_text texts[2];
    struct checkpoint_content content;
};

static struct source *source_create(void)
{
    struct source *s = calloc(1, sizeof *s);

    for (size_t i = 0; i < sizeof s->a / sizeof s->a[0]; i++)
        s->a[i] = (float)i;
    s->b[2] = 0.5;
    memcpy(s->text, "steps = 3;\n", 12);
    s->pieces[0] = (struct checkpoint_piece){ 0, 2 * HASH_CHUNK, 150000 - 2 * HASH_CHUNK, s->a };
    s->pieces[1] = (struct checkpoint_piece){ 0, 0, HASH_CHUNK, s->a + 150000 - 2 * HASH_CHUNK };
    s->pieces[2] = (struct checkpoint_piece){ 1, 0, 3, s->b };
    s->pieces[3] = (struct checkpoint_piece){ 2, 0, 0, NULL };
    s->texts[0] = (struct checkpoint_text){ "config", s->text, 11 };
    s->texts[1] = (struct checkpoint_text){ "empty", NULL, 0 };
    s->content = (struct checkpoint_content){ arrays, 3, s->pieces, 4, s->texts, 2, values, 2 };
    return s;
}

static void *pack(const struct source *s, size_t *bytes)
{
    uint64_t hash;
    void *block;

    *bytes = image_bytes(&s->content);
    block = aligned_alloc(64, *bytes);
    memset(block, 0xa5, *bytes);
    image_pack(&s->content, block, &hash);
    assert_true(hash == hash64(block, *bytes));
    return block;
}

static void test_what_goes_in_comes_out(void **state)
{
    struct source *s = source_create(), *want = source_create();
    struct image image;
    size_t bytes;
    void *block = pack(s, &bytes);

    (void)state;
    memset(s->a, 0, sizeof s->a);                       /* the next update */
    assert_ok(image_open(&image, block, bytes));
    assert_int_equal(image.content.n_arrays, 3);
    assert_int_equal(image.content.n_pieces, 4);
    assert_int_equal(image.content.n_texts, 2);
    assert_int_equal(image.content.n_values, 2);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(&image.content.arrays[i], &arrays[i], sizeof arrays[i]);
    for (int i = 0; i < 4; i++) {
        const struct checkpoint_piece *p = &image.content.pieces[i], *w = &want->pieces[i];
        assert_int_equal(p->array, w->array);
        assert_int_equal(p->begin, w->begin);
        assert_int_equal(p->count, w->count);
        if (p->count)
            assert_memory_equal(p->data, w->data,
                                p->count * dtype_size(arrays[p->array].dtype));
        assert_int_equal((uintptr_t)p->data % 64, 0);
    }
    assert_string_equal(image.content.texts[0].name, "config");
    assert_int_equal(image.content.texts[0].bytes, 11);
    assert_memory_equal(image.content.texts[0].data, want->text, 11);
    assert_int_equal(image.content.texts[1].bytes, 0);
    assert_string_equal(image.content.values[1].name, "seed");
    assert_true(image.content.values[1].x == INT64_MIN);
    image_close(&image);
    free(block);
    free(s);
    free(want);
}

/* Whatever word of the head and the tables is damaged, nothing outside the block is looked at. */
static void test_a_block_that_is_none_is_refused(void **state)
{
    struct source *s = source_create();
    struct image image;
    size_t bytes, tables = 2048;
    void *block = pack(s, &bytes), *damaged = aligned_alloc(64, bytes);

    (void)state;
    for (size_t cut = 0; cut < bytes; cut += 977) {
        assert_int_equal(image_open(&image, block, cut), RL_EINVAL);
        image_close(&image);
    }
    for (size_t at = 0; at < tables; at += 4) {
        memcpy(damaged, block, bytes);
        memset((char *)damaged + at, 0xff, 4);
        if (image_open(&image, damaged, bytes) == RL_OK)
            for (int i = 0; i < image.content.n_pieces; i++) {
                const struct checkpoint_piece *p = &image.content.pieces[i];
                size_t each = dtype_size(image.content.arrays[p->array].dtype);
                if (p->count > 0)
                    (void)hash64(p->data, p->count * each);
            }
        image_close(&image);
    }
    memcpy(damaged, block, bytes);
    ((char *)damaged)[0] ^= 1;
    assert_int_equal(image_open(&image, damaged, bytes), RL_EINVAL);
    image_close(&image);
    free(damaged);
    free(block);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_in_comes_out),
        cmocka_unit_test(test_a_block_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
