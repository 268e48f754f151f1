/* safetensors: real files are read, what is written reads back to the byte, and a model gets
 * exactly the tensors it names. */
#include "tests/safetensors_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "checkpoints/safetensors.h"

static struct array array_of(const char *name, int dims, size_t n0, size_t n1, float *data)
{
    struct array a = { .dtype = DTYPE_F32, .dims = dims, .shape = { n0, n1 }, .data = data };

    snprintf(a.name, sizeof a.name, "%s", name);
    a.size = dims == 0 ? 1 : dims == 1 ? n0 : n0 * n1;
    return a;
}

/* ---- reading */

static void test_every_float_type_becomes_fp32(void **state)
{
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                         "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]},"
                         "\"c\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[12,16]},"
                         "\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[16,32]},"
                         "\"e\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[32,40]},"
                         "\"f\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[40,40]}}   ";
    struct { float a[2]; unsigned short b[2], c[2]; double d[2]; int64_t e; } data = {
        { 1.5f, -2.0f }, { 0x3fc0, 0xc000 }, { 0x3e00, 0xc000 }, { 1.5, -2.0 }, 7
    };
    const char *path = write_parts(support_folder(), "x.safetensors", header, &data, sizeof data);
    struct safetensors *s;
    float x[2];

    (void)state;
    assert_ok(safetensors_open(&s, path));
    assert_int_equal(safetensors_count(s), 6);
    for (const char *name = "abcd"; *name; name++) {
        char text[2] = { *name, 0 };
        int i = safetensors_find(s, text);
        assert_true(i >= 0);
        assert_ok(safetensors_read(s, i, x));
        assert_true(x[0] == 1.5f && x[1] == -2.0f);
    }
    assert_int_equal(safetensors_array(s, safetensors_find(s, "e"))->dims, 0);
    assert_line(safetensors_read(s, safetensors_find(s, "e"), x), "'e' is I64");
    assert_ok(safetensors_read(s, safetensors_find(s, "f"), x));
    assert_int_equal(safetensors_find(s, "g"), -1);
    safetensors_close(s);
}

static void test_long_tensors_convert_whole(void **state)
{
    enum { N = 10001 };
    unsigned short *data = malloc(N * sizeof *data);
    float *x = malloc(N * sizeof *x);
    char header[128];
    struct safetensors *s;

    (void)state;
    for (int i = 0; i < N; i++)
        data[i] = f16_from_f32((float)(i % 2048));
    snprintf(header, sizeof header,
             "{\"a\":{\"dtype\":\"F16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", N, 2 * N);
    assert_ok(safetensors_open(&s, write_parts(support_folder(), "a.safetensors", header, data,
                                               N * sizeof *data)));
    assert_ok(safetensors_read(s, 0, x));
    for (int i = 0; i < N; i++)
        assert_true(x[i] == (float)(i % 2048));
    safetensors_close(s);
    free(data);
    free(x);
}

static void test_a_tied_alias_is_followed(void **state)
{
    struct safetensors *s;
    float *x;
    int i;

    (void)state;
    assert_ok(safetensors_open(&s, support_shared_path("data/models/tinystories-656k")));
    i = safetensors_find(s, "model.embed_tokens.weight");
    assert_true(i >= 0);
    assert_int_equal(i, safetensors_find(s, "lm_head.weight"));
    assert_int_equal(safetensors_array(s, i)->shape[0], 2048);
    assert_int_equal(safetensors_array(s, i)->shape[1], 128);
    x = malloc(safetensors_array(s, i)->size * sizeof *x);
    assert_ok(safetensors_read(s, i, x));
    assert_true(isfinite(x[0]) && x[0] != 0);
    free(x);
    safetensors_close(s);
}

static void test_shards_are_one_model(void **state)
{
    struct safetensors *s;

    (void)state;
    assert_ok(safetensors_open(&s, support_shared_path("data/models/tiny-random/tiny-llama3")));
    assert_true(safetensors_find(s, "lm_head.weight") >= 0);
    assert_true(safetensors_find(s, "model.norm.weight") >= 0);
    safetensors_close(s);
}

/* Views of every tensor of a model, with memory. */
static struct array *views_of(const char *path, int *n)
{
    struct safetensors *s;
    struct array *arrays;

    assert_ok(safetensors_open(&s, path));
    *n = safetensors_count(s);
    arrays = calloc((size_t)*n, sizeof *arrays);
    for (int i = 0; i < *n; i++) {
        arrays[i] = *safetensors_array(s, i);
        arrays[i].dtype = DTYPE_F32;
        arrays[i].data = malloc(arrays[i].size * sizeof(float));
    }
    safetensors_close(s);
    return arrays;
}

static void free_views(struct array *arrays, int n)
{
    for (int i = 0; i < n; i++)
        free(arrays[i].data);
    free(arrays);
}

static void test_every_real_model_loads(void **state)
{
    static const char *const models[] = {
        "stories260K", "stories-char-936k", "tinystories-656k", "tiny-random/tiny-llama3",
        "tiny-random/tiny-qwen2", "tiny-random/tiny-qwen3", "tiny-random/tiny-gemma",
        "tiny-random/tiny-gemma2", "tiny-random/tiny-gemma3",
    };

    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        char name[128];
        struct array *arrays;
        int n;
        snprintf(name, sizeof name, "data/models/%s", models[m]);
        arrays = views_of(support_shared_path(name), &n);
        assert_ok(safetensors_load(support_shared_path(name), arrays, n, false, NULL));
        free_views(arrays, n);
    }
}

/* ---- writing */

static void test_a_real_model_round_trips_to_the_byte(void **state)
{
    const char *from = support_shared_path("data/models/stories260K");
    const char *folder = support_folder(), *again = support_folder();
    struct text a = { 0 }, b = { 0 };
    struct array *arrays;
    size_t data = 0;
    int n;

    (void)state;
    arrays = views_of(from, &n);
    assert_ok(safetensors_load(from, arrays, n, true, NULL));
    assert_ok(safetensors_save(folder, arrays, n, DTYPE_F32, 0));
    assert_ok(file_read(support_path(from, "model.safetensors"), &a));
    assert_ok(file_read(support_path(folder, "model.safetensors"), &b));
    for (int i = 0; i < n; i++)
        data += arrays[i].size * sizeof(float);
    assert_true(a.size > data && b.size > data);
    assert_memory_equal(a.data + a.size - data, b.data + b.size - data, data);
    assert_int_equal((b.size - data) % 8, 0);

    for (int i = 0; i < n; i++)
        memset(arrays[i].data, 0, arrays[i].size * sizeof(float));
    assert_ok(safetensors_load(folder, arrays, n, true, NULL));
    assert_ok(safetensors_save(again, arrays, n, DTYPE_F32, 0));
    assert_ok(file_read(support_path(again, "model.safetensors"), &a));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_false(file_exists(support_path(again, "model.safetensors.part")));
    free_views(arrays, n);
    text_free(&a);
    text_free(&b);
}

static void test_the_file_is_what_the_format_says(void **state)
{
    static const char expect[] =
        "\x90\0\0\0\0\0\0\0"
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"w\":{\"dtype\":\"BF16\",\"shape\":[2,1],\"data_offsets\":[0,4]},"
        "\"s\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[4,6]}}   "
        "\xc0\x3f\x00\xc0\x80\x3f";
    float w[2] = { 1.5f, -2.0f }, one = 1.0f;
    struct array arrays[2] = { array_of("w", 2, 2, 1, w), array_of("s", 0, 0, 0, &one) };
    const char *folder = support_folder();
    struct text got = { 0 };

    (void)state;
    assert_ok(safetensors_save(folder, arrays, 2, DTYPE_BF16, 0));
    assert_ok(file_read(support_path(folder, "model.safetensors"), &got));
    assert_int_equal(got.size, sizeof expect - 1);
    assert_memory_equal(got.data, expect, got.size);
    text_free(&got);
}

static void test_shards_split_at_the_limit(void **state)
{
    float data[12], back[12] = { 0 };
    struct array arrays[4] = { array_of("a", 1, 2, 0, data), array_of("b", 1, 2, 0, data + 2),
                               array_of("c", 1, 6, 0, data + 4),
                               array_of("d", 1, 2, 0, data + 10) };
    struct folder folder = fresh_folder();
    struct text index = { 0 };

    (void)state;
    for (int i = 0; i < 12; i++)
        data[i] = (float)i;
    assert_ok(safetensors_save(folder.path, arrays, 4, DTYPE_F32, 0));
    assert_ok(safetensors_save(folder.path, arrays, 4, DTYPE_F32, 16));
    assert_false(file_exists(support_path(folder.path, "model.safetensors")));
    assert_true(file_exists(support_path(folder.path, "model-00003-of-00003.safetensors")));
    assert_ok(file_read(support_path(folder.path, "model.safetensors.index.json"), &index));
    assert_non_null(strstr(index.data, "\"total_size\": 48"));
    assert_non_null(strstr(index.data, "\"c\": \"model-00002-of-00003.safetensors\""));
    for (int i = 0; i < 4; i++)
        arrays[i].data = back + ((float *)arrays[i].data - data);
    assert_ok(safetensors_load(folder.path, arrays, 4, false, NULL));
    assert_memory_equal(data, back, sizeof data);
    assert_ok(safetensors_save(folder.path, arrays, 4, DTYPE_F32, 1000));
    assert_false(file_exists(support_path(folder.path, "model.safetensors.index.json")));
    text_free(&index);
}

static void test_a_failed_save_leaves_the_old_file(void **state)
{
    const char *folder = support_folder();
    float x = 1;
    struct array a = array_of("a", 0, 0, 0, &x);

    (void)state;
    support_write(folder, "file", "old");
    assert_line(safetensors_save(support_path(folder, "file"), &a, 1, DTYPE_F32, 0), "file");
    assert_line(safetensors_save(folder, &a, 1, DTYPE_I32, 0), "not as I32");
}

/* ---- matching with a model */

static void test_load_names_what_does_not_match(void **state)
{
    struct folder folder = fresh_folder();
    const char *path = folder.path;
    float embed[6] = { 1, 2, 3, 4, 5, 6 }, head[6] = { 1, 2, 3, 4, 5, 6 }, got[6];
    struct array stored[3] = { array_of("model.embed_tokens.weight", 2, 3, 2, embed),
                               array_of("lm_head.weight", 2, 3, 2, head),
                               array_of("l.0.rotary_emb.inv_freq", 1, 2, 0, head) };
    struct array want = array_of("model.embed_tokens.weight", 2, 3, 2, got);
    struct array turned = array_of("model.embed_tokens.weight", 2, 2, 3, got);
    struct array other = array_of("model.norm.weight", 1, 2, 0, got);

    (void)state;
    assert_ok(safetensors_save(path, stored, 3, DTYPE_F32, 0));
    assert_ok(safetensors_load(path, &want, 1, true, NULL));    /* both stored, and equal */
    assert_memory_equal(got, embed, sizeof got);
    assert_line(safetensors_load(path, &want, 1, false, NULL), "'lm_head.weight' is not part");
    assert_line(safetensors_load(path, &turned, 1, true, NULL), "has shape (3, 2)");
    assert_line(safetensors_load(path, &other, 1, true, NULL), "'model.norm.weight' is missing");
    head[5] = -6;
    assert_ok(safetensors_save(path, stored, 3, DTYPE_F32, 0));
    assert_line(safetensors_load(path, &want, 1, true, NULL), "differ");
    assert_ok(safetensors_save(path, stored + 1, 2, DTYPE_F32, 0)); /* only the head is stored */
    assert_ok(safetensors_load(path, &want, 1, true, NULL));
    assert_memory_equal(got, head, sizeof got);
    assert_line(safetensors_load(path, &want, 1, false, NULL), "is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_float_type_becomes_fp32),
        cmocka_unit_test(test_long_tensors_convert_whole),
        cmocka_unit_test(test_a_tied_alias_is_followed),
        cmocka_unit_test(test_shards_are_one_model),
        cmocka_unit_test(test_every_real_model_loads),
        cmocka_unit_test(test_a_real_model_round_trips_to_the_byte),
        cmocka_unit_test(test_the_file_is_what_the_format_says),
        cmocka_unit_test(test_shards_split_at_the_limit),
        cmocka_unit_test(test_a_failed_save_leaves_the_old_file),
        cmocka_unit_test(test_load_names_what_does_not_match),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
