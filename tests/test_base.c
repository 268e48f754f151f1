/* base: status codes, memory, random numbers, hashes, 16-bit floats, text, files, JSON, metrics. */
#include "tests/support.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/text.h"

#ifdef SANITIZED
/* Asking for too much must fail here too, not end the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' is not in '%s'", (part), (text));                                       \
    } while (0)

/* ---- status and log ---- */

static void test_worse_status_follows_severity(void **state)
{
    static const int order[] = { RL_OK, RL_ESTOP, RL_EINVAL, RL_EIO, RL_ENOFIT, RL_ENAN, RL_EBUG,
                                 RL_ELOST };

    (void)state;
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++)
            assert_int_equal(status_worse(order[i], order[k]), order[i > k ? i : k]);
}

static void test_exit_codes_are_the_documented_ones(void **state)
{
    static const int codes[][2] = { { RL_OK, 0 }, { RL_EINVAL, 1 }, { RL_EIO, 1 }, { RL_EBUG, 1 },
                                    { RL_ENOFIT, 2 }, { RL_ELOST, 3 }, { RL_ENAN, 4 },
                                    { RL_ESTOP, 5 } };

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(status_exit_code(codes[i][0]), codes[i][1]);
}

static void test_message_is_one_line_and_the_newest(void **state)
{
    (void)state;
    assert_int_equal(rl_error(RL_EIO, "first"), RL_EIO);
    assert_int_equal(rl_error(RL_EINVAL, "a\nb\x01%s", "c"), RL_EINVAL);
    assert_string_equal(status_message(), "a b?c");
    rl_error(RL_EINVAL, "outer: %s", status_message());         /* may quote the line it replaces */
    assert_string_equal(status_message(), "outer: a b?c");
}

static void test_long_message_is_cut_not_overrun(void **state)
{
    struct text big = {0};

    (void)state;
    for (int i = 0; i < 20000; i++)
        text_adds(&big, "x");
    rl_error(RL_EINVAL, "%s", big.data);
    assert_true(strlen(status_message()) < 10000);
    assert_has(status_message(), "xxx...");
    text_free(&big);
}

static void test_log_file_gets_lines_and_errors(void **state)
{
    const char *path = support_path(support_folder(), "log.txt");
    struct text text = {0};

    (void)state;
    log_quiet(true);
    assert_ok(log_open(path));
    log_info("step %d", 7);
    log_close();
    log_info("not in the file");
    log_quiet(false);
    assert_ok(file_read(path, &text));
    assert_has(text.data, " step 7\n");
    assert_null(strstr(text.data, "not in the file"));
    text_free(&text);
    assert_int_equal(log_open("/no/such/folder/log.txt"), RL_EIO);
}

/* ---- memory ---- */

static void layout(struct memory *m, char *out[4])
{
    size_t mark;

    out[0] = memory_take(m, 100);
    mark = memory_mark(m);
    out[1] = memory_take(m, 64);
    memory_rewind(m, mark);
    out[2] = memory_take(m, 1000);
    out[3] = memory_take(m, 0);
}

static void test_memory_plan_counts_then_gives_the_same_layout(void **state)
{
    struct memory m;
    char *p[4];

    (void)state;
    memory_count(&m);
    layout(&m, p);
    assert_null(p[2]);
    assert_int_equal(m.peak, 128 + 1024);
    assert_ok(memory_open(&m));
    layout(&m, p);
    assert_ptr_equal(p[0], m.base);
    assert_ptr_equal(p[1], p[2]);                   /* lives that never meet share bytes */
    for (int i = 0; i < 4; i++)
        assert_int_equal((uintptr_t)p[i] % 64, 0);
    for (size_t i = 0; i < m.size; i++)
        assert_int_equal(m.base[i], 0);
    assert_null(memory_take(&m, 1));                /* more than was counted: a named bug */
    assert_has(status_message(), "planned memory");
    memory_close(&m);
    memory_close(&m);
}

static void test_memory_that_cannot_be_had_is_an_error(void **state)
{
    struct memory m;

    (void)state;
    memory_count(&m);
    memory_take(&m, SIZE_MAX / 2);
    memory_take(&m, SIZE_MAX / 2);
    memory_take(&m, SIZE_MAX);                      /* the sum does not wrap around */
    assert_true(m.peak > SIZE_MAX - 128);
    assert_int_equal(memory_open(&m), RL_ENOFIT);
}

/* ---- random numbers ---- */

static void test_philox_gives_the_published_words(void **state)
{
    /* Known answers of the Random123 distribution: counter, key, words. */
    static const uint32_t known[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
          0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };

    (void)state;
    for (int i = 0; i < 3; i++) {
        const uint32_t *k = known[i];
        struct counter c = { .seed = (uint64_t)k[5] << 32 | k[4], .position = k[0], .prompt = k[1],
                             .step = k[2], .sample = k[3] & 0xffffff, .purpose = k[3] >> 24 };
        uint32_t out[4];
        random_words(&c, out);
        assert_memory_equal(out, k + 6, sizeof out);
    }
}

static void test_normal_is_box_muller_to_the_last_digits(void **state)
{
    struct counter c = { .seed = 3, .purpose = PURPOSE_TEST };
    double sum = 0, squares = 0;
    uint32_t w[4];

    (void)state;
    for (c.position = 0; c.position < 20000; c.position++) {
        random_words(&c, w);
        double x = random_normal(w[0], w[1]);
        double r = sqrt(-2 * log(((double)w[0] + 1) / 4294967296.0));
        double angle = 2 * M_PI * ((double)w[1] / 4294967296.0);
        if (fabs(x - r * cos(angle)) > 4e-15)
            fail_msg("normal(%u, %u) = %.17g, expected %.17g", w[0], w[1], x, r * cos(angle));
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / 20000) < 0.03 && fabs(squares / 20000 - 1) < 0.03);
    assert_true(isfinite(random_normal(0, 0)) && isfinite(random_normal(~0u, ~0u)));
}

static void test_normal_keeps_its_bits(void **state)
{
    /* Initial weights are part of the bit contract: these bits must never change. */
    static const struct { uint32_t a, b; uint64_t bits; } kept[] = {
        { 0, 0, 0x401aa4499161cd47 }, { 1, 0x20000000, 0x40128ab8187b8114 },
        { 0x12345678, 0x9abcdef0, 0xbffd25e6f370f08f }, { ~0u, ~0u, 0 },
        { 0x80000000, 0xc0000001, 0x3e1d976f41f12d00 },
    };

    (void)state;
    for (int i = 0; i < 5; i++) {
        double x = random_normal(kept[i].a, kept[i].b) + 0.0;       /* -0 becomes 0 */
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (bits != kept[i].bits)
            fail_msg("normal(%u, %u) = 0x%016llx", kept[i].a, kept[i].b, (unsigned long long)bits);
    }
}

/* ---- hashes ---- */

static void test_hash_is_xxh3(void **state)
{
    (void)state;
    assert_true(hash64("", 0) == 0x2d06800538d394c2);       /* the published value of nothing */
    assert_true(hash64("abc", 3) == 0x78af5f94892f3950);
}

static void test_hash_of_floats_is_the_hash_of_the_chunk_hashes(void **state)
{
    size_t n = 2 * HASH_CHUNK + 17;
    float *x = calloc(n, sizeof *x);
    uint64_t list[3];

    (void)state;
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)i * 0.25f;
    for (size_t i = 0; i < 3; i++)
        list[i] = hash64(x + i * HASH_CHUNK, (i < 2 ? HASH_CHUNK : 17) * sizeof *x);
    assert_true(hash_floats(x, n) == hash64(list, sizeof list));
    assert_true(hash_floats(x, 0) == hash64("", 0));
    x[n - 1] = -x[n - 1];
    assert_true(hash_floats(x, n) != hash64(list, sizeof list));
    free(x);
}

/* ---- 16-bit floats ---- */

/* Every finite value comes back, what lies between two goes to the nearer, the middle to the even
 * one.  Since both directions are monotone, this is every case.  top: the bits of infinity, which
 * stands where `next` would be. */
static void check_16_bit(float (*widen)(unsigned short), unsigned short (*narrow)(float),
                         unsigned short top, double next)
{
    for (unsigned i = 0; i < top; i++) {
        unsigned short even = (unsigned short)(i + (i & 1));
        float a = widen((unsigned short)i);
        double b = i + 1u < top ? (double)widen((unsigned short)(i + 1)) : next;
        float middle = (float)((a + b) / 2);
        assert_int_equal(narrow(a), i);
        assert_int_equal(narrow(-a), i | 0x8000);
        assert_int_equal(narrow(middle), even);
        assert_int_equal(narrow(nextafterf(middle, 0)), i);
        assert_int_equal(narrow(-nextafterf(middle, INFINITY)), (i + 1) | 0x8000);
    }
    assert_int_equal(narrow(INFINITY), top);
    assert_int_equal(narrow(-INFINITY), top | 0x8000);
    assert_int_equal(narrow(FLT_MAX), top);
    assert_true(isinf(widen(top)) && widen((unsigned short)(top | 0x8000)) < 0);
    for (unsigned i = top + 1u; i < 0x8000; i++) {
        unsigned short back = narrow(widen((unsigned short)i));
        assert_true(isnan(widen((unsigned short)i)));
        assert_true((back & top) == top && (back & 0x7fff) > top);
    }
    assert_true(isnan(widen(narrow(NAN))) && isnan(widen(narrow(-NAN))));
}

static void test_f16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_16_bit(f32_from_f16, f16_from_f32, 0x7c00, 65536);
    assert_true(f32_from_f16(0x3c00) == 1.0f && f32_from_f16(1) == 0x1p-24f);
    assert_true(f32_from_f16(0x7bff) == 65504.0f && f32_from_f16(0x03ff) == 1023 * 0x1p-24f);
    assert_int_equal(f16_from_f32(0x1p-25f), 0);                    /* the middle below the least */
    assert_int_equal(f16_from_f32(0x1.8p-25f), 1);
    assert_int_equal(f16_from_f32(FLT_TRUE_MIN), 0);
}

static void test_bf16_rounds_to_nearest_even_everywhere(void **state)
{
    (void)state;
    check_16_bit(f32_from_bf16, bf16_from_f32, 0x7f80, 0x1p128);
    assert_true(f32_from_bf16(1) > 0);                  /* denormals are kept */
}

static void test_types_have_sizes_and_names(void **state)
{
    (void)state;
    assert_int_equal(dtype_size(DTYPE_BF16), 2);
    assert_int_equal(dtype_size(DTYPE_U64), 8);
    assert_int_equal(dtype_size((enum dtype)99), 0);
    assert_string_equal(dtype_name(DTYPE_F32), "F32");
    assert_string_equal(dtype_name((enum dtype)-1), "unknown");
}

/* ---- text and files ---- */

static void test_text_grows_and_ends_with_zero(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_addf(&t, "%d,", i);
    assert_int_equal(t.size, 3890);
    assert_int_equal(strlen(t.data), t.size);
    text_add(&t, "a\0b", 3);
    assert_int_equal(t.size, 3893);
    text_clear(&t);
    assert_string_equal(t.data, "");
    assert_int_equal(text_reserve(&t, SIZE_MAX), RL_ENOFIT);
    text_free(&t);
    text_adds(&t, "");
    assert_string_equal(t.data, "");
    text_free(&t);
    text_free(&t);
}

static void test_file_comes_back_as_written(void **state)
{
    const char *folder = support_folder(), *path = support_path(folder, "x");
    static char bytes[200001];
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    assert_ok(file_write(path, bytes, sizeof bytes));
    assert_ok(file_read(path, &t));
    assert_int_equal(t.size, sizeof bytes);
    assert_memory_equal(t.data, bytes, sizeof bytes);
    assert_false(file_exists(support_path(folder, "x.part")));
    assert_ok(file_cut(path, 3));
    assert_ok(file_read(path, &t));
    assert_int_equal(t.size, 3);
    assert_int_equal(file_cut(path, 4), RL_EINVAL);
    assert_has(status_message(), "3 bytes, fewer than the 4");
    assert_ok(file_write(path, "", 0));
    assert_ok(file_read(path, &t));
    assert_string_equal(t.data, "");
    assert_ok(file_sync(path));
    text_free(&t);
}

static void test_file_errors_name_the_path(void **state)
{
    const char *folder = support_folder(), *pipe = support_path(folder, "pipe");
    struct text t = {0};

    (void)state;
    assert_int_equal(file_read("/no/such/file", &t), RL_EINVAL);
    assert_string_equal(status_message(), "cannot read /no/such/file: No such file or directory");
    assert_int_equal(file_read(folder, &t), RL_EINVAL);
    assert_has(status_message(), "Is a directory");
    assert_int_equal(file_write("/no/such/folder/x", "a", 1), RL_EINVAL);
    assert_int_equal(file_write(folder, "a", 1), RL_EINVAL);
    assert_has(status_message(), folder);
    assert_int_equal(mkfifo(pipe, 0666), 0);
    assert_int_equal(file_write(pipe, "a", 1), RL_EINVAL);          /* never in place of a device */
    text_free(&t);
}

/* A write that fails half-way (here: at a limit on file sizes) leaves the old file and no .part. */
static void test_failed_write_leaves_the_old_file(void **state)
{
    const char *folder = support_folder(), *path = support_write(folder, "x", "old");
    struct rlimit before, small;
    static char big[100000];
    struct text t = {0};
    int rc;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rc = file_write(path, big, sizeof big);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, RL_EIO);
    assert_has(status_message(), "File too large");
    assert_false(file_exists(support_path(folder, "x.part")));
    assert_ok(file_read(path, &t));
    assert_string_equal(t.data, "old");
    text_free(&t);
}

static void test_folders_are_made_with_their_parents(void **state)
{
    const char *folder = support_folder(), *deep = support_path(folder, "a/b//c/");
    const char *file = support_write(folder, "file", "x");

    (void)state;
    assert_ok(folder_make(deep));
    assert_ok(folder_make(deep));
    assert_true(folder_exists(deep) && !file_exists(deep));
    assert_true(file_exists(file) && !folder_exists(file));
    assert_int_equal(folder_make(support_path(folder, "file/x")), RL_EINVAL);
    assert_has(status_message(), "is a file, not a folder");
    assert_int_equal(folder_make(file), RL_EINVAL);
    assert_int_equal(folder_make(""), RL_EINVAL);
    assert_int_equal(folder_make("/proc/rankwise/x") != RL_OK, 1);
    assert_has(status_message(), "cannot make the folder /proc/rankwise: No such file");
    assert_ok(folder_sync(file));
}

static void test_paths_join_or_say_they_do_not_fit(void **state)
{
    char out[8];

    (void)state;
    assert_ok(path_join(out, sizeof out, "a", "b"));
    assert_string_equal(out, "a/b");
    assert_ok(path_join(out, sizeof out, "a/", "b"));
    assert_string_equal(out, "a/b");
    assert_ok(path_join(out, sizeof out, "", "b"));
    assert_string_equal(out, "b");
    assert_ok(path_join(out, sizeof out, "abcd", "ef"));
    assert_int_equal(path_join(out, sizeof out, "abcd", "efg"), RL_EINVAL);
}

static void test_clock_goes_forward(void **state)
{
    double begin = clock_now();

    (void)state;
    clock_sleep(0.002);
    assert_true(clock_now() - begin >= 0.002);
    clock_sleep(-1);
    clock_sleep(NAN);
}

/* ---- JSON ---- */

static struct json *parse(const char *text)
{
    return json_parse(text, strlen(text), "x.json");
}

static void test_json_values_are_found(void **state)
{
    struct json *v = parse("{\"b\": [1, 2.5, true, null, \"x\\u0000y\"], \"a\": {\"id\": "
                           "9007199254740993, \"whole\": 3.0}}");
    const struct json *list = json_get(v, "b"), *value;
    const char *key, *order[] = { "b", "a" };
    void *it = NULL;

    (void)state;
    assert_true(json_is_object(v) && json_is_array(list) && json_size(list) == 5);
    assert_int_equal(json_int(json_at(list, 0), -1), 1);
    assert_true(json_number(json_at(list, 1), 0) == 2.5 && json_number(json_at(list, 0), 0) == 1);
    assert_int_equal(json_int(json_at(list, 1), -1), -1);           /* not whole */
    assert_true(json_bool(json_at(list, 2), false) && json_bool(json_at(list, 0), true));
    assert_true(json_is_null(json_at(list, 3)) && json_is_null(json_at(list, 99)));
    assert_int_equal(json_string_size(json_at(list, 4)), 3);
    assert_memory_equal(json_string(json_at(list, 4), ""), "x\0y", 4);
    assert_true(json_int(json_get(json_get(v, "a"), "id"), 0) == 9007199254740993);
    assert_int_equal(json_int(json_get(json_get(v, "a"), "whole"), 0), 3);
    for (int i = 0; json_next(v, &it, &key, &value); i++)
        assert_string_equal(key, order[i]);
    json_free(v);
}

static void test_json_lookups_of_nothing_give_the_default(void **state)
{
    struct json *v = parse("[]");
    const struct json *value;
    const char *key;
    void *it = NULL;

    (void)state;
    assert_null(json_get(v, "x"));
    assert_null(json_get(NULL, "x"));
    assert_null(json_at(NULL, 0));
    assert_int_equal(json_size(NULL), 0);
    assert_false(json_next(v, &it, &key, &value));
    assert_false(json_next(NULL, &it, &key, &value));
    assert_string_equal(json_string(v, "none"), "none");
    assert_int_equal(json_string_size(NULL), 0);
    assert_true(json_number(NULL, 7) == 7 && json_int(v, 8) == 8 && json_bool(NULL, true));
    json_free(v);
    json_free(NULL);
}

static void test_json_errors_are_one_line_with_file_and_line(void **state)
{
    static const struct { const char *where, *text, *message; } bad[] = {
        { "x.json", "{\"a\": 1,\n \"b\" 2}", "x.json:2: bad JSON: " },
        { "p.jsonl:17", "{\"a\": 1", "p.jsonl:17: bad JSON: " },
        { "x.json", "{\"a\": 1, \"a\": 2}", "duplicate object key" },
        { "x.json", "", "x.json:1: bad JSON: " },
        { "x.json", "[1] x", "end of file expected" },
        { "x.json", "[123456789012345678901]", "too big integer" },
        { "x.json", "[1e999]", "overflow" },
        { "x.json", "[\"\xff\"]", "unable to decode byte 0xff" },
        { "x.json", "[\"\\ud800\"]", "Unicode" },
        { "x.json", "{\"a\\u0000b\": 1}", "NUL" },
        { "x.json", "[nan]", "invalid token" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(json_parse(bad[i].text, strlen(bad[i].text), bad[i].where));
        assert_has(status_message(), bad[i].message);
        assert_null(strchr(status_message(), '\n'));
    }
    assert_null(json_parse("{", 1, "p.jsonl:17"));
    assert_null(strstr(status_message(), ":17:1"));          /* no second line number */
    assert_null(json_read("/no/such.json"));
    assert_has(status_message(), "/no/such.json");
}

static void test_json_deep_nesting_is_refused(void **state)
{
    static char deep[100000];

    (void)state;
    memset(deep, '[', sizeof deep);
    assert_null(json_parse(deep, sizeof deep, "deep.json"));
    assert_has(status_message(), "depth");
}

static void test_json_numbers_are_short_and_read_back(void **state)
{
    static const struct { double x; const char *text; } cases[] = {
        { 0, "0" }, { -0.0, "-0.0" }, { 0.1, "0.1" }, { 100, "100" }, { 1e300, "1e+300" },
        { 0.69314718055994529, "0.6931471805599453" }, { 5e-324, "5e-324" },
        { 2.5e-310, "2.5e-310" }, { 1.0 / 3, "0.3333333333333333" }, { NAN, "null" },
        { INFINITY, "null" }, { 5e-7, "5e-07" },
    };
    struct counter c = { .purpose = PURPOSE_TEST };
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        text_clear(&t);
        json_add_number(&t, cases[i].x);
        assert_string_equal(t.data, cases[i].text);
    }
    for (c.position = 0; c.position < 5000; c.position++) {
        uint32_t w[4];
        double x;
        random_words(&c, w);
        memcpy(&x, w, sizeof x);
        text_clear(&t);
        json_add_number(&t, x);
        assert_true(!isfinite(x) || strtod(t.data, NULL) == x);
    }
    text_free(&t);
}

static void test_json_strings_are_escaped_and_made_valid(void **state)
{
    static const struct { const char *in; size_t n; const char *out; } cases[] = {
        { "a\"\\\n\t\r\b\f/", 9, "\"a\\\"\\\\\\n\\t\\r\\b\\f/\"" },
        { "\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\"" },
        { "bnfrt", 5, "\"bnfrt\"" },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "\xff", 1, "\"\xef\xbf\xbd\"" },
        { "\xc3", 1, "\"\xef\xbf\xbd\"" },                          /* cut off */
        { "\xe2\x82(", 3, "\"\xef\xbf\xbd(\"" },                    /* one for a cut character */
        { "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },          /* a long form */
        { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },      /* a surrogate */
        { "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
    };
    struct text t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *v;
        text_clear(&t);
        json_add_string(&t, cases[i].in, cases[i].n);
        assert_string_equal(t.data, cases[i].out);
        v = json_parse(t.data, t.size, "made");
        assert_non_null(v);
        json_free(v);
    }
    text_free(&t);
}

static void test_json_written_value_reads_back(void **state)
{
    const char *line = "{\"z\": [1, 3.0, -0.0, 9007199254740993, true, false, null, []], "
                       "\"a\": {\"s\": \"\\u0000\\\"\"}, \"e\": {}}";
    struct json *v = parse(line);
    struct text t = {0};

    (void)state;
    assert_non_null(v);
    json_add(&t, v);
    assert_string_equal(t.data, line);
    json_add(&t, NULL);
    json_free(v);
    text_free(&t);
}

/* Change, insert or remove a few bytes, by a counter. */
static size_t mutate(char *out, size_t room, const char *in, uint32_t round)
{
    static const char tokens[] = "{}[]\",:\\u0019.-+eEnulltruefals\x80\xff\0 \n";
    struct counter c = { .purpose = PURPOSE_TEST, .step = round };
    size_t n = strlen(in);
    uint32_t w[4];

    memcpy(out, in, n);
    for (c.position = 0; c.position < 1 + round % 4; c.position++) {
        size_t at;
        random_words(&c, w);
        at = n ? w[0] % n : 0;
        if (w[1] % 4 == 0) {                        /* cut the tail */
            n = at;
        } else if (w[1] % 4 == 1 && n + 1 < room) { /* insert */
            memmove(out + at + 1, out + at, n - at);
            out[at] = tokens[w[2] % (sizeof tokens - 1)];
            n++;
        } else if (n) {
            out[at] = w[1] % 4 == 2 ? tokens[w[2] % (sizeof tokens - 1)] : (char)w[3];
        }
    }
    return n;
}

static void test_json_survives_mutated_input(void **state)
{
    const char *seed = "{\"prompt\": \"Once\\u0020upon\", \"ids\": [1, 2, 30000], \"x\": -1.5e3, "
                       "\"nested\": {\"a\": [true, null, {}]}, \"u\": \"\xc3\xa9\\ud83d\\ude00\"}";
    char buffer[512];
    struct text t = {0};
    int good = 0;

    (void)state;
    for (uint32_t round = 0; round < 2000; round++) {
        size_t n = mutate(buffer, sizeof buffer, seed, round);
        char *exact = malloc(n ? n : 1);            /* so that a read past the end is seen */
        struct json *v, *again;
        assert_non_null(exact);
        memcpy(exact, buffer, n);
        v = json_parse(exact, n, "fuzz");
        free(exact);
        if (!v)
            continue;
        good++;
        text_clear(&t);
        json_add(&t, v);
        again = json_parse(t.data, t.size, "again");
        assert_non_null(again);
        json_free(again);
        json_free(v);
    }
    assert_true(good > 20 && good < 1900);          /* both sides were reached */
    text_free(&t);
}

static void test_edits_between_words(void **state)
{
    char longest[TEXT_EDITS + 2];

    (void)state;
    assert_int_equal(text_edits("", ""), 0);
    assert_int_equal(text_edits("", "abc"), 3);
    assert_int_equal(text_edits("kitten", "sitting"), 3);
    assert_int_equal(text_edits("stpes", "steps"), 1);
    memset(longest, 'a', sizeof longest);
    longest[TEXT_EDITS + 1] = 0;
    assert_int_equal(text_edits(longest, "a"), 2 * TEXT_EDITS);
    assert_int_equal(text_edits(longest + 1, "a"), TEXT_EDITS - 1);
}

/* ---- metrics ---- */

static void test_metrics_are_one_line_in_order(void **state)
{
    const char *path = support_path(support_folder(), "metrics.jsonl");
    FILE *file = fopen(path, "w");
    struct text t = {0};
    struct metrics *m;

    (void)state;
    assert_non_null(file);
    assert_ok(metrics_create(&m));
    metrics_set(m, "loss", 0.5);
    metrics_setf(m, 2, "reward/%s/mean", "words");
    metrics_set_hash(m, "train/weights_hash", 0xabc);
    metrics_set(m, "time/step", 3);
    metrics_set(m, "loss", NAN);
    assert_true(metrics_has(m, "loss") && !metrics_has(m, "los"));
    assert_true(metrics_get(m, "time/step", 0) == 3 && metrics_get(m, "none", 9) == 9);
    assert_true(metrics_get(m, "train/weights_hash", 9) == 9);
    assert_ok(metrics_write(m, file));
    assert_false(metrics_has(m, "loss"));
    for (int i = 0; i < 200; i++)
        metrics_setf(m, i, "m/%d", i);
    assert_ok(metrics_write(m, file));
    fclose(file);
    assert_ok(file_read(path, &t));
    assert_has(t.data, "{\"loss\": null, \"reward/words/mean\": 2, \"train/weights_hash\": "
                       "\"0000000000000abc\", \"time/step\": 3}\n{\"m/0\": 0, ");
    assert_has(t.data, "\"m/199\": 199}\n");
    metrics_destroy(m);
    metrics_destroy(NULL);
    text_free(&t);
}

static void test_metrics_failures_come_out_of_the_write(void **state)
{
    char name[300];
    FILE *full = fopen("/dev/full", "w"), *null = fopen("/dev/null", "w");
    struct metrics *m;

    (void)state;
    assert_true(full && null);
    assert_ok(metrics_create(&m));
    metrics_set(m, "x", 1);
    assert_int_equal(metrics_write(m, full), RL_EIO);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    metrics_set(m, name, 1);
    metrics_setf(m, 1, "reward/%s/mean", name);
    assert_int_equal(metrics_write(m, null), RL_EINVAL);
    assert_has(status_message(), "metric name");
    assert_ok(metrics_write(m, null));
    metrics_destroy(m);
    fclose(full);
    fclose(null);
}

static int hold(void **state)
{
    (void)state;
    status_hold(true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worse_status_follows_severity),
        cmocka_unit_test(test_exit_codes_are_the_documented_ones),
        cmocka_unit_test(test_message_is_one_line_and_the_newest),
        cmocka_unit_test(test_long_message_is_cut_not_overrun),
        cmocka_unit_test(test_log_file_gets_lines_and_errors),
        cmocka_unit_test(test_memory_plan_counts_then_gives_the_same_layout),
        cmocka_unit_test(test_memory_that_cannot_be_had_is_an_error),
        cmocka_unit_test(test_philox_gives_the_published_words),
        cmocka_unit_test(test_normal_is_box_muller_to_the_last_digits),
        cmocka_unit_test(test_normal_keeps_its_bits),
        cmocka_unit_test(test_hash_is_xxh3),
        cmocka_unit_test(test_hash_of_floats_is_the_hash_of_the_chunk_hashes),
        cmocka_unit_test(test_f16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(test_bf16_rounds_to_nearest_even_everywhere),
        cmocka_unit_test(test_types_have_sizes_and_names),
        cmocka_unit_test(test_text_grows_and_ends_with_zero),
        cmocka_unit_test(test_file_comes_back_as_written),
        cmocka_unit_test(test_file_errors_name_the_path),
        cmocka_unit_test(test_failed_write_leaves_the_old_file),
        cmocka_unit_test(test_folders_are_made_with_their_parents),
        cmocka_unit_test(test_paths_join_or_say_they_do_not_fit),
        cmocka_unit_test(test_clock_goes_forward),
        cmocka_unit_test(test_json_values_are_found),
        cmocka_unit_test(test_json_lookups_of_nothing_give_the_default),
        cmocka_unit_test(test_json_errors_are_one_line_with_file_and_line),
        cmocka_unit_test(test_json_deep_nesting_is_refused),
        cmocka_unit_test(test_json_numbers_are_short_and_read_back),
        cmocka_unit_test(test_json_strings_are_escaped_and_made_valid),
        cmocka_unit_test(test_json_written_value_reads_back),
        cmocka_unit_test(test_json_survives_mutated_input),
        cmocka_unit_test(test_edits_between_words),
        cmocka_unit_test(test_metrics_are_one_line_in_order),
        cmocka_unit_test(test_metrics_failures_come_out_of_the_write),
    };

    return cmocka_run_group_tests(tests, hold, NULL);
}
