/* Hostile safetensors: one line that names the lie, no crash, and never more memory than the file
 * is worth. */
#include "tests/safetensors_file.h"

#include <stdlib.h>

#include "base/random.h"
#include "checkpoints/safetensors.h"

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"

static void test_a_bad_header_is_named(void **state)
{
    static const struct { const char *header, *words; } cases[] = {
        { "", "does not begin with '{'" },
        { "[1]", "does not begin with '{'" },
        { "{", "bad JSON" },
        { "{\"a\":1}", "not described by an object" },
        { "{" T("a", "F31", "[2]", "0", "8") "}", "dtype 'F31' is not supported" },
        { "{" T("a", "F8\\u000ax", "[2]", "0", "8") "}", "dtype 'F8?x'" },
        { "{" T("a", "F32", "2", "0", "8") "}", "no shape" },
        { "{" T("a", "F32", "[-2]", "0", "8") "}", "dimension 0" },
        { "{" T("a", "F32", "[2.5]", "0", "8") "}", "dimension 0" },
        { "{" T("a", "F32", "[\"2\"]", "0", "8") "}", "dimension 0" },
        { "{" T("a", "F32", "[1,1,1,1,2]", "0", "8") "}", "5 dimensions" },
        { "{" T("a", "F32", "[4294967296,4294967296]", "0", "8") "}", "larger than any memory" },
        { "{" T("a", "F32", "[4611686018427387906]", "0", "8") "}", "do not fill" },
        { "{" T("a", "F32", "[2]", "0", "4") "}", "do not fill" },
        { "{" T("a", "F32", "[3]", "0", "12") "}", "ends at byte 12" },
        { "{" T("a", "F32", "[2]", "0", "9223372036854775807") "}", "ends at byte" },
        { "{" T("a", "F32", "[2]", "0", "18446744073709551616") "}", "bad JSON" },
        { "{" T("a", "F32", "[2]", "8", "0") "}", "not a begin and an end" },
        { "{" T("a", "F32", "[2]", "-8", "0") "}", "not a begin and an end" },
        { "{" T("a", "F32", "[2]", "0.5", "8") "}", "not a begin and an end" },
        { "{" T("a", "F32", "[2]", "0,4", "8") "}", "not a begin and an end" },
        { "{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[2]", "0", "8") "}", "overlap" },
        { "{" T("a", "F32", "[1]", "4", "8") "}", "4 bytes before tensor 'a'" },
        { "{" T("a", "F32", "[1]", "0", "4") "}", "4 bytes at its end" },
        { "{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", "duplicate" },
        { "{" T("", "F32", "[2]", "0", "8") "}", "is empty" },
        { "{" T("a\\u000ab", "F32", "[2]", "0", "8") "}", "not printable" },
        { "{\"__metadata__\":[]," T("a", "F32", "[2]", "0", "8") "}", "not an object" },
        { "{\"__metadata__\":{\"a\":1}," T("a", "F32", "[2]", "0", "8") "}", "not a string" },
    };
    struct folder folder = fresh_folder();
    float data[2] = { 1, 2 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct safetensors *s = (void *)1;
        const char *path = write_parts(folder.path, "x.safetensors", cases[i].header, data, 8);
        assert_int_equal(safetensors_open(&s, path), RL_EINVAL);
        assert_null(s);
        assert_non_null(strstr(status_message(), "x.safetensors"));
        assert_line(RL_EINVAL, cases[i].words);
    }
}

static void test_names_and_lengths_have_limits(void **state)
{
    struct folder folder = fresh_folder();
    char name[ARRAY_NAME + 1], header[512];
    uint64_t lengths[] = { 9, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63 };
    struct safetensors *s;

    (void)state;
    memset(name, 'n', ARRAY_NAME);
    name[ARRAY_NAME] = 0;
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
    assert_line(safetensors_open(&s, write_parts(folder.path, "a", header, "", 0)),
                "longer than 127");
    name[ARRAY_NAME - 1] = 0;
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
    assert_ok(safetensors_open(&s, write_parts(folder.path, "a", header, "", 0)));
    assert_int_equal(safetensors_find(s, name), 0);
    safetensors_close(s);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char raw[16] = "xxxxxxxx{}      ";
        memcpy(raw, &lengths[i], 8);
        assert_line(safetensors_open(&s, write_raw(folder.path, "b", raw, 16)),
                    "does not fit the file");
    }
}

static void test_what_is_not_there_is_named(void **state)
{
    struct folder folder = fresh_folder();
    struct safetensors *s;

    (void)state;
    assert_line(safetensors_open(&s, folder.path), "neither model.safetensors nor");
    assert_line(safetensors_open(&s, support_path(folder.path, "none.safetensors")),
                "No such file");
    assert_line(safetensors_open(&s, "/dev/null"), "is not a file");
}

static void test_a_bad_index_is_named(void **state)
{
    static const struct { const char *index, *words; } cases[] = {
        { "{\"weight_map\":", "bad JSON" },
        { "{}", "no weight_map" },
        { "{\"weight_map\":[\"a\"]}", "no weight_map" },
        { "{\"weight_map\":{}}", "no weight_map" },
        { "{\"weight_map\":{\"a\":1}}", "shard of 'a' is not a name" },
        { "{\"weight_map\":{\"a\":\"../x\"}}", "not the plain name" },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "not the plain name" },
        { "{\"weight_map\":{\"a\":\"..\"}}", "not the plain name" },
        { "{\"weight_map\":{\"a\":\"x\\ny\"}}", "not the plain name" },
        { "{\"weight_map\":{\"a\":\"none\"}}", "cannot open" },
        { "{\"weight_map\":{\"a\":\"one\",\"c\":\"one\"}}", "promises tensor 'c' in one" },
        { "{\"weight_map\":{\"a\":\"one\",\"b\":\"one\",\"x\":\"two\"}}", "promises tensor 'b'" },
        { "{\"weight_map\":{\"a\":\"one\",\"b\":\"twin\"}}", "'a' is stored twice" },
    };
    struct folder folder = fresh_folder();
    float data[2] = { 1, 2 };

    (void)state;
    write_parts(folder.path, "one", "{" T("a", "F32", "[2]", "0", "8") "}", data, 8);
    write_parts(folder.path, "two", "{" T("b", "F32", "[2]", "0", "8") "}", data, 8);
    write_parts(folder.path, "twin", "{" T("a", "F32", "[2]", "0", "8") "}", data, 8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct safetensors *s;
        support_write(folder.path, "model.safetensors.index.json", cases[i].index);
        assert_line(safetensors_open(&s, folder.path), cases[i].words);
    }
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"tied\":\"lm_head\"},"
    T("lm_head", "F32", "[2,3]", "0", "24") "," T("norm", "BF16", "[4]", "24", "32") ","
    T("scale", "F64", "[]", "32", "40") "," T("ids", "I64", "[1]", "40", "48") "}  ";

/* Open whatever this is and read all of it; sizes must be those of the file. */
static void try_file(const char *path, size_t bytes)
{
    struct safetensors *s;
    float x[64];
    size_t total = 0;

    if (safetensors_open(&s, path) != RL_OK) {
        assert_line(RL_EINVAL, "");
        return;
    }
    for (int i = 0; i < safetensors_count(s); i++) {
        const struct array *a = safetensors_array(s, i);
        total += a->size * dtype_size(a->dtype);
        assert_true(total <= bytes);
        if (a->size <= 64 && safetensors_read(s, i, x) != RL_OK)
            assert_line(RL_EINVAL, "not floating-point");
    }
    safetensors_close(s);
}

static void test_every_truncation_is_an_error(void **state)
{
    struct folder folder = fresh_folder();
    struct text file = { 0 };
    float data[12] = { 0 };

    (void)state;
    assemble(&file, good, data, sizeof data);
    for (size_t n = 0; n < file.size; n++) {
        struct safetensors *s;
        assert_line(safetensors_open(&s, write_raw(folder.path, "x", file.data, n)), "x");
    }
    try_file(write_raw(folder.path, "x", file.data, file.size), file.size);
    assert_string_equal(status_message(), "");
    text_free(&file);
}

static void test_mutated_headers_never_crash(void **state)
{
    struct folder folder = fresh_folder();
    struct text file = { 0 };
    float data[12] = { 0 };
    size_t header = 8 + strlen(good);

    (void)state;
    assemble(&file, good, data, sizeof data);
    for (uint32_t round = 0; round < 2000; round++) {
        struct counter c = { .seed = 3, .purpose = PURPOSE_TEST, .prompt = round };
        struct text copy = { 0 };
        uint32_t words[4];
        random_words(&c, words);
        text_add(&copy, file.data, file.size);
        for (uint32_t k = 0; k <= words[3] % 3; k++) {
            char *at = copy.data + words[k] % header;
            uint32_t kind = words[k] >> 24;
            *at = kind < 100 ? (char)(words[k] >> 8)
                  : kind < 180 ? "0123456789,[]{}\":-"[(words[k] >> 16) % 18]
                               : (char)(*at ^ (1 << (kind & 7)));
        }
        try_file(write_raw(folder.path, "x", copy.data, copy.size), copy.size);
        text_free(&copy);
    }
    text_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bad_header_is_named),
        cmocka_unit_test(test_names_and_lengths_have_limits),
        cmocka_unit_test(test_what_is_not_there_is_named),
        cmocka_unit_test(test_a_bad_index_is_named),
        cmocka_unit_test(test_every_truncation_is_an_error),
        cmocka_unit_test(test_mutated_headers_never_crash),
    };

    return cmocka_run_group_tests(tests, support_hold, NULL);
}
